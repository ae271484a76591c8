//! A wall clock that is stepped.

use bytes::Bytes;
use net::wire::fetch;
use storage::batch::{Builder, Compression};

use super::stand::{End, SECOND, Stand, ask, batches_of, bytes_of, fetch_request};
use crate::client::Client;

const DAYS_30_MS: i64 = 30 * 24 * 3_600 * 1_000;
const MINUTES_11: u64 = 11 * 60 * SECOND;

/// Log start and batches of the one partition.
fn held(stand: &mut Stand, client: &mut Client, offset: i64) -> (i64, Vec<(i64, i32)>) {
    let request = fetch_request("t", &[(0, offset, 1 << 20)], (0, 1 << 20, 0));
    let answer = ask!(stand, client, Fetch 11, fetch, request);
    let part: &fetch::PartitionData = &answer.responses[0].partitions[0];
    (part.log_start_offset, batches_of(&bytes_of(part)))
}

/// A clock that was wrong for a while, in either direction, costs no records; what is really old
/// goes in its time.
#[test]
fn a_step_of_the_wall_clock_deletes_nothing_young() {
    let mut stand = Stand::new(2, &[("log.retention.check.interval.ms", "1000")]);
    let mut client = stand.client();
    let ten_minutes = [("retention.ms", "600000")];
    assert_eq!(stand.create(&mut client, "t", 1, &ten_minutes), 0);
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    for by_ms in [DAYS_30_MS, -2 * DAYS_30_MS, DAYS_30_MS] {
        stand.world.step_wall(by_ms);
        stand.world.pass(5 * SECOND);
        assert_eq!(held(&mut stand, &mut client, 0), (0, vec![(0, 1)]));
    }
    stand.world.pass(MINUTES_11);
    let mut client = stand.client();
    assert_eq!(held(&mut stand, &mut client, 1), (1, vec![]));
}

/// A batch of one record that has no timestamp.
fn timeless(bytes: usize) -> Bytes {
    let mut builder = Builder::new(Compression::None);
    let value = vec![b'v'; bytes];
    builder
        .append(-1, None, Some(&value), &[])
        .expect("a small batch");
    builder.build().expect("a batch of one record")
}

/// `LogSegment.largestTimestamp`: what has no timestamp is as old as its last append, after a
/// restart as old as its file; what is in no file yet counts from the start on.
#[test]
fn records_without_timestamps_are_dropped_after_retention_ms() {
    for end in [End::Clean, End::PowerCut] {
        let mut stand = Stand::new(1, &[("log.retention.check.interval.ms", "1000")]);
        let mut client = stand.client();
        let settings = [("retention.ms", "600000"), ("segment.bytes", "1048576")];
        assert_eq!(stand.create(&mut client, "t", 1, &settings), 0);
        let batch = timeless(100);
        assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
        stand.world.pass(9 * 60 * SECOND);
        let mut client = stand.client();
        assert_eq!(held(&mut stand, &mut client, 0), (0, vec![(0, 1)]));
        stand.world.pass(2 * 60 * SECOND);
        let mut client = stand.client();
        assert_eq!(held(&mut stand, &mut client, 1), (1, vec![]));
        // A whole segment of the first life, and one that goes on.
        for offset in 1..=3 {
            let batch = timeless(600_000);
            assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, offset));
        }
        stand.world.pass(6 * 60 * SECOND);
        stand.restart(end);
        stand.world.pass(5 * 60 * SECOND);
        let mut client = stand.client();
        let (start, batches) = held(&mut stand, &mut client, 3);
        assert_eq!((start, batches), (3, vec![(3, 1)]), "{end:?}");
        stand.world.pass(6 * 60 * SECOND);
        let mut client = stand.client();
        assert_eq!(held(&mut stand, &mut client, 4), (4, vec![]), "{end:?}");
    }
}

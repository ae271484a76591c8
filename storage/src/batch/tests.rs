//! Admission and iteration, rule by rule.

use super::*;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use zerocopy::FromBytes;

const NOW: i64 = 1_764_000_000_000;

pub(crate) fn rules() -> Rules {
    Rules {
        now_ms: NOW,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        batch_bytes_max: 1_048_588,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max: 8 << 20,
        origin: Origin::Client,
    }
}

fn batch_of(compression: Compression, records: &[Record]) -> Bytes {
    let mut builder = Builder::new(compression);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder
            .append(record.timestamp, key, value, &record.headers)
            .expect("small");
    }
    builder.build().expect("not empty")
}

fn one(timestamp: i64) -> Record {
    Record {
        timestamp,
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(b"v")),
        ..Record::default()
    }
}

/// `batch` with its header changed and, on request, its CRC made right again.
fn edit(batch: &Bytes, right_crc: bool, change: impl FnOnce(&mut Header)) -> Bytes {
    let mut copy = BytesMut::from(&batch[..]);
    change(Header::mut_from_prefix(&mut copy).expect("a header").0);
    if right_crc {
        write_crc(&mut copy);
    }
    copy.freeze()
}

fn why(batch: Bytes, rules: &Rules) -> Reject {
    admit(batch, rules)
        .expect_err("the batch must be refused")
        .why
}

#[test]
fn a_good_batch_keeps_its_very_bytes() {
    for compression in [
        Compression::None,
        Compression::Gzip { level: -1 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
    ] {
        let batch = batch_of(compression, &[one(NOW - 5), one(NOW), one(NOW - 9)]);
        let admitted = admit(batch.clone(), &rules()).expect("a good batch");
        assert_eq!(
            admitted.bytes().as_ptr(),
            batch.as_ptr(),
            "{compression:?} was copied"
        );
        assert_eq!(admitted.bytes(), batch);
        assert_eq!(
            (admitted.header.max_timestamp, admitted.max_ts_offset_delta),
            (NOW, 1)
        );
    }
}

#[test]
fn header_faults_get_their_errors() {
    let good = batch_of(Compression::None, &[one(NOW), one(NOW)]);
    let bad = |change: fn(&mut Header)| why(edit(&good, true, change), &rules());
    assert_eq!(bad(|h| h.base_offset.set(1)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.count.set(0)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.count.set(-1)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.count.set(3)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.last_offset_delta.set(-1)), Reject::InvalidRecord);
    assert_eq!(
        bad(|h| h.last_offset_delta.set(i32::MAX)),
        Reject::InvalidRecord
    );
    assert_eq!(bad(|h| h.last_offset_delta.set(2)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.attributes.set(0x20)), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.attributes.set(0x10)), Reject::InvalidTxn);
    assert_eq!(bad(|h| h.attributes.set(5)), Reject::Undecodable);
    assert_eq!(bad(|h| h.attributes.set(1)), Reject::Undecodable);
    assert_eq!(bad(|h| h.magic = 1), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.magic = 0), Reject::InvalidRecord);
    assert_eq!(bad(|h| h.magic = 3), Reject::Corrupt);
    assert_eq!(bad(|h| h.magic = 0xff), Reject::Corrupt);
    assert_eq!(
        bad(|h| h.length.set(h.length.get() + 1)),
        Reject::InvalidRecord
    );
    assert_eq!(bad(|h| h.length.set(h.length.get() - 1)), Reject::Corrupt);
    assert_eq!(bad(|h| h.length.set(13)), Reject::Corrupt);
    assert_eq!(bad(|h| h.length.set(-1)), Reject::Corrupt);
    assert_eq!(bad(|h| h.length.set(20)), Reject::Corrupt);
    // Fields that consumers and deduplication rest on.
    let producer = |h: &mut Header| (h.producer_id.set(7), h.base_sequence.set(-1)).0;
    assert_eq!(
        why(edit(&good, true, producer), &rules()),
        Reject::InvalidRecord
    );
    assert_eq!(
        why(edit(&good, false, |h| h.crc.set(0)), &rules()),
        Reject::Corrupt
    );
    assert_eq!(why(Bytes::new(), &rules()), Reject::InvalidRecord);
    assert_eq!(
        why(good.slice(..good.len() - 1), &rules()),
        Reject::InvalidRecord
    );
}

#[test]
fn only_one_batch_but_a_cut_off_end_is_ignored() {
    let good = batch_of(Compression::None, &[one(NOW)]);
    let two: Bytes = [&good[..], &good[..]].concat().into();
    assert_eq!(why(two.clone(), &rules()), Reject::InvalidRecord);
    let cut = two.slice(..two.len() - 1);
    let admitted = admit(cut, &rules()).expect("the whole batch in front");
    assert_eq!(admitted.bytes(), good);
    let mut broken = two.to_vec();
    broken[good.len() + 8] = 0xff;
    assert_eq!(why(broken.into(), &rules()), Reject::Corrupt);
}

#[test]
fn sizes_are_checked_before_the_crc_and_the_segment_last() {
    let good = batch_of(Compression::None, &[one(NOW)]);
    let broken = edit(&good, false, |h| h.crc.set(0));
    let small = Rules {
        batch_bytes_max: good.len() - 1,
        ..rules()
    };
    assert_eq!(why(broken, &small), Reject::MessageTooLarge);
    let exact = Rules {
        batch_bytes_max: good.len(),
        ..rules()
    };
    assert!(admit(good.clone(), &exact).is_ok());
    let segment = Rules {
        segment_bytes: good.len() as u64 - 1,
        ..rules()
    };
    assert_eq!(why(good, &segment), Reject::RecordListTooLarge);
}

#[test]
fn the_crc_is_rewritten_only_when_the_maximum_differs() {
    let good = batch_of(Compression::None, &[one(NOW - 3), one(NOW - 7)]);
    let lying = edit(&good, true, |h| h.max_timestamp.set(NOW + 77));
    let admitted = admit(lying, &rules()).expect("the maximum is put right");
    assert_eq!(admitted.bytes(), good);
    assert!(check_crc(&admitted.bytes()));
}

#[test]
fn log_append_time_is_stamped() {
    let good = batch_of(Compression::Snappy, &[one(5), one(-1)]);
    let admitted = admit(
        good.clone(),
        &Rules {
            log_append_time: true,
            ..rules()
        },
    )
    .expect("good");
    assert!(check_crc(&admitted.bytes()));
    assert!(admitted.header.attributes.log_append_time());
    assert_eq!(admitted.header.max_timestamp, NOW);
    assert_eq!(admitted.header.base_timestamp, 5);
    assert_eq!(admitted.bytes()[HEADER_LEN..], good[HEADER_LEN..]);
    for record in records(&admitted.bytes(), 1 << 20).expect("it inflates") {
        assert_eq!(record.expect("good").timestamp, NOW);
    }
}

#[test]
fn record_faults_name_their_records() {
    let keyless = Record {
        key: None,
        ..one(NOW)
    };
    let late = one(NOW + 3_600_001);
    let batch = batch_of(Compression::None, &[one(NOW), keyless.clone(), one(NOW)]);
    let compacted = Rules {
        key_required: true,
        ..rules()
    };
    let rejection = admit(batch, &compacted).expect_err("no key");
    assert_eq!(rejection.why, Reject::InvalidRecord);
    assert_eq!(rejection.record_errors.len(), 1);
    assert_eq!(rejection.record_errors[0].0, 1);
    // A bad timestamp decides over a missing key, and both records are named.
    let batch = batch_of(Compression::None, &[keyless, one(NOW), late]);
    let rejection = admit(batch, &compacted).expect_err("no key, too late");
    assert_eq!(rejection.why, Reject::InvalidTimestamp);
    let indexes: Vec<_> = rejection
        .record_errors
        .iter()
        .map(|error| error.0)
        .collect();
    assert_eq!(indexes, [0, 2]);
}

#[test]
fn timestamps_are_accepted_at_the_very_bounds_only() {
    let rules = Rules {
        before_max_ms: 10,
        after_max_ms: 20,
        ..rules()
    };
    let verdict = |timestamp| admit(batch_of(Compression::None, &[one(timestamp)]), &rules).is_ok();
    assert!(verdict(NOW - 10) && verdict(NOW + 20) && verdict(NO_TIMESTAMP));
    assert!(!verdict(NOW - 11) && !verdict(NOW + 21) && !verdict(i64::MAX) && !verdict(i64::MIN));
}

/// A batch with this record area, its header telling the truth about everything else.
fn with_area(area: &[u8], count: i32) -> Bytes {
    let good = batch_of(Compression::None, &[one(NOW)]);
    let mut bytes = BytesMut::from(&good[..HEADER_LEN]);
    bytes.extend_from_slice(area);
    let len = bytes.len() as i32;
    edit(&bytes.freeze(), true, |h| {
        h.length.set(len - PREFIX_LEN as i32);
        h.count.set(count);
        h.last_offset_delta.set(count - 1);
    })
}

#[test]
fn broken_records_are_invalid_records() {
    // length 6: attributes, timestamp delta, offset delta, null key, null value, no headers
    assert!(admit(with_area(&[12, 0, 0, 0, 1, 1, 0], 1), &rules()).is_ok());
    for (area, what) in [
        (&[10, 0, 0, 0, 1, 1][..], "no header count"),
        (&[14, 0, 0, 0, 1, 1, 0, 0], "a byte too many inside"),
        (&[12, 0, 0, 0, 1, 1, 0, 0], "a byte too many behind"),
        (&[14, 0, 0, 0, 1, 1, 0], "longer than what remains"),
        (&[1, 0, 0, 0, 1, 1, 0], "a negative length"),
        (&[12, 0, 0, 0, 1, 1, 1], "a negative header count"),
        (&[12, 0, 0, 0, 1, 1, 126], "more headers than bytes"),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], "a null header key"),
        (&[12, 0, 0, 0, 8, 1, 0], "a key beyond the record"),
        (&[12, 0, 0, 1, 1, 1, 0], "a negative offset delta"),
        (&[12, 0, 0, 2, 1, 1, 0], "an offset delta beyond the batch"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "an endless number"),
        (&[0], "an empty record"),
        (&[], "no record at all"),
    ] {
        assert_eq!(
            why(with_area(area, 1), &rules()),
            Reject::InvalidRecord,
            "{what}"
        );
    }
    let mut overflow = vec![12 + 18, 0];
    varint::put_i64(&mut overflow, i64::MAX);
    overflow.extend_from_slice(&[0, 1, 1, 0]);
    assert_eq!(
        why(with_area(&overflow, 1), &rules()),
        Reject::InvalidTimestamp
    );
}

#[test]
fn deltas_out_of_order_are_put_right() {
    let twice_zero = [12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0];
    let admitted = admit(with_area(&twice_zero, 2), &rules()).expect("rebuilt");
    let deltas: Vec<_> = records(&admitted.bytes(), 0)
        .expect("plain")
        .map(|record| record.expect("good").offset_delta)
        .collect();
    assert_eq!(deltas, [0, 1]);
    assert!(check_crc(&admitted.bytes()));
}

#[test]
fn zstd_needs_its_protocol_version() {
    let batch = batch_of(Compression::Zstd { level: 3 }, &[one(NOW)]);
    let old = Rules {
        zstd_allowed: false,
        ..rules()
    };
    assert_eq!(why(batch, &old), Reject::UnsupportedCompression);
}

fn any_record() -> impl Strategy<Value = Record> {
    let blob = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let headers = prop::collection::vec((blob(), prop::option::of(blob())), 0..4);
    (
        prop::option::of(blob()),
        prop::option::of(blob()),
        headers,
        -5i64..=0,
    )
        .prop_map(|(key, value, headers, before)| Record {
            offset_delta: 0,
            timestamp: NOW + before,
            key,
            value,
            headers,
        })
}

fn any_compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        (-1i32..=9).prop_map(|level| Compression::Gzip { level }),
        Just(Compression::Snappy),
        (1i32..=17).prop_map(|level| Compression::Lz4 { level }),
        (-5i32..=8).prop_map(|level| Compression::Zstd { level }),
    ]
}

fn read_all(batch: &Bytes) -> Vec<Record> {
    records(batch, 8 << 20)
        .expect("it inflates")
        .collect::<Result<_, _>>()
        .expect("good records")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the producer's codec and the topic's, the records come back as they were sent.
    #[test]
    fn recompression_changes_no_record(
        mut sent in prop::collection::vec(any_record(), 1..30),
        source in any_compression(),
        wanted in prop_oneof![Just(Compression::Producer), any_compression()],
    ) {
        for (record, delta) in sent.iter_mut().zip(0..) {
            record.offset_delta = delta;
        }
        let batch = batch_of(source, &sent);
        prop_assert_eq!(&read_all(&batch), &sent);
        let codec = Header::of(&batch).expect("a header").summary().attributes.codec();
        let target = wanted.target(codec.expect("known"));
        let rules = Rules { compression: wanted, ..rules() };
        let admitted = admit(batch.clone(), &rules).expect("good");
        prop_assert!(check_crc(&admitted.bytes()));
        prop_assert_eq!(&read_all(&admitted.bytes()), &sent);
        prop_assert_eq!(admitted.header.attributes.codec(), Ok(target));
        prop_assert_eq!(admitted.bytes().as_ptr() == batch.as_ptr(), codec == Ok(target));
        let max = sent.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(admitted.header.max_timestamp), max);
        let first = sent.iter().position(|record| Some(record.timestamp) == max);
        prop_assert_eq!(Some(admitted.max_ts_offset_delta as usize), first);
    }

    /// However a record set is cut into pieces, it meets the same fate: the same bytes are stored,
    /// or the same is said of it. Good ones, damaged ones, cut-off ones, several batches.
    #[test]
    fn pieces_meet_the_fate_of_the_whole(
        sent in prop::collection::vec(any_record(), 1..30),
        source in any_compression(),
        wanted in prop_oneof![2 => Just(Compression::Producer), 1 => any_compression()],
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        end in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        (twice, right_crc, log_append_time, key_required) in any::<(bool, bool, bool, bool)>(),
        after_max_ms in prop_oneof![Just(i64::MAX), Just(-3)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
    ) {
        let mut bytes = batch_of(source, &sent).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if right_crc {
            write_crc(&mut bytes);
        }
        if twice {
            bytes.extend_from_within(..);
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let whole = Bytes::from(bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Bytes> = cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1])).collect();
        let rules = Rules {
            compression: wanted,
            inflated_bytes_max: 1 << 16,
            log_append_time,
            key_required,
            after_max_ms,
            ..rules()
        };
        let (mut cost, mut cost_in_pieces) = (0, 0);
        let of_whole = admit_counting(whole.into(), &rules, &mut cost);
        let of_pieces = admit_counting(pieces.into(), &rules, &mut cost_in_pieces);
        prop_assert_eq!(cost, cost_in_pieces);
        let told = |fate: Result<Admitted, Rejection>| {
            fate.map(|batch| (batch.bytes(), batch.header, batch.max_ts_offset_delta))
        };
        prop_assert_eq!(told(of_pieces), told(of_whole));
    }

    /// A batch that differs in any byte, its CRC right again or not, neither panics nor inflates
    /// beyond its bound, and if it is admitted all its records can be read.
    #[test]
    fn mutated_batches_never_panic(
        sent in prop::collection::vec(any_record(), 1..12),
        source in any_compression(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        right_crc in any::<bool>(),
    ) {
        let mut bytes = batch_of(source, &sent).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if right_crc {
            write_crc(&mut bytes);
        }
        let bytes = Bytes::from(bytes);
        let tight = Rules { inflated_bytes_max: 1 << 16, origin: Origin::Client, ..rules() };
        if let Ok(admitted) = admit(bytes.clone(), &tight) {
            let read = read_all(&admitted.bytes());
            prop_assert_eq!(read.len() as i32, admitted.header.count);
            prop_assert!(check_crc(&admitted.bytes()));
        }
        for batch in batches(&bytes).flatten() {
            let _ = batch.summary();
        }
        if let Ok(iteration) = records(&bytes, 1 << 16) {
            prop_assert!(iteration.count() <= bytes.len() + (1 << 16));
        }
    }
}

#[test]
fn batches_stop_at_the_first_that_is_not_whole() {
    let good = batch_of(Compression::None, &[one(NOW)]);
    let mut run = [&good[..], &good[..], &good[..30]].concat();
    patch(&mut run, 77, 3);
    let found: Vec<_> = batches(&run).collect();
    assert_eq!(found.len(), 3);
    let first = found[0].expect("whole").summary();
    assert_eq!((first.base_offset, first.leader_epoch), (77, 3));
    assert!(check_crc(found[0].expect("whole").bytes));
    assert_eq!(found[1].expect("whole").position, good.len());
    assert_eq!(
        found[2].err(),
        Some(ParseError::Short {
            position: 2 * good.len(),
            missing: 31
        })
    );
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = Record {
        value: Some(vec![0; 4 << 20].into()),
        ..one(NOW)
    };
    for compression in [
        Compression::Gzip { level: 9 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
    ] {
        let batch = batch_of(compression, std::slice::from_ref(&zeros));
        assert!(batch.len() < 1 << 20);
        let tight = Rules {
            inflated_bytes_max: (4 << 20) - 1,
            ..rules()
        };
        assert_eq!(
            why(batch.clone(), &tight),
            Reject::MessageTooLarge,
            "{compression:?}"
        );
        assert!(admit(batch, &rules()).is_ok(), "{compression:?}");
    }
}

#[test]
fn an_internal_batch_may_be_a_marker() {
    let mut builder = Builder::new(Compression::None)
        .producer(7, 1, -1)
        .control(true);
    builder
        .append(NOW, Some(&[0; 4]), Some(&[0; 6]), &[])
        .expect("small");
    let marker = builder.build().expect("one record");
    assert_eq!(why(marker.clone(), &rules()), Reject::InvalidRecord);
    let internal = Rules {
        origin: Origin::Internal,
        ..rules()
    };
    assert_eq!(
        admit(marker.clone(), &internal).expect("a marker").bytes(),
        marker
    );
}

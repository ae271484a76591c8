//! How long a start takes: until every partition has taken a record and given it back.

use super::link::Link;
use super::{Options, wire};
use net::wire::{create_topics, fetch, produce};
use std::collections::BTreeMap;
use std::io;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
const TOPIC_ALREADY_EXISTS: i16 = 36;
/// What a new partition may answer until its leader knows of it.
const UNTIL_LED: [i16; 3] = [3, 5, 6];

/// Makes the topic unless it is there.
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: i32) -> io::Result<()> {
    let response = Link::open(bootstrap)?.call(&wire::create(topic, partitions))?;
    let response =
        create_topics::Response::decode(&mut wire::body(response)?, wire::CREATE_VERSION);
    let response = response.map_err(|error| io::Error::other(error.to_string()))?;
    match response.topics.first().map(|topic| topic.error_code) {
        Some(0 | TOPIC_ALREADY_EXISTS) => Ok(()),
        code => Err(io::Error::other(format!(
            "the topic cannot be made: {code:?}"
        ))),
    }
}

/// Times are from `since_ns`, the wall clock at which the broker was started.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let (bootstrap, topic) = (options.bootstrap()?, options.topic()?);
    let partitions: i32 = options.get("partitions", 1000)?;
    let since: u128 = options.get("since_ns", 0)?;
    let passed = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0.0, |now| (now.as_nanos() - since) as f64 / 1e6)
    };
    persist(|| Link::open(&bootstrap))?;
    let listening = passed();
    if options.get("create", false)? {
        persist(|| create(&bootstrap, &topic, partitions))?;
    }
    let created = passed();
    // The listener of a killed process may still take connections, which then break.
    let (mut link, taken) = persist(|| {
        let mut link = Link::open(&bootstrap)?;
        let taken = produce_everywhere(&mut link, &topic, partitions)?;
        Ok((link, taken))
    })?;
    let produced = passed();
    fetch_everywhere(&mut link, &topic, taken)?;
    println!(
        "partitions={partitions} listening_ms={listening:.1} created_ms={created:.1} \
         produced_ms={produced:.1} fetched_ms={:.1}",
        passed()
    );
    Ok(())
}

/// Again and again while the broker is not there; what it refuses, it refuses for good.
fn persist<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() != io::ErrorKind::Other => sleep(PAUSE),
            done => return done,
        }
    }
}

/// One record into each partition, again until it is acknowledged: where they are.
fn produce_everywhere(
    link: &mut Link,
    topic: &str,
    partitions: i32,
) -> io::Result<BTreeMap<i32, i64>> {
    let batch = wire::batch(1, 100);
    let mut taken = BTreeMap::new();
    loop {
        let missing: Vec<i32> = (0..partitions)
            .filter(|partition| !taken.contains_key(partition))
            .collect();
        if missing.is_empty() {
            return Ok(taken);
        }
        let response = link.call(&wire::produce(topic, &missing, &batch))?;
        let response = produce::Response::decode(&mut wire::body(response)?, wire::PRODUCE_VERSION);
        let response = response.map_err(|error| io::Error::other(error.to_string()))?;
        let parts = response
            .responses
            .iter()
            .flat_map(|t| &t.partition_responses);
        let acked = parts.filter(|part| part.error_code == 0);
        taken.extend(acked.map(|part| (part.index, part.base_offset)));
        sleep(PAUSE);
    }
}

/// Reads each of the records, again until it is there.
fn fetch_everywhere(
    link: &mut Link,
    topic: &str,
    mut missing: BTreeMap<i32, i64>,
) -> io::Result<()> {
    while !missing.is_empty() {
        let from: Vec<(i32, i64)> = missing.iter().map(|(at, offset)| (*at, *offset)).collect();
        let poll = wire::Poll {
            max_wait_ms: 100,
            session: (0, -1),
        };
        let response = link.call(&wire::fetch(topic, &from, poll))?;
        let response = fetch::Response::decode(&mut wire::body(response)?, wire::FETCH_VERSION);
        let response = response.map_err(|error| io::Error::other(error.to_string()))?;
        for part in response.responses.iter().flat_map(|t| &t.partitions) {
            let bytes = part
                .records
                .as_ref()
                .map_or(0, |records| records.bytes_len());
            if part.error_code == 0 && bytes > 0 {
                missing.remove(&part.partition_index);
            }
        }
    }
    Ok(())
}

fn refused(partition: i32, code: i16) -> io::Error {
    io::Error::other(format!(
        "partition {partition} takes no records: error {code}"
    ))
}

/// `bytes` in batches of `batch_bytes` into each partition.
pub(crate) fn fill(options: &Options) -> io::Result<()> {
    let (bootstrap, topic) = (options.bootstrap()?, options.topic()?);
    let partitions: i32 = options.get("partitions", 1000)?;
    let bytes: usize = options.get("bytes", 1 << 20)?;
    let batch_bytes: usize = options.get("batch_bytes", 64 << 10)?;
    create(&bootstrap, &topic, partitions)?;
    let mut link = Link::open(&bootstrap)?;
    let batch = wire::batch(batch_bytes / 1024, 1016);
    let together = (1 << 20) / batch.len().max(1);
    let all: Vec<i32> = (0..partitions).collect();
    let mut filled = 0;
    while filled < bytes {
        for some in all.chunks(together.max(1)) {
            let mut left = some.to_vec();
            while !left.is_empty() {
                let response = link.call(&wire::produce(&topic, &left, &batch))?;
                let response =
                    produce::Response::decode(&mut wire::body(response)?, wire::PRODUCE_VERSION);
                let response = response.map_err(|error| io::Error::other(error.to_string()))?;
                let parts = response
                    .responses
                    .iter()
                    .flat_map(|t| &t.partition_responses);
                let mut acked = Vec::new();
                for part in parts {
                    match part.error_code {
                        0 => acked.push(part.index),
                        code if UNTIL_LED.contains(&code) => {}
                        code => return Err(refused(part.index, code)),
                    }
                }
                left.retain(|partition| !acked.contains(partition));
            }
        }
        filled += batch.len();
    }
    println!("partitions={partitions} bytes_each={filled}");
    Ok(())
}

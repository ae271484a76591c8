//! Compares everything that a broker serves with what its clients were told.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::produce::{Shared, client, lock};
use crate::record::RecordId;
use crate::world::{PLAIN_FROM, Part, Phase, Topic, World};

const REQUEST: Duration = Duration::from_secs(60);
/// Nothing new for so long while records are owed.
const STALLED: Duration = Duration::from_secs(120);

/// What was read and found right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) acked: u64,
    pub(crate) commits: u64,
}

impl Checked {
    pub(crate) fn add(&mut self, one: &Self) {
        self.records += one.records;
        self.bytes += one.bytes;
        self.acked += one.acked;
        self.commits += one.commits;
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The broker that the clients use: later scans must not see less.
    Running,
    /// Another one on a copy of its data, which goes its own way.
    Copy,
}

/// What one partition held.
struct Log {
    low: i64,
    high: i64,
    /// The offset that is owed next.
    next: i64,
    held: BTreeMap<i64, RecordId>,
    once: HashSet<RecordId>,
    /// The newest record of each idempotent producer.
    newest: BTreeMap<u8, u32>,
}

pub(crate) struct Verifier<'a> {
    address: &'a str,
    /// What was known before the first question was asked.
    known: &'a World,
    /// What goes on meanwhile.
    world: &'a Shared,
    scan: Scan,
    client: BaseConsumer,
    checked: Checked,
}

/// Everything in `known` must be there.
pub(crate) fn verify(
    address: &str,
    known: &World,
    world: &Shared,
    scan: Scan,
) -> Result<Checked, String> {
    let client: BaseConsumer = client(address)
        .set("group.id", "the verifier commits nothing")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "20")
        .set("fetch.error.backoff.ms", "20")
        .set("queued.min.messages", "5000")
        .create()
        .map_err(|error| error.to_string())?;
    let mut verifier = Verifier {
        address,
        known,
        world,
        scan,
        client,
        checked: Checked::default(),
    };
    let there = verifier.topics()?;
    for (name, topic) in &known.topics {
        if there.contains(name) && matches!(topic.phase, Phase::Live | Phase::Draining) {
            verifier.topic(name, topic)?;
        }
    }
    verifier.commits()?;
    Ok(verifier.checked)
}

impl Verifier<'_> {
    /// Confirmed topics are there and confirmed deletions are not.
    fn topics(&self) -> Result<BTreeSet<String>, String> {
        let metadata = self
            .client
            .fetch_metadata(None, REQUEST)
            .map_err(|e| e.to_string())?;
        let there: BTreeMap<String, usize> = metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect();
        for (name, topic) in &self.known.topics {
            let partitions = there.get(name);
            match topic.phase {
                Phase::Live | Phase::Draining if partitions != Some(&topic.parts.len()) => {
                    let parts = topic.parts.len();
                    return Err(format!(
                        "topic {name} of {parts} partitions: {partitions:?}"
                    ));
                }
                Phase::Gone if partitions.is_some() => {
                    return Err(format!("topic {name} was deleted and is back"));
                }
                _ => {}
            }
        }
        Ok(there.into_keys().collect())
    }

    fn topic(&mut self, name: &str, topic: &Topic) -> Result<(), String> {
        let mut logs = Vec::new();
        let mut from = TopicPartitionList::new();
        for (number, part) in topic.parts.iter().enumerate() {
            let number = i32::try_from(number).expect("few");
            let (low, high) = self.ends(name, number)?;
            starts_and_ends(topic, part, low, high).map_err(|e| format!("{name}-{number}: {e}"))?;
            from.add_partition_offset(name, number, Offset::Offset(low))
                .expect("a list");
            logs.push(Log {
                low,
                high,
                next: low,
                held: BTreeMap::new(),
                once: HashSet::new(),
                newest: BTreeMap::new(),
            });
        }
        self.client
            .assign(&from)
            .map_err(|error| error.to_string())?;
        self.read(name, topic, &mut logs)?;
        self.client.unassign().map_err(|error| error.to_string())?;
        for (number, (part, log)) in topic.parts.iter().zip(&logs).enumerate() {
            self.checked.acked += owed(part, log).map_err(|e| format!("{name}-{number}: {e}"))?;
            let mut world = lock(self.world);
            let now = world.topic(name);
            if self.scan == Scan::Running
                && now.incarnation == topic.incarnation
                && let Some(part) = now.parts.get_mut(number)
            {
                part.low_seen = part.low_seen.max(log.low);
                part.high_seen = part.high_seen.max(log.high);
            }
        }
        Ok(())
    }

    fn ends(&self, name: &str, partition: i32) -> Result<(i64, i64), String> {
        self.client
            .fetch_watermarks(name, partition, REQUEST)
            .map_err(|error| format!("{name}-{partition}: no start and end: {error}"))
    }

    /// Reads every partition to its end.
    fn read(&mut self, name: &str, topic: &Topic, logs: &mut [Log]) -> Result<(), String> {
        let mut last = Instant::now();
        while logs.iter().any(|log| log.next < log.high) {
            let Some(polled) = self.client.poll(Duration::from_millis(200)) else {
                if last.elapsed() > STALLED {
                    let owed: Vec<_> = logs.iter().map(|log| (log.next, log.high)).collect();
                    return Err(format!("{name}: nothing more comes, owed are {owed:?}"));
                }
                continue;
            };
            // The client recovers from what it complains about, or nothing more comes.
            let Ok(message) = polled else { continue };
            last = Instant::now();
            let number = message.partition();
            let log = &mut logs[usize::try_from(number).expect("never negative")];
            if message.offset() > log.next {
                let (low, _) = self.ends(name, number)?;
                if !topic.retention || message.offset() > low {
                    let (owed, got) = (log.next, message.offset());
                    return Err(format!("{name}-{number}: a gap from {owed} to {got}"));
                }
                log.low = message.offset();
                log.held.clear();
            }
            log.next = message.offset() + 1;
            let bytes = message.payload_len() as u64;
            log.take(topic, &message, self.world)
                .map_err(|e| format!("{name}-{number}@{}: {e}", message.offset()))?;
            self.checked.records += 1;
            self.checked.bytes += bytes;
        }
        Ok(())
    }

    /// Committed offsets have not gone back.
    fn commits(&mut self) -> Result<(), String> {
        let groups: BTreeSet<&String> = self.known.commits.keys().map(|key| &key.0).collect();
        for group in groups {
            let consumer: BaseConsumer = client(self.address)
                .set("group.id", group)
                .create()
                .map_err(|error| error.to_string())?;
            let of_group = self.known.commits.iter().filter(|(key, _)| key.0 == *group);
            for ((_, topic, partition), known) in of_group {
                let mut list = TopicPartitionList::new();
                list.add_partition(topic, *partition);
                let found = consumer
                    .committed_offsets(list, REQUEST)
                    .map_err(|error| format!("group {group}: {error}"))?;
                let found = found.elements()[0].offset().to_raw().unwrap_or(-1).max(0);
                let key = (group.clone(), topic.clone(), *partition);
                let asked = lock(self.world).commits[&key].asked;
                if found < known.acked || found > asked {
                    return Err(format!(
                        "group {group}, {topic}-{partition}: {} was committed, {asked} was \
                         asked for at most, {found} is there",
                        known.acked
                    ));
                }
                self.checked.commits += 1;
            }
        }
        Ok(())
    }
}

impl Log {
    /// One more record: is it one that was sent here, and not twice?
    fn take(
        &mut self,
        topic: &Topic,
        message: &BorrowedMessage<'_>,
        world: &Shared,
    ) -> Result<(), String> {
        let id = RecordId::recognise(message.key(), message.payload().unwrap_or_default())?;
        let here = i32::from(id.partition) == message.partition();
        if id.incarnation != topic.incarnation || !here || !lock(world).was_sent(id) {
            return Err(format!("{id:?} was never sent there"));
        }
        if id.producer < PLAIN_FROM {
            if !self.once.insert(id) {
                return Err(format!("{id:?} is there twice"));
            }
            let newest = self.newest.insert(id.producer, id.sequence).unwrap_or(0);
            if newest > id.sequence {
                return Err(format!("{id:?} comes after {newest}"));
            }
        }
        self.held.insert(message.offset(), id);
        Ok(())
    }
}

/// Log starts and ends never go back, and a start moves only where someone wanted it.
fn starts_and_ends(topic: &Topic, part: &Part, low: i64, high: i64) -> Result<(), String> {
    if low < part.deleted.max(part.low_seen) {
        let (deleted, seen) = (part.deleted, part.low_seen);
        return Err(format!(
            "starts at {low}, after it was deleted to {deleted}, seen at {seen}"
        ));
    }
    if !topic.retention && low > part.delete_asked.max(part.low_seen) {
        return Err(format!(
            "starts at {low}, only {} was asked for",
            part.delete_asked
        ));
    }
    let acked = part
        .acked
        .last_key_value()
        .map_or(0, |(offset, _)| offset + 1);
    if high < acked.max(part.high_seen) || high < low {
        let seen = part.high_seen;
        return Err(format!(
            "ends at {high}: {acked} was acknowledged, {seen} was seen"
        ));
    }
    Ok(())
}

/// Every acknowledged record is at its offset, unless it was deleted.
fn owed(part: &Part, log: &Log) -> Result<u64, String> {
    let mut found = 0;
    for (offset, id) in part.acked.range(log.low..) {
        match log.held.get(offset) {
            Some(held) if held == id => found += 1,
            held => {
                return Err(format!(
                    "{id:?} was acknowledged at {offset}, there is {held:?}"
                ));
            }
        }
    }
    for id in &part.somewhere {
        if log.low == 0 && !log.once.contains(id) {
            return Err(format!("{id:?} was acknowledged and is nowhere"));
        }
        found += 1;
    }
    Ok(found)
}

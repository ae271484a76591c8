//! What the clients were told: the expectation that the broker's data is compared with.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::record::RecordId;

/// Kept for the whole run; a group commits offsets of it.
pub(crate) const STEADY: &str = "steady";
/// Takes one record at each start.
pub(crate) const PROBE: &str = "probe";
/// From here on producers are not idempotent.
pub(crate) const PLAIN_FROM: u8 = 6;
/// How many producers make the load.
pub(crate) const PRODUCERS: u8 = 8;
/// The producer of the probe, which waits for every acknowledgement.
pub(crate) const PROBER: u8 = PRODUCERS;
/// Bytes after which a topic is emptied or deleted, so that all can be read after each start.
const TOPIC_BYTES_MAX: u64 = 24 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Asked for, not confirmed.
    Creating,
    Live,
    /// Gets no more records; deleted when none is under way.
    Draining,
    /// Its deletion was asked for, and is not confirmed.
    Deleting,
    Gone,
}

/// What is known of a partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Acknowledged records by their offset.
    pub(crate) acked: BTreeMap<i64, RecordId>,
    /// Acknowledged without an offset: somewhere.
    pub(crate) somewhere: Vec<RecordId>,
    /// DeleteRecords up to here was confirmed.
    pub(crate) deleted: i64,
    /// DeleteRecords up to here was asked for.
    pub(crate) delete_asked: i64,
    /// The highest log start and end that any scan has seen.
    pub(crate) low_seen: i64,
    pub(crate) high_seen: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) phase: Phase,
    pub(crate) incarnation: u16,
    /// Retention may drop its oldest segments at any time.
    pub(crate) retention: bool,
    pub(crate) parts: Vec<Part>,
    /// Records sent and neither acknowledged nor failed.
    pub(crate) under_way: u64,
    pub(crate) bytes: u64,
}

/// Committed offsets of one group and partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commit {
    pub(crate) acked: i64,
    pub(crate) asked: i64,
}

/// Group, topic, partition.
pub(crate) type CommitKey = (String, String, i32);

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) commits: BTreeMap<CommitKey, Commit>,
    incarnations: u16,
    /// Records that each producer has sent.
    sent: BTreeMap<u8, u32>,
    pub(crate) counts: Counts,
    /// What can never be right; the run fails.
    pub(crate) failures: Vec<String>,
}

/// What happened, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) commits: u64,
    pub(crate) created: u64,
    pub(crate) deleted: u64,
    pub(crate) emptied: u64,
    pub(crate) altered: u64,
}

impl World {
    /// Notes that a topic is about to be created.
    pub(crate) fn creating(&mut self, name: &str, partitions: usize, retention: bool) {
        self.incarnations += 1;
        let topic = Topic {
            phase: Phase::Creating,
            incarnation: self.incarnations,
            retention,
            parts: vec![Part::default(); partitions],
            under_way: 0,
            bytes: 0,
        };
        self.topics.insert(name.to_owned(), topic);
    }

    pub(crate) fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics
            .get_mut(name)
            .expect("only topics of this run are named")
    }

    pub(crate) fn named(&self, phase: Phase) -> Vec<String> {
        let of = |(name, topic): (&String, &Topic)| (topic.phase == phase).then(|| name.clone());
        self.topics.iter().filter_map(of).collect()
    }

    /// Chooses where a producer sends its next record, and counts it as under way.
    pub(crate) fn send(&mut self, producer: u8, chance: &mut Chance) -> Option<(String, RecordId)> {
        let name = if producer == PROBER {
            PROBE.to_owned()
        } else {
            let mut live = self.named(Phase::Live);
            live.retain(|name| name != PROBE && self.topics[name].bytes < 2 * TOPIC_BYTES_MAX);
            if live.is_empty() {
                return None;
            }
            chance.pick(&live).clone()
        };
        let topic = self.topic(&name);
        let partition = chance.within(0, topic.parts.len() as u64);
        topic.under_way += 1;
        let incarnation = topic.incarnation;
        let sequence = self.sent.entry(producer).or_default();
        *sequence += 1;
        let partition = u8::try_from(partition).expect("there are few partitions");
        let sequence = *sequence;
        Some((
            name,
            RecordId {
                producer,
                incarnation,
                partition,
                sequence,
            },
        ))
    }

    /// Whether a record may be in a log at all.
    pub(crate) fn was_sent(&self, id: RecordId) -> bool {
        self.sent
            .get(&id.producer)
            .is_some_and(|sent| id.sequence <= *sent)
    }

    /// Forgets the last record of a producer: its client has not taken it.
    pub(crate) fn unsent(&mut self, name: &str) {
        self.topic(name).under_way -= 1;
    }

    /// A record is acknowledged; none is the offset of one that the broker knew already.
    pub(crate) fn acked(&mut self, name: &str, id: RecordId, offset: Option<i64>, bytes: u64) {
        self.counts.acked += 1;
        self.counts.acked_bytes += bytes;
        let topic = self.topic(name);
        topic.under_way -= 1;
        topic.bytes += bytes;
        let part = &mut topic.parts[usize::from(id.partition)];
        let Some(offset) = offset else {
            part.somewhere.push(id);
            return;
        };
        if let Some(other) = part.acked.insert(offset, id) {
            let text = format!("{name}: offset {offset} acknowledged for {other:?} and {id:?}");
            self.failures.push(text);
        }
    }

    pub(crate) fn failed(&mut self, name: &str, id: RecordId, why: &str) {
        self.topic(name).under_way -= 1;
        self.failures
            .push(format!("{name}: {id:?} was refused for good: {why}"));
    }

    /// Topics that have grown enough.
    pub(crate) fn grown(&self) -> Vec<String> {
        let grown = |(_, topic): &(&String, &Topic)| {
            topic.phase == Phase::Live && topic.bytes > TOPIC_BYTES_MAX
        };
        self.topics
            .iter()
            .filter(grown)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Forgets what is below a log start that was confirmed.
    pub(crate) fn deleted_to(&mut self, name: &str, partition: usize, start: i64) {
        let topic = self.topic(name);
        let part = &mut topic.parts[partition];
        part.deleted = part.deleted.max(start);
        part.acked = part.acked.split_off(&start);
        self.counts.emptied += 1;
    }

    pub(crate) fn commit_asked(&mut self, key: &CommitKey, offset: i64) {
        let commit = self.commits.entry(key.clone()).or_default();
        commit.asked = commit.asked.max(offset);
    }

    pub(crate) fn commit_acked(&mut self, key: &CommitKey, offset: i64) {
        let commit = self.commits.entry(key.clone()).or_default();
        commit.acked = commit.acked.max(offset);
        self.counts.commits += 1;
    }
}

//! What every log must hold: all that was acknowledged, and nothing that was never appended.

use crate::ambush::Ambush;
use crate::metadata::Decision;
use crate::plan::Trouble;
use std::collections::{BTreeMap, BTreeSet};
use storage::types::{Durability, METADATA, PartitionId, TopicId};

/// One appended batch, byte for byte as it must be read.
struct Batch {
    last: i64,
    bytes: Vec<u8>,
}

/// One partition's log.
#[derive(Default)]
pub(crate) struct Log {
    batches: BTreeMap<i64, Batch>,
    /// The offset that the next record gets.
    pub(crate) end: i64,
    /// Everything below was acknowledged.
    pub(crate) acked: i64,
    /// Everything below must outlive any end, though memory may be durable enough.
    kept: i64,
    /// A log start that was acknowledged.
    start_acked: i64,
    /// The highest log start that may be found.
    start_asked: i64,
    /// Whether old segments go by themselves.
    pub(crate) retention: bool,
    /// Whether an acknowledgement means no more than memory.
    pub(crate) in_memory: bool,
}

/// A topic between its creation and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Creating,
    Alive,
    Deleting,
    Deleted,
}

/// One topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(crate) stage: Stage,
    pub(crate) partitions: i32,
    /// Offset of the decision under way.
    pub(crate) decision: i64,
}

/// Everything a client could know.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) logs: BTreeMap<PartitionId, Log>,
    pub(crate) topics: BTreeMap<TopicId, Topic>,
    /// What the disks do to this life.
    pub(crate) trouble: Option<Trouble>,
    /// Where this life ends, perhaps.
    pub(crate) ambush: Option<Ambush>,
    /// Retired segment files on their way, in all lives.
    pub(crate) moves: Moves,
    /// Mixed from everything that was checked: equal for equal histories.
    pub(crate) digest: u64,
}

/// How often segment files went into the pool of retired ones and out of it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub(crate) kept: u64,
    pub(crate) reused: u64,
    /// Kills and power cuts in the middle of either.
    pub(crate) kept_in_part: u64,
    pub(crate) reused_in_part: u64,
    /// Starts that found some of an earlier life.
    pub(crate) left_over: u64,
}

impl Log {
    /// The start that a read may rely on.
    fn start_max(&self) -> i64 {
        if self.retention {
            self.end
        } else {
            self.start_asked
        }
    }

    fn holding(&self, offset: i64) -> Option<(i64, &Batch)> {
        let (base, batch) = self.batches.range(..=offset).next_back()?;
        (batch.last >= offset).then_some((*base, batch))
    }
}

impl Model {
    fn log(&mut self, id: &PartitionId) -> &mut Log {
        self.logs
            .get_mut(id)
            .unwrap_or_else(|| panic!("{id:?} is unknown to any client"))
    }

    fn digest(&mut self, what: i64) {
        self.digest = (self.digest ^ what as u64)
            .wrapping_mul(0x100_0000_01b3)
            .rotate_left(17);
    }

    /// A batch was accepted and given `base`.
    pub(crate) fn appended(&mut self, id: &PartitionId, base: i64, last: i64, bytes: Vec<u8>) {
        let log = self.log(id);
        assert_eq!(base, log.end, "{id:?}: offsets have a gap or overlap");
        log.batches.insert(base, Batch { last, bytes });
        log.end = last + 1;
    }

    /// The store says that everything below `end` is durable.
    pub(crate) fn durable(&mut self, id: &PartitionId, end: i64) {
        self.digest(end);
        let log = self.log(id);
        assert!(
            end <= log.end,
            "{id:?}: {end} acknowledged, only {} appended",
            log.end
        );
        log.acked = log.acked.max(end);
        if !log.in_memory {
            log.kept = log.acked;
        }
        if *id == METADATA {
            for topic in self
                .topics
                .values_mut()
                .filter(|topic| topic.decision < end)
            {
                topic.stage = match topic.stage {
                    Stage::Creating => Stage::Alive,
                    Stage::Deleting => Stage::Deleted,
                    known => known,
                };
            }
        }
    }

    /// A clean stop keeps everything.
    pub(crate) fn stopped(&mut self, id: &PartitionId) {
        let end = self.log(id).end;
        self.durable(id, end);
        self.log(id).kept = end;
    }

    /// Records below `offset` are to go.
    pub(crate) fn start_asked(&mut self, id: &PartitionId, offset: i64) {
        let log = self.log(id);
        log.start_asked = log.start_asked.max(offset);
    }

    /// The store says that a log start is durable.
    pub(crate) fn start_durable(&mut self, id: &PartitionId, start: i64) {
        let log = self.log(id);
        assert!(
            start <= log.start_max(),
            "{id:?}: nobody asked for the log start {start}"
        );
        log.start_acked = log.start_acked.max(start);
        log.start_asked = log.start_asked.max(start);
    }

    /// A topic is to be created or deleted by the metadata record at `offset`.
    pub(crate) fn decided(&mut self, decision: Decision, offset: i64) {
        let (id, stage, partitions) = match decision {
            Decision::Create { topic, partitions } => (topic, Stage::Creating, partitions),
            Decision::Delete { topic } => (topic, Stage::Deleting, self.topics[&topic].partitions),
        };
        self.topics.insert(
            id,
            Topic {
                stage,
                partitions,
                decision: offset,
            },
        );
        if stage == Stage::Creating {
            let config = crate::plan::log_config(id);
            let retention = config.retention_bytes.is_some() || config.retention_ms.is_some();
            for index in 0..partitions {
                let log = Log {
                    retention,
                    in_memory: config.durability == Durability::Memory,
                    ..Log::default()
                };
                self.logs.insert(PartitionId { topic: id, index }, log);
            }
        }
    }

    /// A start found these partitions alive in the metadata log.
    pub(crate) fn found_alive(&mut self, alive: &[PartitionId]) {
        let found: BTreeSet<TopicId> = alive.iter().map(|id| id.topic).collect();
        for topic in &found {
            assert!(
                self.topics.contains_key(topic),
                "{topic:?} was never created"
            );
        }
        for (id, log) in &self.logs {
            let stage = self.topics.get(&id.topic).map(|topic| topic.stage);
            let may_go = matches!(stage, None | Some(Stage::Deleting | Stage::Deleted));
            let lost = log.acked > 0 && !may_go && !found.contains(&id.topic);
            assert!(
                !lost,
                "{id:?}: acknowledged records of a topic that never was"
            );
        }
        self.topics.retain(|id, topic| {
            match (topic.stage, found.contains(id)) {
                (Stage::Alive, false) => panic!("{id:?} was created and is not alive"),
                (Stage::Deleted, true) => panic!("{id:?} was deleted and is alive"),
                (_, true) => topic.stage = Stage::Alive,
                (_, false) => {}
            }
            found.contains(id)
        });
        self.logs
            .retain(|id, _| *id == METADATA || found.contains(&id.topic));
    }

    /// A start found this log.
    pub(crate) fn recovered(&mut self, id: &PartitionId, start: i64, end: i64) {
        self.digest(start ^ (end << 20));
        let log = self.log(id);
        assert!(
            end >= log.kept,
            "{id:?}: {} acknowledged, only {end} recovered",
            log.kept
        );
        assert!(
            end <= log.end,
            "{id:?}: {end} recovered, only {} ever appended",
            log.end
        );
        let (low, high) = (log.start_acked, log.start_max());
        assert!(
            (low..=high).contains(&start),
            "{id:?}: log start {start}, not {low}..={high}"
        );
        log.batches.retain(|base, _| *base < end);
        let last = log
            .batches
            .values()
            .next_back()
            .map_or(end, |batch| batch.last + 1);
        assert!(
            last == end || start == end,
            "{id:?}: a batch was cut at {end}"
        );
        log.end = end;
        log.acked = end;
        log.kept = end;
        log.start_acked = start;
        log.start_asked = start;
    }

    /// Bytes read from `offset` on. Returns the offset behind them.
    pub(crate) fn read(&mut self, id: &PartitionId, offset: i64, bytes: &[u8]) -> i64 {
        let log = self.log(id);
        let mut rest = bytes;
        let mut next = offset;
        while !rest.is_empty() {
            let Some((base, batch)) = log.holding(next) else {
                panic!("{id:?}: bytes at {next}, where nothing was appended");
            };
            let len = batch.bytes.len();
            assert!(rest.len() >= len, "{id:?}: the batch at {base} was cut");
            let same = rest[..len] == batch.bytes;
            assert!(same, "{id:?}: the batch at {base} is not what was appended");
            rest = &rest[len..];
            next = batch.last + 1;
        }
        self.digest(next);
        next
    }

    /// A read found that `offset` is out of range.
    pub(crate) fn out_of_range(&mut self, id: &PartitionId, offset: i64) {
        let log = self.log(id);
        let allowed = offset < log.start_max() || offset > log.end;
        assert!(
            allowed,
            "{id:?}: {offset} is out of range and should not be"
        );
    }

    /// Whether the topic is being deleted or is gone.
    pub(crate) fn is_going(&self, id: &PartitionId) -> bool {
        let stage = self.topics.get(&id.topic).map(|topic| topic.stage);
        matches!(stage, Some(Stage::Deleting | Stage::Deleted))
    }

    /// Partitions of topics in `stage`.
    pub(crate) fn partitions(&self, stage: Stage) -> Vec<PartitionId> {
        let chosen = self.topics.iter().filter(|(_, topic)| topic.stage == stage);
        let ids = |(topic, of): (&TopicId, &Topic)| {
            let topic = *topic;
            (0..of.partitions).map(move |index| PartitionId { topic, index })
        };
        chosen.flat_map(ids).collect()
    }
}

//! The commands of the metadata log, as this simulator keeps them: one record a batch.

use bytes::Bytes;
use storage::batch::{Admitted, Builder, Compression, Origin, Rules, admit, batches, records};
use storage::types::{PartitionId, TopicId};

/// One decision about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Create { topic: TopicId, partitions: i32 },
    Delete { topic: TopicId },
}

impl Decision {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (kind, topic, partitions) = match self {
            Self::Create { topic, partitions } => (b'C', topic, partitions),
            Self::Delete { topic } => (b'D', topic, 0),
        };
        let mut out = vec![kind];
        out.extend(topic.0);
        out.extend(partitions.to_be_bytes());
        out
    }

    fn decode(value: &[u8]) -> Self {
        let topic = TopicId(value[1..17].try_into().expect("sixteen bytes"));
        let partitions = i32::from_be_bytes(value[17..21].try_into().expect("four bytes"));
        match value[0] {
            b'C' => Self::Create { topic, partitions },
            b'D' => Self::Delete { topic },
            other => panic!("the metadata log holds a record of kind {other}"),
        }
    }
}

/// Every decision in `log`, whole batches one after the other.
pub(crate) fn decode(log: &[u8]) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for batch in batches(log) {
        let batch = batch.expect("the metadata log holds whole batches");
        let bytes = Bytes::copy_from_slice(batch.bytes);
        for record in records(&bytes, 1 << 20).expect("records of our own") {
            let record = record.expect("a record of our own");
            decisions.push(Decision::decode(&record.value.expect("a value")));
        }
    }
    decisions
}

/// The partitions that exist after `decisions`, in order.
pub(crate) fn alive(decisions: &[Decision]) -> Vec<PartitionId> {
    let mut topics = Vec::new();
    for decision in decisions {
        match *decision {
            Decision::Create { topic, partitions } => topics.push((topic, partitions)),
            Decision::Delete { topic } => topics.retain(|(of, _)| *of != topic),
        }
    }
    let ids = |(topic, count)| (0..count).map(move |index| PartitionId { topic, index });
    topics.into_iter().flat_map(ids).collect()
}

/// A batch of `count` records, ready to be appended.
pub(crate) fn batch(values: &[Vec<u8>], now_ms: i64) -> Admitted {
    let mut builder = Builder::new(Compression::None);
    for value in values {
        builder
            .append(now_ms, None, Some(value), &[])
            .expect("a small record");
    }
    let rules = Rules {
        now_ms,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        batch_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max: 1 << 20,
        origin: Origin::Internal,
    };
    admit(builder.build().expect("not empty"), &rules).expect("a good batch")
}

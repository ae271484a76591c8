//! From the records of the metadata log to an image, and from an image to a snapshot.

use super::image::Image;
use super::record::{Record, RecordError};
use crate::limits::METADATA_BATCH_BYTES_MAX;
use bytes::Bytes;
use std::collections::BTreeSet;
use storage::types::TopicId;

/// Reads the values of all records of the metadata log, in order.
///
/// A snapshot takes effect at its end. One that was cut off by a crash is dropped, also if other
/// records follow it: those do not carry the mark of a snapshot.
#[derive(Debug, Default)]
pub struct Replay {
    image: Image,
    snapshot: Option<Image>,
    /// Topics whose deletion was read.
    deleted: BTreeSet<TopicId>,
    bytes: u64,
}

impl Replay {
    pub fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// The record is damaged, unknown, or does not fit; the replay must not go on.
    pub fn record(&mut self, value: &[u8]) -> Result<(), RecordError> {
        self.bytes += value.len() as u64;
        let Some((record, in_snapshot)) = Record::decode(value)? else {
            return Ok(());
        };
        if !in_snapshot {
            self.snapshot = None;
            if self.says_again(&record) {
                return Ok(());
            }
            return record.apply(&mut self.image);
        }
        match (&record, &mut self.snapshot) {
            (Record::SnapshotBegin, _) => self.snapshot = Some(Image::default()),
            (Record::SnapshotEnd, Some(_)) => {
                self.image = self.snapshot.take().unwrap_or_default();
            }
            (_, Some(image)) => record.apply(image)?,
            (_, None) => {
                let what = "a snapshot goes on that did not begin".to_owned();
                return Err(RecordError::Inconsistent(what));
            }
        }
        Ok(())
    }

    /// Whether the record deletes a topic that a record before it has deleted: that contradicts
    /// nothing, so it is no reason to refuse the start. The deletion of one that never was is.
    fn says_again(&mut self, record: &Record) -> bool {
        let Record::TopicDeleted { id } = record else {
            return false;
        };
        let is_there = self.image.topic_by_id(*id).is_some();
        !self.deleted.insert(*id) && !is_there
    }

    /// Bytes of the values that were read.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn finish(self) -> Image {
        self.image
    }
}

/// The whole image as records, in groups of which each is to be one batch. Written one after the
/// other with nothing between them, they replace every record before them.
pub fn snapshot(image: &Image) -> Vec<Vec<Bytes>> {
    let mut groups = Groups::default();
    groups.put(&Record::SnapshotBegin);
    if image.is_registered() {
        groups.put(&Record::Registered {
            cluster_id: image.cluster_id.to_string(),
            node_id: image.node_id,
        });
    }
    let next = image.next_producer_id;
    groups.put(&Record::ProducerIds { next });
    for (all, configs) in [
        (true, image.broker_defaults()),
        (false, image.broker_configs()),
    ] {
        for (name, value) in configs.iter() {
            groups.put(&Record::BrokerConfigSet {
                all,
                name: name.clone(),
                value: Some(value.clone()),
            });
        }
    }
    for topic in image.topics() {
        groups.put(&Record::TopicCreated((**topic).clone()));
    }
    groups.put(&Record::SnapshotEnd);
    groups.done
}

#[derive(Default)]
struct Groups {
    done: Vec<Vec<Bytes>>,
    open_bytes: usize,
}

impl Groups {
    fn put(&mut self, record: &Record) {
        let bytes = record.encode(true);
        let len = bytes.len();
        match self.done.last_mut() {
            Some(group) if self.open_bytes + len <= METADATA_BATCH_BYTES_MAX => {
                self.open_bytes += len;
                group.push(bytes);
            }
            _ => {
                self.open_bytes = len;
                self.done.push(vec![bytes]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Topic;
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn a_snapshot_that_was_broken_off_cannot_go_on() {
        let mut replay = Replay::new();
        let next = 1000;
        for (record, in_snapshot) in [
            (Record::SnapshotBegin, true),
            (Record::ProducerIds { next }, false),
        ] {
            assert_eq!(replay.record(&record.encode(in_snapshot)), Ok(()));
        }
        let end = replay.record(&Record::SnapshotEnd.encode(true));
        assert!(matches!(end, Err(RecordError::Inconsistent(_))));
        assert_eq!(replay.finish().next_producer_id, next);
    }

    #[test]
    fn a_deletion_may_be_said_twice_but_not_of_a_topic_that_never_was() {
        let topic = |n: u8, name: &str| Topic {
            id: TopicId([n; 16]),
            name: Arc::from(name),
            partitions: Vec::new(),
            configs: BTreeMap::new(),
            created_ms: 0,
        };
        let deleted = |n: u8| Record::TopicDeleted {
            id: TopicId([n; 16]),
        };
        let mut replay = Replay::new();
        for record in [
            Record::TopicCreated(topic(1, "t")),
            deleted(1),
            deleted(1),
            Record::TopicCreated(topic(2, "t")),
            deleted(1),
        ] {
            assert_eq!(replay.record(&record.encode(false)), Ok(()));
        }
        let never = replay.record(&deleted(3).encode(false));
        assert!(matches!(never, Err(RecordError::Inconsistent(_))));
        let image = replay.finish();
        assert_eq!(image.topic("t").map(|t| t.id), Some(TopicId([2; 16])));
    }
}

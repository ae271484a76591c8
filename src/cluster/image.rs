//! The state of the cluster at one point of the metadata log: immutable, shared behind an `Arc`.
//!
//! A new image is made by cloning and changing the clone. Topics lie in buckets, so that a clone
//! copies a few hundred pointers and a change copies one bucket, however many topics there are.

use super::name;
use super::placement;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::types::{PartitionId, TopicId};

/// Names and values of overridden settings.
pub type Configs = BTreeMap<String, String>;

/// The epoch of a partition's first leader, as in Kafka.
pub const FIRST_LEADER_EPOCH: i32 = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The node that leads; -1 if none does.
    pub leader: i32,
    pub leader_epoch: i32,
    /// The preferred leader first.
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    /// By partition index, without gaps.
    pub partitions: Vec<Partition>,
    pub configs: Configs,
    /// Wall clock at creation, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

impl Topic {
    pub fn is_internal(&self) -> bool {
        name::is_internal(&self.name)
    }

    /// `None` if there is no such partition; negative indexes are never one.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Ids of all partitions, in order.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        let topic = self.id;
        let count = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        (0..count).map(move |index| PartitionId { topic, index })
    }

    /// The number of replicas of a partition; 0 for a topic without partitions (there is none).
    pub fn replication_factor(&self) -> i16 {
        let replicas = self.partitions.first().map_or(0, |p| p.replicas.len());
        i16::try_from(replicas).unwrap_or(i16::MAX)
    }
}

const BUCKETS: usize = 128;

type ById = BTreeMap<TopicId, Arc<Topic>>;
type ByName = BTreeMap<Arc<str>, Arc<Topic>>;

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// 22 characters of base64url (KIP-78); empty before the first start has been recorded.
    pub cluster_id: Arc<str>,
    /// This node; -1 before the first start has been recorded.
    pub node_id: i32,
    /// The first producer id that no block contains yet.
    pub next_producer_id: i64,
    topics: usize,
    partitions: usize,
    by_id: Vec<Arc<ById>>,
    by_name: Vec<Arc<ByName>>,
    broker_default: Arc<Configs>,
    broker: Arc<Configs>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            cluster_id: Arc::from(""),
            node_id: -1,
            next_producer_id: 0,
            topics: 0,
            partitions: 0,
            by_id: vec![Arc::default(); BUCKETS],
            by_name: vec![Arc::default(); BUCKETS],
            broker_default: Arc::default(),
            broker: Arc::default(),
        }
    }
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name[name_bucket(name)].get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id[id_bucket(id)].get(&id)
    }

    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.topic_by_id(id.topic)?.partition(id.index)
    }

    /// Every topic once, in an order that says nothing but is the same for equal images.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.iter().flat_map(|bucket| bucket.values())
    }

    pub const fn topic_count(&self) -> usize {
        self.topics
    }

    pub const fn partition_count(&self) -> usize {
        self.partitions
    }

    /// Every node of the cluster, in ascending order: today the one there is.
    pub fn nodes(&self) -> Vec<i32> {
        if self.is_registered() {
            vec![self.node_id]
        } else {
            Vec::new()
        }
    }

    /// Whether the first start has been recorded.
    pub const fn is_registered(&self) -> bool {
        self.node_id >= 0
    }

    /// The shard that owns a partition when this node runs `shards` of them. Ask the image, not
    /// the formula: an image may one day hold placements that were moved.
    pub fn owner(&self, id: PartitionId, shards: u16) -> u16 {
        placement::owner(id, shards)
    }

    /// Another topic whose name differs only in '.' and '_' (Kafka's metrics merge the two).
    pub fn colliding(&self, name: &str) -> Option<&Arc<Topic>> {
        if !name::may_collide(name) {
            return None;
        }
        let key = name::collision_key(name);
        let bucket = &self.by_name[name_bucket(name)];
        bucket
            .values()
            .find(|topic| &*topic.name != name && name::collision_key(&topic.name) == key)
    }

    /// Settings of all brokers that were set while running (DYNAMIC_DEFAULT_BROKER_CONFIG).
    pub fn broker_defaults(&self) -> &Arc<Configs> {
        &self.broker_default
    }

    /// Settings of this node that were set while running (DYNAMIC_BROKER_CONFIG).
    pub fn broker_configs(&self) -> &Arc<Configs> {
        &self.broker
    }

    /// Adds a topic, or replaces the one with its id. Internal to replay.
    pub(super) fn put_topic(&mut self, topic: Topic) {
        self.remove_topic(topic.id);
        let topic = Arc::new(topic);
        self.topics += 1;
        self.partitions += topic.partitions.len();
        let by_name = Arc::make_mut(&mut self.by_name[name_bucket(&topic.name)]);
        by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        Arc::make_mut(&mut self.by_id[id_bucket(topic.id)]).insert(topic.id, topic);
    }

    /// Removes a topic; nothing happens if there is none. Internal to replay.
    pub(super) fn remove_topic(&mut self, id: TopicId) {
        if self.topic_by_id(id).is_none() {
            return;
        }
        let removed = Arc::make_mut(&mut self.by_id[id_bucket(id)]).remove(&id);
        if let Some(topic) = removed {
            self.topics -= 1;
            self.partitions -= topic.partitions.len();
            let bucket = &mut self.by_name[name_bucket(&topic.name)];
            Arc::make_mut(bucket).remove(&topic.name);
        }
    }

    /// Sets or removes a setting of this node, or of all brokers. Internal to replay.
    pub(crate) fn put_broker_config(&mut self, all: bool, name: &str, value: Option<&str>) {
        let configs = if all {
            &mut self.broker_default
        } else {
            &mut self.broker
        };
        let configs = Arc::make_mut(configs);
        match value {
            Some(value) => configs.insert(name.to_owned(), value.to_owned()),
            None => configs.remove(name),
        };
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv(bytes: impl Iterator<Item = u8>) -> usize {
    let hash = bytes.fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    });
    usize::try_from((hash >> 32) % BUCKETS as u64).expect("less than the number of buckets")
}

/// Names that collide share a bucket: '.' counts as '_'.
fn name_bucket(name: &str) -> usize {
    fnv(name
        .bytes()
        .map(|byte| if byte == b'.' { b'_' } else { byte }))
}

fn id_bucket(id: TopicId) -> usize {
    fnv(id.0.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(n: u8, name: &str) -> Topic {
        Topic {
            id: TopicId([n; 16]),
            name: Arc::from(name),
            partitions: vec![
                Partition {
                    leader: 1,
                    leader_epoch: 0,
                    replicas: vec![1],
                    isr: vec![1],
                };
                3
            ],
            configs: Configs::new(),
            created_ms: 0,
        }
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut image = Image::default();
        image.put_topic(topic(1, "a"));
        let old = image.clone();
        image.put_topic(topic(2, "b"));
        image.remove_topic(TopicId([1; 16]));
        assert!(old.topic("a").is_some() && old.topic("b").is_none());
        assert!(image.topic("a").is_none() && image.topic("b").is_some());
        assert_eq!((old.topic_count(), old.partition_count()), (1, 3));
        assert_eq!((image.topic_count(), image.partition_count()), (1, 3));
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_collide() {
        let mut image = Image::default();
        image.put_topic(topic(1, "a.b_c"));
        assert!(image.colliding("a_b.c").is_some());
        assert!(image.colliding("a.b_c").is_none(), "not with itself");
        assert!(image.colliding("a-b_c").is_none());
    }

    #[test]
    fn partitions_out_of_range_are_none() {
        let topic = topic(1, "a");
        assert!(topic.partition(2).is_some());
        assert!(topic.partition(3).is_none());
        assert!(topic.partition(-1).is_none());
        assert_eq!(topic.ids().count(), 3);
    }
}

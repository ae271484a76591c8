//! What handlers of commands work with: the newest state, and the records that they make.

use super::error::{Error, ErrorKind};
use super::ids::Ids;
use super::image::{Image, Partition};
use super::record::Record;
use crate::config::{BrokerSettings, Layers, Static};

/// One command's work on a draft of the next image.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The newest image, with the records of this plan applied.
    pub draft: Image,
    pub records: Vec<Record>,
    pub fixed: &'a Static,
    pub ids: &'a mut Ids,
    pub wall_ms: i64,
}

impl Plan<'_> {
    /// Adds a record; the draft is the state after it.
    pub(super) fn record(&mut self, record: Record) {
        record
            .apply(&mut self.draft)
            .expect("a handler makes records that fit the draft it looked at");
        self.records.push(record);
    }

    pub(super) fn settings(&self) -> BrokerSettings {
        BrokerSettings::resolve(self.fixed, &self.draft)
    }

    pub(super) const fn layers(&self) -> Layers<'_> {
        Layers::new(self.fixed, &self.draft)
    }

    /// A partition led by the first of `replicas`, all of them in sync: there is nothing to copy.
    pub(super) fn partition(replicas: Vec<i32>) -> Partition {
        Partition {
            leader: replicas.first().copied().unwrap_or(-1),
            leader_epoch: super::image::FIRST_LEADER_EPOCH,
            isr: replicas.clone(),
            replicas,
        }
    }

    /// `count` partitions with `replication` replicas each, chosen by the controller.
    pub(super) fn place(&self, count: usize, replication: i16) -> Result<Vec<Partition>, Error> {
        let nodes = self.draft.nodes();
        let wanted = usize::try_from(replication).unwrap_or(0);
        if wanted > nodes.len() {
            let message = format!(
                "Unable to replicate the partition {replication} time(s): The target replication \
                 factor of {replication} cannot be reached because only {} broker(s) are \
                 registered.",
                nodes.len()
            );
            return Err(Error::new(ErrorKind::InvalidReplicationFactor, message));
        }
        let one = |index: usize| {
            let order = nodes.iter().cycle().skip(index % nodes.len().max(1));
            Self::partition(order.take(wanted).copied().collect())
        };
        Ok((0..count).map(one).collect())
    }

    /// Checks replicas that a person chose for one partition.
    pub(super) fn check_replicas(&self, replicas: &[i32], expected: usize) -> Result<(), Error> {
        let nodes = self.draft.nodes();
        let refuse = |message: String| {
            let message = format!("The manual partition assignment includes {message}");
            Err(Error::new(ErrorKind::InvalidReplicaAssignment, message))
        };
        if replicas.is_empty() {
            return refuse("an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        if let Some(node) = sorted.iter().find(|node| !nodes.contains(node)) {
            return refuse(format!("broker {node}, but no such broker is registered."));
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse(format!("the broker {} more than once.", pair[0]));
        }
        if replicas.len() != expected {
            return refuse(format!(
                "a partition with {} replica(s), but this is not consistent with previous \
                 partitions, which have {expected} replica(s).",
                replicas.len()
            ));
        }
        Ok(())
    }
}

/// The first position of every key that occurs more than once.
pub(super) fn duplicates<K: Ord + Clone>(keys: impl Iterator<Item = K>) -> Vec<K> {
    let mut seen = std::collections::BTreeMap::<K, usize>::new();
    for key in keys {
        *seen.entry(key).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|&(_, times)| times > 1);
    twice.map(|(key, _)| key).collect()
}

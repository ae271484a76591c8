//! From start to stop: recover the logs, replay the metadata, load the coordinators, listen; and
//! on a signal answer what is parked, close, make everything durable.
//!
//! Shard 0 leads: it owns the metadata log, waits until every shard is prepared, and stops last.

use std::collections::BTreeSet;
use std::sync::Arc;

use reactor::op::{Mono, Now};
use storage::store::RecoveryReport;
use storage::types::{AlivePartition, Durability, METADATA, PartitionId};

use crate::cluster::image::{Image, Topic};
use crate::cluster::name::CONSUMER_OFFSETS;
use crate::config::settings::BrokerSettings;
use crate::limits::DRAIN_MS_MAX;

use super::endpoints::ShardPorts;
use super::mail::Mail;
use super::settings::metadata_settings;
use super::{Level, Report, Shard};

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    New,
    Recovering,
    /// The store is ready; internal logs are being replayed.
    Loading,
    /// Waits for the other shards.
    Prepared,
    Serving,
    /// Connections end.
    Draining,
    /// Connections have ended; on shard 0: the others have not.
    Drained,
    /// The store makes everything durable.
    Stopping,
    Stopped,
    Failed,
}

/// The life of one shard.
#[derive(Debug)]
pub(super) struct Life {
    pub shard: u16,
    pub shards: u16,
    pub phase: Phase,
    /// Mails of this shard that no mailbox has taken yet.
    pub mail_waiting: usize,
    prepared: u16,
    drained: u16,
    /// Partitions of this shard, on shard 0 of all, whose leader epoch has to rise at this start.
    pub lossy: Vec<PartitionId>,
    /// The image that came before the store was ready for it.
    alive_known: bool,
    /// Shard 0 has stopped before its recovery had ended, and waits for nobody.
    leader_left: bool,
    drain_until: Option<Mono>,
}

impl Life {
    #[must_use]
    pub(super) fn new(shard: u16, shards: u16) -> Self {
        Self {
            shard,
            shards,
            phase: Phase::New,
            mail_waiting: 0,
            prepared: 0,
            drained: 0,
            lossy: Vec::new(),
            alive_known: false,
            leader_left: false,
            drain_until: None,
        }
    }

    #[must_use]
    pub(super) fn wake_at(&self) -> Option<Mono> {
        self.drain_until
    }
}

impl Shard {
    /// Tells the store which partitions live: from the metadata as it was at the last stop.
    pub(super) fn declare_alive(&mut self, now: Now) {
        if self.life.alive_known {
            return;
        }
        self.life.alive_known = true;
        let config = metadata_settings().log.clone();
        let mut alive = vec![AlivePartition {
            id: METADATA,
            owner: 0,
            config,
        }];
        for topic in self.image.topics() {
            let settings = self.settings.topic_settings(&self.image, topic);
            alive.extend(topic.ids().map(|id| AlivePartition {
                id,
                owner: self.image.owner(id, self.life.shards),
                config: settings.log.clone(),
            }));
        }
        self.store.set_alive(&alive, now, &mut self.fx.store);
    }

    pub(super) fn on_store_ready(&mut self, report: &RecoveryReport, now: Now) {
        if self.life.phase != Phase::Recovering {
            // It was told to stop in the very step in which recovery has ended.
            return;
        }
        self.report(Report::Recovered(recovered(report)));
        self.life.phase = Phase::Loading;
        self.life.lossy = self.lossy(report);
        self.apply_image(now);
        let version = self.image_version;
        self.post(0, Mail::ImageApplied { version });
        self.check_prepared();
    }

    /// Partitions of this shard that may have lost acknowledged records: those that kept them in
    /// memory, after anything but a clean stop. With a higher epoch consumers notice it (KIP-320).
    fn lossy(&self, report: &RecoveryReport) -> Vec<PartitionId> {
        let told = report.partitions.iter().filter(|part| part.may_have_lost);
        let mut lossy: BTreeSet<PartitionId> = told.map(|part| part.id).collect();
        // Recovery cannot tell of partitions of which nothing is left.
        for topic in self.image.topics().filter(|_| report.unclean) {
            let settings = self.settings.topic_settings(&self.image, topic);
            if settings.log.durability == Durability::Memory {
                let own =
                    |id: &PartitionId| self.image.owner(*id, self.life.shards) == self.number();
                lossy.extend(topic.ids().filter(own));
            }
        }
        lossy.into_iter().collect()
    }

    /// A newer image: before the store is ready it only says which partitions live.
    pub(super) fn on_image(&mut self, version: u64, image: Arc<Image>, now: Now) {
        self.image = image;
        self.image_version = version;
        if self.life.phase <= Phase::Recovering {
            self.declare_alive(now);
            return;
        }
        self.apply_image(now);
        self.post(0, Mail::ImageApplied { version });
    }

    /// Opens, closes and configures this shard's partitions to match the image.
    pub(super) fn apply_image(&mut self, now: Now) {
        let image = Arc::clone(&self.image);
        let before = std::mem::replace(&mut self.applied, Arc::clone(&image));
        let mut gone = Vec::new();
        for topic in before.topics() {
            if image.topic_by_id(topic.id).is_none() {
                topic.ids().for_each(|id| self.drop_partition(id, now));
                gone.push(Arc::clone(&topic.name));
            }
        }
        if !gone.is_empty() {
            self.forget_topics(&gone, now);
        }
        let settings_moved = before.broker_defaults() != image.broker_defaults()
            || before.broker_configs() != image.broker_configs();
        if settings_moved {
            self.broker = BrokerSettings::resolve(&self.settings.fixed, &image);
        }
        for topic in image.topics() {
            let known = before.topic_by_id(topic.id);
            if settings_moved || known.is_none_or(|known| !Arc::ptr_eq(known, topic)) {
                self.open_topic(topic, now);
            }
        }
    }

    fn drop_partition(&mut self, id: PartitionId, now: Now) {
        if self.partitions.slot(&id).is_some() {
            self.partitions
                .close(&id, now, &mut self.store, &mut self.fx);
            self.store.delete(&id, now, &mut self.fx.store);
            self.coordinators.forget(&id, now);
        }
    }

    fn open_topic(&mut self, topic: &Arc<Topic>, now: Now) {
        let settings = self.settings.topic_settings(&self.image, topic);
        for (id, partition) in topic.ids().zip(&topic.partitions) {
            if self.image.owner(id, self.life.shards) != self.number() {
                continue;
            }
            let config = settings.log.clone();
            let slot = match self.store.slot(&id) {
                Some(slot) => {
                    self.store.configure(slot, config);
                    slot
                }
                None => self.store.create(id, config, now),
            };
            let epoch = partition.leader_epoch;
            self.partitions
                .open(id, slot, epoch, Arc::clone(&settings), &self.store);
            if &*topic.name == CONSUMER_OFFSETS {
                self.load_group_partition(id, slot, now);
            }
        }
    }

    /// All internal logs of this shard are loaded: tell shard 0, once.
    pub(super) fn check_prepared(&mut self) {
        if self.life.phase == Phase::Loading && !self.coordinators.is_loading() {
            self.life.phase = Phase::Prepared;
            let lossy = std::mem::take(&mut self.life.lossy);
            self.post(0, Mail::Prepared { lossy });
        }
    }

    /// On shard 0: one more shard is prepared.
    pub(super) fn on_prepared(&mut self, lossy: Vec<PartitionId>, now: Now) {
        self.life.lossy.extend(lossy);
        self.life.prepared += 1;
        if self.life.prepared == self.life.shards {
            self.register_cluster(now);
        }
    }

    /// On shard 0: cluster and node have their names; every shard may listen.
    pub(super) fn everyone_serve(&mut self) {
        let ports = self.settings.shard_ports.as_ref();
        if let Some(why) = ports.and_then(|_| ShardPorts::refuses(self.image.node_id)) {
            // The directory may belong to a node of another number than the settings say.
            self.fail(why);
            return;
        }
        for shard in 0..self.life.shards {
            self.post(shard, Mail::Serve);
        }
    }

    pub(super) fn serve(&mut self) {
        if self.life.phase == Phase::Prepared {
            self.life.phase = Phase::Serving;
            for addr in self.settings.listen_of(self.life.shard) {
                self.connections.listen(addr, &mut self.ops);
            }
        }
    }

    /// The first step of a stop: parked requests get their answers, connections end.
    pub(super) fn drain(&mut self, now: Now) {
        match self.life.phase {
            Phase::Serving | Phase::Prepared | Phase::Loading => {}
            Phase::New | Phase::Recovering => {
                // Nothing was changed that a kill would not leave behind as well.
                self.line(Level::Info, "stopped before recovery had ended".to_owned());
                self.leave_early();
                self.on_store_stopped();
                return;
            }
            _ => return,
        }
        self.life.phase = Phase::Draining;
        self.life.drain_until = Some(now.mono.after_ms(DRAIN_MS_MAX));
        self.partitions.drain(now, &mut self.store, &mut self.fx);
        self.drain_coordinators(now);
        self.connections.drain(&mut self.ops);
        self.on_connection_closed(now);
    }

    /// The others must not wait for this shard: nobody serves yet, so nobody has connections.
    fn leave_early(&mut self) {
        if self.number() == 0 {
            for shard in 1..self.life.shards {
                self.post(shard, Mail::Drained);
            }
        } else {
            self.post(0, Mail::Drained);
        }
    }

    pub(super) fn on_connection_closed(&mut self, now: Now) {
        if self.life.phase == Phase::Draining && self.connections.is_empty() {
            self.life.phase = Phase::Drained;
            self.life.drain_until = None;
            if self.number() == 0 || self.life.leader_left {
                self.on_drained(now);
            } else {
                self.post(0, Mail::Drained);
            }
        }
    }

    /// On shard 0: one more shard has ended its connections. On others: the order to stop.
    pub(super) fn on_drained(&mut self, now: Now) {
        if self.number() != 0 {
            // Before its recovery has ended a shard stops by itself, as soon as it is told to.
            match self.life.phase {
                Phase::New | Phase::Recovering => self.life.leader_left = true,
                phase if phase <= Phase::Drained => self.stop_store(now),
                _ => {}
            }
            return;
        }
        self.life.drained += 1;
        if self.life.drained == self.life.shards {
            for shard in 1..self.life.shards {
                self.post(shard, Mail::Drained);
            }
            self.stop_store(now);
        }
    }

    fn stop_store(&mut self, now: Now) {
        self.life.phase = Phase::Stopping;
        self.store.stop(now, &mut self.fx.store);
    }

    pub(super) fn on_store_stopped(&mut self) {
        self.life.phase = Phase::Stopped;
        if self.settings.shard_ports.is_some() {
            self.line(Level::Info, self.tally.to_string());
        }
        self.report(Report::Stopped);
    }

    /// A peer that takes no reply does not hold up a stop for ever.
    pub(super) fn tick_life(&mut self, now: Now) {
        if self.life.drain_until.is_some_and(|at| at <= now.mono) {
            self.life.drain_until = None;
            self.connections.close_all(&mut self.ops);
        }
    }
}

/// What recovery found, in words.
fn recovered(report: &RecoveryReport) -> String {
    let with_data = report.partitions.iter();
    let with_data = with_data.filter(|partition| partition.id != METADATA);
    let found = match with_data.count() {
        0 => "no partition holds data".to_owned(),
        1 => "1 partition holds data".to_owned(),
        count => format!("{count} partitions hold data"),
    };
    let how = match (report.start_number, report.unclean) {
        (1, _) => return "begun in a new data directory".to_owned(),
        (_, true) => "after an unclean stop",
        (_, false) => "after a clean stop",
    };
    let fenced = report
        .partitions
        .iter()
        .filter(|partition| partition.fenced)
        .count();
    let mut line = format!("recovered, start {} {how}: {found}", report.start_number);
    if fenced > 0 {
        line.push_str(&format!(", {fenced} of them damaged and fenced"));
    }
    line
}

//! Questions about one partition: offsets by time, epochs, producers, sizes; DeleteRecords.

use std::path::Path;

use reactor::op::Now;
use storage::store::{Finding, Found as TimeFound, ReadError, Store, TimeQuery};
use storage::types::{PartitionId, Ticket};

use crate::shard::mail::{Answer, PartitionAsk, ReplyTo};

use super::answers::{ActiveProducer, Found, LogDirPart, LogDirs, TimeAnswer, Trouble};
use super::fetch::read_trouble;
use super::{Fx, Partitions};

/// ListOffsets markers (`ListOffsetsRequest`, KIP-79, 734, 405, 1005, 1023).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A question that waits for the disk.
#[derive(Debug)]
pub(super) struct ParkedQuery {
    reply_to: ReplyTo,
}

impl Partitions {
    /// Answers at once, or when the disk has.
    pub fn ask(
        &mut self,
        reply_to: ReplyTo,
        id: &PartitionId,
        ask: &PartitionAsk,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let answer = match ask {
            PartitionAsk::Time {
                timestamp,
                leader_epoch,
                committed_only: _,
            } => match self.find(reply_to, id, (*timestamp, *leader_epoch), now, store, fx) {
                Some(answer) => Answer::Time(answer),
                None => return,
            },
            PartitionAsk::EpochEnd {
                leader_epoch,
                epoch,
            } => Answer::EpochEnd(self.epoch_end(id, *leader_epoch, *epoch, store)),
            PartitionAsk::DeleteRecords { before } => {
                match self.delete_records(reply_to, id, *before, now, store) {
                    Some(answer) => Answer::Truncated(answer),
                    None => return,
                }
            }
            PartitionAsk::Producers => Answer::Producers(self.active_producers(id, store)),
        };
        fx.answers.push((reply_to, answer));
    }

    fn find(
        &mut self,
        reply_to: ReplyTo,
        id: &PartitionId,
        (timestamp, leader_epoch): (i64, i32),
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) -> Option<TimeAnswer> {
        let ticket = Ticket(self.number());
        let Some(partition) = self.by_id.get(id) else {
            return Some(Err(Trouble::UnknownPartition));
        };
        if let Err(trouble) = partition.check_epoch(leader_epoch) {
            return Some(Err(trouble));
        }
        let (slot, upto) = (partition.slot, partition.high_watermark);
        let at = |offset: i64, epoch: i32| Found {
            offset,
            timestamp: -1,
            leader_epoch: epoch,
        };
        let query = match timestamp {
            LATEST => return Some(Ok(at(upto, partition.leader_epoch))),
            EARLIEST | EARLIEST_LOCAL => {
                let start = store.info(slot).log_start;
                return Some(Ok(at(start, partition.epoch_at_start(store))));
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Some(Ok(at(-1, -1))),
            LARGEST_TIMESTAMP => TimeQuery::Max,
            0.. => TimeQuery::AtOrAfter(timestamp),
            _ => return Some(Err(Trouble::InvalidRequest)),
        };
        match store.find_time(slot, query, upto, ticket, now, &mut fx.store) {
            Ok(Finding::Ready(found)) => Some(Ok(found_or_none(found))),
            Ok(Finding::Pending) => {
                self.queries.insert(ticket, ParkedQuery { reply_to });
                None
            }
            Err(error) => Some(Err(read_trouble(&error))),
        }
    }

    /// A search by time has ended. False if the ticket is not known here.
    pub fn on_found(
        &mut self,
        ticket: Ticket,
        result: Result<Option<TimeFound>, ReadError>,
        fx: &mut Fx,
    ) -> bool {
        let Some(parked) = self.queries.remove(&ticket) else {
            return false;
        };
        let answer = result
            .map(found_or_none)
            .map_err(|error| read_trouble(&error));
        fx.answers.push((parked.reply_to, Answer::Time(answer)));
        true
    }

    fn epoch_end(
        &self,
        id: &PartitionId,
        leader_epoch: i32,
        epoch: i32,
        store: &Store,
    ) -> Result<(i32, i64), Trouble> {
        let partition = self.by_id.get(id).ok_or(Trouble::UnknownPartition)?;
        partition.check_epoch(leader_epoch)?;
        Ok(partition.epoch_end(epoch, store))
    }

    fn delete_records(
        &mut self,
        reply_to: ReplyTo,
        id: &PartitionId,
        before: i64,
        now: Now,
        store: &mut Store,
    ) -> Option<Result<i64, Trouble>> {
        let Some(partition) = self.by_id.get_mut(id) else {
            return Some(Err(Trouble::UnknownPartition));
        };
        let before = if before == -1 {
            partition.high_watermark
        } else {
            before
        };
        if before < 0 || before > partition.high_watermark {
            return Some(Err(Trouble::OffsetOutOfRange));
        }
        // A start that has risen already may still come back after a power cut: whoever asks for
        // it again waits like the one before.
        let durable = store.info(partition.slot).log_start_durable;
        if before <= durable {
            return Some(Ok(durable));
        }
        match store.delete_records(partition.slot, before, now) {
            Ok(_) => {
                partition.truncations.push((before, reply_to));
                None
            }
            Err(_) => Some(Err(Trouble::Storage)),
        }
    }

    fn active_producers(
        &self,
        id: &PartitionId,
        store: &Store,
    ) -> Result<Vec<ActiveProducer>, Trouble> {
        let partition = self.by_id.get(id).ok_or(Trouble::UnknownPartition)?;
        let view = store
            .producers(partition.slot)
            .into_iter()
            .map(|producer| ActiveProducer {
                producer_id: producer.producer_id,
                producer_epoch: producer.epoch,
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
            });
        Ok(view.collect())
    }

    /// Where each partition lies and how large it is, and which directories have failed.
    #[must_use]
    pub fn log_dirs(&self, store: &Store) -> LogDirs {
        let text = |dir: &Path| dir.to_string_lossy().into_owned();
        let part = |(id, partition): (&PartitionId, &super::Partition)| {
            let info = store.info(partition.slot);
            LogDirPart {
                id: *id,
                dir: text(&info.dir),
                size_bytes: info.size_bytes,
            }
        };
        LogDirs {
            parts: self.by_id.iter().map(part).collect(),
            broken: store.broken_dirs().map(text).collect(),
        }
    }
}

fn found_or_none(found: Option<TimeFound>) -> Found {
    found.map_or(
        Found {
            offset: -1,
            timestamp: -1,
            leader_epoch: -1,
        },
        |found| Found {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch: found.leader_epoch,
        },
    )
}

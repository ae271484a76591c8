//! Appends, and the answers that wait until they are durable.

use reactor::op::{Mono, Now};
use storage::batch::{self, Admitted, Origin, Reject, Rejection};
use storage::store::{AppendError, Appended, Store};

use crate::limits::STEP_INFLATED_BYTES_MAX;
use crate::shard::mail::{Answer, ReplyTo};

use super::answers::{Produced, ProducedPart, Refusal, Trouble};
use super::calls::{ProduceCall, ProducePart};
use super::{Fx, Parked, Partitions, RETRY_MS};

/// A produce call some of whose parts are not durable yet.
#[derive(Debug)]
pub(super) struct ParkedProduce {
    reply_to: ReplyTo,
    deadline: Mono,
    until_durable: bool,
    pub(super) internal: bool,
    zstd_allowed: bool,
    waiting: usize,
    results: Vec<ProducedPart>,
    /// Parts that are appended and wait, with what to answer: request index and result.
    appended: Vec<(u32, Produced)>,
}

/// A part for which the arena had no room, or which came when this step had inflated enough.
#[derive(Debug)]
pub(super) struct StalledPart {
    produce: u64,
    part: ProducePart,
    /// It was found good, and there was no memory for it.
    checked: bool,
}

impl Partitions {
    /// Checks and appends the parts; the answer leaves when all are durable, refused or late.
    pub fn produce(
        &mut self,
        reply_to: ReplyTo,
        call: ProduceCall,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let id = self.number();
        let parked = ParkedProduce {
            reply_to,
            deadline: call.deadline,
            until_durable: call.until_durable,
            internal: call.internal,
            zstd_allowed: call.zstd_allowed,
            waiting: call.parts.len(),
            results: Vec::with_capacity(call.parts.len()),
            appended: Vec::new(),
        };
        self.produces.insert(id, parked);
        self.deadlines
            .insert((call.deadline, Parked::Produce(id)), ());
        for part in call.parts {
            if self.stalled.is_empty() && !self.has_inflated_enough() {
                self.append_part(id, part, now, store);
            } else {
                self.stall(id, part, None);
            }
        }
        self.answer_if_done(id, fx);
    }

    /// Parts that had to wait, in order, until one of them has to wait again.
    pub(super) fn retry_stalled(&mut self, now: Now, store: &mut Store, fx: &mut Fx) {
        for _ in 0..self.stalled.len() {
            if self.has_inflated_enough() {
                break;
            }
            if self.waits_for_memory(store) {
                // Not checked anew each time it is tried.
                self.retry_at = Some(now.mono.after_ms(RETRY_MS));
                break;
            }
            let Some(StalledPart { produce, part, .. }) = self.stalled.pop_front() else {
                break;
            };
            let before = self.stalled.len();
            self.retry_at = None;
            // A request that has timed out is answered; its parts are not appended behind its back.
            if self.produces.contains_key(&produce) {
                self.append_part(produce, part, now, store);
                self.answer_if_done(produce, fx);
            }
            if self.stalled.len() > before {
                self.stalled.rotate_right(1);
                break;
            }
        }
    }

    /// Whether the first part that waits is good, and would only be told to wait again.
    fn waits_for_memory(&self, store: &mut Store) -> bool {
        let first = self.stalled.front().filter(|first| first.checked);
        let Some(StalledPart { produce, part, .. }) = first else {
            return false;
        };
        let partition = self.by_id.get(&part.id);
        let partition = partition.filter(|_| self.produces.contains_key(produce));
        partition.is_some_and(|to| store.must_wait(to.slot, part.records.len()))
    }

    /// Lets a part wait: for memory until `again`, or for the next step.
    fn stall(&mut self, produce: u64, part: ProducePart, again: Option<Mono>) {
        let checked = again.is_some();
        if self.stalled.is_empty() || checked {
            self.retry_at = again;
        }
        self.stalled.push_back(StalledPart {
            produce,
            part,
            checked,
        });
    }

    /// Whether inflating more now would keep everybody else of this shard waiting for too long.
    fn has_inflated_enough(&self) -> bool {
        self.inflated >= STEP_INFLATED_BYTES_MAX
    }

    fn append_part(&mut self, produce: u64, part: ProducePart, now: Now, store: &mut Store) {
        let Some(parked) = self.produces.get_mut(&produce) else {
            return;
        };
        let index = part.index;
        let Some(partition) = self.by_id.get_mut(&part.id) else {
            parked.refuse(index, Refusal::plain(Trouble::UnknownPartition));
            return;
        };
        let settings = &partition.settings;
        let origin = if parked.internal {
            Origin::Internal
        } else {
            Origin::Client
        };
        let rules = settings.rules(now.wall_ms, origin, parked.zstd_allowed);
        let log_start = store.info(partition.slot).log_start;
        let records = part.records.clone();
        let admitted: Admitted = match batch::admit_counting(records, &rules, &mut self.inflated) {
            Ok(admitted) => admitted,
            Err(rejection) => {
                parked.refuse(index, refusal(rejection, log_start));
                return;
            }
        };
        match store.append(partition.slot, &admitted, partition.leader_epoch, now) {
            Ok(appended) => {
                let produced = produced(&appended, log_start);
                let needed = appended.last_offset + 1;
                if !parked.until_durable || needed <= partition.high_watermark {
                    parked.settle(ProducedPart {
                        index,
                        result: Ok(produced),
                    });
                    return;
                }
                parked.appended.push((index, produced));
                let at = partition
                    .produces
                    .partition_point(|(offset, ..)| *offset <= needed);
                partition.produces.insert(at, (needed, produce, index));
            }
            Err(AppendError::Busy) => {
                let again = now.mono.after_ms(RETRY_MS);
                self.stall(produce, part, Some(again));
            }
            Err(error) => parked.refuse(index, append_refusal(&error, log_start)),
        }
    }

    /// One part of a parked produce has become durable.
    pub(super) fn part_is_durable(&mut self, produce: u64, index: u32, fx: &mut Fx) {
        let Some(parked) = self.produces.get_mut(&produce) else {
            return;
        };
        if let Some(at) = parked.appended.iter().position(|(part, _)| *part == index) {
            let (_, produced) = parked.appended.swap_remove(at);
            parked.settle(ProducedPart {
                index,
                result: Ok(produced),
            });
            self.answer_if_done(produce, fx);
        }
    }

    pub(super) fn refuse_part(&mut self, produce: u64, index: u32, why: Trouble, fx: &mut Fx) {
        let Some(parked) = self.produces.get_mut(&produce) else {
            return;
        };
        parked.appended.retain(|(part, _)| *part != index);
        parked.refuse(index, Refusal::plain(why));
        self.answer_if_done(produce, fx);
    }

    /// The records may still become durable later, as with Kafka: the client is told it is unsure.
    pub(super) fn time_out_produce(&mut self, produce: u64, fx: &mut Fx) {
        let Some(parked) = self.produces.get_mut(&produce) else {
            return;
        };
        let late: Vec<u32> = parked.appended.drain(..).map(|(index, _)| index).collect();
        for index in late {
            parked.refuse(index, Refusal::plain(Trouble::TimedOut));
        }
        let stalled = self
            .stalled
            .iter()
            .filter(|stalled| stalled.produce == produce);
        let stalled: Vec<u32> = stalled.map(|stalled| stalled.part.index).collect();
        for index in stalled {
            parked.refuse(index, Refusal::plain(Trouble::TimedOut));
        }
        self.stalled.retain(|stalled| stalled.produce != produce);
        self.answer_if_done(produce, fx);
    }

    fn answer_if_done(&mut self, produce: u64, fx: &mut Fx) {
        if self
            .produces
            .get(&produce)
            .is_some_and(|parked| parked.waiting == 0)
            && let Some(parked) = self.produces.remove(&produce)
        {
            self.deadlines
                .remove(&(parked.deadline, Parked::Produce(produce)));
            fx.answers
                .push((parked.reply_to, Answer::Produced(parked.results)));
        }
    }
}

impl ParkedProduce {
    fn settle(&mut self, part: ProducedPart) {
        self.results.push(part);
        self.waiting -= 1;
    }

    fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.settle(ProducedPart {
            index,
            result: Err(refusal),
        });
    }
}

fn produced(appended: &Appended, log_start: i64) -> Produced {
    Produced {
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start,
    }
}

fn refusal(rejection: Rejection, log_start: i64) -> Refusal {
    let trouble = match rejection.why {
        Reject::Corrupt => Trouble::CorruptMessage,
        Reject::InvalidRecord => Trouble::InvalidRecord,
        Reject::MessageTooLarge => Trouble::MessageTooLarge,
        Reject::RecordListTooLarge => Trouble::RecordListTooLarge,
        Reject::InvalidTimestamp => Trouble::InvalidTimestamp,
        Reject::UnsupportedCompression => Trouble::UnsupportedCompression,
        Reject::InvalidTxn => Trouble::InvalidTxnState,
        Reject::Undecodable => Trouble::Unknown,
    };
    Refusal {
        trouble,
        record_errors: rejection.record_errors,
        message: Some(rejection.message),
        log_start: if rejection.before_log { -1 } else { log_start },
    }
}

fn append_refusal(error: &AppendError, log_start: i64) -> Refusal {
    let trouble = match error {
        AppendError::OutOfOrderSequence => Trouble::OutOfOrderSequence,
        AppendError::InvalidProducerEpoch => Trouble::InvalidProducerEpoch,
        AppendError::NoSpace | AppendError::Fenced | AppendError::Busy => Trouble::Storage,
    };
    Refusal {
        log_start: if trouble == Trouble::Storage {
            -1
        } else {
            log_start
        },
        ..Refusal::plain(trouble)
    }
}

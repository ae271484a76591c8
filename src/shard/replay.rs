//! Reads one internal log from its start to its end and hands its records on, in order.

use bytes::Bytes;
use reactor::op::Now;
use storage::batch;
use storage::store::{Fx as StoreFx, ReadError, ReadRequest, Reading, Store};
use storage::types::{Slot, Ticket};

use crate::limits::{INFLATED_BATCH_BYTES_MAX, REPLAY_READ_BYTES_MAX};

/// Tickets of replays have this bit, so that they never meet those of fetches.
pub(super) const REPLAY_TICKET: u64 = 1 << 63;

/// A record of an internal log.
#[derive(Clone, Debug)]
pub(super) struct LogRecord {
    pub offset: i64,

    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// One log that is being read from its start to where it ended when the replay began.
#[derive(Debug)]
pub(super) struct Replay {
    slot: Slot,
    ticket: Ticket,
    next: i64,
    end: i64,
}

/// What a step of a replay yields.
#[derive(Debug)]
pub(super) enum Replayed {
    /// Waits for the disk.
    Pending(Vec<LogRecord>),
    /// The end is reached: these are the last records.
    Complete(Vec<LogRecord>),
    /// The log cannot be read; why, in words.
    Failed(String),
}

impl Replay {
    /// A replay of `slot`, whose reads carry a ticket made from `number`.
    #[must_use]
    pub(super) fn new(slot: Slot, number: u64, store: &Store) -> Self {
        let info = store.info(slot);
        let ticket = Ticket(REPLAY_TICKET | number);
        Self {
            slot,
            ticket,
            next: info.log_start,
            end: info.durable_end,
        }
    }

    #[must_use]
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Reads on until the disk has to be waited for or the end is reached.
    pub(super) fn run(&mut self, now: Now, store: &mut Store, fx: &mut StoreFx) -> Replayed {
        let mut records = Vec::new();
        while self.next < self.end {
            let request = ReadRequest {
                offset: self.next,
                bytes_max: REPLAY_READ_BYTES_MAX,
                first_batch_whole: true,
                upto: self.end,
            };
            match store.read(self.slot, &request, self.ticket, now, fx) {
                Ok(Reading::Pending) => return Replayed::Pending(records),
                Ok(Reading::Ready(data)) => {
                    if let Err(why) = self.take(data, &mut records) {
                        return Replayed::Failed(why);
                    }
                }
                Err(error) => return Replayed::Failed(format!("{error:?}")),
            }
        }
        Replayed::Complete(records)
    }

    /// The disk has answered; the records are appended to `records`.
    pub(super) fn on_read(
        &mut self,
        result: Result<Vec<Bytes>, ReadError>,
        records: &mut Vec<LogRecord>,
    ) -> Result<(), String> {
        match result {
            Ok(data) => self.take(data, records),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    fn take(&mut self, data: Vec<Bytes>, records: &mut Vec<LogRecord>) -> Result<(), String> {
        let before = self.next;
        let data = match <[Bytes; 1]>::try_from(data) {
            Ok([whole]) => whole,
            Err(parts) => Bytes::from(parts.concat()),
        };
        let mut at = 0;
        for parsed in batch::batches(&data) {
            let parsed = parsed.map_err(|error| format!("at offset {}: {error:?}", self.next))?;
            let bytes = data.slice(at..at + parsed.bytes.len());
            at += parsed.bytes.len();
            let base = parsed.summary().base_offset;
            let inside = batch::records(&bytes, INFLATED_BATCH_BYTES_MAX)
                .map_err(|error| format!("batch at offset {base}: {error:?}"))?;
            for record in inside {
                let record = record.map_err(|error| format!("batch at {base}: {error:?}"))?;
                let offset = base + i64::from(record.offset_delta);
                if offset >= self.next {
                    records.push(LogRecord {
                        offset,
                        key: record.key,
                        value: record.value,
                    });
                }
            }
            self.next = parsed.summary().last_offset() + 1;
        }
        if self.next == before {
            return Err(format!("nothing readable at offset {before}"));
        }
        Ok(())
    }
}

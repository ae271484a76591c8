//! Keeps a partition's log bounded while it is not compacted.
//!
//! When the log has grown to several times its live state, the live state is written again, in
//! parts, behind everything else; once the last part is durable, everything before the first one
//! can be deleted. A record that is under way at that moment is copied as if it were durable; if
//! its write fails, a correction is written behind the copy.

use super::effects::{After, Cx, Record, Writes, record_bytes};
use super::partition::Partition;

/// A log smaller than this is left alone.
const LOG_BYTES_MIN: u64 = 4 << 20;
/// The log may grow to this many times its live state.
const LOG_TO_LIVE_MAX: u64 = 4;
/// Keys and values of one part of the state, so that a part is well below `max.message.bytes`.
const PART_BYTES_MAX: u64 = 256 << 10;

/// The rewriting of one partition.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    /// The log is worth a look when it has grown to this.
    look_at_bytes: u64,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    first: u64,
    /// Where the first part begins in the log.
    begins: Option<i64>,
    live_bytes: u64,
    /// The length of the log when the last part was written.
    log_bytes: u64,
}

impl Rewrite {
    /// Begins if that is worth it.
    pub(super) fn consider(&mut self, partition: &Partition, cx: &mut Cx<'_>) {
        let log_bytes = cx.writes.log_bytes;
        let is_due = log_bytes >= self.look_at_bytes.max(LOG_BYTES_MIN);
        if !is_due || self.running.is_some() || partition.unreadable > 0 {
            return;
        }
        let records = partition.live_records();
        let live_bytes: u64 = records.iter().map(record_bytes).sum();
        let worth_bytes = live_bytes * LOG_TO_LIVE_MAX + LOG_BYTES_MIN;
        if log_bytes < worth_bytes {
            self.look_at_bytes = worth_bytes;
            return;
        }
        let first = cx.next_write();
        let mut part = Vec::new();
        let mut part_bytes = 0;
        for record in records {
            let bytes = record_bytes(&record);
            if part_bytes + bytes > PART_BYTES_MAX && !part.is_empty() {
                cx.write(std::mem::take(&mut part), After::Rewrite { last: false });
                part_bytes = 0;
            }
            part_bytes += bytes;
            part.push(record);
        }
        if part.is_empty() {
            // Nothing is alive; but a trim needs a durable record that it leads up to.
            self.look_at_bytes = log_bytes + LOG_BYTES_MIN;
            return;
        }
        cx.write(part, After::Rewrite { last: true });
        let log_bytes = cx.writes.log_bytes;
        self.running = Some(Running {
            first,
            begins: None,
            live_bytes,
            log_bytes,
        });
    }

    /// A part is durable; after the last one, where the log may now begin.
    pub(super) fn committed(
        &mut self,
        writes: &mut Writes,
        id: u64,
        base_offset: i64,
        last: bool,
    ) -> Option<i64> {
        let running = self.running.as_mut()?;
        if running.first == id {
            running.begins = Some(base_offset);
        }
        if !last {
            return None;
        }
        let done = self.running.take()?;
        let since = writes.log_bytes.saturating_sub(done.log_bytes);
        writes.log_bytes = done.live_bytes + since;
        self.look_at_bytes = done.live_bytes * LOG_TO_LIVE_MAX + LOG_BYTES_MIN;
        done.begins
    }

    /// A part could not be written: all is as before, and tried again when the log has grown.
    pub(super) fn failed(&mut self, writes: &Writes) {
        self.running = None;
        self.look_at_bytes = writes.log_bytes + LOG_BYTES_MIN;
    }

    /// A write that began before the copy has failed: the copy must be corrected.
    pub(super) fn must_correct(&self, failed: u64) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| failed < running.first)
    }
}

/// Writes what the copy got wrong.
pub(super) fn correct(cx: &mut Cx<'_>, records: Vec<Record>) {
    cx.write(records, After::Correction);
}

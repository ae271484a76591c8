//! A line on the terminal that says how far a long command is.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// Often enough to look alive, seldom enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(200);

/// Draws only when a person watches and the records themselves do not go to the same terminal.
pub(super) struct Progress {
    is_shown: bool,
    is_drawn: bool,
    started: Instant,
    drawn: Instant,
}

impl Progress {
    pub(super) fn new(output_is_records: bool) -> Self {
        let in_the_way = output_is_records && stdout().is_terminal();
        Self {
            is_shown: stderr().is_terminal() && !in_the_way,
            is_drawn: false,
            started: Instant::now(),
            drawn: Instant::now(),
        }
    }

    /// `records` and `bytes` so far; of `total` records, if that is known.
    pub(super) fn at(&mut self, records: u64, bytes: u64, total: Option<u64>) {
        if self.is_shown && self.drawn.elapsed() >= REDRAW {
            self.drawn = Instant::now();
            self.is_drawn = true;
            let text = text(records, bytes, total, self.started.elapsed());
            // The line is an extra: if the terminal is gone, the command goes on.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        }
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(records: u64, bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = records as f64 / seconds;
    let mib = bytes as f64 / f64::from(1 << 20);
    let mut text = format!("{records} records, {mib:.1} MiB, {rate:.0} records/s");
    if let Some(total) = total.filter(|total| *total > 0) {
        const WIDTH: u64 = 24;
        let done = (records.min(total) * WIDTH / total) as usize;
        let bar = "#".repeat(done) + &".".repeat(WIDTH as usize - done);
        let left = (total.saturating_sub(records)) as f64 / rate.max(1.0);
        text = format!("[{bar}] {text}, {left:.0} s left");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_where_the_end_is_known() {
        let drawn = text(50, 1 << 20, Some(100), Duration::from_secs(5));
        assert_eq!(
            drawn,
            "[############............] 50 records, 1.0 MiB, 10 records/s, 5 s left"
        );
        assert!(!text(50, 0, None, Duration::ZERO).contains('['));
    }
}

//! Figures of a run.

use std::time::Duration;

use crate::verify::Checked;
use crate::world::Counts;

/// The smallest, the middle one and the largest.
pub(crate) fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |index: usize| sorted[index].as_secs_f64() * 1000.0;
    match sorted.len() {
        0 => "none".to_owned(),
        n => format!(
            "min {:.0}, median {:.0}, max {:.0} ms",
            at(0),
            at(n / 2),
            at(n - 1)
        ),
    }
}

pub(crate) fn load(counts: &Counts) -> String {
    format!(
        "{} records ({} MB) and {} commits acknowledged; topics: {} created, {} deleted, \
         {} altered; {} times records deleted",
        counts.acked,
        counts.acked_bytes / 1_000_000,
        counts.commits,
        counts.created,
        counts.deleted,
        counts.altered,
        counts.emptied
    )
}

pub(crate) fn checked(checked: &Checked) -> String {
    format!(
        "{} records ({} MB) read, {} acknowledged ones and {} commits found",
        checked.records,
        checked.bytes / 1_000_000,
        checked.acked,
        checked.commits
    )
}

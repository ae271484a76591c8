//! Workloads: those that are built in, and those that a file describes.

mod file;
mod presets;

pub(crate) use file::load;
pub(crate) use presets::presets;

use crate::failure::{Failure, Outcome};
use crate::model::Workload;

/// The built-in workload of that name.
pub(crate) fn preset(name: &str) -> Outcome<Workload> {
    let found = presets().into_iter().find(|workload| workload.name == name);
    found.ok_or_else(|| {
        Failure::new(format!("there is no workload named {name}"))
            .advise(format!("there are {}", names().join(", ")))
    })
}

pub(crate) fn names() -> Vec<String> {
    presets()
        .into_iter()
        .map(|workload| workload.name)
        .collect()
}

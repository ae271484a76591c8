//! Commands of the `ringlog` program (SHELL).

use std::process::ExitCode;

/// Runs the command that the process arguments name.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}

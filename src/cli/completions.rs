//! `ringlog completions SHELL`

use super::failure::Outcome;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell to write for.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "ringlog",
        &mut script,
    );
    super::output::write(&script)
}

//! How a broker becomes a child that cannot outlive us.
//!
//! Between fork and exec only few calls are safe, so the harness starts itself first, in a hidden
//! command: that asks the kernel to be killed with its parent, confines itself to its cores and
//! becomes the broker. Both survive exec.

use crate::failure::{Failure, Outcome};
use crate::kernel::set_cores;
use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Starts a program that ends with the process that asked for it.
#[derive(Args)]
pub(crate) struct LaunchOptions {
    /// The process that asks: if it is gone already, nothing is started
    #[arg(long)]
    parent: i32,
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Returns only if it fails.
pub(crate) fn command(options: &LaunchOptions) -> Outcome<()> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(format!("{what} {}: {error}", options.program[0].display()))
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed("cannot tie to its parent", &error))?;
    // The parent may have ended before the kernel knew.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(options.parent) {
        return Err(failed("nobody is left to start", &"the parent has ended"));
    }
    if !options.cores.is_empty() {
        set_cores(&options.cores).map_err(|error| failed("cannot pin", &error))?;
    }
    let error = Command::new(&options.program[0])
        .args(&options.program[1..])
        .exec();
    Err(failed("cannot start", &error))
}

/// The command that becomes `program` on these cores.
pub(super) fn launched(program: &Path, cores: &[usize]) -> Outcome<Command> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find our own program: {error}")))?;
    let mut command = Command::new(own);
    command.args(["launch", "--parent", &std::process::id().to_string()]);
    if !cores.is_empty() {
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        command.args(["--cores", &cores.join(",")]);
    }
    command.arg("--").arg(program);
    Ok(command)
}

//! A server that takes requests and answers without doing anything, so that the load generator
//! alone is measured. A process of its own, as a broker is.

mod answers;
mod serve;

use crate::failure::{Failure, Outcome};
use clap::Args;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Serves until its input ends, so that it cannot outlive who started it.
#[derive(Args)]
pub(crate) struct NullServerOptions {
    /// The core it runs on
    #[arg(long)]
    core: Option<usize>,
}

pub(crate) fn command(options: &NullServerOptions) -> Outcome<()> {
    if let Some(id) = options.core {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
    serve::serve().map_err(|error| Failure::new(format!("the null server failed: {error}")))
}

/// A null server; it ends when this is dropped.
pub(crate) struct Running {
    pub(crate) address: String,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one, on a core that is none of `taken` if there is such a one.
pub(crate) fn start(taken: &[usize]) -> Outcome<Running> {
    let failed = |error| Failure::new(format!("cannot start the null server: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("null-server");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.iter().find(|core| !taken.contains(&core.id)) {
        command.arg("--core").arg(core.id.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut address = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output)
            .read_line(&mut address)
            .map_err(failed)?;
    }
    let running = Running {
        address: address.trim().to_owned(),
        child,
    };
    if running.address.is_empty() {
        return Err(Failure::new("the null server did not start"));
    }
    Ok(running)
}

//! Starts a machine per shard, each on its own pinned thread with its own ring and arena.

use crate::buf::Arena;
use crate::mailbox::{Mesh, Post};
use crate::op::{Machine, ShardId};
use crate::probe::{self, Unfit};
pub use crate::uring::Lend;
use crate::uring::{Driver, Io, Shared, Sizes};
use crate::{cores, op, touch};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::{fmt, io};

/// How the shards of a process run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cores to pin shards to, in turn; empty: not pinned.
    pub cores: Vec<usize>,
    /// Size of each shard's arena in bytes.
    pub arena_bytes_max: usize,
    /// Files and sockets a shard may have open at once.
    pub open_max: u32,
    /// Receive buffers of a shard, a power of two up to 32768.
    pub recv_buffers: u16,
    /// Size of a receive buffer in bytes, a multiple of 4096.
    pub recv_buffer_bytes: usize,
    /// How long a shard that has nothing to do keeps asking before it sleeps, in nanoseconds.
    pub busy_poll_ns: u64,
    /// To whom memory is lent instead of being copied into the socket.
    pub lend: Lend,
}

impl Config {
    /// What suits `shards` shards on this machine: a quarter of the memory for their arenas.
    #[must_use]
    pub fn for_shards(shards: u16) -> Self {
        Self {
            cores: cores::cores_to_bind(),
            arena_bytes_max: cores::available_memory() / 4 / usize::from(shards.max(1)),
            open_max: 65_536,
            recv_buffers: 128,
            recv_buffer_bytes: 128 << 10,
            busy_poll_ns: 0,
            lend: Lend::Nobody,
        }
    }
}

/// Why the shards did not start.
#[derive(Debug)]
pub enum StartError {
    /// This machine cannot run a ring.
    Unfit(Unfit),
    /// A resource of a shard could not be made.
    Resource {
        what: &'static str,
        error: io::Error,
    },
    NoShards,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Resource { what, error } => write!(f, "cannot make {what}: {error}"),
            Self::NoShards => write!(f, "at least one shard is needed"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running shards, seen from ordinary threads.
pub struct Handle<M> {
    sender: Outside<M>,
    inbox: Receiver<(ShardId, M)>,
    threads: Vec<JoinHandle<()>>,
    warnings: Vec<String>,
}

/// Sends mail to shards from any thread.
pub struct Outside<M>(Arc<Mesh<M>>);

impl<M> Clone for Outside<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Send + 'static> Outside<M> {
    /// Leaves `mail` for a shard, which receives it from [`CONTROL`](op::CONTROL).
    ///
    /// # Errors
    /// Gives the mail back when there is no such shard, it has ended, or too much waits for it.
    pub fn send(&self, to: ShardId, mail: M) -> Result<(), M> {
        self.0.send_from_outside(to, mail)
    }
}

impl<M: Send + 'static> Handle<M> {
    /// See [`Outside::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, to: ShardId, mail: M) -> Result<(), M> {
        self.sender.send(to, mail)
    }

    /// A sender for another thread.
    #[must_use]
    pub fn outside(&self) -> Outside<M> {
        self.sender.clone()
    }

    /// What shards sent to [`CONTROL`](op::CONTROL).
    #[must_use]
    pub fn inbox(&self) -> &Receiver<(ShardId, M)> {
        &self.inbox
    }

    /// What a person should know about how the shards run, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Waits until every machine has ended. Panics if one of them panicked.
    pub fn join(self) {
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Starts one shard per constructor. Returns when every shard has its ring and arena.
///
/// # Errors
/// When this machine cannot run io_uring, or a shard's memory or ring cannot be made.
pub fn start<M, F>(config: &Config, makers: Vec<F>) -> Result<Handle<M::Mail>, StartError>
where
    M: Machine,
    F: FnOnce(ShardId, Arena) -> M + Send + 'static,
{
    probe::check().map_err(StartError::Unfit)?;
    let open_files = probe::raise_open_files();
    let shards = u16::try_from(makers.len())
        .ok()
        .filter(|&n| n > 0 && n < op::CONTROL.0);
    let shards = shards.ok_or(StartError::NoShards)?;
    let (mesh, posts, inbox) = Mesh::new(shards).map_err(|error| StartError::Resource {
        what: "the shards' mailboxes",
        error,
    })?;
    let bells = Arc::clone(&mesh);
    let shared = Arc::new(Shared::new(shards, Box::new(move || bells.wake_all())));
    let arenas = (config.arena_bytes_max as u64).saturating_mul(u64::from(shards));
    let lockable = probe::check_locked_memory(arenas);
    let sizes = Sizes {
        register_arena: lockable.is_ok(),
        lend: config.lend,
        open_max: config
            .open_max
            .min(u32::try_from(open_files).unwrap_or(u32::MAX)),
        recv_buffers: config.recv_buffers,
        recv_buffer_bytes: config.recv_buffer_bytes,
    };
    let (report, reports) = channel();
    let mut threads = Vec::new();
    let mut gates = Vec::new();
    for (post, make) in posts.into_iter().zip(makers) {
        let (open, gate) = channel();
        gates.push(open);
        let id = ShardId(threads.len() as u16);
        let shard = Start {
            id,
            core: config
                .cores
                .get(usize::from(id.0) % config.cores.len().max(1))
                .copied(),
            arena_bytes_max: config.arena_bytes_max,
            sizes,
            busy_poll_ns: config.busy_poll_ns,
            shared: Arc::clone(&shared),
            report: report.clone(),
            gate,
        };
        let thread = std::thread::Builder::new().name(format!("shard-{}", id.0));
        let thread = thread.spawn(move || run_shard(shard, post, make));
        threads.push(thread.map_err(|error| StartError::Resource {
            what: "a shard's thread",
            error,
        })?);
    }
    drop(report);
    let mut warnings = collect(&reports, shards)?;
    warnings.extend(lockable.err());
    for gate in gates {
        // A shard that is gone has reported why.
        let _ = gate.send(());
    }
    Ok(Handle {
        sender: Outside(mesh),
        inbox,
        threads,
        warnings,
    })
}

type Report = Result<Vec<String>, StartError>;

/// Every shard's report; each warning once. On an error the gates are dropped and the shards that
/// did start end again.
fn collect(reports: &Receiver<Report>, shards: u16) -> Report {
    let mut warnings = Vec::new();
    let mut missing = shards;
    for report in reports {
        missing -= 1;
        for warning in report? {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    if missing > 0 {
        return Err(StartError::Resource {
            what: "a shard's thread",
            error: io::Error::other("it ended while it was starting"),
        });
    }
    Ok(warnings)
}

struct Start {
    id: ShardId,
    core: Option<usize>,
    arena_bytes_max: usize,
    sizes: Sizes,
    busy_poll_ns: u64,
    shared: Arc<Shared>,
    report: Sender<Report>,
    gate: Receiver<()>,
}

fn run_shard<M, F>(start: Start, post: Post<M::Mail>, make: F)
where
    M: Machine,
    F: FnOnce(ShardId, Arena) -> M,
{
    let mut warnings = Vec::new();
    let near = start.core.map(cores::near).unwrap_or_default();
    if let Some(core) = start.core
        && !cores::pin(core)
    {
        warnings.push(format!(
            "cannot bind a shard to core {core}: it runs unbound"
        ));
    }
    let made = Arena::mapped(start.arena_bytes_max).map_err(|error| StartError::Resource {
        what: "a shard's arena",
        error,
    });
    let made = made.and_then(|arena| {
        if let Err(error) = touch::start(&arena, format!("touch-{}", start.id.0), near) {
            warnings.push(format!(
                "no thread touches memory ahead of need, and commits may take longer: {error}"
            ));
        }
        let io = Io::new(
            start.id,
            start.sizes,
            arena.clone(),
            start.shared,
            post.waker().fd(),
        );
        let io = io.map_err(|error| StartError::Resource {
            what: "a shard's io_uring",
            error,
        })?;
        Ok((arena, io))
    });
    let (arena, io) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = start.report.send(Err(error));
            return;
        }
    };
    let _ = start.report.send(Ok(warnings));
    // The starter waits for the end of all reports before it opens the gates.
    drop(start.report);
    if start.gate.recv().is_ok() {
        Driver::new(make(start.id, arena), io, post, start.busy_poll_ns).run();
    }
}

//! The whole vocabulary between broker code and the kernel.
//!
//! A [`Machine`] never calls the kernel. It is stepped with [`Input`]s and leaves [`Op`]s in an
//! [`Outbox`]; the driver carries them out and returns a [`Done`] for each under the [`Token`] the
//! machine chose. Completions come in any order, except where an operation says otherwise.

use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Nanoseconds of a monotonic clock with an unspecified origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This instant, `ms` milliseconds later (saturating).
    #[must_use]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Milliseconds from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// The time a step sees: read once a loop turn, by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and sessions: never goes back, unmoved by a step of the wall clock.
    pub mono: Mono,
    /// Milliseconds since the Unix epoch: for record timestamps and retention only.
    pub wall_ms: i64,
}

/// Chosen by the machine, returned with the completion. The reactor never looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// An open file of this shard's ring. Never reused while an operation on it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A socket of this shard's ring: slot in the low half, generation in the high half, so that a
/// late operation on a closed socket can never reach its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SockId(pub u64);

/// A shard's number, from 0. [`CONTROL`] stands for ordinary threads outside the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// The sender of mail that comes from outside any shard (signals, the control thread).
pub const CONTROL: ShardId = ShardId(u16::MAX);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; read only.
    Read,
    /// Must exist; read and write.
    Write,
    /// Created if absent; read and write; content kept.
    Create,
    /// Must not exist; read and write.
    CreateNew,
}

/// One request to the kernel. Positions and lengths are in bytes.
///
/// On a file opened with `direct`, positions, lengths and memory addresses of reads and writes are
/// multiples of [`BLOCK`](crate::buf::BLOCK).
#[derive(Debug)]
pub enum Op {
    /// -> [`Done::Opened`]. With `direct`, a file system without O_DIRECT yields a buffered file
    /// and `direct: false`; the same operations work on it.
    Open {
        path: PathBuf,
        mode: OpenMode,
        direct: bool,
    },
    /// -> [`Done::Ok`]. Operations in flight on the file end first.
    Close { file: FileId },
    /// -> [`Done::Read`], shorter than `len` only at the end of the file.
    Read { file: FileId, pos: u64, len: u32 },
    /// -> [`Done::Ok`] when every byte is written, and with `sync` durable as such, by itself:
    /// these bytes and what is needed to read them, and nothing else (RWF_DSYNC, which needs no
    /// flush of the device where it can write through). The parts lie one after the other from
    /// `pos` on; each is a multiple of a block on a direct file.
    Write {
        file: FileId,
        pos: u64,
        parts: Vec<Bytes>,
        sync: bool,
    },
    /// fdatasync -> [`Done::Ok`]: data of this file and the metadata needed to read it are durable,
    /// and so is everything that any completed write put into space of the same device that was
    /// already written and durable as such (one device flush).
    Sync { file: FileId },
    /// fallocate mode 0 -> [`Done::Ok`]: space is reserved, the file is at least `pos + len` long,
    /// new space reads as zeros and is *unwritten*.
    Allocate { file: FileId, pos: u64, len: u64 },
    /// ftruncate -> [`Done::Ok`].
    Truncate { file: FileId, len: u64 },
    /// -> [`Done::Ok`]. Replaces `to` if it exists. Both on one file system.
    Rename { from: PathBuf, to: PathBuf },
    /// -> [`Done::Ok`].
    Unlink { path: PathBuf },
    /// mkdir -> [`Done::Ok`]; an existing directory is not an error.
    CreateDir { path: PathBuf },
    /// rmdir of an empty directory -> [`Done::Ok`].
    RemoveDir { path: PathBuf },
    /// fsync of a directory -> [`Done::Ok`]: its entries are durable.
    SyncDir { path: PathBuf },
    /// The same for the directory that holds `of`. Where this user may not read it, the whole file
    /// system of `of` is synced instead (syncfs). May block the ring's thread; start-up only.
    SyncParent { of: PathBuf },
    /// -> [`Done::Listed`], in no particular order. May block the ring's thread; start-up only.
    ListDir { path: PathBuf },
    /// statvfs of a path -> [`Done::Space`]. May block the ring's thread on a file system that is
    /// asked over a network; seldom only.
    Space { path: PathBuf },
    /// Takes an exclusive lock for the process, creating the file if absent -> [`Done::Ok`], also
    /// when another shard of this process took it before, or [`ErrorKind::Locked`]. Held until
    /// every shard has ended, or the process has and its last write is over; so a lock that is
    /// taken is tried again for two seconds.
    Lock { path: PathBuf },
    /// Binds and listens (SO_REUSEPORT, so that every shard may listen on one address)
    /// -> [`Done::Listening`], or [`ErrorKind::AddressInUse`] when another process has listened on
    /// it for two seconds.
    Listen { addr: SocketAddr },
    /// Accepts until the listener is closed or the kernel refuses -> one [`Done::Accepted`] a
    /// connection, or [`Done::TurnedAway`] for one that was closed at once; at last
    /// [`Done::Failed`]. When descriptors or memory have run out, that comes after a pause, so
    /// that accepting again at once is no busy loop.
    Accept { sock: SockId },
    /// Receives until [`Op::Pause`], end of stream or error -> one [`Done::Received`] a piece, in
    /// order, then [`Done::Eof`], [`Done::Failed`], or after a pause [`Done::Paused`].
    Recv { sock: SockId },
    /// Ends an [`Op::Recv`] early: back-pressure. Pieces already taken are still delivered, then
    /// the receive ends with [`Done::Paused`] under *its* token. Has no completion of its own.
    Pause { sock: SockId },
    /// Sends all parts in order -> [`Done::Ok`] when the kernel has taken every byte. One send in
    /// flight per socket.
    Send { sock: SockId, parts: Vec<Bytes> },
    /// Closes a socket or listener -> [`Done::Ok`], after every other operation on it has completed
    /// (those in flight are cancelled: [`ErrorKind::Cancelled`]).
    CloseSock { sock: SockId },
}

/// What became of an [`Op`].
#[derive(Debug)]
pub enum Done {
    Ok,
    Opened {
        file: FileId,
        len: u64,
        direct: bool,
        /// `None`: buffered, copied on write, or not known; each file has to be synced itself.
        in_place: Option<InPlace>,
    },
    Read(Bytes),
    Listed(Vec<DirEntry>),
    Space(Space),
    Listening {
        sock: SockId,
        local: SocketAddr,
    },
    Accepted {
        sock: SockId,
        peer: SocketAddr,
        local: SocketAddr,
    },
    /// A quarter of a shard's open files is kept from sockets, and there was no other place left.
    TurnedAway {
        peer: SocketAddr,
    },
    Received(Bytes),
    Paused,
    Eof,
    Failed(IoError),
}

/// The file system that holds a path, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this process could still fill: without what is kept for the superuser.
    pub usable: u64,
}

/// Where a write over space that is already written stays in its place: then a flush of the device
/// alone makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// A number that is equal for files of one device.
    pub device: u64,
    /// The space of the file before this position is written; not necessarily durable as such.
    pub written: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// Length of a file in bytes; zero for a directory.
    pub len: u64,
    /// Wall clock at the last change of the content, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// Why an operation failed, as far as the code above needs to tell causes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    /// ENOSPC or EDQUOT.
    NoSpace,
    /// EIO: the medium failed, or a flush did.
    Medium,
    PermissionDenied,
    AddressInUse,
    /// Another process holds the lock.
    Locked,
    /// ECONNRESET, EPIPE, ETIMEDOUT and the like: the peer is gone.
    Disconnected,
    /// The operation ended because its socket was closed.
    Cancelled,
    /// EMFILE or ENFILE.
    TooManyFiles,
    Other,
}

/// A failed operation: the kind for code, the errno for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError {
    pub kind: ErrorKind,
    pub errno: i32,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.errno))
    }
}

/// What a machine is told in a step.
#[derive(Debug)]
pub enum Input<M> {
    Done(Token, Done),
    Mail { from: ShardId, mail: M },
}

/// What a machine wants done after a step.
#[derive(Debug)]
pub struct Outbox<M> {
    pub ops: Vec<(Token, Op)>,
    pub mail: Vec<(ShardId, M)>,
    /// Step again at this instant even if nothing happens. `None`: only when something does.
    pub wake_at: Option<Mono>,
    /// The machine has ended; it is not stepped again.
    pub exit: bool,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self {
            ops: Vec::new(),
            mail: Vec::new(),
            wake_at: None,
            exit: false,
        }
    }
}

/// A shard: stepped by a driver, first with no inputs at all, then whenever there are inputs or
/// `wake_at` has come. `inputs` is drained by the step. `mail_waiting` is the number of mails that
/// bounded mailboxes have not taken yet: while it is not zero the machine should take in less.
pub trait Machine {
    type Mail: Send + 'static;

    fn step(
        &mut self,
        now: Now,
        inputs: &mut Vec<Input<Self::Mail>>,
        mail_waiting: usize,
        out: &mut Outbox<Self::Mail>,
    );
}

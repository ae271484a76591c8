//! Locks and listen addresses: what the shards of one process share.

use super::Io;
use super::table::{failed, failed_io};
use crate::op::{Done, ErrorKind, IoError, Mono, Op, Token};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lock file held by this process, known by device and inode.
struct Held {
    identity: (u64, u64),
    file: Arc<File>,
}

/// What the shards of one process share. Touched when something is locked or listened on, and read
/// (one counter) once a turn.
pub(crate) struct Shared {
    held: Mutex<Vec<Held>>,
    held_count: AtomicUsize,
    /// A ring had no place for a lock: no lock counts as taken any more.
    refused: AtomicBool,
    /// Something may still be in flight on an ended ring: locks go with the rings only.
    keep: AtomicBool,
    /// How many of the locks each shard's ring has registered; `usize::MAX` when it has ended.
    adopted: Box<[AtomicUsize]>,
    listens: Mutex<Vec<SocketAddr>>,
    wake_all: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(shards: u16, wake_all: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            held: Mutex::new(Vec::new()),
            held_count: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            keep: AtomicBool::new(false),
            adopted: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            listens: Mutex::new(Vec::new()),
            wake_all,
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listens(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.listens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks `path` for the process and returns how many locks every ring must have registered
    /// before the lock counts as taken.
    fn lock(&self, path: &Path) -> io::Result<usize> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        let mut held = self.held();
        if let Some(at) = held.iter().position(|lock| lock.identity == identity) {
            return Ok(at + 1);
        }
        file.try_lock().map_err(io::Error::from)?;
        held.push(Held {
            identity,
            file: Arc::new(file),
        });
        self.held_count.store(held.len(), Ordering::SeqCst);
        Ok(held.len())
    }

    fn adopted_by_all(&self) -> usize {
        let counts = self
            .adopted
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        counts.min().unwrap_or(0)
    }
}

impl Io {
    /// Takes the lock. A ring holds its registered files until its last operation is over, even
    /// when the process was killed; so with the lock file in every ring nobody else gets the lock
    /// while a write of this process may still reach the disk. The answer waits for all rings.
    pub(super) fn lock(&mut self, token: Token, path: PathBuf, give_up: Mono) {
        match self.shared.lock(&path) {
            Ok(count) => {
                self.locks_pending.push((token, count));
                (self.shared.wake_all)();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.again_later(token, Op::Lock { path }, give_up).is_ok() {
                    return;
                }
                let error = IoError {
                    kind: ErrorKind::Locked,
                    errno: libc::EWOULDBLOCK,
                };
                self.done(token, Done::Failed(error));
            }
            Err(error) => self.done(token, failed_io(&error)),
        }
    }

    /// Whether [`adopt_locks`](Self::adopt_locks) has something to do.
    pub(super) fn has_locks_to_adopt(&self) -> bool {
        let pending = self.locks_pending.iter().map(|(_, count)| *count).min();
        if self.shared.refused.load(Ordering::SeqCst) {
            return pending.is_some();
        }
        self.shared.held_count.load(Ordering::SeqCst) > self.locks_adopted
            || pending.is_some_and(|count| self.shared.adopted_by_all() >= count)
    }

    /// Registers locks that the process has taken with this ring, and answers those asked for here
    /// that every ring has registered.
    pub(super) fn adopt_locks(&mut self) {
        if !self.has_locks_to_adopt() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let new: Vec<Arc<File>> = {
            let held = shared.held();
            held[self.locks_adopted..]
                .iter()
                .map(|lock| Arc::clone(&lock.file))
                .collect()
        };
        for file in new {
            if self.adopt_lock(&file).is_err() {
                shared.refused.store(true, Ordering::SeqCst);
                break;
            }
            self.locks_adopted += 1;
        }
        shared.adopted[usize::from(self.shard.0)].store(self.locks_adopted, Ordering::SeqCst);
        (shared.wake_all)();
        let refused = shared.refused.load(Ordering::SeqCst);
        let ready = shared.adopted_by_all();
        for (token, count) in std::mem::take(&mut self.locks_pending) {
            if ready >= count {
                self.done(token, Done::Ok);
            } else if refused {
                self.done(token, failed(libc::EMFILE));
            } else {
                self.locks_pending.push((token, count));
            }
        }
    }

    /// Puts a lock file into this ring's table.
    fn adopt_lock(&mut self, file: &File) -> io::Result<()> {
        let place = self.table.put_own();
        let place = place.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        let fds = [file.as_raw_fd()];
        self.ring.submitter().register_files_update(place, &fds)?;
        Ok(())
    }

    /// This ring ends: nobody waits for it. When all have ended whole, no write is in flight any
    /// more and the locks are given up, sooner than the kernel would.
    pub(super) fn leave_locks(&self, ended_whole: bool) {
        if !ended_whole {
            self.shared.keep.store(true, Ordering::SeqCst);
        }
        self.shared.adopted[usize::from(self.shard.0)].store(usize::MAX, Ordering::SeqCst);
        let keep = self.shared.keep.load(Ordering::SeqCst);
        if !keep && self.shared.adopted_by_all() == usize::MAX {
            for lock in self.shared.held().drain(..) {
                // A lock that cannot be given up goes with the rings.
                let _ = lock.file.unlock();
            }
        }
        (self.shared.wake_all)();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

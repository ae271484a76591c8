//! Runs a [`Machine`] on one io_uring, on one thread.
//!
//! One turn of the loop: take all completions and mail, step the machine once, hand everything it
//! wants to the ring, enter the kernel once. The thread sleeps in that same entry when nothing
//! waits; whoever leaves mail for a sleeping shard writes to its eventfd.

mod driver;
mod files;
mod fixed;
mod gather;
mod lend;
mod lock;
mod paths;
mod recv;
mod ring;
mod slots;
mod socks;
mod table;

pub(crate) use driver::Driver;
pub(crate) use lock::Shared;

use crate::buf::Arena;
use crate::op::{Done, Mono, Op, ShardId, SockId, Token};
use fixed::FixedBuffers;
use io_uring::types::CancelBuilder;
use io_uring::{cqueue, opcode, squeue, types};
pub use lend::Lend;
use recv::RecvPool;
use ring::{Ring, Wait};
use slots::{InFlight, Slots, Target, Work};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use table::Table;

/// How long the end of an accept is held back when the process ran out of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 100;

/// How long a lock or an address that is taken is tried again. The kernel releases what a killed
/// process held a moment after the process is gone: its rings end in the background, when the
/// disk has done what was under way.
const RELEASE_WAIT_MS: u64 = 10_000;
const RELEASE_STEP_MS: u64 = 20;

/// An operation that is tried again.
struct Again {
    at: Mono,
    give_up: Mono,
    token: Token,
    op: Op,
}

/// Sizes of one shard's kernel resources; see [`Config`](crate::runtime::Config).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) open_max: u32,
    pub(crate) recv_buffers: u16,
    pub(crate) recv_buffer_bytes: usize,
    /// The limit on locked memory has room for the arenas.
    pub(crate) register_arena: bool,
    pub(crate) lend: Lend,
}

/// One shard's ring and everything in flight on it.
pub(crate) struct Io {
    // The order of the fields is the order in which they are dropped: the ring goes first, when
    // `drop` has waited for every operation, and only then the memory it was given.
    ring: Ring,
    slots: Slots,
    recv_pool: RecvPool,
    table: Table,
    arena: Arena,
    fixed: FixedBuffers,
    shard: ShardId,
    shared: Arc<Shared>,
    /// Locks of the process registered with this ring, and locks asked for here that other rings
    /// have yet to register.
    locks_adopted: usize,
    locks_pending: Vec<(Token, usize)>,
    /// What the machine is to be told.
    ready: VecDeque<(Token, Done)>,
    reaped: Vec<cqueue::Entry>,
    /// Receives that ended although nobody asked: armed again when buffers may be back.
    recv_again: Vec<u32>,
    /// Accepts that the kernel ended, when to say so, and why.
    accept_ends: Vec<(SockId, Mono, i32)>,
    taken_again: Vec<Again>,
    /// To whom memory is lent, and how many bytes are lent now.
    lend: Lend,
    lent: usize,
    /// Nothing is lent before this.
    lend_again: Mono,
    /// Sends handed to the ring since it was asked last.
    sends: u32,
    /// The time of this turn.
    now: Mono,
    /// The machine has ended: nothing is continued, everything is cancelled.
    ending: bool,
}

impl Io {
    /// Makes the ring of the calling thread, which alone may use it. `event` is the eventfd that
    /// wakes it.
    pub(crate) fn new(
        shard: ShardId,
        sizes: Sizes,
        arena: Arena,
        shared: Arc<Shared>,
        event: RawFd,
    ) -> io::Result<Self> {
        let ring = Ring::new()?;
        let places = register_table(&ring, sizes.open_max)?;
        let recv_pool = RecvPool::new(
            &ring.submitter(),
            sizes.recv_buffers,
            sizes.recv_buffer_bytes,
        )?;
        let mut table = Table::new(places);
        let place = table
            .put_own()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        ring.submitter().register_files_update(place, &[event])?;
        let mut io = Self {
            slots: Slots::default(),
            recv_pool,
            table,
            fixed: FixedBuffers::new(&ring, &arena, sizes.register_arena),
            ring,
            arena,
            shard,
            shared,
            locks_adopted: 0,
            locks_pending: Vec::new(),
            ready: VecDeque::new(),
            reaped: Vec::new(),
            recv_again: Vec::new(),
            accept_ends: Vec::new(),
            taken_again: Vec::new(),
            lend: sizes.lend,
            lent: 0,
            lend_again: Mono(0),
            sends: 0,
            now: Mono(0),
            ending: false,
        };
        io.arm_wake(place);
        Ok(io)
    }

    /// Begins `op`.
    pub(crate) fn start(&mut self, token: Token, op: Op) {
        let give_up = self.now.after_ms(RELEASE_WAIT_MS);
        match op {
            Op::Open { path, mode, direct } => self.open(token, &path, mode, direct),
            Op::Close { file } => self.close_file(token, file),
            Op::Read { file, pos, len } => self.read(token, file, pos, len),
            Op::Write {
                file,
                pos,
                parts,
                sync,
            } => self.write(token, file, (pos, sync), parts),
            Op::Sync { file } => self.sync(token, file),
            Op::Allocate { file, pos, len } => self.allocate(token, file, pos, len),
            Op::Truncate { file, len } => self.truncate(token, file, len),
            Op::Rename { from, to } => self.rename(token, &from, &to),
            Op::Unlink { path } => self.unlink(token, &path, 0),
            Op::RemoveDir { path } => self.unlink(token, &path, libc::AT_REMOVEDIR),
            Op::CreateDir { path } => self.create_dir(token, path),
            Op::SyncDir { path } => self.sync_dir(token, &path),
            Op::SyncParent { of } => self.sync_parent(token, &of),
            Op::ListDir { path } => self.list_dir(token, &path),
            Op::Space { path } => self.space(token, &path),
            Op::Lock { path } => self.lock(token, path, give_up),
            Op::Listen { addr } => self.listen(token, addr, give_up),
            Op::Accept { sock } => self.accept(token, sock),
            Op::Recv { sock } => self.recv(token, sock),
            Op::Pause { sock } => self.pause(sock),
            Op::Send { sock, parts } => self.send(token, sock, parts),
            Op::CloseSock { sock } => self.close_sock(token, sock),
        }
    }

    /// Takes completions and whatever became possible by now.
    pub(crate) fn reap(&mut self, now: Mono) {
        self.now = now;
        let mut reaped = std::mem::take(&mut self.reaped);
        self.ring.reap(&mut reaped);
        for entry in reaped.drain(..) {
            self.completed(&entry, now);
        }
        self.reaped = reaped;
        self.recv_pool.refill();
        for slot in std::mem::take(&mut self.recv_again) {
            self.rearm_recv(slot);
        }
        if self.accept_ends.iter().any(|(_, at, _)| *at <= now) {
            self.end_accepts(now);
        }
        if self.taken_again.iter().any(|again| again.at <= now) {
            self.try_taken_again();
        }
        self.adopt_locks();
    }

    /// Tries locks and addresses again that were taken.
    fn try_taken_again(&mut self) {
        for again in std::mem::take(&mut self.taken_again) {
            let Again { token, give_up, .. } = again;
            match again.op {
                _ if self.ending => {}
                Op::Lock { path } if again.at <= self.now => self.lock(token, path, give_up),
                Op::Listen { addr } if again.at <= self.now => self.listen(token, addr, give_up),
                op => self.taken_again.push(Again { op, ..again }),
            }
        }
    }

    /// Remembers `op` to be tried again, unless it is time to give up: then it is given back.
    fn again_later(&mut self, token: Token, op: Op, give_up: Mono) -> Result<(), Op> {
        if self.now >= give_up {
            return Err(op);
        }
        self.taken_again.push(Again {
            at: self.now.after_ms(RELEASE_STEP_MS),
            give_up,
            token,
            op,
        });
        Ok(())
    }

    pub(crate) fn take_ready(&mut self) -> impl Iterator<Item = (Token, Done)> + '_ {
        self.ready.drain(..)
    }

    /// Whether something waits that no completion will announce.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.recv_again.is_empty() || self.has_locks_to_adopt()
    }

    /// The next instant at which [`reap`](Self::reap) has something to do by itself.
    pub(crate) fn wake_at(&self) -> Option<Mono> {
        let accepts = self.accept_ends.iter().map(|(_, at, _)| *at);
        accepts
            .chain(self.taken_again.iter().map(|again| again.at))
            .min()
    }

    /// How many sends the next entry hands to the kernel.
    pub(crate) fn take_sends(&mut self) -> u32 {
        std::mem::take(&mut self.sends)
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.ring.enter(wait)
    }

    /// Whether the next [`reap`](Self::reap) finds something.
    pub(crate) fn has_completions(&mut self) -> io::Result<bool> {
        self.ring.has_completions()
    }

    fn done(&mut self, token: Token, done: Done) {
        self.ready.push_back((token, done));
    }

    /// Puts `work` into a slot and its entry into the ring.
    ///
    /// # Safety
    /// Everything that the entry points to is owned by `work` at a stable address, or is registered
    /// with the ring.
    unsafe fn submit(&mut self, flight: InFlight, entry: squeue::Entry) -> u32 {
        let slot = self.slots.put(flight);
        // SAFETY: the slot keeps `work` until its last completion.
        unsafe { self.resubmit(slot, entry) };
        slot
    }

    /// # Safety
    /// As for [`submit`](Self::submit), for the work that the slot holds.
    unsafe fn resubmit(&mut self, slot: u32, entry: squeue::Entry) {
        let entry = entry.user_data(self.slots.user_data(slot));
        // SAFETY: the caller's promise.
        unsafe { self.ring.push(entry) };
    }

    /// Asks the kernel to end the operation in `slot`; it completes as cancelled or otherwise.
    fn cancel(&mut self, slot: u32) {
        let entry = opcode::AsyncCancel::new(self.slots.user_data(slot)).build();
        let flight = InFlight::own(Work::Cancel);
        // SAFETY: the entry points to no memory.
        unsafe { self.submit(flight, entry) };
    }

    fn arm_wake(&mut self, place: u32) {
        let mut count = Box::new(0_u64);
        let to = std::ptr::from_mut(&mut *count).cast();
        let entry = opcode::Read::new(types::Fixed(place), to, 8).build();
        // SAFETY: the entry points into the box that the slot owns.
        unsafe { self.submit(InFlight::own(Work::Wake(place, count)), entry) };
    }

    fn completed(&mut self, entry: &cqueue::Entry, now: Mono) {
        let Some(slot) = self.slots.find(entry.user_data()) else {
            // Every slot lives until its last completion, so this is a completion of nothing.
            debug_assert!(false, "a completion without an operation");
            return;
        };
        let result = entry.result();
        match self.slots.target(slot) {
            Target::Sock(sock) => {
                self.sock_completed(slot, sock, result, entry.flags(), now);
                self.close_if_quiet(sock);
            }
            Target::File(file) => self.file_completed(slot, file, result),
            Target::None => {
                let flight = self.slots.take(slot);
                match flight.work {
                    Work::Cancel => {}
                    Work::Wake(place, _) => {
                        if !self.ending {
                            self.arm_wake(place);
                        }
                    }
                    work => self.path_completed(flight.token, work, result),
                }
            }
        }
    }

    /// Cancels everything and waits for the last completion, so that the kernel uses no memory of
    /// this shard any more. `false` if that cannot be waited for.
    fn end_everything(&mut self) -> bool {
        const ROUND_NS: u64 = 50_000_000;
        self.ending = true;
        while !self.slots.is_empty() {
            let all = CancelBuilder::any().all();
            let entry = opcode::AsyncCancel2::new(all).build();
            // SAFETY: the entry points to no memory.
            unsafe { self.submit(InFlight::own(Work::Cancel), entry) };
            if self.ring.enter(Wait::AtMost(ROUND_NS)).is_err() {
                // The kernel may still use the memory of what is in flight: never free it.
                std::mem::forget(std::mem::take(&mut self.slots));
                return false;
            }
            self.reap(Mono(u64::MAX));
            self.ready.clear();
            if self.slots.only_lent() {
                // A peer may take as long as it likes. What it has yet to read is never freed.
                std::mem::forget(std::mem::take(&mut self.slots));
                return true;
            }
        }
        true
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        let ended = self.end_everything();
        self.leave_locks(ended);
    }
}

/// Registers a file table of `wanted` places, or of as many as the limits allow.
fn register_table(ring: &Ring, wanted: u32) -> io::Result<u32> {
    let mut places = wanted.max(64);
    loop {
        match ring.submitter().register_files_sparse(places) {
            Ok(()) => return Ok(places),
            Err(_) if places > 64 => places = (places / 2).max(64),
            Err(error) => return Err(error),
        }
    }
}

//! Mail between shards: one bounded lane from every shard to every shard, each with one writer and
//! one reader, and one entry per shard for ordinary threads. A writer wakes a reader only if it
//! announced that it sleeps.

use crate::op::{CONTROL, ShardId};
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Mails that one lane holds.
const LANE_MAX: usize = 256;
/// Mails that wait for one shard from ordinary threads, and for ordinary threads from all shards.
const CONTROL_MAIL_MAX: usize = 4096;

/// A counter alone on its cache lines, so that writer and reader do not slow each other down.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

/// One lane: positions only grow; a mail's place is its position modulo the length.
struct Lane<M> {
    written: Counter,
    read: Counter,
    /// The writer found the lane full and wants to be woken when there is room.
    wants_room: AtomicBool,
    cells: Box<[UnsafeCell<MaybeUninit<M>>]>,
}

// SAFETY: a cell is touched by the writer while it lies outside [read, written) and by the reader
// while it lies inside; the two counters hand it over with release and acquire.
unsafe impl<M: Send> Sync for Lane<M> {}

impl<M> Lane<M> {
    fn new(length: usize) -> Self {
        assert!(length.is_power_of_two());
        let cell = || UnsafeCell::new(MaybeUninit::uninit());
        Self {
            written: Counter::default(),
            read: Counter::default(),
            wants_room: AtomicBool::new(false),
            cells: std::iter::repeat_with(cell).take(length).collect(),
        }
    }

    fn cell(&self, position: usize) -> *mut MaybeUninit<M> {
        self.cells[position & (self.cells.len() - 1)].get()
    }

    /// Called by the lane's one writer only.
    fn push(&self, mail: M) -> Result<(), M> {
        let written = self.written.0.load(Ordering::Relaxed);
        if written.wrapping_sub(self.read.0.load(Ordering::Acquire)) == self.cells.len() {
            return Err(mail);
        }
        // SAFETY: the cell is empty and belongs to the writer until `written` moves past it.
        unsafe { (*self.cell(written)).write(mail) };
        self.written
            .0
            .store(written.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Called by the lane's one reader only.
    fn pop(&self) -> Option<M> {
        let read = self.read.0.load(Ordering::Relaxed);
        if self.written.0.load(Ordering::Acquire) == read {
            return None;
        }
        // SAFETY: the writer filled this cell and will not touch it until `read` moves past it.
        let mail = unsafe { (*self.cell(read)).assume_init_read() };
        self.read.0.store(read.wrapping_add(1), Ordering::Release);
        Some(mail)
    }

    fn is_full(&self) -> bool {
        let written = self.written.0.load(Ordering::Relaxed);
        written.wrapping_sub(self.read.0.load(Ordering::SeqCst)) == self.cells.len()
    }

    fn is_empty(&self) -> bool {
        self.written.0.load(Ordering::SeqCst) == self.read.0.load(Ordering::Relaxed)
    }
}

impl<M> Drop for Lane<M> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// Wakes a shard that sleeps in the kernel: its ring always has a read of this eventfd in flight.
#[derive(Debug)]
pub(crate) struct Waker {
    sleeping: AtomicBool,
    event: File,
}

impl Waker {
    fn new() -> io::Result<Self> {
        // SAFETY: a plain call without pointers.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            sleeping: AtomicBool::new(false),
            // SAFETY: just created and owned by nobody else.
            event: unsafe { File::from_raw_fd(raw) },
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// After this call whoever leaves something for the shard will wake it; so look once more
    /// before sleeping.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Call after something was left for the shard.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            // Can fail only by overflowing a 64-bit counter.
            let _ = (&self.event).write(&1_u64.to_ne_bytes());
        }
    }
}

/// What one shard receives.
struct Inbox<M> {
    /// Indexed by the sending shard.
    lanes: Box<[Lane<M>]>,
    /// From ordinary threads. The length is read without the lock, so that the shard takes the lock
    /// only when there is something.
    control: Mutex<VecDeque<M>>,
    control_len: AtomicUsize,
    waker: Waker,
    /// The shard has ended; mail for it is dropped.
    ended: AtomicBool,
}

/// All inboxes.
pub(crate) struct Mesh<M> {
    inboxes: Box<[Inbox<M>]>,
}

impl<M: Send> Mesh<M> {
    /// Inboxes for `shards` shards, each shard's own end, and what shards send to [`CONTROL`].
    #[allow(clippy::type_complexity)]
    pub(crate) fn new(
        shards: u16,
    ) -> io::Result<(Arc<Self>, Vec<Post<M>>, Receiver<(ShardId, M)>)> {
        let mut inboxes = Vec::new();
        for _ in 0..shards {
            inboxes.push(Inbox {
                lanes: (0..shards).map(|_| Lane::new(LANE_MAX)).collect(),
                control: Mutex::new(VecDeque::new()),
                control_len: AtomicUsize::new(0),
                waker: Waker::new()?,
                ended: AtomicBool::new(false),
            });
        }
        let mesh = Arc::new(Self {
            inboxes: inboxes.into(),
        });
        let (to_control, from_shards) = sync_channel(CONTROL_MAIL_MAX);
        let posts = (0..shards).map(|id| Post {
            me: id,
            mesh: Arc::clone(&mesh),
            waiting: (0..=shards).map(|_| VecDeque::new()).collect(),
            waiting_count: 0,
            touched: Vec::new(),
            own: VecDeque::new(),
            to_control: to_control.clone(),
        });
        let posts = posts.collect();
        Ok((mesh, posts, from_shards))
    }

    /// Mail from an ordinary thread. Gives it back when the shard has ended or too much waits.
    pub(crate) fn send_from_outside(&self, to: ShardId, mail: M) -> Result<(), M> {
        let Some(inbox) = self.inboxes.get(usize::from(to.0)) else {
            return Err(mail);
        };
        let mut queue = inbox.control.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.ended.load(Ordering::Acquire) || queue.len() >= CONTROL_MAIL_MAX {
            return Err(mail);
        }
        queue.push_back(mail);
        inbox.control_len.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        inbox.waker.wake();
        Ok(())
    }

    pub(crate) fn wake_all(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.waker.wake());
    }
}

/// One shard's end of the mesh. Owned by the shard's thread: the only writer of its lanes to others
/// and the only reader of its inbox.
pub(crate) struct Post<M> {
    me: u16,
    mesh: Arc<Mesh<M>>,
    /// Mail that did not fit, by destination; the last one is [`CONTROL`]'s.
    waiting: Box<[VecDeque<M>]>,
    waiting_count: usize,
    touched: Vec<u16>,
    own: VecDeque<M>,
    to_control: SyncSender<(ShardId, M)>,
}

impl<M: Send> Post<M> {
    fn inbox(&self) -> &Inbox<M> {
        &self.mesh.inboxes[usize::from(self.me)]
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.inbox().waker
    }

    /// Mails that other shards' mailboxes have not taken yet. What ordinary threads have not taken
    /// is no reason to take in less: they print, and a terminal may stand still.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_count - self.waiting.last().map_or(0, VecDeque::len)
    }

    /// Whether mail waits that nobody will wake this shard for: [`CONTROL`]'s has no bell.
    pub(crate) fn must_retry(&self) -> bool {
        self.waiting.last().is_some_and(|queue| !queue.is_empty())
    }

    /// Sends or keeps `mail`. [`ring_bells`](Self::ring_bells) must follow. Panics if there is no
    /// such shard.
    pub(crate) fn send(&mut self, to: ShardId, mail: M) {
        if to.0 == self.me {
            self.own.push_back(mail);
            return;
        }
        let last = self.waiting.len() - 1;
        let index = if to == CONTROL {
            last
        } else {
            usize::from(to.0)
        };
        assert!(
            to == CONTROL || index < last,
            "mail for shard {} of {last}",
            to.0
        );
        if !self.waiting[index].is_empty() {
            self.waiting[index].push_back(mail);
            self.waiting_count += 1;
        } else if let Err(mail) = self.try_send(index, mail) {
            self.waiting[index].push_back(mail);
            self.waiting_count += 1;
        }
    }

    fn try_send(&mut self, index: usize, mail: M) -> Result<(), M> {
        let Some(inbox) = self.mesh.inboxes.get(index) else {
            let me = ShardId(self.me);
            return match self.to_control.try_send((me, mail)) {
                // Nobody listens any more: as with an ended shard, the mail is dropped.
                Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
                Err(TrySendError::Full((_, mail))) => Err(mail),
            };
        };
        if inbox.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        let lane = &inbox.lanes[usize::from(self.me)];
        let mail = match lane.push(mail) {
            Ok(()) => return self.note_touched(index),
            Err(mail) => mail,
        };
        // The reader looks at the flag after it has read: either it sees the flag, or this second
        // attempt sees its progress.
        lane.wants_room.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        lane.push(mail)?;
        self.note_touched(index)
    }

    fn note_touched(&mut self, index: usize) -> Result<(), M> {
        let id = index as u16;
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
        Ok(())
    }

    /// Sends what had to wait, as far as it fits now.
    pub(crate) fn flush(&mut self) {
        if self.waiting_count == 0 {
            return;
        }
        for index in 0..self.waiting.len() {
            while let Some(mail) = self.waiting[index].pop_front() {
                if let Err(mail) = self.try_send(index, mail) {
                    self.waiting[index].push_front(mail);
                    break;
                }
                self.waiting_count -= 1;
            }
        }
    }

    /// Wakes the shards that were sent something since the last call and sleep.
    pub(crate) fn ring_bells(&mut self) {
        for id in self.touched.drain(..) {
            self.mesh.inboxes[usize::from(id)].waker.wake();
        }
    }

    /// Whether mail that waits would fit now. Asked between announcing sleep and sleeping: room
    /// made before the announcement rang no bell.
    pub(crate) fn can_flush(&self) -> bool {
        self.waiting_count > 0
            && self
                .mesh
                .inboxes
                .iter()
                .zip(&self.waiting)
                .any(|(inbox, queue)| {
                    !queue.is_empty()
                        && (inbox.ended.load(Ordering::SeqCst)
                            || !inbox.lanes[usize::from(self.me)].is_full())
                })
    }

    pub(crate) fn has_mail(&self) -> bool {
        let inbox = self.inbox();
        !self.own.is_empty()
            || inbox.control_len.load(Ordering::SeqCst) > 0
            || inbox.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// Takes what has arrived, at most a lane's length from each sender.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(ShardId, M)) {
        for mail in self.own.drain(..) {
            take(ShardId(self.me), mail);
        }
        let inbox = self.inbox();
        for (from, lane) in inbox.lanes.iter().enumerate() {
            let mut count = 0;
            while count < LANE_MAX
                && let Some(mail) = lane.pop()
            {
                take(ShardId(from as u16), mail);
                count += 1;
            }
            if count == 0 {
                continue;
            }
            fence(Ordering::SeqCst);
            if lane.wants_room.load(Ordering::Relaxed) {
                lane.wants_room.store(false, Ordering::SeqCst);
                self.mesh.inboxes[from].waker.wake();
            }
        }
        if inbox.control_len.load(Ordering::SeqCst) > 0 {
            let mut queue = inbox.control.lock().unwrap_or_else(PoisonError::into_inner);
            let mails = std::mem::take(&mut *queue);
            inbox.control_len.store(0, Ordering::SeqCst);
            drop(queue);
            for mail in mails {
                take(CONTROL, mail);
            }
        }
    }
}

impl<M> Drop for Post<M> {
    /// The shard has ended: nobody waits for room in its lanes any more.
    fn drop(&mut self) {
        let inbox = &self.mesh.inboxes[usize::from(self.me)];
        inbox.ended.store(true, Ordering::SeqCst);
        for other in &self.mesh.inboxes {
            other.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_order_across_threads_and_drops_nothing() {
        let lane = Lane::new(8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..20_000_u32 {
                    let mut mail = Box::new(n);
                    while let Err(back) = lane.push(mail) {
                        mail = back;
                        std::thread::yield_now();
                    }
                }
            });
            for want in 0..20_000_u32 {
                let got = loop {
                    match lane.pop() {
                        Some(got) => break got,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(*got, want);
            }
        });
        assert!(lane.is_empty());
    }

    #[test]
    fn mail_that_does_not_fit_waits_in_order_and_is_counted() {
        let (_mesh, mut posts, _control) = Mesh::new(2).expect("eventfds");
        let mut reader = posts.pop().expect("two posts");
        let mut writer = posts.pop().expect("two posts");
        let total = LANE_MAX * 2 + 10;
        for n in 0..total {
            writer.send(ShardId(1), n);
        }
        assert_eq!(writer.waiting(), LANE_MAX + 10);
        let mut got = Vec::new();
        for _ in 0..3 {
            reader.receive(|from, n| {
                assert_eq!(from, ShardId(0));
                got.push(n);
            });
            writer.flush();
        }
        assert_eq!(writer.waiting(), 0);
        assert_eq!(got, (0..total).collect::<Vec<_>>());
    }

    #[test]
    fn mail_for_an_ended_shard_is_dropped() {
        let (mesh, mut posts, _control) = Mesh::new(2).expect("eventfds");
        drop(posts.pop());
        let mut writer = posts.pop().expect("two posts");
        let mail = Arc::new(());
        for _ in 0..LANE_MAX * 2 {
            writer.send(ShardId(1), Arc::clone(&mail));
        }
        assert_eq!(writer.waiting(), 0);
        assert!(
            mesh.send_from_outside(ShardId(1), Arc::clone(&mail))
                .is_err()
        );
        assert!(
            mesh.send_from_outside(ShardId(9), Arc::clone(&mail))
                .is_err()
        );
        assert_eq!(Arc::strong_count(&mail), 1);
    }
}

//! The ring itself: its set-up, feature by feature as the kernel accepts them, and the one place
//! where the kernel is entered.

use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;

const SQ_ENTRIES: u32 = 512;
const CQ_ENTRIES: u32 = 8192;

// From the kernel's io_uring.h; the crate has no public names for these.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const ENTER_NO_IOWAIT: u32 = 1 << 7;
const REGISTER_RING_FDS: libc::c_ulong = 20;

#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_usec: u32,
    timeout: u64,
}

#[repr(C)]
struct Timeout {
    seconds: i64,
    nanoseconds: i64,
}

/// How long an entry into the kernel may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    /// Until a completion, at most this many nanoseconds.
    AtMost(u64),
    /// Until a completion.
    ForCompletion,
    /// Until this many completions, at most this many nanoseconds.
    ForMany(u32, u64),
}

pub(crate) struct Ring {
    uring: IoUring,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
    enter_fd: i32,
    enter_flags: u32,
    /// Whether the kernel tells in shared memory that deferred work waits.
    taskrun_flag: bool,
    pub(crate) has_ftruncate: bool,
    pub(crate) has_sendmsg_zc: bool,
}

impl Ring {
    /// The best ring that this kernel accepts, of the calling thread, which alone may use it.
    pub(crate) fn new() -> io::Result<Self> {
        let mut last = io::Error::from_raw_os_error(libc::EINVAL);
        for rung in RUNGS {
            match rung.build() {
                Ok(uring) => return Self::from(uring, rung),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn from(uring: IoUring, rung: Rung) -> io::Result<Self> {
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        let mut ring = Self {
            backlog: VecDeque::new(),
            enter_fd: uring.as_raw_fd(),
            enter_flags: ENTER_GETEVENTS | ENTER_EXT_ARG,
            taskrun_flag: rung.announces(),
            has_ftruncate: probe.is_supported(opcode::Ftruncate::CODE),
            has_sendmsg_zc: probe.is_supported(opcode::SendMsgZc::CODE),
            uring,
        };
        if ring.uring.params().is_feature_no_iowait() {
            ring.enter_flags |= ENTER_NO_IOWAIT;
        }
        ring.register_own_fd();
        Ok(ring)
    }

    /// Saves the kernel a descriptor look-up at each entry; nothing is lost where it is refused.
    fn register_own_fd(&mut self) {
        let mut update = RingFdUpdate {
            offset: u32::MAX,
            reserved: 0,
            data: self.enter_fd as u64,
        };
        // SAFETY: the pointer is to one local update, as the count says.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.enter_fd,
                REGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
        if done == 1 {
            self.enter_fd = update.offset as i32;
            self.enter_flags |= ENTER_REGISTERED_RING;
        }
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.uring.submitter()
    }

    /// Queues `entry` for the next entry into the kernel.
    ///
    /// # Safety
    /// Everything that `entry` points to stays valid until its last completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise.
        if !self.backlog.is_empty() || unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Enters the kernel once: hands over what is queued, and takes completions. Without anything
    /// to do it does not enter. More entries follow only when the submission queue was too small.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        loop {
            let last = self.backlog.is_empty();
            let submission = self.uring.submission();
            let queued = submission.len() as u32;
            let due = submission.taskrun() || submission.cq_overflow() || !self.taskrun_flag;
            drop(submission);
            let wait = if last { wait } else { Wait::No };
            if queued > 0 || due || wait != Wait::No {
                self.enter_kernel(queued, wait)?;
            }
            if last {
                return Ok(());
            }
            let mut submission = self.uring.submission();
            let mut moved = false;
            while let Some(entry) = self.backlog.front() {
                // SAFETY: promised by the caller of `push` until the last completion.
                if unsafe { submission.push(entry) }.is_err() {
                    break;
                }
                self.backlog.pop_front();
                moved = true;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn enter_kernel(&self, queued: u32, wait: Wait) -> io::Result<()> {
        let timeout = match wait {
            Wait::AtMost(ns) | Wait::ForMany(_, ns) => Some(Timeout {
                seconds: (ns / 1_000_000_000) as i64,
                nanoseconds: (ns % 1_000_000_000) as i64,
            }),
            Wait::No | Wait::ForCompletion => None,
        };
        let arg = GetEventsArg {
            sigmask: 0,
            sigmask_bytes: 8,
            min_wait_usec: 0,
            timeout: timeout.as_ref().map_or(0, |t| std::ptr::from_ref(t) as u64),
        };
        let want = match wait {
            Wait::No => 0,
            Wait::AtMost(_) | Wait::ForCompletion => 1,
            Wait::ForMany(count, _) => count,
        };
        // SAFETY: `arg` and the timeout it points to outlive the call; entries were promised to be
        // valid by the callers of `push`.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                queued,
                want,
                self.enter_flags,
                &raw const arg,
                size_of::<GetEventsArg>(),
            )
        };
        if done >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Time is up, a signal came, or the completion queue wants to be emptied first: the
            // loop goes on and comes back.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        }
    }

    /// Whether completions have come, as far as can be told without entering the kernel; where
    /// deferred work is not announced, it is entered.
    pub(crate) fn has_completions(&mut self) -> io::Result<bool> {
        if !self.taskrun_flag {
            self.enter_kernel(0, Wait::No)?;
        }
        Ok(!self.uring.completion().is_empty() || self.uring.submission().taskrun())
    }

    /// Moves completions to `into`.
    pub(crate) fn reap(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.uring.completion());
    }
}

/// Flags that a kernel may refuse.
#[derive(Clone, Copy, Debug)]
struct Rung {
    no_sqarray: bool,
    defer: bool,
    coop: bool,
}

const fn rung(no_sqarray: bool, defer: bool, coop: bool) -> Rung {
    Rung {
        no_sqarray,
        defer,
        coop,
    }
}

/// From the best down. NO_SQARRAY is of Linux 6.6, everything else is there in 6.1; the lower rungs
/// are for kernels that lack or forbid a flag all the same.
const RUNGS: [Rung; 5] = [
    rung(true, true, true),
    rung(false, true, true),
    rung(false, true, false),
    rung(false, false, true),
    rung(false, false, false),
];

impl Rung {
    fn build(self) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(CQ_ENTRIES).setup_clamp();
        builder.setup_submit_all().setup_single_issuer();
        if self.no_sqarray {
            builder.setup_no_sqarray();
        }
        if self.defer {
            builder.setup_defer_taskrun();
        }
        if self.coop {
            builder.setup_coop_taskrun();
        }
        if self.announces() {
            builder.setup_taskrun_flag();
        }
        builder.build(SQ_ENTRIES)
    }

    /// Whether the ring tells in shared memory that deferred work waits.
    fn announces(self) -> bool {
        self.defer || self.coop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_every_rung_completes_what_it_is_given() {
        for rung in RUNGS {
            let Ok(uring) = rung.build() else {
                // The kernel of this machine has no such flag; the lowest rung needs none.
                assert!(rung.no_sqarray, "{rung:?}");
                continue;
            };
            let mut ring = Ring::from(uring, rung).expect("a ring");
            let count = SQ_ENTRIES as u64 * 3;
            for number in 0..count {
                let entry = opcode::Nop::new().build().user_data(number);
                // SAFETY: the entry points to no memory.
                unsafe { ring.push(entry) };
            }
            let mut done = Vec::new();
            while done.len() < count as usize {
                ring.enter(Wait::ForCompletion).expect("entered");
                ring.reap(&mut done);
            }
            let order: Vec<u64> = done.iter().map(cqueue::Entry::user_data).collect();
            assert_eq!(order, (0..count).collect::<Vec<_>>(), "{rung:?}");
            ring.enter(Wait::AtMost(1))
                .expect("an end without completion");
        }
    }
}

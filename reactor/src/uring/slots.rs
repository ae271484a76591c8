//! Operations in flight. A slot owns everything the kernel was given for its operation, from
//! submission to the last completion. Its number and generation are the entry's user data, so that
//! nothing late can reach a successor.

use super::files::{OpenWork, ReadWork};
use super::gather::Gather;
use super::lend::Lent;
use crate::op::{SockId, Token};
use io_uring::squeue;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    File(u32),
    Sock(SockId),
}

/// One operation in flight.
pub(crate) struct InFlight {
    pub(crate) token: Token,
    pub(crate) target: Target,
    pub(crate) work: Work,
}

impl InFlight {
    /// An operation of the driver itself.
    pub(crate) fn own(work: Work) -> Self {
        Self {
            token: Token(0),
            target: Target::None,
            work,
        }
    }
}

/// What an operation is, with the memory that the kernel uses for it.
pub(crate) enum Work {
    Cancel,
    /// The read of the eventfd at this place of the table.
    Wake(
        u32,
        #[allow(dead_code, reason = "owned for the kernel")] Box<u64>,
    ),
    Open(Box<OpenWork>),
    Read(ReadWork),
    Write {
        sync: bool,
        gather: Box<Gather>,
        pos: u64,
    },
    /// The bytes at this position, as many as the entry says.
    Allocate {
        entry: Box<squeue::Entry>,
        pos: u64,
        len: u64,
    },
    /// Sync, truncate: done when the entry is; kept to be submitted again.
    OnFile(Box<squeue::Entry>),
    CloseFile,
    /// Rename, unlink, remove directory: the paths are the entry's.
    OnPaths(
        Box<squeue::Entry>,
        #[allow(dead_code, reason = "owned for the kernel")] Vec<CString>,
    ),
    CreateDir(
        PathBuf,
        #[allow(dead_code, reason = "owned for the kernel")] CString,
    ),
    SyncDir(OwnedFd),
    Accept,
    Recv,
    Send(Box<Gather>),
    /// A send whose memory the kernel reads on after it has completed.
    Lend(Box<Lent>),
    CloseSock,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    flight: Option<InFlight>,
}

/// All slots of a ring.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Whether nothing is in flight but memory that peers have yet to read.
    pub(crate) fn only_lent(&self) -> bool {
        let mut flights = self.slots.iter().filter_map(|slot| slot.flight.as_ref());
        flights.all(|flight| matches!(flight.work, Work::Lend(_)))
    }

    pub(crate) fn put(&mut self, flight: InFlight) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize].flight = Some(flight);
        index
    }

    /// Ends the operation in `index`: no completion of it will come any more.
    pub(crate) fn take(&mut self, index: u32) -> InFlight {
        let slot = &mut self.slots[index as usize];
        let flight = slot
            .flight
            .take()
            .expect("a slot is taken once, by its last completion");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        flight
    }

    pub(crate) fn get(&mut self, index: u32) -> &mut InFlight {
        let flight = self.slots[index as usize].flight.as_mut();
        flight.expect("the slot was just found to be in use")
    }

    pub(crate) fn target(&self, index: u32) -> Target {
        let flight = self.slots[index as usize].flight.as_ref();
        flight.map_or(Target::None, |flight| flight.target)
    }

    pub(crate) fn user_data(&self, index: u32) -> u64 {
        u64::from(self.slots[index as usize].generation) << 32 | u64::from(index)
    }

    /// The slot that `user_data` names, if it still is in flight.
    pub(crate) fn find(&self, user_data: u64) -> Option<u32> {
        let index = (user_data & 0xffff_ffff) as u32;
        let slot = self.slots.get(index as usize)?;
        let current = u64::from(slot.generation) == user_data >> 32;
        (current && slot.flight.is_some()).then_some(index)
    }
}

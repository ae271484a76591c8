//! What a store is asked, and what it answers.

use super::mail::StoreMail;
use crate::types::{Durability, PartitionId, Slot, Ticket};
use bytes::Bytes;
use reactor::op::{Mono, Op, Token};
use std::path::PathBuf;

/// The first byte of every token that a store chooses.
pub const TOKEN_TAG: u8 = 0x01;

/// Whether `token` was chosen by a store.
#[must_use]
pub const fn is_storage(token: Token) -> bool {
    token.0 >> 56 == TOKEN_TAG as u64
}

/// What a call to the store leaves behind for its caller to carry out.
#[derive(Debug, Default)]
pub struct Fx {
    pub ops: Vec<(Token, Op)>,
    pub events: Vec<Event>,
    /// Call [`Store::tick`](super::Store::tick) at this instant at the latest.
    pub wake_at: Option<Mono>,
}

impl Fx {
    /// Asks for a tick at `at`, unless one comes earlier anyway.
    pub(crate) fn wake(&mut self, at: Mono) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

/// Something that happened in a store.
#[derive(Debug)]
pub enum Event {
    /// To be handed to [`Store::on_mail`](super::Store::on_mail) of another shard, in order.
    Mail {
        to: u16,
        mail: StoreMail,
    },
    /// Shard 0 only: the metadata log may be read and appended to.
    MetadataReady,
    /// Every partition of this shard is recovered; reads and appends are welcome.
    Ready(RecoveryReport),
    /// Everything below `end_offset` is as durable as the partition's setting asks.
    Durable {
        slot: Slot,
        end_offset: i64,
    },
    /// A risen log start is durable.
    LogStart {
        slot: Slot,
        log_start: i64,
    },
    /// The end of a [`Reading::Pending`].
    Read {
        ticket: Ticket,
        result: Result<Vec<Bytes>, ReadError>,
    },
    /// The end of a [`Finding::Pending`].
    Found {
        ticket: Ticket,
        result: Result<Option<Found>, ReadError>,
    },
    /// A medium failed or lies: what is fenced takes no more appends until a restart. `slots` are
    /// the partitions that are meant: what others wait for becomes durable as ever.
    Fenced {
        what: String,
        why: String,
        slots: Vec<Slot>,
    },
    /// A log directory is full: appends are refused until [`Event::SpaceBack`].
    SpaceFull {
        dir: PathBuf,
        lacks: Lack,
    },
    /// It was tried again, in vain: what waits in it for space may wait for long.
    SpaceStillFull {
        dir: PathBuf,
    },
    SpaceBack {
        dir: PathBuf,
    },
    /// One line for a person's log.
    Notice(String),
    /// The start is impossible; says why and what to do.
    Failed(String),
    /// The end of [`Store::stop`](super::Store::stop).
    Stopped,
}

/// What a log directory has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    Space,
    /// The process may open no more files.
    OpenFiles,
}

/// What the recovery of one shard found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the life before ended without a clean stop.
    pub unclean: bool,
    /// This start's number: higher than that of any start before it.
    pub start_number: u64,
    pub partitions: Vec<RecoveredPartition>,
}

/// One partition after recovery. Partitions without any data are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredPartition {
    pub slot: Slot,
    pub id: PartitionId,
    pub log_start: i64,
    pub end: i64,
    pub durability: Durability,
    pub fenced: bool,
    /// Acknowledged records may be missing from the end: the leader epoch has to rise.
    pub may_have_lost: bool,
}

/// The place that a batch got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// Acknowledge when a [`Event::Durable`] names an end above this offset.
    pub last_offset: i64,
    /// -1 unless the topic's timestamps are those of the append.
    pub log_append_time_ms: i64,
    /// The batch was appended before: these are its offsets.
    pub duplicate: bool,
}

/// Why a batch was not appended. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The producer's sequence number is not the expected one.
    OutOfOrderSequence,
    /// A newer epoch of this producer is known.
    InvalidProducerEpoch,
    /// The disk is full; appends resume by themselves when it no longer is.
    NoSpace,
    /// The medium failed or lies.
    Fenced,
    /// Memory is used up for the moment: retry after the next completion.
    Busy,
}

/// What a read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub offset: i64,
    pub bytes_max: usize,
    /// Return the first batch even if it is larger than `bytes_max`.
    pub first_batch_whole: bool,
    /// No offset at or above this one is returned.
    pub upto: i64,
}

/// The answer to a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// Parts that lie one after the other: whole batches, the first of which holds the offset.
    Ready(Vec<Bytes>),
    /// An [`Event::Read`] with the ticket follows.
    Pending,
}

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    OutOfRange {
        log_start: i64,
        end: i64,
    },
    /// The partition is fenced and this part of it cannot be trusted.
    Fenced,
    /// The medium returned something else than what was written.
    Damaged,
}

/// What to look for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeQuery {
    /// The first record whose timestamp is at least this one (ms since 1970).
    AtOrAfter(i64),
    /// The first record that has the largest timestamp.
    Max,
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// The answer to a search by time.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    Ready(Option<Found>),
    /// An [`Event::Found`] with the ticket follows.
    Pending,
}

/// A partition's log at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    pub id: PartitionId,
    /// Below it nothing is served any more.
    pub log_start: i64,
    /// Below it nothing comes back, whatever happens: what may be acknowledged.
    pub log_start_durable: i64,
    /// The offset that the next record gets.
    pub end: i64,
    pub durable_end: i64,
    /// Bytes of all batches between log start's segment and the end.
    pub size_bytes: u64,
    /// The log directory that holds the partition.
    pub dir: PathBuf,
    /// -1 when no epoch is known.
    pub latest_epoch: i32,
    pub fenced: bool,
}

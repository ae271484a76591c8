//! What the files of a log directory say, for a person who looks at them while no broker runs, and
//! for fuzzing: every decoder of this crate's file formats is reachable from here.
//!
//! Nothing here trusts a file, and nothing here is used to serve or recover one.

use crate::format::round::{self, Entry, OPENING, OPENING_END, Parsed, ROUND_BYTES_MAX, State};
use crate::format::segment::{self, Ended, SegmentHeader};
use crate::format::{BLOCK_U64, DATA_START, PIECE, names, round::CLEAN, round::VOID};
use crate::log::checkpoint::Checkpoint;
use crate::types::{PartitionId, TopicId};
use bytes::Bytes;

/// Where the batches of a segment file begin.
pub const SEGMENT_DATA_START: u64 = DATA_START;
/// Bytes of a segment that one checksum of its sidecar covers.
pub const CHECKSUM_PIECE: u64 = PIECE;
/// Longest round of a journal, in bytes.
pub const JOURNAL_ROUND_BYTES_MAX: usize = ROUND_BYTES_MAX;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Batches from this base offset.
    Segment(i64),
    /// Checksums of the segment with this base offset.
    Checksums(i64),
    /// The index of the segment with this base offset.
    Index(i64),
    /// Derived state of a partition.
    Checkpoint,
    /// Rounds of a shard (`None`: of the metadata log), and the number of the file.
    Journal(Option<u16>, u64),
    /// What kind of directory this is.
    Meta,
}

/// What the name of a file says that it is.
#[must_use]
pub fn kind_of(name: &str) -> Option<Kind> {
    if let Some((base, extension)) = names::parse_segment(name) {
        return match extension {
            "log" => Some(Kind::Segment(base)),
            "sum" => Some(Kind::Checksums(base)),
            "idx" => Some(Kind::Index(base)),
            _ => None,
        };
    }
    if let Some((shard, number)) = names::parse_journal(name) {
        return Some(Kind::Journal(
            (shard != names::META_JOURNAL).then_some(shard),
            number,
        ));
    }
    match name {
        names::CHECKPOINT | names::RECENT => Some(Kind::Checkpoint),
        "meta" => Some(Kind::Meta),
        _ => None,
    }
}

/// The topic whose folder has this name.
#[must_use]
pub fn topic_of(name: &str) -> Option<TopicId> {
    names::parse_topic(name)
}

/// Where a segment ends, as what comes after it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndView {
    pub base: i64,
    /// File position behind the last batch.
    pub end: u64,
    /// -1 when no record has a timestamp.
    pub max_timestamp: i64,
}

impl From<Ended> for EndView {
    fn from(ended: Ended) -> Self {
        Self {
            base: ended.base,
            end: ended.end,
            max_timestamp: ended.max_timestamp,
        }
    }
}

/// The first block of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentView {
    pub id: PartitionId,
    pub base: i64,
    /// The segment before this one.
    pub before: Option<EndView>,
}

/// The header of a segment file, or `None` when it is damaged or missing.
#[must_use]
pub fn segment_header(file: &[u8]) -> Option<SegmentView> {
    SegmentHeader::decode(file).map(|header| SegmentView {
        id: header.id,
        base: header.base,
        before: header.before.map(EndView::from),
    })
}

/// The first `count` checksums of a segment's sidecar, or `None` when it is damaged, shorter, or
/// another segment's.
#[must_use]
pub fn checksums(file: &[u8], id: &PartitionId, base: i64, count: usize) -> Option<Vec<u32>> {
    segment::decode_sums(file, id, base, count)
}

/// What a log directory says of itself.
#[derive(Debug)]
pub struct MetaView {
    pub id: u64,
    /// The journals of the shards below this number must be here.
    pub shards: u16,
    /// The ids of all directories that the broker used together.
    pub together: Vec<u64>,
}

/// A log directory's file `meta`.
///
/// # Errors
/// In words for a person, when the file is damaged or of another version.
pub fn meta(file: &[u8]) -> Result<MetaView, String> {
    let meta = crate::format::meta::Meta::decode(file)?;
    Ok(MetaView {
        id: meta.dir_id,
        shards: meta.shards,
        together: meta.together,
    })
}

/// Derived state of a partition as of one place in its log.
#[derive(Debug)]
pub struct CheckpointView {
    /// Base offset of the segment.
    pub base: i64,
    /// Position in the segment's file.
    pub position: u64,
    /// The offset of the next batch.
    pub end: i64,
    pub index: crate::index::Index,
    pub producers: crate::producer::Producers,
    pub epochs: crate::epochs::Epochs,
}

/// A partition's checkpoint, or `None` when it is damaged or of another version.
#[must_use]
pub fn checkpoint(file: &[u8]) -> Option<CheckpointView> {
    Checkpoint::decode(file).map(|found| CheckpointView {
        base: found.base,
        position: found.pos,
        end: found.end,
        index: found.index,
        producers: found.producers,
        epochs: found.epochs,
    })
}

/// What lies at a place of a journal file where a round could begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    Round(RoundView),
    /// This many bytes from here are needed to tell.
    Longer(u64),
    /// Zeros, a torn round, or something old.
    Nothing,
}

/// One round of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundView {
    /// Bytes to the next round.
    pub len: u64,
    pub sequence: u64,
    /// Number of the start that wrote it.
    pub start: u64,
    /// Rounds below this number are no longer needed.
    pub low: u64,
    pub dir_id: u64,
    pub opening: bool,
    pub opening_end: bool,
    pub clean: bool,
    pub void: bool,
    pub entries: Vec<EntryView>,
}

/// One statement of a round. Positions are those of the segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryView {
    State {
        id: PartitionId,
        log_start: i64,
        before: Option<EndView>,
        base: i64,
        position: u64,
        end_offset: i64,
        checksums: usize,
        tail: Bytes,
    },
    Crumb {
        id: PartitionId,
        base: i64,
        position: u64,
        end_offset: i64,
        data: Bytes,
    },
    Extent {
        id: PartitionId,
        base: i64,
        position: u64,
        len: u64,
        crc: u32,
        end_offset: i64,
    },
    Roll {
        id: PartitionId,
        ended: EndView,
        base: i64,
    },
    Start {
        id: PartitionId,
        log_start: i64,
    },
    Fence {
        id: PartitionId,
        why: String,
    },
}

/// What lies at the start of `bytes`, whose journal file goes on for `room` bytes from there.
#[must_use]
pub fn journal_at(bytes: &Bytes, room: u64) -> JournalPlace {
    match round::parse(bytes, room) {
        Parsed::Nothing => JournalPlace::Nothing,
        Parsed::Longer(needed) => JournalPlace::Longer(needed),
        Parsed::Round(header, entries, len) => JournalPlace::Round(RoundView {
            len,
            sequence: header.sequence,
            start: header.start,
            low: header.low,
            dir_id: header.dir_id,
            opening: header.flags & OPENING != 0,
            opening_end: header.flags & OPENING_END != 0,
            clean: header.flags & CLEAN != 0,
            void: header.flags & VOID != 0,
            entries: entries.into_iter().map(EntryView::from).collect(),
        }),
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::State(state) => Self::from(state),
            Entry::Crumb {
                id,
                base,
                pos,
                end_offset,
                data,
            } => Self::Crumb {
                id,
                base,
                position: pos,
                end_offset,
                data,
            },
            Entry::Extent {
                id,
                base,
                pos,
                len,
                crc,
                end_offset,
            } => Self::Extent {
                id,
                base,
                position: pos,
                len,
                crc,
                end_offset,
            },
            Entry::Roll { id, ended, base } => Self::Roll {
                id,
                ended: ended.into(),
                base,
            },
            Entry::Start { id, log_start } => Self::Start { id, log_start },
            Entry::Fence { id, why } => Self::Fence {
                id,
                why: String::from_utf8_lossy(&why).into_owned(),
            },
        }
    }
}

impl From<State> for EntryView {
    fn from(state: State) -> Self {
        Self::State {
            id: state.id,
            log_start: state.log_start,
            before: state.before.map(EndView::from),
            base: state.base,
            position: state.pos,
            end_offset: state.end_offset,
            checksums: state.sums.len(),
            tail: state.tail,
        }
    }
}

/// The step in which a journal is searched for rounds.
pub const JOURNAL_STEP: u64 = BLOCK_U64;

//! What the shard that owns a partition answers.

use bytes::Bytes;
use storage::types::PartitionId;

/// Why a partition refused. The boundary (`api`) turns it into a Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    UnknownPartition,
    OffsetOutOfRange,
    FencedLeaderEpoch,
    UnknownLeaderEpoch,
    /// No space, a failed disk, damage: the log says what.
    Storage,
    CorruptMessage,
    InvalidRecord,
    MessageTooLarge,
    RecordListTooLarge,
    InvalidTimestamp,
    UnsupportedCompression,
    /// Kafka has no better word for it than its unknown server error.
    Unknown,
    InvalidTxnState,
    OutOfOrderSequence,
    InvalidProducerEpoch,
    TimedOut,
    /// The question has no meaning for this log.
    InvalidRequest,
}

#[derive(Debug)]
pub struct ProducedPart {
    pub index: u32,
    pub result: Result<Produced, Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    pub base_offset: i64,
    /// Milliseconds since the epoch, or -1 under CreateTime.
    pub log_append_time_ms: i64,
    pub log_start: i64,
}

/// Why nothing of a batch was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub trouble: Trouble,
    /// Index of a record in the batch and what is wrong with it (KIP-467).
    pub record_errors: Vec<(i32, Option<String>)>,
    pub message: Option<String>,
    pub log_start: i64,
}

impl Refusal {
    #[must_use]
    pub fn plain(trouble: Trouble) -> Self {
        Self {
            trouble,
            record_errors: Vec::new(),
            message: None,
            log_start: -1,
        }
    }
}

#[derive(Debug)]
pub struct FetchedPart {
    pub index: u32,
    pub result: Result<Fetched, FetchRefusal>,
}

#[derive(Debug, Default)]
pub struct Fetched {
    pub high_watermark: i64,
    pub last_stable: i64,
    pub log_start: i64,
    /// Whole batches, in order.
    pub data: Vec<Bytes>,
    /// The client's log parts from ours after this epoch, which ends at this offset (KIP-595).
    pub diverging: Option<(i32, i64)>,
}

impl Fetched {
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRefusal {
    pub trouble: Trouble,
}

/// Answer of ListOffsets; offset, timestamp and epoch are -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

pub type TimeAnswer = Result<Found, Trouble>;

/// Epoch and its end offset, (-1, -1) when unknown (KIP-320).
pub type EpochEnd = Result<(i32, i64), Trouble>;

/// The log start after DeleteRecords.
pub type Truncated = Result<i64, Trouble>;

/// One active producer of a partition, for DescribeProducers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
}

pub type ProducerList = Result<Vec<ActiveProducer>, Trouble>;

/// What a shard has in the log directories, for DescribeLogDirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogDirs {
    pub parts: Vec<LogDirPart>,
    /// Those that take no more appends of this shard.
    pub broken: Vec<String>,
}

/// One partition in a log directory, for DescribeLogDirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirPart {
    pub id: PartitionId,
    pub dir: String,
    pub size_bytes: u64,
}

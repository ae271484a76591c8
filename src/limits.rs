//! Every bound of the broker has its name here, ending in `_MAX`.

/// Characters of a topic name (`Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Bytes of records that a snapshot of the metadata puts into one batch; a single larger record
/// still makes a batch of its own.
pub const METADATA_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Records that one request may make: topics and partitions to create (Kafka's
/// `DEFAULT_MAX_RECORDS_PER_BATCH`).
pub const RECORDS_PER_REQUEST_MAX: u64 = 10_000;
/// Bytes of the metadata log since its last snapshot, beyond which the next one is written; more
/// only if a snapshot itself is that large.
pub const METADATA_TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of one segment of the metadata log, so that what lies before a snapshot is soon freed.
pub const METADATA_SEGMENT_BYTES_MAX: u64 = 4 * METADATA_TAIL_BYTES_MAX;

/// Bytes that the records of one compressed batch may inflate to: what is larger is a bomb.
pub const INFLATED_BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of one read while an internal log is replayed.
pub const REPLAY_READ_BYTES_MAX: usize = 1 << 20;

/// Most shards: shard numbers above are reserved for the control thread and internal answers.
pub const SHARDS_MAX: u16 = 1024;

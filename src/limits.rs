//! Every bound of the broker has its name here, ending in `_MAX`, and what must hold between them
//! is checked when it is compiled. Bounds that are settings are in `config`, those of one crate's
//! own workings in that crate.

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

/// Bytes of the records that one command may write to the metadata log: with the header of their
/// batch they fit into a segment.
pub const METADATA_WRITE_BYTES_MAX: usize = METADATA_SEGMENT_BYTES_MAX as usize - 4096;

/// Bytes that the records of one compressed batch may inflate to: what is larger is a bomb.
pub const INFLATED_BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes that produced batches may inflate to in one step of a shard before the rest of them waits
/// for the next step, so that other requests get their turn in between.
pub const STEP_INFLATED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of batches that a start after a kill should have to read again at most, for each shard: a
/// gigabyte takes about a second. It is no hard bound: with very many busy partitions each still
/// has a quarter of [`CHECKPOINT_BYTES_MAX`].
pub const RECOVERY_BYTES_MAX: u64 = 256 << 20;
/// Bytes of batches of one partition that it has to read again even when the power was gone.
pub const CHECKPOINT_BYTES_MAX: u64 = 16 << 20;

/// Bytes of one read while an internal log is replayed.
pub const REPLAY_READ_BYTES_MAX: usize = 1 << 20;

/// Most shards: shard numbers above are reserved for the control thread and internal answers.
pub const SHARDS_MAX: u16 = 1024;
/// Highest number of a node that shows its shards as brokers: the millions of a broker id are the
/// shard then.
pub const NODE_ID_WITH_SHARDS_MAX: i32 = 999_999;

/// Bytes of one connection's requests that are received and not yet answered; a single request may
/// be longer (`socket.request.max.bytes`).
pub const CONNECTION_IN_BYTES_MAX: usize = 4 << 20;
/// Bytes of replies that a peer has not taken, beyond which its requests wait.
pub const CONNECTION_OUT_BYTES_MAX: usize = 4 << 20;
/// Requests of one connection that are carried out at the same time.
pub const CONNECTION_REQUESTS_MAX: usize = 64;
/// Bytes of one send.
pub const SEND_BYTES_MAX: usize = 1 << 20;

/// Bytes that all connections of a shard may hold of requests that are not answered yet. Above it
/// those that hold more than [`SMALL_REQUEST_BYTES_MAX`] are received one after the other.
pub const REQUESTS_BYTES_MAX: usize = 256 << 20;
/// A connection that holds no more than this is received from in any case: small requests get
/// through whatever large ones do.
pub const SMALL_REQUEST_BYTES_MAX: usize = 64 << 10;

/// The share of a shard's arena that replies may hold before fetches get one batch at a time: one
/// part in this many.
pub const REPLIES_ARENA_PART_MAX: usize = 4;

/// Partitions that all fetch sessions of a shard remember. A session that would grow beyond is
/// ended, and a request that names more gets none: both are served, only not incrementally.
pub const SESSIONS_PARTITIONS_MAX: usize = 500_000;

/// Bytes that a shard reads from disk at the same time for fetches; others wait their turn.
pub const FETCH_READS_BYTES_MAX: usize = 64 << 20;

/// How long a peer may make no progress while memory is short, in milliseconds: then it is closed.
pub const STALLED_MS_MAX: u64 = 10_000;
/// How long one large request may take to come in while others wait for it, in milliseconds.
pub const TURN_MS_MAX: u64 = 30_000;
/// How long the last requests of a peer that has gone are carried out, in milliseconds.
pub const GONE_MS_MAX: u64 = 5_000;

/// How long a stopping shard waits for replies to be taken before it closes connections anyway, in
/// milliseconds.
pub const DRAIN_MS_MAX: u64 = 3_000;

const _: () = {
    // A connection that is full is still small beside what all may hold together.
    assert!(CONNECTION_IN_BYTES_MAX * 16 <= REQUESTS_BYTES_MAX);
    assert!(SMALL_REQUEST_BYTES_MAX < CONNECTION_IN_BYTES_MAX);
    assert!(SEND_BYTES_MAX <= CONNECTION_OUT_BYTES_MAX);
    // Who stalls goes before the turn of a large request is over.
    assert!(STALLED_MS_MAX < TURN_MS_MAX);
    assert!(REPLAY_READ_BYTES_MAX < FETCH_READS_BYTES_MAX);
    assert!(METADATA_BATCH_BYTES_MAX < METADATA_TAIL_BYTES_MAX as usize);
    assert!(SHARDS_MAX < u16::MAX - 1);
};

//! Every bound of the broker has its name here, ending in `_MAX`.

/// Characters of a topic name (`Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Bytes of records that a snapshot of the metadata puts into one batch; a single larger record
/// still makes a batch of its own.
pub const METADATA_BATCH_BYTES_MAX: usize = 256 * 1024;

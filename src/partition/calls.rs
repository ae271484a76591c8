//! What the origin of a request asks the shard that owns the partitions.

use reactor::op::Mono;
use storage::batch::Pieces;
use storage::types::PartitionId;

/// The parts of one Produce request that this shard owns.
#[derive(Debug)]
pub struct ProduceCall {
    pub parts: Vec<ProducePart>,
    /// Answer with a timeout if the records are not durable by then.
    pub deadline: Mono,
    /// acks=0: the answer does not wait for durability.
    pub until_durable: bool,
    /// Written by the broker itself (offsets, metadata): exempt from the size limit.
    pub internal: bool,
    /// Produce v7 and later may carry zstd (KIP-110).
    pub zstd_allowed: bool,
}

#[derive(Debug)]
pub struct ProducePart {
    /// Place in the request, returned with the result.
    pub index: u32,
    pub id: PartitionId,
    pub records: Pieces,
}

/// The parts of one Fetch request that this shard owns.
#[derive(Debug)]
pub struct FetchCall {
    pub parts: Vec<FetchPart>,
    pub bytes_max: usize,
    /// Answer as soon as this many bytes can be read, summed over the parts.
    pub bytes_min: u64,
    /// Answer with whatever there is at this instant.
    pub deadline: Mono,
    /// Other shards read other parts of the request: its origin adds up what can be read.
    pub shared: bool,
}

#[derive(Clone, Debug)]
pub struct FetchPart {
    /// Place in the request, returned with the result.
    pub index: u32,
    pub id: PartitionId,
    pub offset: i64,
    pub bytes_max: usize,
    /// The leader epoch the client believes in; -1: unchecked.
    pub leader_epoch: i32,
    /// Epoch of the last record the client has; -1: unknown (KIP-595 truncation detection).
    pub last_fetched_epoch: i32,
}

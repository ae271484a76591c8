//! What shards say to each other, and what one request asks of the shards that own its parts.

use std::net::IpAddr;
use std::sync::Arc;

use reactor::op::Space;
use storage::store::StoreMail;
use storage::types::PartitionId;

use crate::cluster::command::{Answer as CommandAnswer, Command};
use crate::cluster::image::Image;
use crate::coordinator::group::{GroupAnswer, GroupCall};
use crate::partition::answers::{
    EpochEnd, FetchedPart, LogDirs, ProducedPart, ProducerList, TimeAnswer, Truncated,
};
use crate::partition::calls::{FetchCall, ProduceCall};

use super::Report;
use super::connections::ConnId;

/// Mail between shards and from the control thread.
#[derive(Debug)]
pub enum Mail {
    /// Carry out `call` and send the answer back.
    Call {
        reply_to: ReplyTo,
        call: Call,
    },
    Answer {
        reply_to: ReplyTo,
        answer: Answer,
    },
    /// A parked fetch of this request need not wait any longer.
    Hurry {
        reply_to: ReplyTo,
    },
    /// So many bytes could a parked fetch read now; others read parts of the same request.
    Readable {
        reply_to: ReplyTo,
        bytes: u64,
    },
    /// To shard 0, which counts all connections: the sender has accepted one and does not serve it
    /// yet.
    Came {
        conn: ConnId,
        peer: IpAddr,
    },
    /// A connection may be served, or why not.
    Counted {
        conn: ConnId,
        peer: IpAddr,
        refused: Option<&'static str>,
    },
    /// To shard 0: a counted connection is gone.
    Left {
        peer: IpAddr,
    },
    /// A newer image of the cluster, from the controller's shard.
    Image {
        version: u64,
        image: Arc<Image>,
    },
    /// The sender has applied the image of this version.
    ImageApplied {
        version: u64,
    },
    /// The sender's log is recovered and its coordinators are loaded.
    Prepared {
        /// Partitions that may have lost records which were acknowledged from memory.
        lossy: Vec<PartitionId>,
    },
    /// Every shard is prepared: listen.
    Serve,
    Store(StoreMail),
    /// Stop: answer what is parked, end the connections, make everything durable.
    Drain,
    /// The sender has ended its connections and coordinators; the controller's shard stops last.
    Drained,
    /// From a shard to the control thread.
    Report(Report),
}

/// Where an answer goes: the shard that holds the request, the request, the part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo {
    pub shard: u16,
    pub request: u64,
    pub part: u32,
}

/// Work for the shard that owns what it names.
#[derive(Debug)]
pub enum Call {
    Produce(ProduceCall),
    Fetch(FetchCall),
    Partition {
        id: PartitionId,
        ask: PartitionAsk,
    },
    /// State of every partition of the shard, for DescribeLogDirs.
    LogDirs,
    /// Room in the file systems of the log directories, for DescribeLogDirs.
    Spaces,
    Group {
        partition: i32,
        call: Box<GroupCall>,
    },
    Control(Box<Command>),
}

/// A question about one partition.
#[derive(Debug)]
pub enum PartitionAsk {
    /// ListOffsets: a timestamp in milliseconds or one of Kafka's negative markers.
    Time {
        timestamp: i64,
        leader_epoch: i32,
        committed_only: bool,
    },
    EpochEnd {
        leader_epoch: i32,
        epoch: i32,
    },
    DeleteRecords {
        before: i64,
    },
    Producers,
}

/// What became of a [`Call`].
#[derive(Debug)]
pub enum Answer {
    Produced(Vec<ProducedPart>),
    Fetched(Vec<FetchedPart>),
    Time(TimeAnswer),
    EpochEnd(EpochEnd),
    Truncated(Truncated),
    Producers(ProducerList),
    LogDirs(LogDirs),
    /// In the order of the setting; `None` where the file system does not answer.
    Spaces(Vec<Option<Space>>),
    Group(Box<GroupAnswer>),
    Control(Box<CommandAnswer>),
}

//! What a group coordinator answers, and the effects a call leaves for the shell.

use super::call::{MemberName, TopicUuid};
use bytes::Bytes;
use reactor::op::Mono;
use std::sync::Arc;

/// Why a call, or a part of it, was refused. Each maps to one Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupError {
    /// UNKNOWN_TOPIC_OR_PARTITION (3)
    UnknownTopic,
    /// COORDINATOR_LOAD_IN_PROGRESS (14)
    Loading,
    /// COORDINATOR_NOT_AVAILABLE (15)
    NotAvailable,
    /// NOT_COORDINATOR (16)
    NotCoordinator,
    /// ILLEGAL_GENERATION (22)
    IllegalGeneration,
    /// INCONSISTENT_GROUP_PROTOCOL (23)
    InconsistentProtocol,
    /// INVALID_GROUP_ID (24)
    InvalidGroupId,
    /// UNKNOWN_MEMBER_ID (25)
    UnknownMember,
    /// INVALID_SESSION_TIMEOUT (26)
    InvalidSessionTimeout,
    /// REBALANCE_IN_PROGRESS (27)
    RebalanceInProgress,
    /// OFFSET_METADATA_TOO_LARGE (12)
    OffsetMetadataTooLarge,
    /// NON_EMPTY_GROUP (68)
    NonEmptyGroup,
    /// GROUP_ID_NOT_FOUND (69)
    GroupIdNotFound,
    /// MEMBER_ID_REQUIRED (79)
    MemberIdRequired,
    /// GROUP_MAX_SIZE_REACHED (81)
    GroupMaxSizeReached,
    /// FENCED_INSTANCE_ID (82)
    FencedInstance,
    /// GROUP_SUBSCRIBED_TO_TOPIC (86)
    SubscribedToTopic,
    /// UNKNOWN_SERVER_ERROR (-1)
    Unknown,
}

/// What became of one member of a call to leave.
pub type MemberLeft = (MemberName, Result<(), GroupError>);

/// The answer to a [`GroupCall`](super::call::GroupCall), of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAnswer {
    Join(Result<Joined, JoinRefused>),
    Sync(Result<Synced, GroupError>),
    Heartbeat(Result<(), GroupError>),
    Leave(Result<Vec<MemberLeft>, GroupError>),
    /// In the order of the call. An error as a whole goes into every partition.
    CommitOffsets(Result<Vec<TopicResults>, GroupError>),
    FetchOffsets(Result<Vec<FetchedTopic>, GroupError>),
    DeleteOffsets(Result<Vec<TopicResults>, GroupError>),
    /// An unknown group is [`GroupError::GroupIdNotFound`]; versions before 6 of DescribeGroups
    /// say state `Dead` without an error instead.
    Describe(Result<Described, GroupError>),
    Delete(Result<(), GroupError>),
    List(Result<Vec<Listed>, GroupError>),
}

/// A completed JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Empty if there is none.
    pub leader: Arc<str>,
    pub member: Arc<str>,
    pub skip_assignment: bool,
    /// Filled for the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub metadata: Bytes,
}

/// A refused JoinGroup. The response's generation is -1, its protocol name is empty (null from
/// version 7 on) and its leader is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: GroupError,
    /// The member id of the response: a new one with [`GroupError::MemberIdRequired`].
    pub member: Arc<str>,
}

/// A completed SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Bytes,
}

/// Outcomes of one topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicResults {
    pub name: Arc<str>,
    pub id: TopicUuid,
    pub partitions: Vec<(i32, Result<(), GroupError>)>,
}

/// Offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    pub name: Arc<str>,
    /// As in the call; all zero where the call asked for every offset.
    pub id: TopicUuid,
    pub partitions: Vec<FetchedPartition>,
}

/// One committed offset; offset and epoch are -1 and the metadata is empty if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    pub index: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub group: Arc<str>,
    /// `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Stable`.
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it; metadata only in a stable group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// A group as ListGroups shows it. Every group here is of type `classic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
}

/// Records to be appended, as one batch, to a partition of `__consumer_offsets`. The shell
/// says [`Groups::committed`](super::Groups::committed) or
/// [`Groups::failed`](super::Groups::failed) once for each, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub id: u64,
    pub partition: i32,
    /// Key and value; no value is a tombstone.
    pub records: Vec<(Bytes, Option<Bytes>)>,
}

/// Why a write failed, as the log said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// Unknown partition, too few replicas, or too late: COORDINATOR_NOT_AVAILABLE.
    Unavailable,
    /// No longer the leader, or the storage failed: NOT_COORDINATOR.
    Lost,
    /// The records are too large: UNKNOWN_SERVER_ERROR.
    TooLarge,
}

impl WriteFailure {
    /// The error that those waiting for the write are told.
    #[must_use]
    pub const fn error(self) -> GroupError {
        match self {
            Self::Unavailable => GroupError::NotAvailable,
            Self::Lost => GroupError::NotCoordinator,
            Self::TooLarge => GroupError::Unknown,
        }
    }
}

/// What the coordinator wants done after a call, a completion or a tick.
#[derive(Debug, Default)]
pub struct GroupFx {
    /// Answers under the tickets of their calls.
    pub replies: Vec<(u64, GroupAnswer)>,
    /// To be appended, in this order.
    pub writes: Vec<Write>,
    /// Partitions and offsets: everything before the offset is written again behind it and
    /// durable, so that the log may be deleted up to there.
    pub trims: Vec<(i32, i64)>,
    /// When [`Groups::tick`](super::Groups::tick) is due next, valid after every call.
    pub wake_at: Option<Mono>,
}

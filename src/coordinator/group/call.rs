//! What a client may ask of a group coordinator, free of wire formats and versions.
//!
//! Every call names one group; the API layer splits requests that name several.

use bytes::Bytes;
use std::sync::Arc;

/// The client behind a call, as shown by DescribeGroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The request header's client id, empty if it was null.
    pub id: Arc<str>,
    /// The peer's address as Kafka prints it: a slash, then the address.
    pub host: Arc<str>,
}

/// One request to a group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCall {
    Join(Join),
    Sync(Sync),
    Heartbeat(Heartbeat),
    Leave(Leave),
    CommitOffsets(CommitOffsets),
    FetchOffsets(FetchOffsets),
    DeleteOffsets(DeleteOffsets),
    Describe {
        group: Arc<str>,
    },
    Delete {
        group: Arc<str>,
    },
    /// Lists the groups of every partition loaded here; the partition of the call is not looked at.
    List(ListFilter),
}

/// JoinGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    pub group: Arc<str>,
    pub client: Client,
    /// Empty for a member that has no id yet.
    pub member: Arc<str>,
    /// `group.instance.id` (KIP-345, version 5 and later).
    pub instance: Option<Arc<str>>,
    pub session_timeout_ms: i32,
    /// `None` for version 0, where it equals the session timeout.
    pub rebalance_timeout_ms: Option<i32>,
    pub protocol_type: Arc<str>,
    /// The assignment protocols, preferred first, each with the member's metadata.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Version 4 and later: a dynamic member must come back with an id given to it (KIP-394).
    pub member_id_required: bool,
    /// Version 9 and later: a returning static leader can be told to skip the assignment (KIP-814).
    pub can_skip_assignment: bool,
}

/// SyncGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    pub group: Arc<str>,
    pub generation: i32,
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    /// Version 5 and later (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// Version 5 and later (KIP-559).
    pub protocol_name: Option<Arc<str>>,
    /// Member id and assignment; only the leader's are used.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    pub group: Arc<str>,
    pub generation: i32,
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
}

/// LeaveGroup: versions before 3 carry exactly one member without an instance id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    pub group: Arc<str>,
    pub members: Vec<MemberName>,
}

/// A member by its id, its instance id, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberName {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
}

/// The topic UUID of an offset: all zero when the client named the topic only.
pub type TopicUuid = [u8; 16];

/// OffsetCommit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitOffsets {
    /// `None` (a null string) is refused; the empty group id is allowed.
    pub group: Option<Arc<str>>,
    /// -1: no generation, as a consumer without group membership sends.
    pub generation: i32,
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    /// Versions 2 to 4, milliseconds; `None` for the wire's -1.
    pub retention_ms: Option<i64>,
    /// Version 9 and later know GROUP_ID_NOT_FOUND; older ones get ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    pub topics: Vec<CommitTopic>,
}

/// The offsets of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitTopic {
    pub name: Arc<str>,
    pub id: TopicUuid,
    /// The shard of the group knows no such topic (any more): nothing is stored for it, because
    /// nobody would delete it with the topic.
    pub is_gone: bool,
    pub partitions: Vec<CommitPartition>,
}

/// One offset to be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitPartition {
    pub index: i32,
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    /// A null string is the empty one.
    pub metadata: Arc<str>,
}

/// OffsetFetch of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchOffsets {
    /// `None` (a null string) is refused; the empty group id is allowed.
    pub group: Option<Arc<str>>,
    /// `None`: every offset of the group.
    pub topics: Option<Vec<FetchTopic>>,
    /// Wait for commits that are under way (KIP-447).
    pub require_stable: bool,
}

/// The partitions of one topic whose offsets are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTopic {
    pub name: Arc<str>,
    /// An offset committed for another topic of the same name is not shown (KIP-848, version 10).
    pub id: TopicUuid,
    pub partitions: Vec<i32>,
}

/// OffsetDelete (KIP-496).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOffsets {
    pub group: Arc<str>,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// The filters of ListGroups; an empty one lets everything pass. Compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    pub states: Vec<Arc<str>>,
    pub types: Vec<Arc<str>>,
}

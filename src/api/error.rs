//! Kafka's error codes (`Errors.java`, 4.2), and which trouble of the domain each stands for.

use crate::cluster::error::ErrorKind;
use crate::coordinator::group::GroupError;
use crate::partition::answers::Trouble;

use super::session::SessionError;

/// An error code on the wire; `NONE` is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub i16);

macro_rules! codes {
    ($($name:ident = $code:literal,)*) => {
        impl Code {
            $(pub const $name: Self = Self($code);)*
        }
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1,
    NONE = 0,
    OFFSET_OUT_OF_RANGE = 1,
    CORRUPT_MESSAGE = 2,
    UNKNOWN_TOPIC_OR_PARTITION = 3,
    NOT_LEADER_OR_FOLLOWER = 6,
    REQUEST_TIMED_OUT = 7,
    MESSAGE_TOO_LARGE = 10,
    OFFSET_METADATA_TOO_LARGE = 12,
    COORDINATOR_LOAD_IN_PROGRESS = 14,
    COORDINATOR_NOT_AVAILABLE = 15,
    NOT_COORDINATOR = 16,
    INVALID_TOPIC = 17,
    RECORD_LIST_TOO_LARGE = 18,
    INVALID_REQUIRED_ACKS = 21,
    ILLEGAL_GENERATION = 22,
    INCONSISTENT_GROUP_PROTOCOL = 23,
    INVALID_GROUP_ID = 24,
    UNKNOWN_MEMBER_ID = 25,
    INVALID_SESSION_TIMEOUT = 26,
    REBALANCE_IN_PROGRESS = 27,
    INVALID_TIMESTAMP = 32,
    UNSUPPORTED_VERSION = 35,
    TOPIC_ALREADY_EXISTS = 36,
    INVALID_PARTITIONS = 37,
    INVALID_REPLICATION_FACTOR = 38,
    INVALID_REPLICA_ASSIGNMENT = 39,
    INVALID_CONFIG = 40,
    INVALID_REQUEST = 42,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45,
    INVALID_PRODUCER_EPOCH = 47,
    INVALID_TXN_STATE = 48,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    POLICY_VIOLATION = 44,
    KAFKA_STORAGE_ERROR = 56,
    NON_EMPTY_GROUP = 68,
    GROUP_ID_NOT_FOUND = 69,
    FETCH_SESSION_ID_NOT_FOUND = 70,
    INVALID_FETCH_SESSION_EPOCH = 71,
    TOPIC_DELETION_DISABLED = 73,
    FENCED_LEADER_EPOCH = 74,
    UNKNOWN_LEADER_EPOCH = 75,
    UNSUPPORTED_COMPRESSION_TYPE = 76,
    MEMBER_ID_REQUIRED = 79,
    GROUP_MAX_SIZE_REACHED = 81,
    FENCED_INSTANCE_ID = 82,
    GROUP_SUBSCRIBED_TO_TOPIC = 86,
    INVALID_RECORD = 87,
    UNKNOWN_TOPIC_ID = 100,
    FETCH_SESSION_TOPIC_ID_ERROR = 106,
    MISMATCHED_ENDPOINT_TYPE = 114,
    UNSUPPORTED_ENDPOINT_TYPE = 115,
}

impl From<Trouble> for Code {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::UnknownPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            Trouble::OffsetOutOfRange => Self::OFFSET_OUT_OF_RANGE,
            Trouble::FencedLeaderEpoch => Self::FENCED_LEADER_EPOCH,
            Trouble::UnknownLeaderEpoch => Self::UNKNOWN_LEADER_EPOCH,
            Trouble::Storage => Self::KAFKA_STORAGE_ERROR,
            Trouble::CorruptMessage => Self::CORRUPT_MESSAGE,
            Trouble::InvalidRecord => Self::INVALID_RECORD,
            Trouble::MessageTooLarge => Self::MESSAGE_TOO_LARGE,
            Trouble::RecordListTooLarge => Self::RECORD_LIST_TOO_LARGE,
            Trouble::InvalidTimestamp => Self::INVALID_TIMESTAMP,
            Trouble::UnsupportedCompression => Self::UNSUPPORTED_COMPRESSION_TYPE,
            Trouble::Unknown => Self::UNKNOWN_SERVER_ERROR,
            Trouble::InvalidTxnState => Self::INVALID_TXN_STATE,
            Trouble::OutOfOrderSequence => Self::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Trouble::InvalidProducerEpoch => Self::INVALID_PRODUCER_EPOCH,
            Trouble::TimedOut => Self::REQUEST_TIMED_OUT,
            Trouble::InvalidRequest => Self::INVALID_REQUEST,
        }
    }
}

impl From<GroupError> for Code {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::UnknownTopic => Self::UNKNOWN_TOPIC_OR_PARTITION,
            GroupError::Loading => Self::COORDINATOR_LOAD_IN_PROGRESS,
            GroupError::NotAvailable => Self::COORDINATOR_NOT_AVAILABLE,
            GroupError::NotCoordinator => Self::NOT_COORDINATOR,
            GroupError::IllegalGeneration => Self::ILLEGAL_GENERATION,
            GroupError::InconsistentProtocol => Self::INCONSISTENT_GROUP_PROTOCOL,
            GroupError::InvalidGroupId => Self::INVALID_GROUP_ID,
            GroupError::UnknownMember => Self::UNKNOWN_MEMBER_ID,
            GroupError::InvalidSessionTimeout => Self::INVALID_SESSION_TIMEOUT,
            GroupError::RebalanceInProgress => Self::REBALANCE_IN_PROGRESS,
            GroupError::OffsetMetadataTooLarge => Self::OFFSET_METADATA_TOO_LARGE,
            GroupError::NonEmptyGroup => Self::NON_EMPTY_GROUP,
            GroupError::GroupIdNotFound => Self::GROUP_ID_NOT_FOUND,
            GroupError::MemberIdRequired => Self::MEMBER_ID_REQUIRED,
            GroupError::GroupMaxSizeReached => Self::GROUP_MAX_SIZE_REACHED,
            GroupError::FencedInstance => Self::FENCED_INSTANCE_ID,
            GroupError::SubscribedToTopic => Self::GROUP_SUBSCRIBED_TO_TOPIC,
            GroupError::Unknown => Self::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::TopicAlreadyExists => Self::TOPIC_ALREADY_EXISTS,
            ErrorKind::UnknownTopic | ErrorKind::UnknownPartition => {
                Self::UNKNOWN_TOPIC_OR_PARTITION
            }
            ErrorKind::UnknownTopicId => Self::UNKNOWN_TOPIC_ID,
            ErrorKind::InvalidTopicName => Self::INVALID_TOPIC,
            ErrorKind::InvalidPartitions => Self::INVALID_PARTITIONS,
            ErrorKind::InvalidReplicationFactor => Self::INVALID_REPLICATION_FACTOR,
            ErrorKind::InvalidReplicaAssignment => Self::INVALID_REPLICA_ASSIGNMENT,
            ErrorKind::InvalidConfig => Self::INVALID_CONFIG,
            ErrorKind::InvalidRequest => Self::INVALID_REQUEST,
            ErrorKind::TopicDeletionDisabled => Self::TOPIC_DELETION_DISABLED,
            ErrorKind::PolicyViolation => Self::POLICY_VIOLATION,
            ErrorKind::Storage => Self::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<SessionError> for Code {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::FETCH_SESSION_ID_NOT_FOUND,
            SessionError::InvalidEpoch => Self::INVALID_FETCH_SESSION_EPOCH,
            SessionError::TopicIdMismatch => Self::FETCH_SESSION_TOPIC_ID_ERROR,
        }
    }
}

/// `Errors.UNKNOWN_TOPIC_OR_PARTITION`'s own words, where Kafka sends them.
pub(super) const UNKNOWN_TOPIC_OR_PARTITION: &str =
    "This server does not host this topic-partition.";

/// `Errors.INVALID_REQUEST`'s own words, where Kafka sends them.
pub(super) const INVALID_REQUEST: &str = "This most likely occurs because of a request being \
    malformed by the client library or the message was sent to an incompatible broker. See the \
    broker logs for more details.";

/// The code of a result that carries no value the wire wants.
pub fn code_of<T, E: Copy + Into<Code>>(result: &Result<T, E>) -> i16 {
    match result {
        Ok(_) => 0,
        Err(error) => (*error).into().0,
    }
}

//! What can be wrong with a command, in domain terms. The wire's numbers live in `src/api`.

use std::fmt;

/// The kind of refusal; each has exactly one Kafka error code, chosen in `src/api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    TopicAlreadyExists,
    UnknownTopic,
    UnknownTopicId,
    InvalidTopicName,
    InvalidPartitions,
    InvalidReplicationFactor,
    InvalidReplicaAssignment,
    InvalidConfig,
    InvalidRequest,
    TopicDeletionDisabled,
    /// The request asks for more than one request may.
    PolicyViolation,
    UnknownPartition,
    /// The metadata log could not take the records; nothing changed.
    Storage,
}

/// A refusal: the kind for code, the message for people (Kafka's words where its tools print them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

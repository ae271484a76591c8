//! Why bytes are not a message.

use std::fmt;

/// What is wrong with a frame. The peer's fault, always: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The frame ends before the value does.
    Truncated,
    /// A declared length or count is negative or cannot fit into the bytes that remain.
    Length(i64),
    /// A variable length integer of more than five bytes or more than 32 bits.
    Varint,
    /// A string that is not UTF-8.
    Utf8,
    /// Null in a version that does not allow it.
    Null { field: &'static str },
    /// A tagged field whose value is not as long as its declared size.
    TagSize { tag: u32 },
    /// The decoded form would take more memory than [`DECODE_RATIO_MAX`](super::DECODE_RATIO_MAX)
    /// allows for a frame of this length.
    Memory,
    /// A request of an API that is not in [`TABLE`](super::api::TABLE).
    UnknownApi(i16),
    /// A known API in a version that is not decoded.
    UnsupportedVersion { key: i16, version: i16 },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the frame ends inside a value"),
            Self::Length(length) => write!(f, "declared length {length} does not fit the frame"),
            Self::Varint => write!(f, "malformed variable length integer"),
            Self::Utf8 => write!(f, "a string is not UTF-8"),
            Self::Null { field } => write!(f, "{field} is null in a version that forbids it"),
            Self::TagSize { tag } => write!(f, "tagged field {tag} is not as long as declared"),
            Self::Memory => write!(f, "the decoded message would outgrow its frame too far"),
            Self::UnknownApi(key) => write!(f, "unknown API key {key}"),
            Self::UnsupportedVersion { key, version } => {
                write!(f, "API key {key} is not supported in version {version}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

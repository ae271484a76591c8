//! The records of `__consumer_offsets`, byte for byte as Kafka 4.2 writes them
//! (`GroupMetadataKey.json`, `GroupMetadataValue.json`, `OffsetCommitKey.json`,
//! `OffsetCommitValue.json`). Versions that Kafka ever wrote are read.

mod bytes;
mod group_metadata;
mod offset_commit;

pub(super) use self::bytes::Input;
pub use self::bytes::Malformed;
pub(super) use group_metadata::{GroupMetadata, MemberMetadata, group_key};
pub(super) use offset_commit::{OffsetCommit, offset_key};

use self::bytes::Output;
use std::sync::Arc;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Group(Arc<str>),
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
    },
}

impl Key {
    /// # Errors
    /// A key of a kind not known here, or one that is cut short or too long.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let key = match input.i16()? {
            0 | 1 => Self::Offset {
                group: input.string()?,
                topic: input.string()?,
                partition: input.i32()?,
            },
            2 => Self::Group(input.string()?),
            _ => return Err(Malformed),
        };
        input.end()?;
        Ok(key)
    }
}

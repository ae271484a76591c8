//! The frame around derived state on disk: who wrote it, which version, whether it is whole.
//!
//! ```text
//! magic 4 | version u16 | zero u16 | length of the payload u32 | CRC-32C u32 | payload
//! ```
//! Little-endian. The CRC covers the twelve bytes before it and the payload. What follows the
//! payload is padding and not looked at.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Frame {
    magic: [u8; 4],
    version: U16,
    zero: U16,
    length: U32,
    crc: U32,
}

/// Bytes of the frame that its CRC covers.
const COVERED: usize = size_of::<Frame>() - 4;

/// Why a checkpoint is not believed. Its state is then derived from the log again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// It ends before its declared length.
    Short,
    /// Something else than what was looked for.
    Magic,
    /// Written by another version.
    Version(u16),
    Crc,
    /// The CRC is right and the content impossible.
    Content,
}

impl std::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => f.write_str("the checkpoint is cut off"),
            Self::Magic => f.write_str("this is not the expected kind of checkpoint"),
            Self::Version(version) => write!(f, "the checkpoint has the unknown version {version}"),
            Self::Crc => f.write_str("the checkpoint's CRC is wrong"),
            Self::Content => f.write_str("the checkpoint's content is impossible"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// `payload` in its frame, or `None` when it does not fit 32 bits of length.
pub(crate) fn seal(magic: [u8; 4], version: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Frame {
        magic,
        version: U16::new(version),
        zero: U16::ZERO,
        length: U32::new(u32::try_from(payload.len()).ok()?),
        crc: U32::ZERO,
    };
    frame.crc.set(crc(&frame, payload));
    Some([frame.as_bytes(), payload].concat())
}

/// The payload of the checkpoint at the start of `bytes`.
pub(crate) fn open(magic: [u8; 4], version: u16, bytes: &[u8]) -> Result<&[u8], CheckpointError> {
    let (frame, rest) = Frame::ref_from_prefix(bytes).map_err(|_| CheckpointError::Short)?;
    if frame.magic != magic {
        return Err(CheckpointError::Magic);
    }
    if frame.version.get() != version {
        return Err(CheckpointError::Version(frame.version.get()));
    }
    let payload = usize::try_from(frame.length.get())
        .ok()
        .and_then(|length| rest.get(..length))
        .ok_or(CheckpointError::Short)?;
    if frame.crc.get() != crc(frame, payload) {
        return Err(CheckpointError::Crc);
    }
    Ok(payload)
}

fn crc(frame: &Frame, payload: &[u8]) -> u32 {
    crate::crc::crc32c_append(crate::crc::crc32c(&frame.as_bytes()[..COVERED]), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every single changed byte, wherever it lies, and every cut is noticed; padding is not.
        #[test]
        fn damage_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            padding in 0usize..9,
        ) {
            let mut sealed = seal(*b"TEST", 3, &payload).expect("small");
            let len = sealed.len();
            sealed.resize(len + padding, 0xee);
            prop_assert_eq!(open(*b"TEST", 3, &sealed), Ok(&payload[..]));
            let at = at.index(len);
            prop_assert!(open(*b"TEST", 3, &sealed[..at]).is_err());
            sealed[at] ^= flip;
            prop_assert!(open(*b"TEST", 3, &sealed).is_err());
        }
    }
}

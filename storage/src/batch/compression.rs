//! The codecs of a batch's records: names, levels, and inflation that is bounded.

use super::admit::Reject;
use super::{lz4, snappy};
use flate2::read::MultiGzDecoder;
use std::io::{self, Read, Write};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The number in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// What a topic wants its batches compressed with (`compression.type`), or what a builder uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// As the producer sent it. A builder compresses nothing.
    #[default]
    Producer,
    None,
    /// `level` 1 to 9, or -1 for zlib's default.
    Gzip {
        level: i32,
    },
    Snappy,
    /// `level` 1 to 17 is accepted as in Kafka; the one fast encoder here serves all of them.
    Lz4 {
        level: i32,
    },
    /// `level` -131072 to 22.
    Zstd {
        level: i32,
    },
}

/// Kafka's default for `compression.gzip.level`.
const GZIP_LEVEL: i32 = -1;
/// Kafka's default for `compression.lz4.level`.
const LZ4_LEVEL: i32 = 9;
/// Kafka's default for `compression.zstd.level`.
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// The codec to store a batch with that came compressed with `source`.
    #[must_use]
    pub const fn target(self, source: Codec) -> Codec {
        match self {
            Self::Producer => source,
            Self::None => Codec::None,
            Self::Gzip { .. } => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 { .. } => Codec::Lz4,
            Self::Zstd { .. } => Codec::Zstd,
        }
    }

    /// `codec` at Kafka's default level.
    #[must_use]
    pub const fn default_of(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip { level: GZIP_LEVEL },
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4 { level: LZ4_LEVEL },
            Codec::Zstd => Self::Zstd { level: ZSTD_LEVEL },
        }
    }
}

/// Why records do not inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// They inflate to more than was allowed.
    TooLarge,
    /// They are not what the codec's encoder writes.
    Broken,
}

impl InflateError {
    pub(crate) const fn reject(self) -> Reject {
        match self {
            // A producer answers this error by splitting the batch, which is the cure.
            Self::TooLarge => Reject::MessageTooLarge,
            Self::Broken => Reject::Undecodable,
        }
    }
}

/// Bytes by which the output of inflation grows at a time: memory follows what really inflates.
const INFLATE_STEP: usize = 64 * 1024;

/// Largest window of a zstd frame, as a power of two: the most that encoders use without being
/// asked (and the limit of zstd's own command line).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The inflated record area, or `None` when `codec` leaves it as it is.
///
/// # Errors
/// When it is broken, or inflates to more than `bytes_max` bytes.
pub(crate) fn inflate(
    codec: Codec,
    area: &[u8],
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, InflateError> {
    match codec {
        Codec::None => Ok(None),
        Codec::Gzip => read_bounded(MultiGzDecoder::new(area), area.len(), bytes_max).map(Some),
        Codec::Snappy => snappy::inflate(area, bytes_max).map(Some),
        Codec::Lz4 => lz4::inflate(area, bytes_max).map(Some),
        Codec::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(area).map_err(|_| InflateError::Broken)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|_| InflateError::Broken)?;
            read_bounded(decoder, area.len(), bytes_max).map(Some)
        }
    }
}

/// Reads all of `source`, but never more than `bytes_max` bytes, growing step by step.
pub(super) fn read_bounded(
    mut source: impl Read,
    hint: usize,
    bytes_max: usize,
) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut filled = 0;
    let mut step = hint.clamp(512, INFLATE_STEP);
    loop {
        if filled == out.len() {
            if filled > bytes_max {
                return Err(InflateError::TooLarge);
            }
            // One byte more than allowed, so that reading it proves the excess.
            out.resize((filled + step).min(bytes_max + 1), 0);
            step = (filled / 2).max(INFLATE_STEP);
        }
        match source.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(InflateError::Broken),
        }
    }
    if filled > bytes_max {
        return Err(InflateError::TooLarge);
    }
    out.truncate(filled);
    Ok(out)
}

/// Compresses a record area. `None` when the encoder fails, which it does only for want of memory
/// or an impossible level.
pub(crate) fn deflate(compression: Compression, area: &[u8]) -> Option<Vec<u8>> {
    match compression {
        Compression::Producer | Compression::None => Some(area.to_vec()),
        Compression::Gzip { level } => {
            let level = match u32::try_from(level) {
                Ok(level) => flate2::Compression::new(level.min(9)),
                Err(_) => flate2::Compression::default(),
            };
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(area).ok()?;
            encoder.finish().ok()
        }
        Compression::Snappy => Some(snappy::deflate(area)),
        // The encoder has one level.
        Compression::Lz4 { .. } => Some(lz4::deflate(area)),
        Compression::Zstd { level } => zstd::bulk::compress(area, level).ok(),
    }
}

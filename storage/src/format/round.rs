//! A round of the journal: a header, then entries, padded to whole blocks.

use super::cursor::{Cursor, put_partition};
use super::segment::{Ended, put_ended, take_ended};
use super::{BLOCK_U64, PIECE, VERSION, block_ceil};
use crate::types::PartitionId;
use bytes::Bytes;

const MAGIC: u32 = u32::from_le_bytes(*b"RLJR");

/// Length of a round's header in bytes.
pub(crate) const ROUND_HEADER_LEN: usize = 68;

/// The longest round in bytes, header and padding included.
pub(crate) const ROUND_BYTES_MAX: usize = 8 << 20;

/// The round belongs to the opening of a start.
pub(crate) const OPENING: u16 = 1;
/// The last round of an opening: without it the opening does not count.
pub(crate) const OPENING_END: u16 = 2;
/// The last round of a clean stop.
pub(crate) const CLEAN: u16 = 4;
/// Ends the journal of a shard that is gone.
pub(crate) const VOID: u16 = 8;

/// What every round says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundHeader {
    pub(crate) flags: u16,
    pub(crate) shard: u16,
    pub(crate) dir_id: u64,
    /// Number of the round in its journal; never used twice for an acknowledged round.
    pub(crate) sequence: u64,
    /// Number of the start that wrote it.
    pub(crate) start: u64,
    /// Rounds below this number are no longer needed.
    pub(crate) low: u64,
    /// Unknown to clients, so that no payload can pose as a round.
    pub(crate) salt: u64,
    /// The salt of the start before: proves that an opening continues this journal.
    pub(crate) salt_before: u64,
}

/// One statement of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Everything that must be known of a partition whose older blocks are durable in segments.
    State(State),
    /// Bytes of a segment that lie here and not necessarily there.
    Crumb {
        id: PartitionId,
        base: i64,
        pos: u64,
        end_offset: i64,
        data: Bytes,
    },
    /// Whole blocks that this round wrote to the segment.
    Extent {
        id: PartitionId,
        base: i64,
        pos: u64,
        len: u64,
        crc: u32,
        end_offset: i64,
    },
    /// The segment `ended` is complete; batches go on in the one at `base`.
    Roll {
        id: PartitionId,
        ended: Ended,
        base: i64,
    },
    /// The log starts here from now on.
    Start { id: PartitionId, log_start: i64 },
    /// The partition is damaged: nothing that the journal knew of it can be trusted.
    Fence { id: PartitionId, why: Bytes },
}

/// See [`Entry::State`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) id: PartitionId,
    pub(crate) log_start: i64,
    pub(crate) before: Option<Ended>,
    pub(crate) base: i64,
    /// Where the tail begins: a multiple of a block.
    pub(crate) pos: u64,
    pub(crate) end_offset: i64,
    /// CRC-32C from the start of the tail's piece to the tail.
    pub(crate) piece_crc: u32,
    /// Number of the first checksum in `sums`: those before are durable in the sidecar.
    pub(crate) sums_from: u32,
    /// Checksums of the pieces between the sidecar's last and the tail's.
    pub(crate) sums: Vec<u32>,
    pub(crate) tail: Bytes,
}

impl Entry {
    pub(crate) const fn id(&self) -> PartitionId {
        match self {
            Self::State(state) => state.id,
            Self::Crumb { id, .. }
            | Self::Extent { id, .. }
            | Self::Roll { id, .. }
            | Self::Start { id, .. }
            | Self::Fence { id, .. } => *id,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::State(state) => state.encode(out),
            Self::Crumb {
                id,
                base,
                pos,
                end_offset,
                data,
            } => {
                put_crumb(
                    out,
                    id,
                    *base,
                    *pos,
                    *end_offset,
                    std::slice::from_ref(data),
                );
            }
            Self::Extent {
                id,
                base,
                pos,
                len,
                crc,
                end_offset,
            } => {
                put_head(out, 3, id, *base);
                out.extend_from_slice(&pos.to_le_bytes());
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(&crc.to_le_bytes());
                out.extend_from_slice(&end_offset.to_le_bytes());
            }
            Self::Roll { id, ended, base } => {
                put_head(out, 4, id, *base);
                put_ended(out, Some(*ended));
            }
            Self::Start { id, log_start } => put_head(out, 5, id, *log_start),
            Self::Fence { id, why } => {
                put_head(out, 6, id, 0);
                put_data(out, std::slice::from_ref(why));
            }
        }
    }

    fn decode(cursor: &mut Cursor<'_>, payload: &Bytes) -> Option<Self> {
        let kind = cursor.u8()?;
        let id = cursor.partition()?;
        let base = cursor.i64()?;
        match kind {
            1 => State::decode(id, base, cursor, payload).map(Self::State),
            2 => {
                let (pos, end_offset) = (cursor.u64()?, cursor.i64()?);
                let data = take_data(cursor, payload)?;
                Some(Self::Crumb {
                    id,
                    base,
                    pos,
                    end_offset,
                    data,
                })
            }
            3 => Some(Self::Extent {
                id,
                base,
                pos: aligned(cursor.u64()?)?,
                len: aligned(cursor.u64()?)?,
                crc: cursor.u32()?,
                end_offset: cursor.i64()?,
            }),
            4 => Some(Self::Roll {
                id,
                ended: take_ended(cursor)??,
                base,
            }),
            5 => Some(Self::Start {
                id,
                log_start: base,
            }),
            6 => Some(Self::Fence {
                id,
                why: take_data(cursor, payload)?,
            }),
            _ => None,
        }
    }
}

fn aligned(pos: u64) -> Option<u64> {
    (pos.is_multiple_of(BLOCK_U64) && pos < u64::MAX / 4).then_some(pos)
}

fn put_head(out: &mut Vec<u8>, kind: u8, id: &PartitionId, base: i64) {
    out.push(kind);
    put_partition(out, id);
    out.extend_from_slice(&base.to_le_bytes());
}

/// Encodes a crumb from parts, without joining them first.
pub(crate) fn put_crumb(
    out: &mut Vec<u8>,
    id: &PartitionId,
    base: i64,
    pos: u64,
    end_offset: i64,
    parts: &[Bytes],
) {
    put_head(out, 2, id, base);
    out.extend_from_slice(&pos.to_le_bytes());
    out.extend_from_slice(&end_offset.to_le_bytes());
    put_data(out, parts);
}

fn put_data(out: &mut Vec<u8>, parts: &[Bytes]) {
    let len: usize = parts.iter().map(Bytes::len).sum();
    let len = u32::try_from(len).expect("a round is far shorter than 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn take_data(cursor: &mut Cursor<'_>, payload: &Bytes) -> Option<Bytes> {
    let len = cursor.u32()? as usize;
    let from = payload.len() - cursor.0.len();
    cursor.take(len)?;
    Some(payload.slice(from..from + len))
}

impl State {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_head(out, 1, &self.id, self.base);
        out.extend_from_slice(&self.log_start.to_le_bytes());
        put_ended(out, self.before);
        out.extend_from_slice(&self.pos.to_le_bytes());
        out.extend_from_slice(&self.end_offset.to_le_bytes());
        out.extend_from_slice(&self.piece_crc.to_le_bytes());
        out.extend_from_slice(&self.sums_from.to_le_bytes());
        let count = u32::try_from(self.sums.len()).expect("a segment has fewer pieces");
        out.extend_from_slice(&count.to_le_bytes());
        for sum in &self.sums {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        put_data(out, std::slice::from_ref(&self.tail));
    }

    fn decode(
        id: PartitionId,
        base: i64,
        cursor: &mut Cursor<'_>,
        payload: &Bytes,
    ) -> Option<Self> {
        let log_start = cursor.i64()?;
        let before = take_ended(cursor)?;
        let pos = aligned(cursor.u64()?)?;
        let end_offset = cursor.i64()?;
        let piece_crc = cursor.u32()?;
        let sums_from = cursor.u32()?;
        let count = cursor.u32()? as usize;
        let sums = cursor.u32s(count)?;
        let tail = take_data(cursor, payload)?;
        // Every piece before the tail's own has its checksum, here or in the sidecar.
        let known = u64::from(sums_from) + sums.len() as u64;
        (pos >= BLOCK_U64 && known == pos / PIECE).then_some(Self {
            id,
            log_start,
            before,
            base,
            pos,
            end_offset,
            piece_crc,
            sums_from,
            sums,
            tail,
        })
    }
}

impl RoundHeader {
    /// Finishes a round: `round` begins with [`ROUND_HEADER_LEN`] bytes left free, followed by the
    /// entries; the result is whole blocks.
    pub(crate) fn seal(&self, round: &mut Vec<u8>) {
        let payload =
            u32::try_from(round.len() - ROUND_HEADER_LEN).expect("bounded by its builder");
        let mut head = Vec::with_capacity(ROUND_HEADER_LEN);
        head.extend_from_slice(&MAGIC.to_le_bytes());
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&self.flags.to_le_bytes());
        head.extend_from_slice(&self.shard.to_le_bytes());
        head.extend_from_slice(&0_u16.to_le_bytes());
        for number in [
            self.dir_id,
            self.sequence,
            self.start,
            self.low,
            self.salt,
            self.salt_before,
        ] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&payload.to_le_bytes());
        let crc = crate::crc::crc32c_append(crate::crc::crc32c(&head), &round[ROUND_HEADER_LEN..]);
        head.extend_from_slice(&crc.to_le_bytes());
        round[..ROUND_HEADER_LEN].copy_from_slice(&head);
        round.resize(block_ceil(round.len() as u64) as usize, 0);
    }
}

/// What bytes at a place where a round could begin turned out to be.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A whole round that checks, and its length with the padding.
    Round(RoundHeader, Vec<Entry>, u64),
    /// The header is plausible: this many bytes are needed to tell.
    Longer(u64),
    /// Zeros, a torn round, or something old.
    Nothing,
}

/// Reads the round at the start of `bytes`, whose file goes on for `room` bytes from there.
pub(crate) fn parse(bytes: &Bytes, room: u64) -> Parsed {
    let Some((header, payload, crc)) = parse_header(bytes) else {
        return Parsed::Nothing;
    };
    let Some(len) = ROUND_HEADER_LEN.checked_add(payload) else {
        return Parsed::Nothing;
    };
    let padded = block_ceil(len as u64);
    if padded > room || padded > ROUND_BYTES_MAX as u64 {
        return Parsed::Nothing;
    }
    if bytes.len() < len {
        return Parsed::Longer(padded);
    }
    let sum = crate::crc::crc32c(&bytes[..ROUND_HEADER_LEN - 4]);
    if crate::crc::crc32c_append(sum, &bytes[ROUND_HEADER_LEN..len]) != crc {
        return Parsed::Nothing;
    }
    let payload = bytes.slice(ROUND_HEADER_LEN..len);
    let mut cursor = Cursor(&payload);
    let mut entries = Vec::new();
    while !cursor.0.is_empty() {
        match Entry::decode(&mut cursor, &payload) {
            Some(entry) => entries.push(entry),
            None => return Parsed::Nothing,
        }
    }
    Parsed::Round(header, entries, padded)
}

fn parse_header(bytes: &[u8]) -> Option<(RoundHeader, usize, u32)> {
    let mut cursor = Cursor(bytes.get(..ROUND_HEADER_LEN)?);
    if cursor.u32()? != MAGIC || cursor.u16()? != VERSION {
        return None;
    }
    let flags = cursor.u16()?;
    let shard = cursor.u16()?;
    cursor.u16()?;
    let header = RoundHeader {
        flags,
        shard,
        dir_id: cursor.u64()?,
        sequence: cursor.u64()?,
        start: cursor.u64()?,
        low: cursor.u64()?,
        salt: cursor.u64()?,
        salt_before: cursor.u64()?,
    };
    Some((header, cursor.u32()? as usize, cursor.u32()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::METADATA;

    fn sample() -> Vec<Entry> {
        let ended = Ended {
            base: 1,
            end: 8192,
            max_timestamp: 5,
        };
        let id = METADATA;
        vec![
            Entry::State(State {
                id,
                log_start: 2,
                before: Some(ended),
                base: 3,
                pos: 3 * PIECE + BLOCK_U64,
                end_offset: 9,
                piece_crc: 7,
                sums_from: 1,
                sums: vec![5, 6],
                tail: Bytes::from_static(b"tail"),
            }),
            Entry::Crumb {
                id,
                base: 3,
                pos: 4100,
                end_offset: 11,
                data: Bytes::from_static(b"x"),
            },
            Entry::Extent {
                id,
                base: 3,
                pos: 8192,
                len: 4096,
                crc: 1,
                end_offset: 12,
            },
            Entry::Roll {
                id,
                ended,
                base: 13,
            },
            Entry::Start { id, log_start: 4 },
        ]
    }

    fn sealed() -> (RoundHeader, Bytes) {
        let header = RoundHeader {
            flags: CLEAN,
            shard: 2,
            dir_id: 3,
            sequence: 4,
            start: 5,
            low: 1,
            salt: 6,
            salt_before: 7,
        };
        let mut out = vec![0; ROUND_HEADER_LEN];
        sample().iter().for_each(|entry| entry.encode(&mut out));
        header.seal(&mut out);
        (header, Bytes::from(out))
    }

    #[test]
    fn a_round_survives_the_way_back() {
        let (header, bytes) = sealed();
        match parse(&bytes, 1 << 20) {
            Parsed::Round(parsed, entries, len) => {
                assert_eq!(
                    (parsed, entries, len),
                    (header, sample(), bytes.len() as u64)
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            parse(&bytes.slice(..100), 1 << 20),
            Parsed::Longer(4096)
        ));
        assert!(
            matches!(parse(&bytes, 512), Parsed::Nothing),
            "longer than the file"
        );
    }

    #[test]
    fn no_flipped_bit_passes() {
        let (_, bytes) = sealed();
        for at in 0..ROUND_HEADER_LEN + 200 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            let parsed = parse(&Bytes::from(damaged), 1 << 20);
            assert!(!matches!(parsed, Parsed::Round(..)), "byte {at}");
        }
    }
}

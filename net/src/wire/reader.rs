//! Reading from a frame: every length is checked against the bytes that remain.

use super::codec::Wire;
use super::error::DecodeError;
use bytes::Bytes;

/// A decoded message takes at most this many bytes of memory for each byte of its frame (plus
/// [`DECODE_SLACK_MAX`]); the frame itself is shared, not counted. The densest honest request is an
/// array of empty compact strings, 32 bytes in memory for one on the wire; the densest response is
/// ListGroups with three such strings and a default one an element: 42.7.
pub const DECODE_RATIO_MAX: usize = 48;

/// No decoded message takes more memory than this, however long its frame, in bytes.
pub const DECODE_BYTES_MAX: usize = 64 << 20;

/// Memory a message may take however short its frame, in bytes.
pub const DECODE_SLACK_MAX: usize = 1024;

/// A cursor over one frame, which may lie in several pieces. Values that can share the frame's
/// memory do; one that lies over two pieces is copied, unless it is a record set.
#[derive(Debug)]
pub struct Reader {
    piece: Bytes,
    at: usize,
    later: std::vec::IntoIter<Bytes>,
    /// Bytes not read yet, of all pieces or of the tagged field that is being read.
    left: usize,
    flexible: bool,
    budget: usize,
}

impl Reader {
    /// A reader at the start of `frame`.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        Self::of_pieces(frame, Vec::new())
    }

    /// A reader at the start of a frame that lies in `first` and the pieces after it.
    #[must_use]
    pub fn of_pieces(first: Bytes, more: Vec<Bytes>) -> Self {
        let left = first.len() + more.iter().map(Bytes::len).sum::<usize>();
        Self {
            piece: first,
            at: 0,
            later: more.into_iter(),
            left,
            flexible: false,
            budget: left
                .saturating_mul(DECODE_RATIO_MAX)
                .saturating_add(DECODE_SLACK_MAX)
                .min(DECODE_BYTES_MAX),
        }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.left
    }

    /// The bytes not read yet of the piece that is being read, shared.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        let end = self.piece.len().min(self.at + self.left);
        self.piece.slice(self.at..end)
    }

    /// All bytes not read yet, shared: the first piece of them, and the others.
    #[must_use]
    pub fn into_pieces(mut self) -> (Bytes, Vec<Bytes>) {
        if self.left > 0 {
            self.enter();
        }
        (self.rest(), self.later.collect())
    }

    /// Moves to the next piece at the end of one. There are bytes left.
    fn enter(&mut self) {
        while self.at == self.piece.len()
            && let Some(next) = self.later.next()
        {
            (self.piece, self.at) = (next, 0);
        }
    }

    pub(crate) const fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        if self.left < N {
            return Err(DecodeError::Truncated);
        }
        self.left -= N;
        if let Some(found) = self.piece[self.at..].first_chunk::<N>() {
            self.at += N;
            return Ok(*found);
        }
        let mut found = [0; N];
        self.copy(&mut found);
        Ok(found)
    }

    /// Fills `to` with the next bytes, which are there and no longer counted as left.
    #[cold]
    fn copy(&mut self, mut to: &mut [u8]) {
        while !to.is_empty() {
            self.enter();
            let from = &self.piece[self.at..];
            let count = from.len().min(to.len());
            let (now, later) = std::mem::take(&mut to).split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            self.at += count;
            to = later;
            if count == 0 {
                debug_assert!(to.is_empty(), "more bytes counted than there are");
                return;
            }
        }
    }

    /// The next `length` bytes: shared if one piece holds them, copied otherwise. An empty value
    /// does not hold on to the frame.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.count_off(length)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.enter();
        if self.piece.len() - self.at >= length {
            return Ok(self.share(length));
        }
        // Memory follows what came in: so many bytes are there.
        let mut copied = vec![0; length];
        self.copy(&mut copied);
        Ok(copied.into())
    }

    /// The next `length` bytes in the pieces that hold them, shared.
    pub(crate) fn take_pieces(&mut self, length: usize) -> Result<Vec<Bytes>, DecodeError> {
        self.count_off(length)?;
        let mut missing = length;
        if length == 0 {
            return Ok(Vec::new());
        }
        self.enter();
        if length <= self.piece.len() - self.at {
            return Ok(vec![self.share(length)]);
        }
        let mut pieces = Vec::new();
        while missing > 0 {
            self.enter();
            let count = missing.min(self.piece.len() - self.at);
            if count == 0 {
                debug_assert!(false, "more bytes counted than there are");
                break;
            }
            pieces.push(self.share(count));
            missing -= count;
        }
        Ok(pieces)
    }

    fn count_off(&mut self, length: usize) -> Result<(), DecodeError> {
        let declared = || i64::try_from(length).unwrap_or(i64::MAX);
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| DecodeError::Length(declared()))?;
        Ok(())
    }

    /// The next `length` bytes of this piece, which has so many.
    fn share(&mut self, length: usize) -> Bytes {
        self.at += length;
        self.piece.slice(self.at - length..self.at)
    }

    /// Steps over the next `length` bytes, which are there.
    fn skip(&mut self, mut length: usize) {
        self.left -= length;
        while length > 0 {
            self.enter();
            let count = length.min(self.piece.len() - self.at);
            if count == 0 {
                debug_assert!(false, "more bytes counted than there are");
                return;
            }
            self.at += count;
            length -= count;
        }
    }

    /// Unsigned LEB128 of at most 32 bits (KIP-482).
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// The length of a nullable string: 16 bits, or a varint of one more in flexible versions.
    pub(crate) fn string_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        length(i64::from(i16::from_be_bytes(self.array()?)))
    }

    /// The length of nullable bytes or the count of a nullable array.
    pub(crate) fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        length(i64::from(i32::from_be_bytes(self.array()?)))
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        length(i64::from(self.varint()?) - 1)
    }

    /// Takes `count * size` bytes off the memory this message may still use.
    pub(crate) fn charge(&mut self, count: usize, size: usize) -> Result<(), DecodeError> {
        let bytes = count.checked_mul(size).ok_or(DecodeError::Memory)?;
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::Memory)?;
        Ok(())
    }

    pub(crate) fn nullable<T>(
        &mut self,
        field: &'static str,
        legal: bool,
        version: i16,
    ) -> Result<Option<T>, DecodeError>
    where
        Option<T>: Wire,
    {
        match Option::<T>::read(self, version)? {
            None if !legal => Err(DecodeError::Null { field }),
            value => Ok(value),
        }
    }

    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }

    /// Reads the tagged fields of a struct: `known` reads the value of a tag it knows, others are
    /// skipped. Each takes two bytes at least, so the frame bounds their count.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()? as usize;
        if count > self.remaining() / 2 {
            return Err(DecodeError::Length(
                i64::try_from(count).unwrap_or(i64::MAX),
            ));
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            if size > self.remaining() {
                return Err(DecodeError::Length(i64::try_from(size).unwrap_or(i64::MAX)));
            }
            let outer = std::mem::replace(&mut self.left, size) - size;
            if !known(self, tag)? {
                self.skip(self.left);
            }
            if self.left > 0 {
                return Err(DecodeError::TagSize { tag });
            }
            self.left = outer;
        }
        Ok(())
    }
}

fn length(declared: i64) -> Result<Option<usize>, DecodeError> {
    match declared {
        // Kafka takes every negative length for null, not only -1.
        ..=-1 => Ok(None),
        _ => usize::try_from(declared)
            .map(Some)
            .map_err(|_| DecodeError::Length(declared)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_32_bits_and_five_bytes_at_most() {
        let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).varint();
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0x7f]), Ok(127));
        assert_eq!(read(&[0x80, 0x01]), Ok(128));
        assert_eq!(
            read(&[0x81, 0x00]),
            Ok(1),
            "longer than need be, as Kafka reads it"
        );
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(DecodeError::Varint)
        );
        assert_eq!(read(&[0x80; 6]), Err(DecodeError::Varint));
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_tagged_field_ends_where_it_says() {
        // One field of two bytes, of which the reader of tag 5 takes `taken`.
        let read = |taken: usize| {
            let mut r = Reader::new(Bytes::from_static(&[1, 5, 2, 0xaa, 0xbb, 0xcc]));
            r.set_flexible(true);
            let outcome = r.tags(|r, _| r.take(taken).map(|_| true));
            (outcome, r.remaining())
        };
        assert_eq!(read(2), (Ok(()), 1));
        assert_eq!(read(1).0, Err(DecodeError::TagSize { tag: 5 }));
        assert_eq!(
            read(3).0,
            Err(DecodeError::Length(3)),
            "the next bytes are not its own"
        );
    }

    #[test]
    fn a_long_frame_does_not_take_memory_in_proportion() {
        let decode = |groups: usize| {
            let mut frame = Vec::new();
            let mut count = groups as u32 + 1;
            while count >= 0x80 {
                frame.push(count as u8 | 0x80);
                count >>= 7;
            }
            frame.push(count as u8);
            // As many empty names, no authorised operations, no tags.
            frame.resize(frame.len() + groups, 1);
            frame.extend([0, 0]);
            let mut r = Reader::new(frame.into());
            crate::wire::describe_groups::Request::decode(&mut r, 5).map(|got| got.groups.len())
        };
        assert_eq!(decode(100_000), Ok(100_000));
        assert!(decode(4_000_000).is_err());
    }
}

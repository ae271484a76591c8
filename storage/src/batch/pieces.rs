//! Bytes that lie in several pieces of memory, one after the other, as a connection received them.

use super::varint::{VARINT_LEN_MAX, VARLONG_LEN_MAX};
use bytes::{Bytes, BytesMut};

/// Bytes in one piece or several. One piece takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    first: Bytes,
    more: Vec<Bytes>,
}

impl Pieces {
    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.more.iter().map(Bytes::len).sum::<usize>()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything as one piece: shared if it is one, copied otherwise.
    #[must_use]
    pub fn joined(&self) -> Bytes {
        if self.more.is_empty() {
            return self.first.clone();
        }
        let mut all = BytesMut::with_capacity(self.len());
        self.slices(0)
            .for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }

    /// Everything, put together by a copy if it is not one piece yet.
    pub(super) fn join(&mut self) -> &[u8] {
        if !self.more.is_empty() {
            *self = self.joined().into();
        }
        &self.first
    }

    /// Everything, if it is one piece.
    pub(super) fn as_one(&self) -> Option<&[u8]> {
        self.more.is_empty().then_some(&self.first[..])
    }

    /// Up to `N` bytes from `at` on, copied, and how many there are.
    pub(crate) fn window<const N: usize>(&self, at: usize) -> ([u8; N], usize) {
        let (mut window, mut len) = ([0; N], 0);
        for piece in self.slices(at) {
            let count = piece.len().min(N - len);
            window[len..len + count].copy_from_slice(&piece[..count]);
            len += count;
            if len == N {
                break;
            }
        }
        (window, len)
    }

    /// The pieces from byte `at` on, none of them empty.
    pub(crate) fn slices(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        self.shares(at).map(|(piece, from)| &piece[from..])
    }

    /// Cuts everything from byte `len` on off.
    pub(super) fn truncate(&mut self, len: usize) {
        let mut left = len;
        self.more.insert(0, std::mem::take(&mut self.first));
        self.more.retain_mut(|piece| {
            piece.truncate(left);
            left -= piece.len();
            !piece.is_empty()
        });
        *self = std::mem::take(&mut self.more).into();
    }

    /// `head` in place of the first bytes, as many as it has.
    pub(super) fn with_head(&self, head: &[u8]) -> Self {
        let first = Bytes::copy_from_slice(head);
        let more = self.shares(head.len());
        let more = more.map(|(piece, from)| piece.slice(from..)).collect();
        Self { first, more }
    }

    /// The pieces that reach beyond byte `at`, and where in them that begins.
    fn shares(&self, at: usize) -> impl Iterator<Item = (&Bytes, usize)> {
        let mut before = at;
        std::iter::once(&self.first)
            .chain(&self.more)
            .filter_map(move |piece| {
                let from = before.min(piece.len());
                before -= from;
                (from < piece.len()).then_some((piece, from))
            })
    }
}

impl From<Bytes> for Pieces {
    fn from(first: Bytes) -> Self {
        let more = Vec::new();
        Self { first, more }
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(mut more: Vec<Bytes>) -> Self {
        if more.len() <= 1 {
            return more.pop().unwrap_or_default().into();
        }
        let first = more.remove(0);
        Self { first, more }
    }
}

/// A place in bytes that lie in several pieces. Steps over them without putting them together.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    piece: &'a [u8],
    later: &'a [&'a [u8]],
    /// Bytes to the end, which may lie before that of the pieces.
    left: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(later: &'a [&'a [u8]]) -> Self {
        let left = later.iter().map(|piece| piece.len()).sum();
        Self {
            piece: &[],
            later,
            left,
        }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// What is left of the piece that the cursor stands in; all of the next one at its end.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        while self.piece.is_empty()
            && let Some((next, later)) = self.later.split_first()
        {
            (self.piece, self.later) = (next, later);
        }
        &self.piece[..self.piece.len().min(self.left)]
    }

    /// Steps over `count` bytes, if there are so many.
    pub(super) fn skip(&mut self, mut count: usize) -> Option<()> {
        self.left = self.left.checked_sub(count)?;
        while count > self.piece.len() {
            count -= self.piece.len();
            let (next, later) = self.later.split_first()?;
            (self.piece, self.later) = (next, later);
        }
        self.piece = &self.piece[count..];
        Some(())
    }

    /// The next `count` bytes as a cursor of their own, if there are so many; steps over them.
    pub(super) fn split(&mut self, count: usize) -> Option<Self> {
        let mut taken = self.clone();
        self.skip(count)?;
        taken.left = count;
        Some(taken)
    }

    pub(super) fn take_i32(&mut self) -> Option<i32> {
        Some(super::varint::unzigzag(self.varint(VARINT_LEN_MAX)? as u32))
    }

    pub(super) fn take_i64(&mut self) -> Option<i64> {
        let raw = self.varint(VARLONG_LEN_MAX)?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn varint(&mut self, len_max: usize) -> Option<u64> {
        let mut raw = 0_u64;
        for at in 0..len_max {
            let byte = *self.piece().first()?;
            self.skip(1)?;
            // Bits beyond the width fall off, as they do in Kafka's reader.
            raw |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(raw);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Where the pieces end changes nothing.
        #[test]
        fn pieces_are_their_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            at in any::<prop::sample::Index>(),
        ) {
            let pieces = cut(&bytes, &cuts);
            let at = at.index(bytes.len() + 1);
            prop_assert_eq!(pieces.len(), bytes.len());
            prop_assert_eq!(&pieces.joined()[..], &bytes[..]);
            prop_assert_eq!(pieces.slices(at).collect::<Vec<_>>().concat(), &bytes[at..]);
            prop_assert!(pieces.slices(at).all(|piece| !piece.is_empty()));
            let (window, len) = pieces.window::<61>(at);
            prop_assert_eq!(&window[..len], &bytes[at..(at + 61).min(bytes.len())]);
            let mut front = pieces.clone();
            front.truncate(at);
            prop_assert_eq!(&front.joined()[..], &bytes[..at]);
            let headed = pieces.with_head(&vec![7; at]).joined();
            prop_assert_eq!(headed, [&vec![7; at], &bytes[at..]].concat());
        }

        /// A cursor over pieces reads what a slice of them reads.
        #[test]
        fn a_cursor_reads_the_same_numbers(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            steps in prop::collection::vec((0..3, 0..9usize), 0..20),
        ) {
            let pieces = cut(&bytes, &cuts);
            let slices: Vec<&[u8]> = pieces.slices(0).collect();
            let (mut cursor, mut slice) = (Cursor::new(&slices), &bytes[..]);
            for (kind, count) in steps {
                let same = match kind {
                    0 => cursor.take_i32() == super::super::varint::take_i32(&mut slice),
                    1 => cursor.take_i64() == super::super::varint::take_i64(&mut slice),
                    _ => cursor.split(count).map(|part| part.left())
                        == slice.split_off(..count).map(<[u8]>::len),
                };
                prop_assert!(same);
                // After a failure nobody reads on.
                if cursor.left() != slice.len() {
                    return Ok(());
                }
                prop_assert!(slice.starts_with(cursor.piece()));
            }
        }
    }

    fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Pieces {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut from = 0;
        let piece = |to| {
            let piece = Bytes::copy_from_slice(&bytes[from..to]);
            from = to;
            piece
        };
        cuts.into_iter().map(piece).collect::<Vec<_>>().into()
    }
}

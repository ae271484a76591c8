//! Cutting the stream into frames: a signed 32-bit length, then as many bytes.

use super::ConnError;
use crate::wire::api::ApiKey;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Pieces shorter than this are gathered while others wait before them: a peer that sends byte by
/// byte must not pin one receive buffer a byte.
pub(super) const PIECE_BYTES_MIN: usize = 1024;

const PREFIX_BYTES: usize = 4;

/// A Produce of at least this many bytes is handed out in the pieces it came in: to put them
/// together would copy every record once more. For a shorter one, and for whatever is decoded to
/// its last byte anyway, one piece is worth the copy.
const APART_BYTES_MIN: usize = 16 * 1024;

/// What has come in and is not handed out yet. Memory follows what came in, never what a length
/// prefix promises.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pieces: VecDeque<Bytes>,
    /// Small pieces, gathered; they follow `pieces`.
    tail: BytesMut,
    bytes: usize,
}

impl Frames {
    pub(super) fn push(&mut self, data: Bytes) {
        self.bytes += data.len();
        if data.is_empty() {
            return;
        }
        if data.len() < PIECE_BYTES_MIN && self.bytes > data.len() {
            self.tail.extend_from_slice(&data);
            return;
        }
        self.flush_tail();
        self.pieces.push_back(data);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The API key of the next frame, as soon as its first bytes are there.
    pub(super) fn next_key(&self) -> Option<i16> {
        let [_, _, _, _, high, low] = self.peek()?;
        Some(i16::from_be_bytes([high, low]))
    }

    /// Whether the next frame is complete, or never will be because its length is negative.
    pub(super) fn has_whole(&self) -> bool {
        self.peek()
            .is_some_and(|prefix| match usize::try_from(i32::from_be_bytes(prefix)) {
                Ok(length) => self.bytes - PREFIX_BYTES >= length,
                Err(_) => true,
            })
    }

    /// The next frame without its length prefix, once it is complete: its first piece, and others
    /// if it is a large Produce. Its length is judged as soon as the prefix is there.
    pub(super) fn take(
        &mut self,
        frame_bytes_max: usize,
    ) -> Result<Option<(Bytes, Vec<Bytes>)>, ConnError> {
        let Some(prefix) = self.peek() else {
            return Ok(None);
        };
        let declared = i32::from_be_bytes(prefix);
        let length = usize::try_from(declared).map_err(|_| ConnError::FrameLength(declared))?;
        if length > frame_bytes_max {
            return Err(ConnError::FrameLength(declared));
        }
        if self.bytes - PREFIX_BYTES < length {
            return Ok(None);
        }
        let apart = length >= APART_BYTES_MIN && self.next_key() == Some(ApiKey::Produce.to_wire());
        self.advance(PREFIX_BYTES);
        let (first, more) = self.cut(length);
        if more.is_empty() || apart {
            return Ok(Some((first, more)));
        }
        let mut gathered = BytesMut::with_capacity(length);
        gathered.extend_from_slice(&first);
        more.iter()
            .for_each(|part| gathered.extend_from_slice(part));
        Ok(Some((gathered.freeze(), Vec::new())))
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// The next `N` bytes, without taking them.
    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if self.bytes < N {
            return None;
        }
        let mut found = [0; N];
        let tail = std::iter::once(&self.tail[..]);
        let bytes = self
            .pieces
            .iter()
            .map(|piece| &piece[..])
            .chain(tail)
            .flatten();
        for (to, from) in found.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(found)
    }

    /// Drops the next `count` bytes, which are there.
    fn advance(&mut self, count: usize) {
        drop(self.cut(count));
    }

    /// The next `count` bytes, which are there, shared: the first piece of them, and the others.
    fn cut(&mut self, count: usize) -> (Bytes, Vec<Bytes>) {
        debug_assert!(count <= self.bytes, "cut more than came in");
        if self.bytes - self.tail.len() < count {
            self.flush_tail();
        }
        self.bytes -= count;
        let first = self.cut_piece(count);
        let (mut missing, mut more) = (count - first.len(), Vec::new());
        while missing > 0 && !self.pieces.is_empty() {
            let part = self.cut_piece(missing);
            missing -= part.len();
            more.push(part);
        }
        (first, more)
    }

    /// Up to `count` bytes of the first piece.
    fn cut_piece(&mut self, count: usize) -> Bytes {
        let Some(front) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        if front.len() > count {
            return front.split_to(count);
        }
        self.pieces.pop_front().unwrap_or_default()
    }
}

//! The newest bytes of a segment in arena memory, block by block as they will lie in the file.

use super::rope::Rope;
use crate::format::{BLOCK_U64, block_floor};
use bytes::Bytes;
use reactor::buf::{Arena, BLOCK, Buf};
use std::collections::VecDeque;

/// The largest piece of memory that a tail takes at once for small appends, in bytes.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Bytes are moved when they hold so many times the memory that they need.
const SHRINK_FACTOR: usize = 4;

/// Whether a batch of `len` bytes is too large to share the arena with others. It gets memory
/// beside it, and so has a place however small the arena is.
pub(crate) fn is_large(arena: &Arena, len: usize) -> bool {
    len > arena.bytes_max() / 2
}

/// Memory congruent with the file: a chunk begins at a multiple of a block, in both.
#[derive(Debug)]
struct Chunk {
    start: u64,
    buf: Buf,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.buf.len() as u64
    }
}

/// Consecutive bytes of one segment from a block boundary to the segment's end in memory.
#[derive(Debug)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    /// Arena bytes of all chunks.
    memory: usize,
    end: u64,
}

impl Tail {
    /// An empty tail that begins at `start`, a multiple of a block.
    pub(crate) const fn new(start: u64) -> Self {
        assert!(start.is_multiple_of(BLOCK_U64), "a tail begins at a block");
        Self {
            chunks: VecDeque::new(),
            memory: 0,
            end: start,
        }
    }

    /// File position of the first byte that is still in memory.
    pub(crate) fn start(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Arena bytes held.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }

    /// Makes room for `len` more bytes. `false` when the arena is used up; nothing has changed
    /// then.
    pub(crate) fn reserve(&mut self, arena: &Arena, len: usize) -> bool {
        let room = self
            .chunks
            .back()
            .map_or(0, |chunk| chunk.buf.capacity() - chunk.buf.len());
        if room >= len {
            return true;
        }
        // Memory doubles with the tail, so that a partition with one record costs one block.
        let grown = self.memory().clamp(BLOCK, CHUNK_BYTES_MAX);
        let wanted = (len - room).max(grown);
        if is_large(arena, len) {
            return arena
                .alloc_apart(wanted)
                .map(|buf| self.push(buf))
                .is_some();
        }
        match arena.alloc(wanted) {
            Some(buf) => self.push(buf),
            None => return wanted > CHUNK_BYTES_MAX && self.reserve_pieces(arena, len - room),
        }
        true
    }

    /// Makes room for `wanted` more bytes in pieces, where the arena has no such stretch any more.
    fn reserve_pieces(&mut self, arena: &Arena, wanted: usize) -> bool {
        let (chunks, mut got) = (self.chunks.len(), 0);
        while got < wanted {
            let Some(buf) = arena.alloc((wanted - got).min(CHUNK_BYTES_MAX)) else {
                self.chunks.truncate(chunks);
                self.memory -= got;
                return false;
            };
            got += buf.capacity();
            self.push(buf);
        }
        true
    }

    fn push(&mut self, buf: Buf) {
        let last = self.chunks.back();
        let start = last.map_or(self.end, |chunk| chunk.start + chunk.buf.capacity() as u64);
        self.memory += buf.capacity();
        self.chunks.push_back(Chunk { start, buf });
    }

    /// Appends bytes for which [`reserve`](Self::reserve) has made room.
    pub(crate) fn append(&mut self, mut data: &[u8]) {
        let end = self.end;
        let first = self
            .chunks
            .partition_point(|chunk| chunk.start + (chunk.buf.capacity() as u64) <= end);
        for chunk in self.chunks.iter_mut().skip(first) {
            let room = chunk.buf.capacity() - chunk.buf.len();
            let (now, later) = data.split_at(room.min(data.len()));
            chunk.buf.append(now);
            self.end += now.len() as u64;
            data = later;
        }
        assert!(data.is_empty(), "appended more to a tail than was reserved");
    }

    /// Shared bytes from `from` to the end.
    pub(crate) fn rope(&self, from: u64, to: u64) -> Rope {
        let mut rope = Rope::new(from);
        for part in self.slice(from, to) {
            rope.push(part);
        }
        rope
    }

    /// Shared bytes of `[from, to)`, which must be in memory.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Vec<Bytes> {
        assert!(
            from >= self.start() && to <= self.end,
            "a tail was cut outside its bytes"
        );
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let mut out = Vec::new();
        for chunk in self.chunks.iter().skip(first) {
            if chunk.start >= to {
                break;
            }
            let begin = from.max(chunk.start) - chunk.start;
            let end = to.min(chunk.end()) - chunk.start;
            if begin < end {
                out.push(chunk.buf.slice(begin as usize..end as usize));
            }
        }
        out
    }

    /// Lets go of whole chunks below `durable` while more than `keep` bytes are held.
    pub(crate) fn release(&mut self, durable: u64, keep: usize) {
        while self.memory() > keep {
            match self.chunks.front() {
                Some(chunk) if chunk.start + chunk.buf.capacity() as u64 <= durable => {
                    self.memory -= chunk.buf.capacity();
                    self.chunks.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Moves a few bytes that alone hold the memory of a batch.
    pub(crate) fn shrink_worth(&mut self, arena: &Arena, durable: u64) {
        let from = block_floor(durable.min(self.end)).max(self.start());
        let kept = ((self.end - from) as usize).next_multiple_of(BLOCK);
        if kept <= CHUNK_BYTES_MAX && self.memory() >= SHRINK_FACTOR * kept {
            self.shrink(arena, durable);
        }
    }

    /// Moves what `durable` does not cover into as little memory as possible.
    pub(crate) fn shrink(&mut self, arena: &Arena, durable: u64) {
        let from = block_floor(durable.min(self.end)).max(self.start());
        let needed = ((self.end - from) as usize).next_multiple_of(BLOCK);
        if needed >= self.memory() {
            return;
        }
        let parts = self.slice(from, self.end);
        if parts.is_empty() {
            self.chunks.clear();
            self.memory = 0;
            return;
        }
        let Some(mut buf) = arena.alloc(needed) else {
            return;
        };
        parts.iter().for_each(|part| buf.append(part));
        self.chunks.clear();
        self.memory = buf.capacity();
        self.chunks.push_back(Chunk { start: from, buf });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_wherever_the_chunks_end() {
        let arena = Arena::heap(1 << 20);
        let mut tail = Tail::new(8192);
        let mut model = Vec::new();
        let mut next = 1_u32;
        for len in [1, 4094, 1, 1, 9000, 100_000, 3, 4096] {
            let data: Vec<u8> = (0..len)
                .map(|_| {
                    next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (next >> 24) as u8
                })
                .collect();
            assert!(tail.reserve(&arena, len));
            tail.append(&data);
            model.extend_from_slice(&data);
            assert_eq!(tail.slice(8192, tail.end()).concat(), model);
            assert_eq!(tail.memory(), arena.bytes_used());
        }
        let durable = block_floor(tail.end());
        let memory = tail.memory();
        tail.release(durable, BLOCK);
        assert!(tail.memory() < memory);
        assert_eq!(tail.memory(), arena.bytes_used());
        let from = tail.start();
        assert_eq!(
            tail.slice(from, tail.end()).concat(),
            model[(from - 8192) as usize..]
        );
        tail.shrink(&arena, durable);
        assert_eq!(tail.memory(), BLOCK);
        assert_eq!(
            tail.slice(durable, tail.end()).concat(),
            model[(durable - 8192) as usize..]
        );
        drop(tail);
        assert_eq!(arena.bytes_used(), 0);
    }

    #[test]
    fn one_record_costs_one_block_and_a_full_arena_changes_nothing() {
        let arena = Arena::heap(4 * BLOCK);
        let _others = arena.alloc(2 * BLOCK).expect("half of the arena");
        let mut tail = Tail::new(4096);
        assert!(tail.reserve(&arena, 300));
        tail.append(&[7; 300]);
        assert_eq!(arena.bytes_used(), 3 * BLOCK);
        assert!(!tail.reserve(&arena, 2 * BLOCK));
        assert_eq!(tail.memory(), BLOCK);
        assert!(tail.reserve(&arena, BLOCK));
        tail.append(&[8; BLOCK]);
        assert_eq!(tail.end(), 4096 + 300 + BLOCK as u64);
    }
}

//! Bytes of a segment that lie in several pieces of memory, seen as one run.

use crate::batch::{HEADER_LEN, Header, MAGIC, Summary};
use bytes::Bytes;

/// Consecutive bytes of a segment from `start` on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rope {
    start: u64,
    end: u64,
    parts: Vec<(u64, Bytes)>,
}

/// The header of the batch at a position, and where the batch ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) summary: Summary,
    pub(crate) pos: u64,
    pub(crate) end: u64,
}

/// Why there is no batch to be seen at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The run ends before the batch does; it would have to reach to here.
    Short(u64),
    /// What lies there is no batch.
    Broken,
}

impl Rope {
    pub(crate) const fn new(start: u64) -> Self {
        Self {
            start,
            end: start,
            parts: Vec::new(),
        }
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Adds the bytes that follow.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let at = self.end;
            self.end += bytes.len() as u64;
            self.parts.push((at, bytes));
        }
    }

    /// Shared bytes of `[from, to)`, which must lie inside.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Vec<Bytes> {
        assert!(
            from >= self.start && to <= self.end,
            "a rope was cut outside its bytes"
        );
        let first = self
            .parts
            .partition_point(|(at, part)| at + part.len() as u64 <= from);
        let mut out = Vec::new();
        for (at, part) in &self.parts[first..] {
            if *at >= to {
                break;
            }
            let begin = from.saturating_sub(*at) as usize;
            let end = (part.len() as u64).min(to - at) as usize;
            if begin < end {
                out.push(part.slice(begin..end));
            }
        }
        out
    }

    /// What lies behind `from`, which must lie inside; memory of earlier parts is let go of.
    pub(crate) fn suffix(&self, from: u64) -> Self {
        let mut rest = Self::new(from);
        for part in self.slice(from, self.end) {
            rest.push(part);
        }
        rest
    }

    /// `[from, to)` in one piece, copied only if it lies in several.
    pub(crate) fn joined(&self, from: u64, to: u64) -> Bytes {
        let mut parts = self.slice(from, to);
        if parts.len() == 1 {
            return parts.remove(0);
        }
        Bytes::from(parts.concat())
    }

    fn copy(&self, pos: u64, out: &mut [u8]) {
        let mut filled = 0;
        for part in self.slice(pos, pos + out.len() as u64) {
            out[filled..filled + part.len()].copy_from_slice(&part);
            filled += part.len();
        }
    }

    /// The batch at `pos`.
    pub(crate) fn batch_at(&self, pos: u64) -> Result<Placed, Gone> {
        if pos < self.start {
            return Err(Gone::Broken);
        }
        let needed = pos + HEADER_LEN as u64;
        if needed > self.end {
            return Err(Gone::Short(needed));
        }
        let mut head = [0; HEADER_LEN];
        self.copy(pos, &mut head);
        let header = Header::of(&head).ok_or(Gone::Broken)?;
        let len = header.batch_len().ok_or(Gone::Broken)?;
        if header.magic != MAGIC {
            return Err(Gone::Broken);
        }
        let end = pos + len as u64;
        if end > self.end {
            return Err(Gone::Short(end));
        }
        Ok(Placed {
            summary: header.summary(),
            pos,
            end,
        })
    }

    /// CRC-32C of `[from, to)`, continuing `crc`.
    pub(crate) fn crc(&self, crc: u32, from: u64, to: u64) -> u32 {
        self.slice(from, to)
            .iter()
            .fold(crc, |crc, part| crate::crc::crc32c_append(crc, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_across_parts_are_the_same_bytes() {
        let whole: Vec<u8> = (0..200).collect();
        let mut rope = Rope::new(1000);
        for part in [&whole[..7], &whole[7..100], &whole[100..101], &whole[101..]] {
            rope.push(Bytes::copy_from_slice(part));
        }
        for (from, to) in [
            (0, 200),
            (0, 7),
            (6, 8),
            (7, 100),
            (99, 102),
            (150, 150),
            (199, 200),
        ] {
            let cut = rope.slice(1000 + from, 1000 + to).concat();
            assert_eq!(cut, whole[from as usize..to as usize]);
            let crc = rope.crc(0, 1000 + from, 1000 + to);
            assert_eq!(crc, crate::crc::crc32c(&cut));
        }
    }
}

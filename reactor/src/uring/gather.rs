//! Parts that go out one after the other, and how far they have gone.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// IOV_MAX of Linux.
const PARTS_MAX: usize = 1024;

/// Bytes on their way out. The kernel reads the vector and the header from here, so a value in
/// flight stays in its box.
pub(crate) struct Gather {
    parts: VecDeque<Bytes>,
    iovec: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Gather {
    pub(crate) fn new(parts: Vec<Bytes>) -> Box<Self> {
        let mut parts = VecDeque::from(parts);
        parts.retain(|part| !part.is_empty());
        Box::new(Self {
            parts,
            iovec: Vec::new(),
            // SAFETY: all-zero is a valid message header: no address, no parts, no control data.
            header: unsafe { std::mem::zeroed() },
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What has not gone out yet.
    pub(crate) fn rest(&self) -> Vec<Bytes> {
        self.parts.iter().cloned().collect()
    }

    /// The single part that is left, if it is one.
    pub(crate) fn single(&self) -> Option<(*const u8, u32)> {
        match (self.parts.front(), self.parts.len()) {
            (Some(part), 1) => Some((part.as_ptr(), u32::try_from(part.len()).ok()?)),
            _ => None,
        }
    }

    /// What is left, as far as one call takes it.
    pub(crate) fn vector(&mut self) -> (*const libc::iovec, u32) {
        self.iovec.clear();
        let parts = self.parts.iter().take(PARTS_MAX);
        self.iovec.extend(parts.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        }));
        (self.iovec.as_ptr(), self.iovec.len() as u32)
    }

    /// What is left, as a message.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        let (start, count) = self.vector();
        self.header.msg_iov = start.cast_mut();
        self.header.msg_iovlen = count as usize;
        &raw const self.header
    }

    /// The next `count` bytes are gone.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(part) = self.parts.front_mut() else {
                debug_assert!(false, "more gone than there was");
                return;
            };
            if part.len() > count {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_of_progress_ends_at_the_end() {
        for step in 1..12 {
            let parts = [&b"abc"[..], b"", b"d", b"efghij"].map(Bytes::from_static);
            let mut gather = Gather::new(parts.to_vec());
            let mut left = 10;
            while left > 0 {
                let (_, count) = gather.vector();
                let sum: usize = gather.iovec.iter().map(|v| v.iov_len).sum();
                assert_eq!((sum, count as usize), (left, gather.parts.len()));
                let gone = step.min(left);
                gather.advance(gone);
                left -= gone;
            }
            assert!(gather.is_empty());
        }
    }
}

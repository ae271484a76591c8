//! Reading numbers off bytes that may be damaged, without ever panicking.

use crate::types::{PartitionId, TopicId};

/// The unread rest of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn partition(&mut self) -> Option<PartitionId> {
        Some(PartitionId {
            topic: TopicId(self.array()?),
            index: i32::from_le_bytes(self.array()?),
        })
    }

    /// `count` numbers, whose bytes must be there before anything is reserved for them.
    pub(crate) fn u32s(&mut self, count: usize) -> Option<Vec<u32>> {
        let bytes = self.take(count.checked_mul(4)?)?;
        let numbers = bytes.chunks_exact(4).map(|four| {
            u32::from_le_bytes(
                four.try_into()
                    .expect("chunks of four bytes have four bytes"),
            )
        });
        Some(numbers.collect())
    }
}

/// Appends a partition's identity: 16 bytes of UUID, 4 of index.
pub(crate) fn put_partition(out: &mut Vec<u8>, id: &PartitionId) {
    out.extend_from_slice(&id.topic.0);
    out.extend_from_slice(&id.index.to_le_bytes());
}

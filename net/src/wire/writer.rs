//! Writing a message: small values are gathered, large ones pass by reference.

use super::codec::Wire;
use bytes::{BufMut, Bytes, BytesMut};

/// Values of at least this many bytes become parts of their own instead of being copied.
const SHARED_BYTES_MIN: usize = 1024;

/// Gathers an encoded message.
#[derive(Debug, Default)]
pub struct Writer {
    tail: BytesMut,
    parts: Vec<Bytes>,
    flexible: bool,
    lost: Option<&'static str>,
}

impl Writer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that expects `bytes` of small values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            tail: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.tail.len() + self.parts.iter().map(Bytes::len).sum::<usize>()
    }

    /// What was written, in order; large values are the very bytes that were handed in.
    #[must_use]
    pub fn into_parts(mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.parts.push(self.tail.freeze());
        }
        self.parts
    }

    /// What was written as one piece: for tests and for messages known to be small.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let mut parts = self.into_parts();
        match parts.len() {
            0 | 1 => parts.pop().unwrap_or_default(),
            _ => parts.concat().into(),
        }
    }

    /// The first field whose value this version cannot carry and that may not be ignored, or whose
    /// null it does not allow (an empty value was written then). Kafka throws in these places.
    #[must_use]
    pub const fn lost(&self) -> Option<&'static str> {
        self.lost
    }

    pub(crate) fn value_lost(&mut self, field: &'static str) {
        self.lost.get_or_insert(field);
    }

    /// A value that may be null in some versions only; an empty one stands in for an illegal null.
    pub(crate) fn nullable<T>(
        &mut self,
        value: &Option<T>,
        legal: bool,
        field: &'static str,
        version: i16,
    ) where
        T: Wire + Default,
        Option<T>: Wire,
    {
        if value.is_some() || legal {
            return value.write(self, version);
        }
        self.value_lost(field);
        T::default().write(self, version);
    }

    pub(crate) const fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(crate) const fn flexible(&self) -> bool {
        self.flexible
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// Bytes that may be large: shared then, copied otherwise.
    pub(crate) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.put(bytes);
        }
        let before = self.tail.split().freeze();
        if !before.is_empty() {
            self.parts.push(before);
        }
        self.parts.push(bytes.clone());
    }

    /// Unsigned LEB128 of at most 32 bits (KIP-482).
    pub(crate) fn put_varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.tail.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// The length of a nullable string; a string too long for the version is the caller's to cut.
    pub(crate) fn put_string_length(&mut self, length: Option<u16>) {
        if self.flexible {
            return self.put_varint(length.map_or(0, |length| u32::from(length) + 1));
        }
        self.put(&length.map_or(u16::MAX, |length| length).to_be_bytes());
    }

    /// The length of nullable bytes or the count of a nullable array. A message of 2 GiB cannot be
    /// framed at all, so a longer value is not met.
    pub(crate) fn put_length(&mut self, length: Option<usize>) {
        let length = length.map(|length| u32::try_from(length).unwrap_or(i32::MAX as u32));
        if self.flexible {
            return self.put_varint(length.map_or(0, |length| length.saturating_add(1)));
        }
        self.put(&length.unwrap_or(u32::MAX).to_be_bytes());
    }

    pub(crate) fn no_tags(&mut self) {
        if self.flexible {
            self.put(&[0]);
        }
    }

    pub(crate) fn tag_count(&mut self, set: &[bool]) {
        let count = set.iter().filter(|set| **set).count();
        self.put_varint(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// One tagged field: tag, size, value. Records are never tagged, so the value is in the tail.
    pub(crate) fn tag(&mut self, tag: u32, value: &impl Wire, version: i16) {
        let mut inner = Self {
            flexible: true,
            ..Self::default()
        };
        value.write(&mut inner, version);
        if let Some(field) = inner.lost {
            self.value_lost(field);
        }
        self.put_varint(tag);
        self.put_varint(u32::try_from(inner.written()).unwrap_or(u32::MAX));
        for part in inner.into_parts() {
            self.put_shared(&part);
        }
    }
}

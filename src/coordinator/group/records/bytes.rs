//! The few types that these records are made of: big-endian integers, strings, byte strings.

use ::bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// A record that cannot be read: damaged, or of a version not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads from the front of a byte slice; every length is checked against what is left.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<[u8; 16], Malformed> {
        self.array()
    }

    /// An unsigned varint of at most 32 bits.
    pub(super) fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A count of elements that take at least `element_bytes` each.
    pub(crate) fn count(&mut self, element_bytes: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        self.fits(count, element_bytes)
    }

    fn fits(&self, count: usize, element_bytes: usize) -> Result<usize, Malformed> {
        let bytes = count.checked_mul(element_bytes).ok_or(Malformed)?;
        if bytes > self.rest.len() {
            Err(Malformed)
        } else {
            Ok(count)
        }
    }

    pub(super) fn compact_count(&mut self, element_bytes: usize) -> Result<usize, Malformed> {
        let count = self.uvarint()?.checked_sub(1).ok_or(Malformed)?;
        self.fits(count as usize, element_bytes)
    }

    fn text(bytes: &[u8]) -> Result<Arc<str>, Malformed> {
        std::str::from_utf8(bytes)
            .map(Arc::from)
            .map_err(|_| Malformed)
    }

    pub(crate) fn string(&mut self) -> Result<Arc<str>, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        match self.i16()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| Malformed)?;
                Self::text(self.take(len)?).map(Some)
            }
        }
    }

    pub(super) fn compact_string(&mut self) -> Result<Arc<str>, Malformed> {
        self.compact_nullable_string()?.ok_or(Malformed)
    }

    pub(super) fn compact_nullable_string(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        match self.uvarint()?.checked_sub(1) {
            None => Ok(None),
            Some(len) => Self::text(self.take(len as usize)?).map(Some),
        }
    }

    pub(super) fn byte_string(&mut self) -> Result<Bytes, Malformed> {
        let len = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        self.take(len).map(Bytes::copy_from_slice)
    }

    pub(super) fn compact_byte_string(&mut self) -> Result<Bytes, Malformed> {
        let len = self.uvarint()?.checked_sub(1).ok_or(Malformed)?;
        self.take(len as usize).map(Bytes::copy_from_slice)
    }

    /// Tagged fields, each given to `field`.
    pub(super) fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            field(tag, &mut Input::new(self.take(len)?))?;
        }
        Ok(())
    }

    /// Nothing may be left over.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Writes at the back of a buffer.
#[derive(Default)]
pub(super) struct Output {
    bytes: BytesMut,
}

impl Output {
    pub(super) fn i16(&mut self, value: i16) -> &mut Self {
        self.bytes.put_i16(value);
        self
    }

    pub(super) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes.put_i32(value);
        self
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes.put_i64(value);
        self
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.put_slice(bytes);
        self
    }

    pub(super) fn uvarint(&mut self, mut value: u32) -> &mut Self {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
        self
    }

    /// Strings come from requests whose own lengths are 16 bits wide, or from a member id made of
    /// such a string and a UUID; what would not fit is cut at a character.
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        let end = text.floor_char_boundary(i16::MAX as usize);
        let text = &text[..end];
        self.i16(text.len() as i16).raw(text.as_bytes())
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            None => self.i16(-1),
            Some(text) => self.string(text),
        }
    }

    pub(super) fn compact_string(&mut self, text: &str) -> &mut Self {
        self.uvarint(text.len() as u32 + 1).raw(text.as_bytes())
    }

    pub(super) fn byte_string(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(bytes.len() as i32).raw(bytes)
    }

    pub(super) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }
}

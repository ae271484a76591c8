//! Records inside a batch: a checked walk that allocates nothing, and owned records.

use super::pieces::Cursor;
use super::varint;
use bytes::Bytes;

/// Fewest bytes of a record: its length, attributes, two deltas, two null lengths, no header.
pub const RECORD_LEN_MIN: usize = 7;
/// Fewest bytes of a header of a record: an empty key and a null value.
const RECORD_HEADER_LEN_MIN: usize = 2;

/// A record's structure is broken; the text says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A record as it lies in its batch, its structure checked to the last byte.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Milliseconds after the batch's base timestamp; may be negative.
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: HeaderViews<'a>,
}

/// What admission asks of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

impl<'a> RecordView<'a> {
    #[inline]
    pub(super) const fn facts(&self) -> Facts {
        Facts {
            timestamp_delta: self.timestamp_delta,
            offset_delta: self.offset_delta,
            has_key: self.key.is_some(),
        }
    }

    /// The record's headers, in order.
    #[must_use]
    pub const fn headers(&self) -> HeaderViews<'a> {
        self.headers
    }

    /// Takes one record off the front of `bytes`.
    ///
    /// # Errors
    /// When a length or count does not fit the bytes that remain, or bytes are left over.
    #[inline]
    pub fn take(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let len = varint::take_i32(bytes).ok_or(Malformed("its length is cut off"))?;
        let len = usize::try_from(len).map_err(|_| Malformed("its length is negative"))?;
        let Some((mut body, rest)) = bytes.split_at_checked(len) else {
            return Err(Malformed("it is longer than the bytes that remain"));
        };
        *bytes = rest;
        let Some((_attributes, after)) = body.split_first() else {
            return Err(Malformed("it is empty"));
        };
        body = after;
        let timestamp_delta =
            varint::take_i64(&mut body).ok_or(Malformed("its timestamp is cut off"))?;
        let offset_delta = varint::take_i32(&mut body).ok_or(Malformed("its offset is cut off"))?;
        let key = take_nullable(&mut body, "its key is cut off")?;
        let value = take_nullable(&mut body, "its value is cut off")?;
        let count = varint::take_i32(&mut body).ok_or(Malformed("its header count is cut off"))?;
        let count =
            usize::try_from(count).map_err(|_| Malformed("its header count is negative"))?;
        if count > body.len() / RECORD_HEADER_LEN_MIN {
            return Err(Malformed("its header count exceeds the bytes that remain"));
        }
        let headers = HeaderViews { bytes: body, count };
        for _ in 0..count {
            take_header(&mut body)?;
        }
        if !body.is_empty() {
            return Err(Malformed("bytes are left over at its end"));
        }
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }
}

/// Checks the record at `at` as strictly as [`RecordView::take`], if it has the usual shape: no
/// headers, all numbers short. Where it ends comes with it. `None` says nothing about it.
#[inline(always)]
pub(super) fn skim(area: &[u8], at: usize) -> Option<(Facts, usize)> {
    let (len, at) = varint::short_at(area, at)?;
    let end = at.checked_add(usize::try_from(varint::unzigzag(len)).ok()?)?;
    let (timestamp_delta, at) = varint::short_at(area, at + 1)?;
    let (offset_delta, at) = varint::short_at(area, at)?;
    let (key, at) = varint::short_at(area, at)?;
    let at = at + usize::try_from(varint::unzigzag(key)).unwrap_or(0);
    let (value, at) = varint::short_at(area, at)?;
    let at = at + usize::try_from(varint::unzigzag(value)).unwrap_or(0);
    // Only its last byte is left, and says that there are no headers.
    let facts = Facts {
        timestamp_delta: i64::from(varint::unzigzag(timestamp_delta)),
        offset_delta: varint::unzigzag(offset_delta),
        has_key: key & 1 == 0,
    };
    (at + 1 == end && area.get(at) == Some(&0)).then_some((facts, end))
}

/// Steps over a record that may lie in several pieces, and checks it as [`RecordView::take`] does.
pub(super) fn check(bytes: &mut Cursor<'_>) -> Result<Facts, Malformed> {
    let len = bytes.take_i32().ok_or(Malformed("its length is cut off"))?;
    let len = usize::try_from(len).map_err(|_| Malformed("its length is negative"))?;
    let mut body = bytes
        .split(len)
        .ok_or(Malformed("it is longer than the bytes that remain"))?;
    // The attributes.
    body.skip(1).ok_or(Malformed("it is empty"))?;
    let timestamp_delta = body
        .take_i64()
        .ok_or(Malformed("its timestamp is cut off"))?;
    let offset_delta = body.take_i32().ok_or(Malformed("its offset is cut off"))?;
    let has_key = skip_nullable(&mut body, "its key is cut off")?;
    skip_nullable(&mut body, "its value is cut off")?;
    let count = body
        .take_i32()
        .ok_or(Malformed("its header count is cut off"))?;
    let count = usize::try_from(count).map_err(|_| Malformed("its header count is negative"))?;
    if count > body.left() / RECORD_HEADER_LEN_MIN {
        return Err(Malformed("its header count exceeds the bytes that remain"));
    }
    for _ in 0..count {
        if !skip_nullable(&mut body, "a header's key is cut off")? {
            return Err(Malformed("a header's key is null"));
        }
        skip_nullable(&mut body, "a header's value is cut off")?;
    }
    if body.left() > 0 {
        return Err(Malformed("bytes are left over at its end"));
    }
    Ok(Facts {
        timestamp_delta,
        offset_delta,
        has_key,
    })
}

/// Steps over a length and so many bytes; `false` for null.
fn skip_nullable(bytes: &mut Cursor<'_>, cut_off: &'static str) -> Result<bool, Malformed> {
    let len = bytes.take_i32().ok_or(Malformed(cut_off))?;
    let Ok(len) = usize::try_from(len) else {
        return Ok(false);
    };
    bytes.skip(len).map(|()| true).ok_or(Malformed(cut_off))
}

/// The headers of one record, already checked.
#[derive(Clone, Copy, Debug)]
pub struct HeaderViews<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Iterator for HeaderViews<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        take_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for HeaderViews<'_> {}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
    let key = take_nullable(bytes, "a header's key is cut off")?
        .ok_or(Malformed("a header's key is null"))?;
    Ok((key, take_nullable(bytes, "a header's value is cut off")?))
}

/// A length and so many bytes; any negative length is null, as in Kafka.
#[inline]
fn take_nullable<'a>(
    bytes: &mut &'a [u8],
    cut_off: &'static str,
) -> Result<Option<&'a [u8]>, Malformed> {
    let len = varint::take_i32(bytes).ok_or(Malformed(cut_off))?;
    let Ok(len) = usize::try_from(len) else {
        return Ok(None);
    };
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Malformed(cut_off))?;
    *bytes = rest;
    Ok(Some(taken))
}

/// One record, owning (or sharing with its batch) the bytes it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Offset less the base offset of the batch.
    pub offset_delta: i32,
    /// Milliseconds since 1970; -1 for none.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Names (UTF-8 by convention, unchecked as in Kafka) and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Appends one record in the form that [`RecordView::take`] reads.
pub(crate) fn put<'a>(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
) {
    let count = len_i32(headers.len());
    let headers_len: usize = headers
        .clone()
        .map(|(key, value)| nullable_len(Some(key)) + nullable_len(value))
        .sum();
    let body = 1
        + varint::len_i64(timestamp_delta)
        + varint::len_i32(offset_delta)
        + nullable_len(key)
        + nullable_len(value)
        + varint::len_i32(count)
        + headers_len;
    varint::put_i32(out, len_i32(body));
    out.push(0);
    varint::put_i64(out, timestamp_delta);
    varint::put_i32(out, offset_delta);
    put_nullable(out, key);
    put_nullable(out, value);
    varint::put_i32(out, count);
    for (key, value) in headers {
        put_nullable(out, Some(key));
        put_nullable(out, value);
    }
}

/// A length as the format's signed 32 bits. What does not fit ends in a batch that
/// [`super::Builder`] refuses for its size.
fn len_i32(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| {
        varint::len_i32(len_i32(bytes.len())) + bytes.len()
    })
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put_i32(out, -1),
        Some(bytes) => {
            varint::put_i32(out, len_i32(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

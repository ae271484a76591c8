//! Iteration over batches that lie one after the other, and over the records of one batch.

use super::admit::Reject;
use super::compression::inflate;
use super::header::{HEADER_LEN, Header, MAGIC, PREFIX_LEN, Summary};
use super::record::{Malformed, Record, RecordView};
use bytes::Bytes;
use std::iter::FusedIterator;

/// One whole batch inside a longer run of bytes. Its CRC has not been checked.
#[derive(Clone, Copy, Debug)]
pub struct BatchRef<'a> {
    /// The batch, header included.
    pub bytes: &'a [u8],
    /// Where it begins, in bytes from the start of the run.
    pub position: usize,
    pub header: &'a Header,
}

impl BatchRef<'_> {
    /// The header's fields as plain values.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.header.summary()
    }
}

/// Why the bytes at a position are no whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The batch is cut off at the end of the run: `missing` more bytes would tell or complete it.
    Short { position: usize, missing: usize },
    /// The declared length is shorter than a header.
    Length { position: usize, length: i32 },
    /// Not a batch of format 2.
    Magic { position: usize, magic: u8 },
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { position, missing } => {
                write!(
                    f,
                    "the batch at byte {position} is cut off: {missing} bytes are missing"
                )
            }
            Self::Length { position, length } => {
                write!(
                    f,
                    "the batch at byte {position} declares an impossible length of {length}"
                )
            }
            Self::Magic { position, magic } => {
                write!(
                    f,
                    "the batch at byte {position} has format {magic}, not {MAGIC}"
                )
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// The whole batches of `bytes`, one after the other; an error ends the iteration.
#[must_use]
pub const fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0 }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Batches<'a> {
    fn take(&mut self) -> Result<BatchRef<'a>, ParseError> {
        let position = self.position;
        let rest = &self.bytes[position..];
        let short = |needed: usize| ParseError::Short {
            position,
            missing: needed - rest.len(),
        };
        let header = Header::of(rest).ok_or_else(|| short(HEADER_LEN))?;
        if header.magic != MAGIC {
            return Err(ParseError::Magic {
                position,
                magic: header.magic,
            });
        }
        let length = header.length.get();
        let len = header
            .batch_len()
            .ok_or(ParseError::Length { position, length })?;
        let bytes = rest.get(..len).ok_or_else(|| short(len))?;
        self.position += len;
        Ok(BatchRef {
            bytes,
            position,
            header,
        })
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchRef<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position == self.bytes.len() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.position = self.bytes.len();
        }
        Some(taken)
    }
}

impl FusedIterator for Batches<'_> {}

pub(super) const MORE_FOLLOWS: Malformed =
    Malformed("more bytes follow than the declared count of records");

/// The records of an uncompressed (or inflated) record area: exactly `count`, to the last byte.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(area: &'a [u8], count: i32) -> Self {
        Self {
            rest: area,
            left: count,
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<RecordView<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let taken = match RecordView::take(&mut self.rest) {
            Ok(_) if self.left == 0 && !self.rest.is_empty() => Err(MORE_FOLLOWS),
            taken => taken,
        };
        if taken.is_err() {
            self.left = 0;
        }
        Some(taken)
    }
}

/// The records of one whole batch, inflated if need be. Keys, values and headers of an uncompressed
/// batch share its memory. The CRC is not checked.
///
/// # Errors
/// When the header is broken, the codec unknown, or the records do not inflate or inflate to more
/// than `inflated_bytes_max` bytes. A broken record ends the iteration with an error.
pub fn records(batch: &Bytes, inflated_bytes_max: usize) -> Result<Records, Reject> {
    let header = Header::of(batch).ok_or(Reject::Corrupt)?;
    if header.magic != MAGIC {
        return Err(Reject::InvalidRecord);
    }
    let len = header
        .batch_len()
        .filter(|len| *len <= batch.len())
        .ok_or(Reject::Corrupt)?;
    let summary = header.summary();
    let codec = summary
        .attributes
        .codec()
        .map_err(|_| Reject::Undecodable)?;
    let area = batch.slice(HEADER_LEN..len);
    let area = inflate(codec, &area, inflated_bytes_max)
        .map_err(|error| error.reject())?
        .map_or(area, Bytes::from);
    Ok(Records {
        position: 0,
        left: summary.count,
        area,
        summary,
    })
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records {
    area: Bytes,
    position: usize,
    left: i32,
    summary: Summary,
}

impl Records {
    /// What the batch's header says.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Iterator for Records {
    type Item = Result<Record, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = &self.area[self.position..];
        let mut walk = Walk::new(before, self.left);
        let taken = walk.next()?;
        self.left = walk.left;
        self.position += before.len() - walk.rest.len();
        Some(taken.map_err(|_| Reject::InvalidRecord).and_then(|view| {
            let timestamp = timestamp(&self.summary, view.timestamp_delta);
            Ok(own(
                &self.area,
                &view,
                timestamp.ok_or(Reject::InvalidRecord)?,
            ))
        }))
    }
}

impl FusedIterator for Records {}

/// A record's time: the batch's maximum when the broker set it, else base plus delta, unless that
/// overflows.
pub(crate) const fn timestamp(summary: &Summary, delta: i64) -> Option<i64> {
    if summary.attributes.log_append_time() {
        return Some(summary.max_timestamp);
    }
    summary.base_timestamp.checked_add(delta)
}

fn own(area: &Bytes, view: &RecordView<'_>, timestamp: i64) -> Record {
    let share = |bytes: &[u8]| area.slice_ref(bytes);
    Record {
        offset_delta: view.offset_delta,
        timestamp,
        key: view.key.map(share),
        value: view.value.map(share),
        headers: view
            .headers()
            .map(|(key, value)| (share(key), value.map(share)))
            .collect(),
    }
}

/// Length in bytes that the batch at the start of `bytes` declares, prefix included, if it can be
/// read and is not negative.
pub(crate) fn declared_len(bytes: &[u8]) -> Option<Result<usize, i32>> {
    let length = bytes.get(8..PREFIX_LEN)?;
    let length = i32::from_be_bytes(length.try_into().ok()?);
    Some(
        usize::try_from(length)
            .map(|len| len + PREFIX_LEN)
            .map_err(|_| length),
    )
}

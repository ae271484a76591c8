//! Produce and Fetch without allocations: the two requests that the load is made of.

pub(crate) const CLIENT: &str = "bench-harness";
/// Names of topics, compact lengths; known to every broker since Kafka 2.4.
pub(crate) const PRODUCE_VERSION: i16 = 9;
pub(crate) const FETCH_VERSION: i16 = 12;

const PRODUCE_KEY: i16 = 0;
const FETCH_KEY: i16 = 1;
const TIMEOUT_MS: i32 = 30_000;
const WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;

fn header(out: &mut Vec<u8>, key: i16, version: i16, correlation: i32) {
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    out.extend_from_slice(&(CLIENT.len() as i16).to_be_bytes());
    out.extend_from_slice(CLIENT.as_bytes());
    out.push(0);
}

fn varint(out: &mut Vec<u8>, value: usize) {
    let mut bits = value;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// What a Produce request begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProduceHead<'a> {
    pub(crate) correlation: i32,
    pub(crate) acks: i16,
    pub(crate) topic: &'a str,
    pub(crate) batches: usize,
}

/// Everything before the first batch but its place; the length is filled in by the caller.
pub(crate) fn produce_head(out: &mut Vec<u8>, head: ProduceHead<'_>) {
    header(out, PRODUCE_KEY, PRODUCE_VERSION, head.correlation);
    out.push(0);
    out.extend_from_slice(&head.acks.to_be_bytes());
    out.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
    out.push(2);
    varint(out, head.topic.len() + 1);
    out.extend_from_slice(head.topic.as_bytes());
    varint(out, head.batches + 1);
}

impl ProduceHead<'_> {
    /// Bytes of a batch with what stands before and after it.
    pub(crate) const fn placed_bytes(bytes: usize) -> usize {
        let mut rest = bytes + 1;
        let mut all = 4 + 1 + bytes + 1;
        while rest >= 0x80 {
            rest >>= 7;
            all += 1;
        }
        all
    }

    /// What stands directly before a batch.
    pub(crate) fn place(out: &mut Vec<u8>, partition: u32, bytes: usize) {
        out.extend_from_slice(&partition.to_be_bytes());
        varint(out, bytes + 1);
    }
}

/// One partition of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) partition: u32,
    pub(crate) error: i16,
}

/// Calls `each` for every partition; the throttle time in ms, or none if these bytes are no
/// answer to Produce. `body` begins after the correlation id.
pub(crate) fn produce_parts(body: &[u8], mut each: impl FnMut(Acked)) -> Option<u32> {
    let mut at = Cursor(body);
    at.tags()?;
    for _ in 0..at.count()? {
        at.skip_bytes()?;
        for _ in 0..at.count()? {
            let (partition, error) = (at.u32()?, at.i16()?);
            at.skip(24)?;
            for _ in 0..at.count()? {
                at.skip(4)?;
                at.skip_bytes()?;
                at.tags()?;
            }
            at.skip_bytes()?;
            at.tags()?;
            each(Acked { partition, error });
        }
        at.tags()?;
    }
    at.u32()
}

/// A partition to fetch from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPart {
    pub(crate) partition: u32,
    pub(crate) offset: i64,
}

/// A whole Fetch request of one topic; `session` is its id and epoch.
pub(crate) fn fetch_request(
    out: &mut Vec<u8>,
    correlation: i32,
    session: (i32, i32),
    topic: &str,
    parts: impl ExactSizeIterator<Item = FetchPart>,
) {
    header(out, FETCH_KEY, FETCH_VERSION, correlation);
    for number in [-1, WAIT_MS, 1, FETCH_BYTES_MAX] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.push(0);
    out.extend_from_slice(&session.0.to_be_bytes());
    out.extend_from_slice(&session.1.to_be_bytes());
    if parts.len() == 0 {
        out.push(1);
    } else {
        out.push(2);
        varint(out, topic.len() + 1);
        out.extend_from_slice(topic.as_bytes());
        varint(out, parts.len() + 1);
        for part in parts {
            out.extend_from_slice(&part.partition.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&part.offset.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&(-1_i64).to_be_bytes());
            out.extend_from_slice(&PARTITION_BYTES_MAX.to_be_bytes());
            out.push(0);
        }
        out.push(0);
    }
    // Nothing forgotten, no rack, no tags.
    out.extend_from_slice(&[1, 1, 0]);
    let length = out.len() as u32 - 4;
    out[..4].copy_from_slice(&length.to_be_bytes());
}

/// What stands before the partitions of a Fetch answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    pub(crate) throttle_ms: u32,
    pub(crate) error: i16,
    pub(crate) session: i32,
}

/// Calls `each` with partition, error, high watermark and records.
pub(crate) fn fetch_parts(
    body: &[u8],
    mut each: impl FnMut(u32, i16, i64, &[u8]),
) -> Option<Fetched> {
    let mut at = Cursor(body);
    at.tags()?;
    let fetched = Fetched {
        throttle_ms: at.u32()?,
        error: at.i16()?,
        session: at.u32()? as i32,
    };
    for _ in 0..at.count()? {
        at.skip_bytes()?;
        for _ in 0..at.count()? {
            let (partition, error, high) = (at.u32()?, at.i16()?, at.i64()?);
            at.skip(16)?;
            for _ in 0..at.count()? {
                at.skip(16)?;
                at.tags()?;
            }
            at.skip(4)?;
            let length = at.count()?;
            let records = at.skip(length)?;
            at.tags()?;
            each(partition, error, high, records);
        }
        at.tags()?;
    }
    Some(fetched)
}

/// Reads without copying; none where the bytes end too early.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.skip(4)?
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn i16(&mut self) -> Option<i16> {
        self.skip(2)?
            .first_chunk()
            .map(|bytes| i16::from_be_bytes(*bytes))
    }

    fn i64(&mut self) -> Option<i64> {
        self.skip(8)?
            .first_chunk()
            .map(|bytes| i64::from_be_bytes(*bytes))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut bits = 0;
        for shift in (0..35).step_by(7) {
            let byte = *self.skip(1)?.first()?;
            bits |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(bits);
            }
        }
        None
    }

    /// A compact length; null counts as nothing.
    fn count(&mut self) -> Option<usize> {
        Some(self.varint()?.saturating_sub(1))
    }

    fn skip_bytes(&mut self) -> Option<()> {
        let length = self.count()?;
        self.skip(length).map(|_| ())
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Some(())
    }
}

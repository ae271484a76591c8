//! Admission: every check a batch passes before it is appended, in Kafka's order of precedence.
//!
//! The rules are those of Kafka 4.2 (`ProduceRequest.validateRecords`, `UnifiedLog`,
//! `LogValidator`, `DefaultRecord`), with three deliberate differences, each towards a log that
//! every consumer can read: compressed records are checked as strictly as plain ones, a record
//! whose offset delta lies outside the batch is refused, and offset deltas that are merely out of
//! order are put right by rebuilding the batch whether it is compressed or not.

use super::build::Builder;
use super::check::{Seen, claims_broker_time};
use super::compression::{Codec, Compression, InflateError, inflate};
use super::header::{CRC_COVERS_FROM, HEADER_LEN, Header, MAGIC, PREFIX_LEN, Summary};
use super::iter::{Walk, declared_len};
use super::pieces::Pieces;
use crate::crc::{crc32c, crc32c_append};
use bytes::Bytes;
use zerocopy::FromBytes;

/// Who appends, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: everything is checked.
    Client,
    /// The broker itself: offsets, sequence numbers and markers are its own business.
    Internal,
}

/// What a partition asks of a batch. Times in milliseconds (since 1970 for `now_ms`).
#[derive(Clone, Debug)]
pub struct Rules {
    pub now_ms: i64,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// `max.message.bytes`: the whole batch as compressed, its 12-byte prefix included.
    pub batch_bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `compression.type` and its level.
    pub compression: Compression,
    /// A compacted topic takes no record without a key.
    pub key_required: bool,
    /// Whether the client may use zstd (Produce 7 and later, KIP-110).
    pub zstd_allowed: bool,
    /// Most bytes that compressed records may inflate to.
    pub inflated_bytes_max: usize,
    pub origin: Origin,
}

/// Why a batch is refused. The wire's numbers are not this crate's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The bytes are not what the producer made: a wrong CRC, length or magic.
    Corrupt,
    /// The bytes arrived well and break a rule of the format or of the topic.
    InvalidRecord,
    /// Larger than `max.message.bytes`, or inflates to more than is allowed.
    MessageTooLarge,
    /// Larger than a segment.
    RecordListTooLarge,
    InvalidTimestamp,
    /// zstd from a client of a protocol that did not know it.
    UnsupportedCompression,
    /// Transactional, and no transaction is known.
    InvalidTxn,
    /// An unknown codec, or records that do not inflate. Kafka 4.2 answers both with its unknown
    /// server error.
    Undecodable,
}

/// A refused batch: nothing of it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub why: Reject,
    /// Index and reason of each faulty record (KIP-467), the first [`RECORD_ERRORS_MAX`] of them;
    /// empty when the batch as a whole is at fault.
    pub record_errors: Vec<(i32, Option<String>)>,
    /// One sentence for the client.
    pub message: String,
    /// Whether it was found before the partition's log had a say, so that Kafka does not tell
    /// where the log starts.
    pub before_log: bool,
}

impl Rejection {
    pub(super) fn new(why: Reject, message: impl Into<String>) -> Self {
        Self {
            why,
            record_errors: Vec::new(),
            message: message.into(),
            before_log: matches!(
                why,
                Reject::Corrupt | Reject::MessageTooLarge | Reject::RecordListTooLarge
            ),
        }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {}

/// Most faulty records that a rejection names, so that a batch of the smallest records cannot cost
/// many times its size in error texts.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The batch as it is to be stored, still without its place: the very bytes of the request
    /// where Kafka keeps them, in the pieces they came in.
    pub pieces: Pieces,
    /// What their header says.
    pub header: Summary,
    /// Offset delta of the first record that has the batch's maximum timestamp.
    pub max_ts_offset_delta: i32,
}

impl Admitted {
    /// The batch as one piece: copied if it lies in several.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.pieces.joined()
    }
}

/// Checks the records of one partition of a produce request: exactly one batch of format 2, its
/// header, its CRC and every record in it; sets the time of append where the topic wants it, and
/// rebuilds the batch where the topic wants another codec. The records may lie in several pieces:
/// they are put together only to be inflated or rebuilt.
///
/// # Errors
/// The first broken rule, in Kafka's order.
pub fn admit(records: impl Into<Pieces>, rules: &Rules) -> Result<Admitted, Rejection> {
    admit_counting(records.into(), rules, &mut 0)
}

/// [`admit`], which adds to `inflated` the bytes that compressed records became: what it has cost.
///
/// # Errors
/// As [`admit`].
pub fn admit_counting(
    records: Pieces,
    rules: &Rules,
    inflated: &mut usize,
) -> Result<Admitted, Rejection> {
    let mut batch = only_batch(records, rules).map_err(|rejection| Rejection {
        before_log: true,
        ..rejection
    })?;
    let summary = check_frame(&batch, rules)?;
    let codec = summary.attributes.codec().map_err(|id| {
        Rejection::new(
            Reject::Undecodable,
            format!("No compression codec has the number {id}."),
        )
    })?;
    if rules.origin == Origin::Client {
        check_header(&summary)?;
    }
    let plain = match codec {
        Codec::None => Ok(None),
        _ => inflate(codec, &batch.join()[HEADER_LEN..], rules.inflated_bytes_max),
    };
    *inflated += match &plain {
        Ok(plain) => plain.as_ref().map_or(0, Vec::len),
        Err(InflateError::TooLarge) => rules.inflated_bytes_max,
        Err(InflateError::Broken) => 0,
    };
    let plain = plain.map_err(|error| inflation_failed(error.reject(), codec, rules))?;
    let seen = see(plain.as_deref(), &batch, &summary, rules)?;
    let target = rules.compression.target(codec);
    // A marker is stored as its coordinator wrote it.
    let keep_codec = codec == target || (codec == Codec::None && summary.attributes.control());
    let (pieces, header) = if keep_codec && seen.consecutive {
        stamp(batch, &summary, seen.max_timestamp, rules)
    } else {
        let area = plain.as_deref();
        let area = area.unwrap_or_else(|| &batch.join()[HEADER_LEN..]);
        rebuild(area, &summary, codec, rules)?
    };
    if pieces.len() as u64 > rules.segment_bytes {
        return Err(Rejection::new(
            Reject::RecordListTooLarge,
            format!(
                "The batch has {} bytes, more than a segment of the log ({}).",
                pieces.len(),
                rules.segment_bytes
            ),
        ));
    }
    let max_ts_offset_delta = if rules.log_append_time {
        0
    } else {
        seen.max_at
    };
    Ok(Admitted {
        pieces,
        header,
        max_ts_offset_delta,
    })
}

/// Checks every record of the batch, in `inflated` if they were compressed.
fn see(
    inflated: Option<&[u8]>,
    batch: &Pieces,
    summary: &Summary,
    rules: &Rules,
) -> Result<Seen, Rejection> {
    match (inflated, batch.as_one()) {
        (Some(area), _) => Seen::walk(area, summary, rules),
        (None, Some(batch)) => Seen::walk(&batch[HEADER_LEN..], summary, rules),
        (None, None) => {
            let pieces: Vec<&[u8]> = batch.slices(HEADER_LEN).collect();
            Seen::walk_pieces(&pieces, summary, rules)
        }
    }
}

/// The first batch of `records` as far as its declared length, when it is the only one.
fn only_batch(mut records: Pieces, rules: &Rules) -> Result<Pieces, Rejection> {
    let none = || Rejection::new(Reject::InvalidRecord, "There is no whole record batch.");
    let all = records.len();
    let (head, filled) = records.window::<HEADER_LEN>(0);
    let head = &head[..filled];
    let len = next_len(head, all)?.ok_or_else(none)?;
    if head[16] != MAGIC {
        return Err(Rejection::new(
            Reject::InvalidRecord,
            format!(
                "Record batches of format {} are not accepted, only {MAGIC}.",
                head[16]
            ),
        ));
    }
    let header = Header::of(&head[..filled.min(len)]);
    let attributes = header.map(|header| header.summary().attributes);
    if !rules.zstd_allowed && attributes.is_some_and(|bits| bits.codec() == Ok(Codec::Zstd)) {
        return Err(Rejection::new(
            Reject::UnsupportedCompression,
            "This version of the produce request does not allow zstd.",
        ));
    }
    let (next, filled) = records.window::<LEN_UP_TO_MAGIC>(len);
    if next_len(&next[..filled], all - len)?.is_some() {
        return Err(Rejection::new(
            Reject::InvalidRecord,
            "There is more than one record batch for one partition.",
        ));
    }
    if rules.origin == Origin::Client && attributes.is_some_and(|bits| bits.transactional()) {
        return Err(Rejection::new(
            Reject::InvalidTxn,
            "The batch is transactional and no transaction is open.",
        ));
    }
    if len < all {
        records.truncate(len);
    }
    Ok(records)
}

/// Shortest length that a batch of any format declares: Kafka's `LegacyRecord.RECORD_OVERHEAD_V0`.
const LENGTH_MIN: usize = 14;
/// Bytes up to the magic, which has the same place in all formats.
const LEN_UP_TO_MAGIC: usize = 17;

/// Length of the whole batch at the start of `all` bytes, of which `bytes` are the first, or `None`
/// when it is cut off, which Kafka ignores as it ignores the cut-off end of a log.
fn next_len(bytes: &[u8], all: usize) -> Result<Option<usize>, Rejection> {
    let Some(len) = declared_len(bytes) else {
        return Ok(None);
    };
    let len = match len {
        Ok(len) if len >= LENGTH_MIN + PREFIX_LEN => len,
        Ok(len) => return Err(impossible_length((len - PREFIX_LEN) as i64)),
        Err(length) => return Err(impossible_length(i64::from(length))),
    };
    if bytes.len() < LEN_UP_TO_MAGIC {
        return Ok(None);
    }
    if bytes[16] > MAGIC {
        return Err(Rejection::new(
            Reject::Corrupt,
            format!("No record batch has the format {}.", bytes[16] as i8),
        ));
    }
    Ok((len <= all).then_some(len))
}

fn impossible_length(length: i64) -> Rejection {
    Rejection::new(
        Reject::Corrupt,
        format!("A record batch declares a length of {length}."),
    )
}

/// Checks what holds for any batch: its place, its size and its CRC.
fn check_frame(batch: &Pieces, rules: &Rules) -> Result<Summary, Rejection> {
    let (head, filled) = batch.window::<HEADER_LEN>(0);
    let base_offset = head
        .first_chunk()
        .map_or(0, |bytes| i64::from_be_bytes(*bytes));
    if rules.origin == Origin::Client && base_offset != 0 {
        return Err(Rejection::new(
            Reject::InvalidRecord,
            format!("The base offset of a produced batch must be 0, not {base_offset}."),
        ));
    }
    let len = batch.len();
    check_size(len, rules)?;
    match Header::of(&head[..filled]) {
        Some(header) if header.batch_len() == Some(len) && header.crc.get() == crc(batch) => {
            Ok(header.summary())
        }
        _ => Err(Rejection::new(
            Reject::Corrupt,
            "The CRC of the record batch is wrong.",
        )),
    }
}

/// The CRC that the header of `batch`, exactly one whole batch, must state.
fn crc(batch: &Pieces) -> u32 {
    let mut pieces = batch.slices(CRC_COVERS_FROM);
    let first = pieces.next().map_or(0, crc32c);
    pieces.fold(first, crc32c_append)
}

fn check_size(len: usize, rules: &Rules) -> Result<(), Rejection> {
    if len <= rules.batch_bytes_max {
        return Ok(());
    }
    Err(Rejection::new(
        Reject::MessageTooLarge,
        format!(
            "The batch has {len} bytes, more than max.message.bytes ({}).",
            rules.batch_bytes_max
        ),
    ))
}

/// Checks what a client's batch must say of itself.
fn check_header(summary: &Summary) -> Result<(), Rejection> {
    let invalid = |message: String| Err(Rejection::new(Reject::InvalidRecord, message));
    let span = i64::from(summary.last_offset_delta) + 1;
    if span <= 0 {
        return invalid(format!(
            "The last offset delta is {}.",
            summary.last_offset_delta
        ));
    }
    if summary.count <= 0 {
        return invalid(format!("The batch declares {} records.", summary.count));
    }
    if span != i64::from(summary.count) {
        return invalid(format!(
            "{} records do not span {span} offsets.",
            summary.count
        ));
    }
    if summary.attributes.control() {
        return invalid("Clients may not write control batches.".into());
    }
    if summary.has_producer() && summary.base_sequence < 0 {
        return invalid(format!(
            "Producer {} sent the sequence number {}.",
            summary.producer_id, summary.base_sequence
        ));
    }
    Ok(())
}

fn inflation_failed(why: Reject, codec: Codec, rules: &Rules) -> Rejection {
    let message = if why == Reject::MessageTooLarge {
        format!(
            "The records inflate to more than {} bytes.",
            rules.inflated_bytes_max
        )
    } else {
        format!("The records are not what {codec:?} writes.")
    };
    Rejection::new(why, message)
}

/// Sets kind and maximum of the timestamps where they differ, in a copy of the header; otherwise
/// hands back the same bytes.
fn stamp(batch: Pieces, summary: &Summary, seen_max: i64, rules: &Rules) -> (Pieces, Summary) {
    let max_timestamp = if rules.log_append_time {
        rules.now_ms
    } else {
        seen_max
    };
    let as_is = summary.attributes.log_append_time() == rules.log_append_time
        && summary.max_timestamp == max_timestamp;
    if as_is {
        return (batch, *summary);
    }
    let attributes = summary
        .attributes
        .with_log_append_time(rules.log_append_time);
    let (mut head, _) = batch.window::<HEADER_LEN>(0);
    if let Ok((header, _)) = Header::mut_from_prefix(&mut head) {
        header.attributes.set(attributes.0);
        header.max_timestamp.set(max_timestamp);
    }
    let covered = crc32c(&head[CRC_COVERS_FROM..]);
    let crc = batch.slices(HEADER_LEN).fold(covered, crc32c_append);
    if let Ok((header, _)) = Header::mut_from_prefix(&mut head) {
        header.crc.set(crc);
    }
    (
        batch.with_head(&head),
        Summary {
            attributes,
            max_timestamp,
            ..*summary
        },
    )
}

/// Builds the batch anew from its checked records.
fn rebuild(
    area: &[u8],
    summary: &Summary,
    source: Codec,
    rules: &Rules,
) -> Result<(Pieces, Summary), Rejection> {
    let compression = match rules.compression {
        Compression::Producer => Compression::default_of(source),
        wanted => wanted,
    };
    let mut builder = Builder::new(compression)
        .producer(
            summary.producer_id,
            summary.producer_epoch,
            summary.base_sequence,
        )
        .transactional(summary.attributes.transactional())
        .control(summary.attributes.control())
        .log_append_time(rules.log_append_time.then_some(rules.now_ms));
    let failed = || Rejection::new(Reject::MessageTooLarge, "The batch cannot be built anew.");
    for record in Walk::new(area, summary.count) {
        let record = record.map_err(|_| failed())?;
        let time = if claims_broker_time(summary, rules) {
            summary.max_timestamp
        } else {
            summary.base_timestamp.wrapping_add(record.timestamp_delta)
        };
        builder
            .append_parts(time, record.key, record.value, record.headers())
            .map_err(|_| failed())?;
    }
    let bytes = builder.build().ok_or_else(failed)?;
    check_size(bytes.len(), rules)?;
    let header = Header::of(&bytes).ok_or_else(failed)?.summary();
    Ok((bytes.into(), header))
}

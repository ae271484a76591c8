//! Admission: every check a batch passes before it is appended, in Kafka's order of precedence.
//!
//! The rules are those of Kafka 4.2 (`ProduceRequest.validateRecords`, `UnifiedLog`,
//! `LogValidator`, `DefaultRecord`), with three deliberate differences, each towards a log that
//! every consumer can read: compressed records are checked as strictly as plain ones, a record
//! whose offset delta lies outside the batch is refused, and offset deltas that are merely out of
//! order are put right by rebuilding the batch whether it is compressed or not.

use super::build::Builder;
use super::compression::{Codec, Compression, InflateError, inflate};
use super::header::{HEADER_LEN, Header, MAGIC, NO_TIMESTAMP, PREFIX_LEN, Summary};
use super::iter::{Walk, declared_len, timestamp};
use super::record::{self, RecordView};
use super::{check_crc, write_crc};
use bytes::{Bytes, BytesMut};
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
    fn new(why: Reject, message: impl Into<String>) -> Self {
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
    /// where Kafka keeps them.
    pub bytes: Bytes,
    /// What the header of `bytes` says.
    pub header: Summary,
    /// Offset delta of the first record that has the batch's maximum timestamp.
    pub max_ts_offset_delta: i32,
}

/// Checks the records of one partition of a produce request: exactly one batch of format 2, its
/// header, its CRC and every record in it; sets the time of append where the topic wants it, and
/// rebuilds the batch where the topic wants another codec.
///
/// # Errors
/// The first broken rule, in Kafka's order.
pub fn admit(records: Bytes, rules: &Rules) -> Result<Admitted, Rejection> {
    admit_counting(records, rules, &mut 0)
}

/// [`admit`], which adds to `inflated` the bytes that compressed records became: what it has cost.
///
/// # Errors
/// As [`admit`].
pub fn admit_counting(
    records: Bytes,
    rules: &Rules,
    inflated: &mut usize,
) -> Result<Admitted, Rejection> {
    let batch = only_batch(records, rules).map_err(|rejection| Rejection {
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
    let plain = inflate(codec, &batch[HEADER_LEN..], rules.inflated_bytes_max);
    *inflated += match &plain {
        Ok(plain) => plain.as_ref().map_or(0, Vec::len),
        Err(InflateError::TooLarge) => rules.inflated_bytes_max,
        Err(InflateError::Broken) => 0,
    };
    let plain = plain.map_err(|error| inflation_failed(error.reject(), codec, rules))?;
    let area = plain.as_deref().unwrap_or_else(|| &batch[HEADER_LEN..]);
    let seen = Seen::walk(area, &summary, rules)?;
    let target = rules.compression.target(codec);
    // A marker is stored as its coordinator wrote it.
    let keep_codec = codec == target || (codec == Codec::None && summary.attributes.control());
    let (bytes, header) = if keep_codec && seen.consecutive {
        stamp(batch, &summary, seen.max_timestamp, rules)
    } else {
        rebuild(area, &summary, codec, rules)?
    };
    if bytes.len() as u64 > rules.segment_bytes {
        return Err(Rejection::new(
            Reject::RecordListTooLarge,
            format!(
                "The batch has {} bytes, more than a segment of the log ({}).",
                bytes.len(),
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
        bytes,
        header,
        max_ts_offset_delta,
    })
}

/// The first batch of `records` as far as its declared length, when it is the only one.
fn only_batch(records: Bytes, rules: &Rules) -> Result<Bytes, Rejection> {
    let none = || Rejection::new(Reject::InvalidRecord, "There is no whole record batch.");
    let len = next_len(&records)?.ok_or_else(none)?;
    if records[16] != MAGIC {
        return Err(Rejection::new(
            Reject::InvalidRecord,
            format!(
                "Record batches of format {} are not accepted, only {MAGIC}.",
                records[16]
            ),
        ));
    }
    let header = Header::of(&records[..len]);
    let attributes = header.map(|header| header.summary().attributes);
    if !rules.zstd_allowed && attributes.is_some_and(|bits| bits.codec() == Ok(Codec::Zstd)) {
        return Err(Rejection::new(
            Reject::UnsupportedCompression,
            "This version of the produce request does not allow zstd.",
        ));
    }
    if next_len(&records[len..])?.is_some() {
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
    Ok(if len == records.len() {
        records
    } else {
        records.slice(..len)
    })
}

/// Shortest length that a batch of any format declares: Kafka's `LegacyRecord.RECORD_OVERHEAD_V0`.
const LENGTH_MIN: usize = 14;
/// Bytes up to the magic, which has the same place in all formats.
const LEN_UP_TO_MAGIC: usize = 17;

/// Length of the whole batch at the start of `bytes`, or `None` when it is cut off, which Kafka
/// ignores as it ignores the cut-off end of a log.
fn next_len(bytes: &[u8]) -> Result<Option<usize>, Rejection> {
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
    Ok((len <= bytes.len()).then_some(len))
}

fn impossible_length(length: i64) -> Rejection {
    Rejection::new(
        Reject::Corrupt,
        format!("A record batch declares a length of {length}."),
    )
}

/// Checks what holds for any batch: its place, its size and its CRC.
fn check_frame(batch: &[u8], rules: &Rules) -> Result<Summary, Rejection> {
    let base_offset = batch
        .first_chunk()
        .map_or(0, |bytes| i64::from_be_bytes(*bytes));
    if rules.origin == Origin::Client && base_offset != 0 {
        return Err(Rejection::new(
            Reject::InvalidRecord,
            format!("The base offset of a produced batch must be 0, not {base_offset}."),
        ));
    }
    check_size(batch, rules)?;
    match Header::of(batch) {
        Some(header) if check_crc(batch) => Ok(header.summary()),
        _ => Err(Rejection::new(
            Reject::Corrupt,
            "The CRC of the record batch is wrong.",
        )),
    }
}

fn check_size(batch: &[u8], rules: &Rules) -> Result<(), Rejection> {
    if batch.len() <= rules.batch_bytes_max {
        return Ok(());
    }
    Err(Rejection::new(
        Reject::MessageTooLarge,
        format!(
            "The batch has {} bytes, more than max.message.bytes ({}).",
            batch.len(),
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

/// What the walk over all records found.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The largest timestamp, at least -1.
    max_timestamp: i64,
    /// Index of the first record that has it, or 0.
    max_at: i32,
    /// Whether the offset deltas count 0, 1, 2, ...
    consecutive: bool,
}

impl Seen {
    /// Takes in records of the usual shape that nothing is wrong with, as far as they go: how many,
    /// and where they end.
    fn skim(&mut self, area: &[u8], summary: &Summary, rules: &Rules) -> (i32, usize) {
        let (mut index, mut at) = (0, 0);
        if summary.attributes.log_append_time() {
            return (index, at);
        }
        let (from, to) = allowed_times(rules);
        // The last one is left to the walk, which looks at what follows it.
        while index < summary.count.saturating_sub(1) {
            let Some(record) = record::skim(area, at) else {
                break;
            };
            let time = summary.base_timestamp.checked_add(record.timestamp_delta);
            let in_time = |time: &i64| {
                rules.log_append_time || *time == NO_TIMESTAMP || (from..=to).contains(time)
            };
            let Some(time) = time.filter(in_time) else {
                break;
            };
            let has_key = record.has_key || !rules.key_required;
            if record.offset_delta != index || index > summary.last_offset_delta || !has_key {
                break;
            }
            if time > self.max_timestamp {
                (self.max_timestamp, self.max_at) = (time, index);
            }
            (index, at) = (index + 1, record.end);
        }
        (index, at)
    }

    /// Checks every record, structure first: a broken one outranks what is wrong with others.
    fn walk(area: &[u8], summary: &Summary, rules: &Rules) -> Result<Self, Rejection> {
        let mut seen = Self {
            max_timestamp: NO_TIMESTAMP,
            max_at: 0,
            consecutive: true,
        };
        let (skimmed, at) = seen.skim(area, summary, rules);
        seen.finish(&area[at..], skimmed, summary, rules)
    }

    /// Checks the records from number `skimmed` on, which lie in `area`.
    fn finish(
        mut self,
        area: &[u8],
        skimmed: i32,
        summary: &Summary,
        rules: &Rules,
    ) -> Result<Self, Rejection> {
        let mut faults = Faults::default();
        let rest = Walk::new(area, summary.count - skimmed);
        for (record, index) in rest.zip(skimmed..) {
            let record = record.map_err(|malformed| {
                let message = format!("Record {index} of the batch is broken: {}.", malformed.0);
                Rejection::new(Reject::InvalidRecord, message)
            })?;
            match check_record(&record, summary, rules) {
                Ok(timestamp) if timestamp > self.max_timestamp => {
                    (self.max_timestamp, self.max_at) = (timestamp, index);
                }
                Ok(_) => {}
                Err(fault) => faults.add(index, &fault),
            }
            self.consecutive &= record.offset_delta == index;
        }
        faults.into_rejection().map_or(Ok(self), Err)
    }
}

/// What is wrong with one record.
enum Fault {
    NoKey,
    Offset(i32),
    /// The record's time lies outside what the topic allows.
    Time {
        timestamp: i64,
        offset_delta: i32,
        allowed: (i64, i64),
    },
    TimeOverflow,
    /// The producer claims to have set the broker's time.
    TimeType,
}

impl Fault {
    const fn is_timestamp(&self) -> bool {
        matches!(
            self,
            Self::Time { .. } | Self::TimeOverflow | Self::TimeType
        )
    }

    fn text(&self) -> String {
        match self {
            Self::NoKey => "A compacted topic does not accept a record without a key.".into(),
            Self::Offset(delta) => format!("The offset delta {delta} lies outside the batch."),
            Self::Time {
                timestamp,
                offset_delta,
                allowed: (from, to),
            } => format!(
                "Timestamp {timestamp} of message with offset {offset_delta} is out of range. The \
                 timestamp should be within [{from}, {to}]"
            ),
            Self::TimeOverflow => "The timestamp does not fit 64 bits.".into(),
            Self::TimeType => "A producer may not set the timestamp type LogAppendTime.".into(),
        }
    }
}

/// A record's timestamp, when the topic accepts the record.
#[inline]
fn check_record(record: &RecordView<'_>, summary: &Summary, rules: &Rules) -> Result<i64, Fault> {
    if rules.key_required && record.key.is_none() {
        return Err(Fault::NoKey);
    }
    if record.offset_delta < 0 || record.offset_delta > summary.last_offset_delta {
        return Err(Fault::Offset(record.offset_delta));
    }
    let own = timestamp(summary, record.timestamp_delta).ok_or(Fault::TimeOverflow)?;
    let claimed = claims_broker_time(summary, rules);
    let timestamp = if claimed { summary.max_timestamp } else { own };
    if !rules.log_append_time && timestamp != NO_TIMESTAMP {
        let (from, to) = allowed_times(rules);
        if timestamp < from || timestamp > to {
            return Err(Fault::Time {
                timestamp,
                offset_delta: record.offset_delta,
                allowed: (from, to),
            });
        }
    } else if claimed {
        return Err(Fault::TimeType);
    }
    Ok(timestamp)
}

/// The times that the topic accepts, in milliseconds since 1970, both ends included.
const fn allowed_times(rules: &Rules) -> (i64, i64) {
    let from = rules.now_ms.saturating_sub(rules.before_max_ms);
    (from, rules.now_ms.saturating_add(rules.after_max_ms))
}

/// Whether a client says that its times are the broker's. Kafka then takes the batch's latest time
/// for that of each record.
const fn claims_broker_time(summary: &Summary, rules: &Rules) -> bool {
    summary.attributes.log_append_time() && matches!(rules.origin, Origin::Client)
}

/// The faulty records of a batch.
#[derive(Default)]
struct Faults {
    count: usize,
    any_timestamp: bool,
    named: Vec<(i32, Option<String>)>,
}

impl Faults {
    #[cold]
    fn add(&mut self, index: i32, fault: &Fault) {
        self.count += 1;
        self.any_timestamp |= fault.is_timestamp();
        if self.named.len() < RECORD_ERRORS_MAX {
            self.named.push((index, Some(fault.text())));
        }
    }

    /// One bad timestamp makes the whole batch's error that of a timestamp.
    fn into_rejection(self) -> Option<Rejection> {
        if self.count == 0 {
            return None;
        }
        let why = if self.any_timestamp {
            Reject::InvalidTimestamp
        } else {
            Reject::InvalidRecord
        };
        let first = self
            .named
            .first()
            .and_then(|(_, text)| text.as_deref())
            .unwrap_or_default();
        // Clients show these words: for timestamps they are Kafka's own.
        let message = if self.any_timestamp {
            "One or more records have been rejected due to invalid timestamp".to_owned()
        } else {
            format!("{} records are refused; the first: {first}", self.count)
        };
        Some(Rejection {
            why,
            record_errors: self.named,
            message,
            before_log: false,
        })
    }
}

/// Sets kind and maximum of the timestamps where they differ; otherwise hands back the same bytes.
fn stamp(batch: Bytes, summary: &Summary, seen_max: i64, rules: &Rules) -> (Bytes, Summary) {
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
    let mut copy = BytesMut::from(&batch[..]);
    if let Ok((header, _)) = Header::mut_from_prefix(&mut copy) {
        header.attributes.set(attributes.0);
        header.max_timestamp.set(max_timestamp);
    }
    write_crc(&mut copy);
    (
        copy.freeze(),
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
) -> Result<(Bytes, Summary), Rejection> {
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
    check_size(&bytes, rules)?;
    let header = Header::of(&bytes).ok_or_else(failed)?.summary();
    Ok((bytes, header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;
    use proptest::prelude::*;

    fn rules() -> Rules {
        Rules {
            now_ms: 1_000_000,
            log_append_time: false,
            before_max_ms: 1_000,
            after_max_ms: 1_000,
            batch_bytes_max: 1 << 20,
            segment_bytes: 1 << 30,
            compression: Compression::Producer,
            key_required: false,
            zstd_allowed: true,
            inflated_bytes_max: 1 << 20,
            origin: Origin::Client,
        }
    }

    prop_compose! {
        /// Time, key, value, and whether there is a header.
        fn record()(
            time in prop_oneof![Just(-1i64), 998_900..1_001_100i64, any::<i64>()],
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..3)),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
            header in prop::bool::weighted(0.1),
        ) -> (i64, Option<Vec<u8>>, Option<Vec<u8>>, bool) {
            (time, key, value, header)
        }
    }

    proptest! {
        /// Records of the usual shape are looked at in another way: the verdict is the same.
        #[test]
        fn skimming_changes_no_verdict(
            records in prop::collection::vec(record(), 1..20),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            more in 0..3i32,
            key_required in any::<bool>(),
        ) {
            let mut builder = Builder::new(Compression::Producer);
            for (time, key, value, header) in &records {
                let headers = [(Bytes::from_static(b"h"), None)];
                let headers = if *header { &headers[..] } else { &[] };
                let _ = builder.append(*time, key.as_deref(), value.as_deref(), headers);
            }
            let batch = builder.build().expect("there are records");
            let mut summary = Header::of(&batch).expect("a batch has a header").summary();
            summary.count += more - 1;
            let mut area = batch[HEADER_LEN..].to_vec();
            if let Some((at, byte)) = damage {
                let at = at.index(area.len());
                area[at] = byte;
            }
            let rules = Rules { key_required, ..rules() };
            let nothing = Seen { max_timestamp: NO_TIMESTAMP, max_at: 0, consecutive: true };
            let walked = nothing.finish(&area, 0, &summary, &rules);
            prop_assert_eq!(Seen::walk(&area, &summary, &rules), walked);
        }
    }
}

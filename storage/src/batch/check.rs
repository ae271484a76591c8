//! What admission asks of the records of a batch, one by one.

use super::admit::{Origin, RECORD_ERRORS_MAX, Reject, Rejection, Rules};
use super::header::{NO_TIMESTAMP, Summary};
use super::iter::{MORE_FOLLOWS, Walk, timestamp};
use super::pieces::Cursor;
use super::record::{self, Facts, Malformed, RecordView};

/// What the walk over all records found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The largest timestamp, at least -1.
    pub(super) max_timestamp: i64,
    /// Index of the first record that has it, or 0.
    pub(super) max_at: i32,
    /// Whether the offset deltas count 0, 1, 2, ...
    pub(super) consecutive: bool,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        max_timestamp: NO_TIMESTAMP,
        max_at: 0,
        consecutive: true,
    };

    /// Takes in records of the usual shape that nothing is wrong with, from number `index` on and
    /// as far as they go: the number of the next one, and where it begins.
    fn skim(
        &mut self,
        area: &[u8],
        mut index: i32,
        summary: &Summary,
        rules: &Rules,
    ) -> (i32, usize) {
        let mut at = 0;
        if summary.attributes.log_append_time() {
            return (index, at);
        }
        let (from, to) = allowed_times(rules);
        // The last one is left to the walk, which looks at what follows it.
        while index < summary.count.saturating_sub(1) {
            let Some((record, end)) = record::skim(area, at) else {
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
            (index, at) = (index + 1, end);
        }
        (index, at)
    }

    /// Checks every record, structure first: a broken one outranks what is wrong with others.
    pub(super) fn walk(area: &[u8], summary: &Summary, rules: &Rules) -> Result<Self, Rejection> {
        let mut seen = Self::NOTHING;
        let (skimmed, at) = seen.skim(area, 0, summary, rules);
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
            let record = record.map_err(|malformed| broken(index, malformed))?;
            self.look(index, &record.facts(), summary, rules, &mut faults);
        }
        faults.into_rejection().map_or(Ok(self), Err)
    }

    /// [`walk`](Self::walk) over an area that lies in several pieces: the same verdict. Within a
    /// piece records are looked at as ever; one that lies over two is stepped through.
    pub(super) fn walk_pieces(
        pieces: &[&[u8]],
        summary: &Summary,
        rules: &Rules,
    ) -> Result<Self, Rejection> {
        let (mut seen, mut faults) = (Self::NOTHING, Faults::default());
        let mut rest = Cursor::new(pieces);
        let mut index = 0;
        while index < summary.count {
            let mut piece = rest.piece();
            let before = piece.len();
            let (next, at) = seen.skim(piece, index, summary, rules);
            (index, piece) = (next, &piece[at..]);
            while index < summary.count {
                let mut after = piece;
                let Ok(record) = RecordView::take(&mut after) else {
                    break;
                };
                seen.look(index, &record.facts(), summary, rules, &mut faults);
                (index, piece) = (index + 1, after);
            }
            let _ = rest.skip(before - piece.len());
            if index < summary.count {
                // It goes on in the next piece, or is broken.
                let facts = record::check(&mut rest).map_err(|why| broken(index, why))?;
                seen.look(index, &facts, summary, rules, &mut faults);
                index += 1;
            }
        }
        if summary.count > 0 && rest.left() > 0 {
            return Err(broken(summary.count - 1, MORE_FOLLOWS));
        }
        faults.into_rejection().map_or(Ok(seen), Err)
    }

    #[inline]
    fn look(
        &mut self,
        index: i32,
        record: &Facts,
        summary: &Summary,
        rules: &Rules,
        faults: &mut Faults,
    ) {
        match check_record(record, summary, rules) {
            Ok(timestamp) if timestamp > self.max_timestamp => {
                (self.max_timestamp, self.max_at) = (timestamp, index);
            }
            Ok(_) => {}
            Err(fault) => faults.add(index, &fault),
        }
        self.consecutive &= record.offset_delta == index;
    }
}

#[cold]
fn broken(index: i32, why: Malformed) -> Rejection {
    let message = format!("Record {index} of the batch is broken: {}.", why.0);
    Rejection::new(Reject::InvalidRecord, message)
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
fn check_record(record: &Facts, summary: &Summary, rules: &Rules) -> Result<i64, Fault> {
    if rules.key_required && !record.has_key {
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
pub(super) const fn claims_broker_time(summary: &Summary, rules: &Rules) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Compression, HEADER_LEN, Header};
    use bytes::Bytes;
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
        /// Records of the usual shape are looked at in another way, and so are those that lie over
        /// several pieces: the verdict is the same.
        #[test]
        fn neither_skimming_nor_cutting_changes_a_verdict(
            records in prop::collection::vec(record(), 1..20),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            more in 0..3i32,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
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
            let walked = Seen::NOTHING.finish(&area, 0, &summary, &rules);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(area.len())).collect();
            cuts.extend([0, area.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &area[cut[0]..cut[1]]).collect();
            prop_assert_eq!(&Seen::walk_pieces(&pieces, &summary, &rules), &walked);
            prop_assert_eq!(Seen::walk(&area, &summary, &rules), walked);
        }
    }
}

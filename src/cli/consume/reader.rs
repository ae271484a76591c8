//! Fetches spans of partitions from their leaders.

use crate::cli::cluster::{Cluster, EARLIEST};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::refusal;
use bytes::Bytes;
use net::wire::{Str, fetch};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};
use storage::batch::{ParseError, Record, batches, records};

/// How long a broker may hold a fetch while there is nothing new.
const WAIT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(200);
/// Of one answer, in bytes.
const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 4 << 20;
/// Records of one batch may inflate to this, in bytes.
const INFLATED_BYTES_MAX: usize = 256 << 20;
/// OFFSET_OUT_OF_RANGE
const OUT_OF_RANGE: i16 = 1;

/// What is to be read of one partition: `next` to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) partition: i32,
    pub(super) next: i64,
    pub(super) end: i64,
}

pub(super) struct Reader<'a> {
    cluster: &'a mut Cluster,
    topic: String,
    spans: Vec<Span>,
    follow: bool,
    leaders: BTreeMap<i32, i32>,
    /// When what went wrong last began to go wrong.
    trouble: Option<Instant>,
}

/// A record with its partition and offset.
type Found = (i32, i64, Record);

impl<'a> Reader<'a> {
    pub(super) fn new(
        cluster: &'a mut Cluster,
        topic: &str,
        spans: Vec<Span>,
        follow: bool,
    ) -> Self {
        Self {
            cluster,
            topic: topic.to_owned(),
            spans,
            follow,
            leaders: BTreeMap::new(),
            trouble: None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        !self.follow && self.spans.iter().all(|span| span.next >= span.end)
    }

    /// The next records of every leader; none if there are none yet.
    pub(super) fn next(&mut self) -> Outcome<Vec<Found>> {
        match self.fetch_all() {
            Ok(found) => {
                self.trouble = None;
                Ok(found)
            }
            Err(attempt) => {
                let since = *self.trouble.get_or_insert_with(Instant::now);
                if attempt.is_final || since.elapsed() >= self.cluster.timeout() {
                    return Err(attempt.failure);
                }
                self.leaders.clear();
                sleep(PAUSE);
                Ok(Vec::new())
            }
        }
    }

    fn fetch_all(&mut self) -> Result<Vec<Found>, Attempt> {
        if self.leaders.is_empty() {
            let topic = self.cluster.topic(&self.topic).map_err(Attempt::again)?;
            self.leaders = topic
                .partitions
                .iter()
                .map(|p| (p.partition_index, p.leader_id))
                .collect();
        }
        let mut by_leader: BTreeMap<i32, Vec<fetch::FetchPartition>> = BTreeMap::new();
        for span in self
            .spans
            .iter()
            .filter(|span| self.follow || span.next < span.end)
        {
            let leader = self.leaders.get(&span.partition).copied().unwrap_or(-1);
            let partition = fetch::FetchPartition {
                partition: span.partition,
                fetch_offset: span.next,
                partition_max_bytes: PARTITION_BYTES,
                ..Default::default()
            };
            by_leader.entry(leader).or_default().push(partition);
        }
        let mut found = Vec::new();
        for (leader, partitions) in by_leader {
            let request = fetch::Request {
                max_wait_ms: WAIT.as_millis() as i32,
                min_bytes: 1,
                max_bytes: FETCH_BYTES,
                topics: vec![fetch::FetchTopic {
                    topic: Str::from(self.topic.as_str()),
                    partitions,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = self.cluster.ask_node_waiting(leader, &request, WAIT);
            let response = response.map_err(Attempt::again)?;
            self.check(response.error_code, "the fetch")?;
            for answer in response
                .responses
                .into_iter()
                .flat_map(|topic| topic.partitions)
            {
                self.take(answer, &mut found)?;
            }
        }
        Ok(found)
    }

    fn check(&self, code: i16, what: &str) -> Result<(), Attempt> {
        let is_final = !refusal::is_passing(code);
        refusal::check(what, code, None).map_err(|failure| Attempt { failure, is_final })
    }

    fn take(
        &mut self,
        answer: fetch::PartitionData,
        found: &mut Vec<Found>,
    ) -> Result<(), Attempt> {
        let index = answer.partition_index;
        let what = format!("{}-{index}", self.topic);
        if answer.error_code == OUT_OF_RANGE {
            return self.skip_deleted(index);
        }
        self.check(answer.error_code, &what)?;
        let Some(span) = self.spans.iter_mut().find(|span| span.partition == index) else {
            return Ok(());
        };
        let bytes = answer
            .records
            .map(net::wire::Records::into_bytes)
            .unwrap_or_default();
        read(&bytes, span, self.follow, found)
            .map_err(|why| Attempt::last(Failure::new(format!("{what} is damaged: {why}"))))
    }

    /// Retention has overtaken the reader: it goes on where the partition begins now.
    fn skip_deleted(&mut self, index: i32) -> Result<(), Attempt> {
        let begins = self.cluster.offsets_at(&self.topic, &[(index, EARLIEST)]);
        let begins = begins.map_err(Attempt::again)?;
        let begin = begins.get(&index).copied().unwrap_or(0);
        for span in self.spans.iter_mut().filter(|span| span.partition == index) {
            let (topic, next) = (&self.topic, span.next);
            if next >= begin {
                let failure = Failure::new(format!("{topic}-{index} has no offset {next}"));
                return Err(Attempt::last(
                    failure.advise("see `ringlog topic describe`"),
                ));
            }
            eprintln!("ringlog: {topic}-{index}: offsets {next} to {begin} are deleted already");
            span.next = begin;
        }
        Ok(())
    }
}

/// Takes the records of whole batches; `span` goes on behind them.
fn read(
    bytes: &Bytes,
    span: &mut Span,
    follow: bool,
    found: &mut Vec<Found>,
) -> Result<(), String> {
    for batch in batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            // The answer's bound cut it: it comes with the next one.
            Err(ParseError::Short { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let summary = batch.summary();
        let base = summary.base_offset;
        if !summary.attributes.control() {
            let records = records(&bytes.slice_ref(batch.bytes), INFLATED_BYTES_MAX);
            for record in records.map_err(|why| format!("{why:?} at offset {base}"))? {
                let record = record.map_err(|why| format!("{why:?} at offset {base}"))?;
                let offset = base + i64::from(record.offset_delta);
                if offset >= span.next && (follow || offset < span.end) {
                    found.push((span.partition, offset, record));
                }
            }
        }
        span.next = span.next.max(summary.last_offset() + 1);
    }
    Ok(())
}

/// An attempt that failed.
struct Attempt {
    failure: Failure,
    /// Another one would fail the same way.
    is_final: bool,
}

impl Attempt {
    const fn again(failure: Failure) -> Self {
        Self {
            failure,
            is_final: false,
        }
    }

    const fn last(failure: Failure) -> Self {
        Self {
            failure,
            is_final: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::batch::{Builder, Compression, patch};

    fn batch(base: i64, values: &[&str]) -> Vec<u8> {
        let mut builder = Builder::new(Compression::None);
        for value in values {
            builder
                .append(7, None, Some(value.as_bytes()), &[])
                .expect("it is small");
        }
        let mut bytes = builder.build().expect("it has records").to_vec();
        patch(&mut bytes, base, 0);
        bytes
    }

    #[test]
    fn only_the_span_is_taken_and_a_cut_batch_is_left() {
        let mut bytes = batch(10, &["a", "b", "c"]);
        bytes.extend(batch(13, &["d", "e"]));
        let whole = bytes.len();
        bytes.extend(batch(15, &["f"]));
        bytes.truncate(whole + 20);
        let bytes = Bytes::from(bytes);
        let mut span = Span {
            partition: 0,
            next: 11,
            end: 14,
        };
        let mut found = Vec::new();
        assert_eq!(read(&bytes, &mut span, false, &mut found), Ok(()));
        let offsets: Vec<i64> = found.iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!((offsets, span.next), (vec![11, 12, 13], 15));
    }
}

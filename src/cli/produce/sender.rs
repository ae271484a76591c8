//! Sends batches so that each arrives exactly once: an idempotent producer (KIP-98) that keeps one
//! batch a partition under way and repeats it until it is acknowledged or time is up.

use super::lines::Line;
use super::murmur;
use crate::cli::cluster::Cluster;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::{moment, refusal};
use bytes::Bytes;
use net::wire::{Records, Str, init_producer_id, produce};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};
use storage::batch::{Builder, Compression};

/// A batch is sent when its records take this much, well below the default max.message.bytes.
const BATCH_BYTES: usize = 512 << 10;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// The broker has that batch already: an earlier attempt arrived, only its answer did not.
const DUPLICATE_SEQUENCE: i16 = 46;

pub(super) struct Sender<'a> {
    cluster: &'a mut Cluster,
    topic: String,
    compression: Compression,
    headers: Vec<(Bytes, Option<Bytes>)>,
    producer: (i64, i16),
    partitions: Vec<Partition>,
    /// Records without a key stay on one partition for a batch, then go on to the next.
    sticky: usize,
    records: u64,
    bytes: u64,
}

struct Partition {
    index: i32,
    leader: i32,
    next_sequence: i32,
    open: Option<Builder>,
    /// Finished, and the count of its records.
    sealed: Option<(Bytes, i32)>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        cluster: &'a mut Cluster,
        topic: &str,
        compression: Compression,
        headers: Vec<(Bytes, Option<Bytes>)>,
    ) -> Outcome<Self> {
        let partition = |known: net::wire::metadata::MetadataResponsePartition| Partition {
            index: known.partition_index,
            leader: known.leader_id,
            next_sequence: 0,
            open: None,
            sealed: None,
        };
        let mut partitions: Vec<Partition> = cluster
            .topic(topic)?
            .partitions
            .into_iter()
            .map(partition)
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        let producer = producer_id(cluster)?;
        Ok(Self {
            cluster,
            topic: topic.to_owned(),
            compression,
            headers,
            producer,
            partitions,
            // Each run begins elsewhere, or short ones would fill the first partition only.
            sticky: std::process::id() as usize,
            records: 0,
            bytes: 0,
        })
    }

    /// Records acknowledged or on their way.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, line: &Line<'_>, partition: Option<i32>) -> Outcome {
        let at = self.choose(line, partition)?;
        let len = line.key.map_or(0, <[u8]>::len) + line.value.map_or(0, <[u8]>::len);
        let open = self.partitions[at].open.as_ref();
        if open.is_some_and(|open| open.len_uncompressed() + len > BATCH_BYTES) {
            self.flush()?;
        }
        let (producer, compression) = (self.producer, self.compression);
        let target = &mut self.partitions[at];
        let sequence = target.next_sequence;
        let open = target.open.get_or_insert_with(|| {
            Builder::new(compression).producer(producer.0, producer.1, sequence)
        });
        open.append(moment::now_ms(), line.key, line.value, &self.headers)
            .map_err(|_| Failure::new("a record is too large for any batch"))?;
        self.records += 1;
        self.bytes += len as u64;
        Ok(())
    }

    fn choose(&self, line: &Line<'_>, partition: Option<i32>) -> Outcome<usize> {
        let count = self.partitions.len();
        if let Some(index) = partition {
            let at = self
                .partitions
                .iter()
                .position(|known| known.index == index);
            return at.ok_or_else(|| {
                Failure::new(format!("topic {} has no partition {index}", self.topic))
                    .advise(format!("it has {count}, numbered from 0"))
            });
        }
        Ok(match line.key {
            Some(key) => murmur::partition(key, count),
            None => self.sticky % count.max(1),
        })
    }

    /// Sends what has gathered and waits until all of it is acknowledged.
    pub(super) fn flush(&mut self) -> Outcome {
        self.sticky = self.sticky.wrapping_add(1);
        for partition in &mut self.partitions {
            if let Some(open) = partition.open.take() {
                let count = open.count();
                let batch = open
                    .build()
                    .ok_or_else(|| Failure::new("a batch cannot be built"))?;
                partition.sealed = Some((batch, count));
            }
        }
        let deadline = Instant::now() + self.cluster.timeout();
        while self
            .partitions
            .iter()
            .any(|partition| partition.sealed.is_some())
        {
            let Err(failure) = self.send_sealed() else {
                continue;
            };
            let is_late = Instant::now() >= deadline;
            if is_late || failure.is_final {
                return Err(failure.failure.advise(
                    "the records of this last batch may or may not be in the topic; all before \
                     them are",
                ));
            }
            sleep(PAUSE);
            // Leaders may have moved; if nobody answers, the next attempt says so.
            let _ = self.find_leaders();
        }
        Ok(())
    }

    fn find_leaders(&mut self) -> Outcome {
        for known in self.cluster.topic(&self.topic)?.partitions {
            let own = self
                .partitions
                .iter_mut()
                .find(|own| own.index == known.partition_index);
            if let Some(own) = own {
                own.leader = known.leader_id;
            }
        }
        Ok(())
    }

    /// One request to each leader that has batches to get.
    fn send_sealed(&mut self) -> Result<(), Attempt> {
        let mut by_leader: BTreeMap<i32, Vec<produce::PartitionProduceData>> = BTreeMap::new();
        for partition in &self.partitions {
            if let Some((batch, _)) = &partition.sealed {
                let data = produce::PartitionProduceData {
                    index: partition.index,
                    records: Some(Records::from(batch.clone())),
                };
                by_leader.entry(partition.leader).or_default().push(data);
            }
        }
        for (leader, partition_data) in by_leader {
            let request = produce::Request {
                acks: -1,
                timeout_ms: self.cluster.timeout_ms(),
                topic_data: vec![produce::TopicProduceData {
                    name: Str::from(self.topic.as_str()),
                    partition_data,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = self
                .cluster
                .ask_node(leader, &request)
                .map_err(Attempt::again)?;
            for answer in response
                .responses
                .into_iter()
                .flat_map(|topic| topic.partition_responses)
            {
                self.acknowledged(&answer)?;
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, answer: &produce::PartitionProduceResponse) -> Result<(), Attempt> {
        let code = answer.error_code;
        if code == 0 || code == DUPLICATE_SEQUENCE {
            let own = self
                .partitions
                .iter_mut()
                .find(|own| own.index == answer.index);
            if let Some(own) = own
                && let Some((_, count)) = own.sealed.take()
            {
                own.next_sequence = after(own.next_sequence, count);
            }
            return Ok(());
        }
        let bad = answer.record_errors.first();
        let said = bad.and_then(|bad| bad.batch_index_error_message.as_ref());
        let said = said.or(answer.error_message.as_ref());
        let what = format!("{}-{}", self.topic, answer.index);
        match refusal::check(&what, code, said) {
            Ok(()) => Ok(()),
            Err(failure) => Err(Attempt {
                failure,
                is_final: !refusal::is_passing(code),
            }),
        }
    }
}

/// A new producer's id and epoch; a broker that has just started may not have one to give yet.
fn producer_id(cluster: &mut Cluster) -> Outcome<(i64, i16)> {
    let request = init_producer_id::Request {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
    };
    let deadline = Instant::now() + cluster.timeout();
    loop {
        let response = cluster.ask(&request)?;
        let code = response.error_code;
        if !refusal::is_passing(code) || Instant::now() >= deadline {
            refusal::check("cannot get a producer id", code, None)?;
            return Ok((response.producer_id, response.producer_epoch));
        }
        sleep(PAUSE);
    }
}

/// The sequence number `count` records on; after the largest comes zero (KIP-98).
fn after(sequence: i32, count: i32) -> i32 {
    let next = i64::from(sequence) + i64::from(count);
    (next % (i64::from(i32::MAX) + 1)) as i32
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(after(5, 3), 8);
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 1, 3), 1);
    }
}

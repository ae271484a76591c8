//! Numbered records: producers that know what was acknowledged, and a reader that expects it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::admin::wait;
use crate::produce::client;

/// For what happens by itself, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(120);
const REQUEST: Duration = Duration::from_secs(60);
/// A refusal leaves long before a client would give the request up.
const REFUSED_WITHIN: Duration = Duration::from_secs(25);
const STEADY_BYTES: usize = 200;
const STEADY_UNDER_WAY_MAX: i32 = 100;

fn content(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(bytes.max(8), number.to_le_bytes()[0]);
    value
}

/// What is owed of the one partition of a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acked {
    topic: String,
    /// By offset: the record's number and length.
    records: BTreeMap<i64, (u64, usize)>,
    from: i64,
    /// Nothing else may be there, and nothing twice.
    exactly: bool,
}

impl Acked {
    pub(crate) fn last(&self) -> i64 {
        self.records
            .last_key_value()
            .map_or(0, |(offset, _)| *offset)
    }

    pub(crate) fn forget_below(&mut self, start: i64) {
        self.from = start;
        self.records = self.records.split_off(&start);
    }
}

/// Where answers are noted: the acknowledged ones by offset, the last failure.
#[derive(Default)]
struct Answers {
    acked: BTreeMap<i64, (u64, usize)>,
    last: Option<Result<(), KafkaError>>,
    failed: Vec<String>,
}

struct Noting(Arc<Mutex<Answers>>);

impl ClientContext for Noting {}

impl ProducerContext for Noting {
    type DeliveryOpaque = Box<(u64, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<(u64, usize)>) {
        let mut answers = self.0.lock().expect("no holder fails");
        match result {
            Ok(record) => {
                let other = answers.acked.insert(record.offset(), *sent);
                if record.offset() < 0 || other.is_some() {
                    let text = format!("{sent:?} acknowledged at {}: {other:?}", record.offset());
                    answers.failed.push(text);
                }
                answers.last = Some(Ok(()));
            }
            Err((error, _)) => {
                answers.failed.push(format!("{sent:?}: {error}"));
                answers.last = Some(Err(error.clone()));
            }
        }
    }
}

fn producer(address: &str, more: &[(&str, &str)]) -> (BaseProducer<Noting>, Arc<Mutex<Answers>>) {
    let answers = Arc::new(Mutex::new(Answers::default()));
    let mut config = client(address);
    config.set("acks", "all").set("linger.ms", "0");
    for (key, value) in more {
        config.set(*key, *value);
    }
    let client = config
        .create_with_context(Noting(Arc::clone(&answers)))
        .expect("the producer's settings are right");
    (client, answers)
}

fn send(client: &BaseProducer<Noting>, topic: &str, sent: (u64, usize)) -> Result<(), KafkaError> {
    let value = content(sent.0, sent.1);
    let record =
        BaseRecord::<[u8], Vec<u8>, Box<(u64, usize)>>::with_opaque_to(topic, Box::new(sent))
            .partition(0)
            .payload(&value);
    client.send(record).map_err(|(error, _)| error)
}

/// Sends one record after the other and tries none again.
pub(crate) struct Asker {
    client: BaseProducer<Noting>,
    answers: Arc<Mutex<Answers>>,
    number: u64,
    pub(crate) acked: Acked,
}

impl Asker {
    pub(crate) fn new(address: &str, topic: &str) -> Self {
        let once = [
            ("message.send.max.retries", "0"),
            ("message.timeout.ms", "60000"),
        ];
        let (client, answers) = producer(address, &once);
        let acked = Acked {
            topic: topic.to_owned(),
            ..Acked::default()
        };
        Self {
            client,
            answers,
            number: 0,
            acked,
        }
    }

    fn ask(&mut self, bytes: usize) -> Result<(), KafkaError> {
        self.number += 1;
        send(&self.client, &self.acked.topic, (self.number, bytes))?;
        loop {
            self.client.poll(Duration::from_millis(5));
            let mut answers = self.answers.lock().expect("no holder fails");
            if let Some(answer) = answers.last.take() {
                self.acked.records.append(&mut answers.acked);
                return answer;
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: usize) -> Result<(), String> {
        self.ask(bytes)
            .map_err(|error| format!("{} was refused: {error}", self.acked.topic))
    }

    /// The next record is refused for want of space, and soon.
    pub(crate) fn is_refused(&mut self, bytes: usize) -> Result<Duration, String> {
        match self.asked(bytes)? {
            Some(after) => Ok(after),
            None => Err("a record was taken although the disk is full".to_owned()),
        }
    }

    /// `None` when it was taken, otherwise how long the refusal took.
    fn asked(&mut self, bytes: usize) -> Result<Option<Duration>, String> {
        let from = Instant::now();
        let Err(error) = self.ask(bytes) else {
            return Ok(None);
        };
        let after = from.elapsed();
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::KafkaStorageError) {
            return Err(format!("a full disk is answered with {error}"));
        }
        if after > REFUSED_WITHIN {
            return Err(format!("the refusal took {after:?}"));
        }
        Ok(Some(after))
    }

    /// Sends until the disk is full: how many were taken, and how long the refusal took.
    pub(crate) fn fill(&mut self, bytes: usize) -> Result<(u64, Duration), String> {
        let mut taken = 0;
        loop {
            match self.asked(bytes)? {
                None => taken += 1,
                Some(after) => return Ok((taken, after)),
            }
        }
    }

    /// Sends until one is taken again.
    pub(crate) fn resumes(&mut self, bytes: usize) -> Result<Duration, String> {
        let from = Instant::now();
        while self.asked(bytes)?.is_some() {
            if from.elapsed() > LIMIT {
                return Err(format!("appends do not go on within {LIMIT:?}"));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(from.elapsed())
    }
}

/// An idempotent producer that sends all the while and never gives up.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Acked, String>>,
}

impl Steady {
    pub(crate) fn begin(address: &str, topic: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let (address, topic) = (address.to_owned(), topic.to_owned());
        let thread = spawn(move || steady(&address, &topic, &until));
        Self { stop, thread }
    }

    /// Everything that was sent must be acknowledged now.
    pub(crate) fn end(self) -> Result<Acked, String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| "the idempotent producer failed; see above".to_owned())?
    }
}

fn steady(address: &str, topic: &str, stop: &AtomicBool) -> Result<Acked, String> {
    let stubborn = [
        ("enable.idempotence", "true"),
        ("message.send.max.retries", "2147483647"),
        ("message.timeout.ms", "0"),
    ];
    let (client, answers) = producer(address, &stubborn);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        if client.in_flight_count() < STEADY_UNDER_WAY_MAX {
            number += 1;
            send(&client, topic, (number, STEADY_BYTES)).map_err(|error| error.to_string())?;
        }
        client.poll(Duration::from_millis(5));
    }
    client
        .flush(LIMIT)
        .map_err(|error| format!("{topic}: some were never acknowledged: {error}"))?;
    let mut answers = answers.lock().expect("no holder fails");
    let records = std::mem::take(&mut answers.acked);
    if !answers.failed.is_empty() || records.len() as u64 != number {
        let (known, failed) = (records.len(), &answers.failed);
        return Err(format!(
            "{number} were sent, {known} acknowledged: {failed:?}"
        ));
    }
    Ok(Acked {
        topic: topic.to_owned(),
        records,
        from: 0,
        exactly: true,
    })
}

/// Reads a topic to its end; every record that was acknowledged must be where it was.
pub(crate) fn read_all(address: &str, acked: &Acked) -> Result<u64, String> {
    let topic = &acked.topic;
    let consumer: BaseConsumer = client(address)
        .set("group.id", "the reader commits nothing")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "20")
        .create()
        .map_err(|error| error.to_string())?;
    let (low, high) = consumer
        .fetch_watermarks(topic, 0, REQUEST)
        .map_err(|error| format!("{topic}: no start and end: {error}"))?;
    if low > acked.from || high <= acked.last() && !acked.records.is_empty() {
        return Err(format!(
            "{topic} has {low} to {high}, owed is {}",
            acked.last()
        ));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(low))
        .expect("a list");
    consumer.assign(&list).map_err(|error| error.to_string())?;
    let mut next = low;
    let mut found = 0;
    let mut last = Instant::now();
    while next < high {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else {
            if last.elapsed() > LIMIT {
                return Err(format!("{topic}: nothing comes at {next} of {high}"));
            }
            continue;
        };
        last = Instant::now();
        if message.offset() != next {
            return Err(format!("{topic}: {} instead of {next}", message.offset()));
        }
        next += 1;
        let value = message.payload().unwrap_or_default();
        match acked.records.get(&message.offset()) {
            Some((number, bytes)) if content(*number, *bytes) == value => found += 1,
            None if !acked.exactly => {}
            owed => return Err(format!("{topic}@{}: not {owed:?}", message.offset())),
        }
    }
    match acked.records.len() as u64 {
        owed if owed == found => Ok(found),
        owed => Err(format!(
            "{topic}: {owed} records are owed, {found} are there"
        )),
    }
}

fn admin(address: &str) -> (AdminClient<DefaultClientContext>, AdminOptions) {
    let client = client(address).create().expect("the settings are right");
    (client, AdminOptions::new().request_timeout(Some(REQUEST)))
}

pub(crate) fn delete_records(address: &str, topic: &str, to: i64) -> Result<(), String> {
    let (admin, options) = admin(address);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(to))
        .expect("a list");
    let answer = wait(admin.delete_records(&list, &options)).map_err(|error| error.to_string())?;
    let failed = answer.elements().iter().find_map(|one| one.error().err());
    failed.map_or(Ok(()), |error| Err(format!("DeleteRecords: {error}")))
}

pub(crate) fn delete_topic(address: &str, topic: &str) -> Result<(), String> {
    let (admin, options) = admin(address);
    let answer =
        wait(admin.delete_topics(&[topic], &options)).map_err(|error| error.to_string())?;
    let failed = answer.into_iter().find_map(Result::err);
    failed.map_or(Ok(()), |error| Err(format!("DeleteTopics: {error:?}")))
}

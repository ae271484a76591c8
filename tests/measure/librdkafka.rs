//! librdkafka as the load: so many records as fast as they go, every one with its delivery report.
//! `tests/measure/clients` calls it; results are one line of `key=value`.
//!
//! Arguments are `key=value` too: bootstrap, topic, records, bytes, acks; every other key is a
//! setting of librdkafka.

#![forbid(unsafe_code)]

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Records between two looks at what was delivered.
const POLL_EVERY: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts the delivery reports.
struct Reports {
    began: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    failed: u64,
    /// From the call to the report, in us, of those that were delivered.
    latency_us: Vec<u32>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// When it was handed over, in us since the beginning.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, handed_over: usize) {
        let took = self.began.elapsed().as_micros() as usize - handed_over;
        let mut seen = self.seen.lock().expect("nobody panics with it");
        match result {
            Ok(_) => seen
                .latency_us
                .push(u32::try_from(took).unwrap_or(u32::MAX)),
            Err(_) => seen.failed += 1,
        }
    }
}

fn main() {
    let mut options: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect();
    let mut take = |key: &str| options.remove(key);
    let bootstrap = take("bootstrap").unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = take("topic").unwrap_or_else(|| "measure".to_owned());
    let mut number = |key: &str, standard: u64| {
        let text = take(key);
        text.map_or(standard, |text| text.parse().expect("a number"))
    };
    let (records, bytes) = (number("records", 1_000_000), number("bytes", 100) as usize);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in options {
        config.set(key, value);
    }
    let began = Instant::now();
    let reports = Reports {
        began,
        seen: Mutex::new(Seen::default()),
    };
    let producer: BaseProducer<Reports> = config
        .create_with_context(reports)
        .expect("librdkafka takes these settings");
    produce(&producer, &topic, records, &value(bytes));
    producer.flush(PATIENCE).expect("everything is answered");
    let spent = began.elapsed().as_secs_f64();
    let mut seen = producer.context().seen.lock().expect("nobody panics");
    seen.latency_us.sort_unstable();
    let delivered = seen.latency_us.len();
    let at = |q: f64| {
        let rank = ((delivered as f64 * q).ceil() as usize).max(1) - 1;
        f64::from(seen.latency_us.get(rank).copied().unwrap_or(0)) / 1e3
    };
    println!(
        "records={records} delivered={delivered} failed={} seconds={spent:.3} records_per_s={:.0} \
         p50_ms={:.1} p99_ms={:.1} p999_ms={:.1}",
        seen.failed,
        delivered as f64 / spent,
        at(0.5),
        at(0.99),
        at(0.999)
    );
    assert_eq!(delivered as u64, records, "every record is delivered");
}

fn produce(producer: &BaseProducer<Reports>, topic: &str, records: u64, value: &[u8]) {
    for number in 0..records {
        let handed_over = producer.context().began.elapsed().as_micros() as usize;
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, handed_over).payload(value);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "the record is taken");
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        if number % POLL_EVERY == 0 {
            producer.poll(Duration::ZERO);
        }
    }
}

/// Letters without a pattern, as the Java tool has them.
fn value(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + (state >> 33) as u8 % 26
    };
    (0..bytes).map(letter).collect()
}

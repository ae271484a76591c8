//! Producers: librdkafka clients that outlive every broker, and tell what was acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::chance::Chance;
use crate::record::RecordId;
use crate::world::{PLAIN_FROM, PROBER, World};

/// The world as all threads share it.
pub(crate) type Shared = Arc<Mutex<World>>;

/// Records that one producer keeps under way.
const UNDER_WAY_MAX: i32 = 200;
/// For the last acknowledgements, when the broker stays up.
const FLUSH: Duration = Duration::from_secs(180);

pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world
        .lock()
        .expect("no thread has failed while it held the world")
}

/// A client's settings; its complaints about a broker that is gone are expected, and dropped.
pub(crate) fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "200")
        .set("topic.metadata.refresh.fast.interval.ms", "50")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("topic.metadata.propagation.max.ms", "120000")
        .set("log_level", "0")
        .set_log_level(RDKafkaLogLevel::Emerg);
    config
}

struct Acknowledged(Shared);

impl ClientContext for Acknowledged {
    fn error(&self, error: KafkaError, reason: &str) {
        // Fatal for an idempotent producer: it lost its place in the order.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            lock(&self.0)
                .failures
                .push(format!("a producer cannot go on: {error}: {reason}"));
        }
    }
}

/// What is known of a record under way: its topic, number and size.
type Sent = Box<(String, RecordId, u64)>;

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Sent;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Sent) {
        let (name, id, bytes) = *sent;
        let mut world = lock(&self.0);
        match result {
            Ok(record) => {
                let offset = Some(record.offset()).filter(|offset| *offset >= 0);
                world.acked(&name, id, offset, bytes);
            }
            Err((error, _)) => world.failed(&name, id, &error.to_string()),
        }
    }
}

pub(crate) struct Sender {
    index: u8,
    chance: Chance,
    world: Shared,
    client: ThreadedProducer<Acknowledged>,
}

impl Sender {
    /// Each has its own codec, pace and size of batches; the last ones are not idempotent.
    pub(crate) fn new(index: u8, address: &str, world: &Shared, mut chance: Chance) -> Self {
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        let codec = codecs[usize::from(index) % codecs.len()];
        let plain = index >= PLAIN_FROM;
        let mut config = client(address);
        config
            .set("compression.codec", codec)
            .set("enable.idempotence", if plain { "false" } else { "true" })
            .set("acks", if plain && index != PROBER { "1" } else { "all" })
            .set("message.timeout.ms", "0")
            .set("message.send.max.retries", "2147483647")
            .set("message.max.bytes", "2097152")
            .set("linger.ms", *chance.pick(&["0", "2", "20"]))
            .set("batch.size", *chance.pick(&["1000", "50000", "1500000"]));
        let client = config
            .create_with_context(Acknowledged(Arc::clone(world)))
            .expect("the producer's settings are right");
        Self {
            index,
            chance,
            world: Arc::clone(world),
            client,
        }
    }

    /// Sends bursts until it is told to stop, then waits for the last acknowledgement.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let burst = self.chance.within(1, 40);
            for _ in 0..burst {
                if self.client.in_flight_count() > UNDER_WAY_MAX {
                    break;
                }
                self.send();
            }
            sleep(Duration::from_millis(self.chance.within(1, 60)));
        }
        self.settle();
    }

    /// Sends one record, if there is a topic to send it to.
    pub(crate) fn send(&mut self) {
        let Some((name, id)) = lock(&self.world).send(self.index, &mut self.chance) else {
            return;
        };
        let (key, value) = id.content();
        let bytes = value.len() as u64;
        let mut record = BaseRecord::<Vec<u8>, Vec<u8>, Sent>::with_opaque_to(
            &name,
            Box::new((name.clone(), id, bytes)),
        )
        .partition(i32::from(id.partition))
        .payload(&value);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if self.client.send(record).is_err() {
            lock(&self.world).unsent(&name);
        }
    }

    /// Waits until everything that was sent is acknowledged.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.client.flush(FLUSH) {
            let left = self.client.in_flight_count();
            let text = format!(
                "producer {}: {left} records were never acknowledged: {error}",
                self.index
            );
            lock(&self.world).failures.push(text);
        }
    }
}

/// Waits until a condition on the world holds; none if it never does.
pub(crate) fn wait_for<T>(
    world: &Shared,
    limit: Duration,
    mut of: impl FnMut(&mut World) -> Option<T>,
) -> Option<T> {
    let from = Instant::now();
    loop {
        if let Some(found) = of(&mut lock(world)) {
            return Some(found);
        }
        if from.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

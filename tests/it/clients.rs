//! What the tests do with librdkafka.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The number that the record was sent with.
    pub(crate) number: usize,
    pub(crate) outcome: Result<(i32, i64), RDKafkaErrorCode>,
}

/// Passes on what became of records.
pub(crate) struct Deliveries(Sender<Delivery>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().expect("a code of librdkafka")),
        };
        // The test may be over.
        let _ = self.0.send(Delivery { number, outcome });
    }
}

pub(crate) type TestProducer = ThreadedProducer<Deliveries>;

pub(crate) fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.max.ms", "500");
    config
}

pub(crate) fn producer(
    address: &str,
    settings: &[(&str, &str)],
) -> (TestProducer, Receiver<Delivery>) {
    let (sender, receiver) = channel();
    let mut config = config(address);
    config.set("message.timeout.ms", "120000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer = config.create_with_context(Deliveries(sender));
    (producer.expect("a producer"), receiver)
}

/// Waits for everything that was sent, and returns what became of it by the records' numbers.
pub(crate) fn delivered(
    producer: &TestProducer,
    deliveries: &Receiver<Delivery>,
    count: usize,
) -> Vec<Delivery> {
    producer.flush(PATIENCE).expect("everything is delivered");
    let mut all: Vec<Delivery> = (0..count)
        .map(|_| {
            deliveries
                .recv_timeout(PATIENCE)
                .expect("one for each record")
        })
        .collect();
    all.sort_by_key(|delivery| delivery.number);
    assert!(all.iter().enumerate().all(|(at, one)| one.number == at));
    all
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Seen {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// A consumer of its own partitions, without a group.
pub(crate) fn reader(address: &str, topic: &str, from: &[(i32, Offset)]) -> BaseConsumer {
    let consumer: BaseConsumer = config(address)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for (partition, offset) in from {
        assignment
            .add_partition_offset(topic, *partition, *offset)
            .expect("an offset");
    }
    consumer.assign(&assignment).expect("assigned");
    consumer
}

/// The next `count` records.
pub(crate) fn take(consumer: &BaseConsumer, count: usize) -> Vec<Seen> {
    let begin = Instant::now();
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        assert!(begin.elapsed() < PATIENCE, "{} of {count} came", seen.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => seen.push(Seen::of(&message)),
            // Told while a broker is away; librdkafka goes on by itself.
            Some(Err(error)) if is_passing(error.rdkafka_error_code()) => {}
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    seen
}

/// Errors that only tell that the broker is away for a while.
pub(crate) fn is_passing(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
        )
    )
}

/// Repeats `what` until it gives something.
pub(crate) fn until<T>(told: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{told}: never");
        thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    config(address).create().expect("an admin client")
}

pub(crate) fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// Makes a topic that must not exist.
pub(crate) fn create(address: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let made = wait(admin(address).create_topics([&new], &patient())).expect("an answer");
    assert_eq!(made, [Ok(topic.to_owned())]);
}

/// The result of an admin call.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

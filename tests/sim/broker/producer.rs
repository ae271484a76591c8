//! An idempotent producer of one partition: several batches in flight, the same batches sent again
//! after a crash, each record with a number of its own.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use net::wire::api::ApiKey;
use net::wire::{Str, init_producer_id, produce};
use storage::batch::{Builder, Compression};

use crate::client::{Client, Net};

const IN_FLIGHT_MAX: usize = 5;

/// What the broker has acknowledged: base offset of each batch, and its records.
pub(crate) type Acknowledged = BTreeMap<i64, Vec<Vec<u8>>>;

pub(crate) struct Producer {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    id: i64,
    next_sequence: i32,
    next_number: u64,
    /// Base sequence and records, oldest first.
    in_flight: VecDeque<(i32, Vec<Vec<u8>>)>,
    client: Option<Client>,
    pub(crate) acknowledged: Acknowledged,
    /// Numbers of every record ever sent.
    pub(crate) sent: u64,
}

impl Producer {
    pub(crate) fn new(topic: &'static str, partition: i32) -> Self {
        Self {
            topic,
            partition,
            id: -1,
            next_sequence: 0,
            next_number: 0,
            in_flight: VecDeque::new(),
            client: None,
            acknowledged: Acknowledged::new(),
            sent: 0,
        }
    }

    /// The process at the other end is gone.
    pub(crate) fn crash(&mut self) {
        self.client = None;
    }

    /// Connects, gets a producer id at the first time, sends again what has no answer.
    pub(crate) fn reconnect(&mut self, world: &mut Net, addr: SocketAddr) {
        let mut client = Client::connect(world, addr);
        if self.id < 0 {
            let request = init_producer_id::Request {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                ..Default::default()
            };
            let reply = client.ask(world, (ApiKey::InitProducerId, 4), |w, v| {
                request.encode(w, v)
            });
            let Some(mut reply) = reply else { return };
            let response = init_producer_id::Response::decode(&mut reply.body, reply.version)
                .expect("a response");
            assert_eq!(response.error_code, 0);
            self.id = response.producer_id;
        }
        for (sequence, records) in &self.in_flight {
            send(&mut client, world, self, *sequence, records);
        }
        self.client = Some(client);
    }

    /// Sends one more batch if there is room in flight.
    pub(crate) fn produce(&mut self, world: &mut Net, count: usize, bytes: usize) {
        if self.in_flight.len() >= IN_FLIGHT_MAX || self.client.is_none() {
            return;
        }
        let record = |number: u64| {
            let mut record = format!("{}-{}:{number}:", self.topic, self.partition).into_bytes();
            record.resize(record.len() + bytes, b'a' + (number % 26) as u8);
            record
        };
        let records: Vec<Vec<u8>> = (self.next_number..self.next_number + count as u64)
            .map(record)
            .collect();
        self.next_number += count as u64;
        self.sent = self.next_number;
        let sequence = self.next_sequence;
        self.next_sequence += i32::try_from(count).expect("few records");
        let Some(mut client) = self.client.take() else {
            return;
        };
        send(&mut client, world, self, sequence, &records);
        self.client = Some(client);
        self.in_flight.push_back((sequence, records));
    }

    /// Takes in what has been answered.
    pub(crate) fn listen(&mut self, world: &mut Net) {
        let Some(client) = &mut self.client else {
            return;
        };
        while let Some(mut reply) = client.reply(world) {
            let response =
                produce::Response::decode(&mut reply.body, reply.version).expect("a response");
            let part = &response.responses[0].partition_responses[0];
            assert_eq!(part.error_code, 0, "{:?}", part.error_message);
            let (sequence, records) = self.in_flight.pop_front().expect("an answered batch");
            assert_eq!(sequence as u64, reply.tag, "answers come in order");
            let before = self.acknowledged.insert(part.base_offset, records);
            assert!(
                before.is_none(),
                "two batches got offset {}",
                part.base_offset
            );
        }
        if client.is_gone(world) {
            self.client = None;
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_some()
    }
}

fn send(
    client: &mut Client,
    world: &mut Net,
    producer: &Producer,
    sequence: i32,
    records: &[Vec<u8>],
) {
    let mut builder = Builder::new(Compression::None).producer(producer.id, 0, sequence);
    for record in records {
        builder
            .append(world.now().wall_ms, None, Some(record), &[])
            .expect("a small batch");
    }
    let batch = builder.build().expect("a batch of records");
    let request = produce::Request {
        acks: -1,
        timeout_ms: 600_000,
        topic_data: vec![produce::TopicProduceData {
            name: Str::from_static(producer.topic),
            partition_data: vec![produce::PartitionProduceData {
                index: producer.partition,
                records: Some(batch.into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let tag = u64::try_from(sequence).expect("sequences start at zero");
    client.send(world, (ApiKey::Produce, 9), tag, |w, v| {
        request.encode(w, v)
    });
}

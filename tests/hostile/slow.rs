//! Clients that send without reading, or read very late.

use net::wire::Reader;
use net::wire::api::ApiKey;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::broker::{Broker, wait_for};
use crate::client::{Client, FETCH, batch, fetch_body, fetched, metadata_body, request, stored};
use crate::witness::Witness;

/// Writes `bytes` on a thread of its own, as far as the broker takes them.
fn write_behind(stream: &TcpStream, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().expect("a second handle");
    stream.set_write_timeout(None).expect("an option");
    std::thread::spawn(move || {
        // The broker may close, or the test may be over.
        let _ = stream.write_all(&bytes);
    })
}

/// Waits until memory has stopped to grow, and returns it.
fn settled_mib(broker: &Broker) -> u64 {
    let mut last = broker.memory_mib();
    let mut quiet = 0;
    wait_for("memory to stop growing", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = broker.memory_mib();
        quiet = if now > last + 1 { 0 } else { quiet + 1 };
        last = now;
        (quiet > 10).then_some(now)
    })
}

#[test]
fn ten_thousand_requests_and_nobody_who_reads() {
    let mut broker = Broker::start("pipeline", &[]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("wide", 500, &[]);
    let before = broker.memory_mib();
    let body = metadata_body("wide");
    let first = 1_000;
    let requests: Vec<u8> = (first..first + 10_000)
        .flat_map(|id| request(ApiKey::Metadata, 5, id, &body))
        .collect();
    let writer = write_behind(&client.stream, requests);
    let grown = settled_mib(&broker).saturating_sub(before);
    // All replies together are above 130 MiB.
    assert!(grown < 48, "grown by {grown} MiB");
    witness.is_served();
    let mut bytes = 0;
    for id in first..first + 10_000 {
        bytes += client.reply_to(id, false).len();
    }
    assert!(bytes > 130 << 20, "{bytes} bytes");
    writer.join().expect("all was sent");
    witness.end();
    broker.is_sound();
}

#[test]
fn a_consumer_that_reads_nothing_for_long_finds_its_data_intact() {
    late_reader("late-reader", "zero.copy.sends=false");
}

/// Also where the kernel reads the broker's memory until the consumer has it.
#[test]
fn a_consumer_of_lent_memory_that_reads_nothing_for_long_finds_its_data_intact() {
    late_reader("late-reader-lent", "zero.copy.sends=true");
}

fn late_reader(name: &str, sends: &str) {
    const BATCHES: i64 = 40;
    let mut broker = Broker::start(name, &["arena.bytes=67108864", "shards=1", sends]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("bulk", 1, &[]);
    client.create_topic("other", 1, &[]);
    let batches: Vec<Vec<u8>> = (0..BATCHES)
        .map(|at| batch(&vec![at as u8; 1_000_000]))
        .collect();
    for (at, batch) in (0..).zip(&batches) {
        assert_eq!(client.produce("bulk", 0, batch), (0, at));
    }
    let before = broker.memory_mib();
    let body = fetch_body("bulk", 0, 0, 50 << 20, 500);
    let requests: Vec<u8> = (5_000..5_200)
        .flat_map(|id| request(ApiKey::Fetch, FETCH, id, &body))
        .collect();
    let writer = write_behind(&client.stream, requests);
    let grown = settled_mib(&broker).saturating_sub(before);
    assert!(grown < 100, "grown by {grown} MiB");
    // What is produced now would overwrite memory that a careless broker has given back.
    let mut other = Client::connect(broker.address);
    for at in 0..BATCHES * 4 {
        assert_eq!(
            other.produce("other", 0, &batch(&vec![0xee; 1_000_000])),
            (0, at)
        );
    }
    witness.is_served();
    let first = client.reply_to(5_000, false);
    let records = fetched(&mut Reader::new(first));
    let expected: Vec<u8> = (0..)
        .zip(&batches)
        .flat_map(|(at, batch)| stored(batch, at))
        .collect();
    assert!(records.len() >= 1_000_000, "at least one batch");
    assert!(
        records == expected[..records.len()],
        "what was fetched has changed"
    );
    let gone = client.stream.shutdown(Shutdown::Both);
    drop(gone);
    writer.join().expect("the writer ends");
    witness.end();
    broker.is_sound();
}

#[test]
fn readers_that_never_read_do_not_take_the_memory_that_appends_need() {
    let mut broker = Broker::start("hoarders", &["arena.bytes=33554432", "shards=1"]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("stream", 1, &[]);
    let value = vec![1; 1_000_000];
    let mut hoarders = Vec::new();
    let mut offset = 0;
    for _ in 0..15 {
        for _ in 0..16 {
            assert_eq!(client.produce("stream", 0, &batch(&value)), (0, offset));
            offset += 1;
        }
        // More than the kernel takes in, and other bytes than those before.
        let mut hoarder = Client::connect(broker.address);
        let fetch = fetch_body("stream", 0, offset - 16, 50 << 20, 0);
        hoarder.send(ApiKey::Fetch, FETCH, &fetch);
        hoarders.push(hoarder);
    }
    witness.is_served();
    let memory = broker.memory_mib();
    assert!(memory < 200, "{memory} MiB");
    witness.end();
    broker.is_sound();
}

#[test]
fn frames_that_are_announced_and_never_sent_cost_nothing() {
    let mut broker = Broker::start("announced", &[]);
    let before = broker.memory_mib();
    let announced = (100_i32 << 20).to_be_bytes();
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = Client::connect(broker.address);
            client.send_raw(&announced);
            client.send_raw(&[0; 100]);
            client
        })
        .collect();
    let witness = Witness::start(broker.address);
    let grown = settled_mib(&broker).saturating_sub(before);
    assert!(grown < 32, "grown by {grown} MiB");
    witness.end();
    drop(clients);
    broker.is_sound();
}

#[test]
fn requests_that_are_never_whole_have_one_bound_together() {
    let mut broker = Broker::start("never-whole", &["shards=1"]);
    let witness = Witness::start(broker.address);
    let before = broker.memory_mib();
    let piece = [(100_i32 << 20).to_be_bytes().to_vec(), vec![0; 60 << 20]].concat();
    let clients: Vec<Client> = (0..30).map(|_| Client::connect(broker.address)).collect();
    // Together they would be 1,800 MiB.
    for client in &clients {
        write_behind(&client.stream, piece.clone());
    }
    let grown = settled_mib(&broker).saturating_sub(before);
    assert!(grown < 700, "grown by {grown} MiB");
    witness.is_served();
    // Those that hold memory and send nothing more are closed, so that others get through.
    let batch = batch(&vec![5; 20 << 20]);
    let mut client = Client::connect(broker.address);
    client.create_topic("large", 1, &[("max.message.bytes", "30000000")]);
    assert_eq!(client.produce("large", 0, &batch), (0, 0));
    broker.expect_line("memory for requests");
    witness.end();
    broker.is_sound();
}

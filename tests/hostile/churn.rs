//! Clients that come and go, too many of them, and in every bad manner.

use net::wire::api::ApiKey;
use std::net::Shutdown;

use crate::broker::{Broker, wait_for};
use crate::client::{
    Client, FETCH, PRODUCE, admitted, batch, fetch_body, metadata_body, produce_body, request,
};
use crate::witness::Witness;

/// One client that leaves in a manner of its own.
fn visit(broker: &Broker, manner: usize) {
    let mut client = Client::connect(broker.address);
    let metadata = request(ApiKey::Metadata, 5, 1, &metadata_body("visited"));
    match manner % 8 {
        0 => {}
        1 => client.send_raw(&metadata[..metadata.len() / 2]),
        2 => client.send_raw(&metadata),
        3 => {
            client.send_raw(&metadata);
            client.reply().expect("a reply");
        }
        // Unread replies make the kernel send a reset when the socket is closed.
        4 => {
            client.send_raw(&metadata.repeat(20));
            let _ = client.stream.peek(&mut [0; 1]);
        }
        // A fetch that would wait for days, and a second one behind it.
        5 | 6 => {
            let fetch = request(
                ApiKey::Fetch,
                FETCH,
                1,
                &fetch_body("visited", 0, 0, 9, i32::MAX),
            );
            client.send_raw(&[&metadata[..], &fetch, &fetch].concat());
            client.reply().expect("the reply to the first request");
            if manner % 8 == 6 {
                let half = client.stream.shutdown(Shutdown::Write);
                drop(half);
                client.rest();
            }
        }
        _ => client.send_raw(&[0xff; 64]),
    }
}

#[test]
fn whoever_comes_and_goes_leaves_nothing_behind() {
    let mut broker = Broker::start("churn", &[]);
    let witness = Witness::start(broker.address);
    assert_eq!(Client::connect(broker.address).topic_error("visited"), 0);
    (0..200).for_each(|manner| visit(&broker, manner));
    wait_for("closed connections", || {
        (broker.connections() <= 2).then_some(())
    });
    let (descriptors, memory) = (broker.descriptors(), broker.memory_mib());
    (0..2_000).for_each(|manner| visit(&broker, manner));
    // Both ends of the witness are in the table.
    wait_for("closed connections", || {
        (broker.connections() <= 2).then_some(())
    });
    assert_eq!(broker.descriptors(), descriptors);
    let grown = broker.memory_mib().saturating_sub(memory);
    assert!(grown < 24, "grown by {grown} MiB");
    witness.end();
    broker.is_sound();
}

#[test]
fn a_producer_that_wants_no_answer_may_leave_at_once() {
    let broker = Broker::start("acks-0", &[]);
    let mut watcher = Client::connect(broker.address);
    watcher.create_topic("thrown", 1, &[]);
    for round in 1..=20_i64 {
        let mut client = Client::connect(broker.address);
        let one = request(
            ApiKey::Produce,
            PRODUCE,
            1,
            &produce_body("thrown", 0, &batch(b"v"), 0),
        );
        client.send_raw(&one.repeat(25));
        drop(client);
        wait_for("every record", || {
            (watcher.end("thrown", 0) == round * 25).then_some(())
        });
    }
}

#[test]
fn no_more_connections_than_allowed_whatever_the_number_of_shards() {
    let mut broker = Broker::start("most", &["shards=3", "max.connections=12"]);
    let mut kept: Vec<Client> = (0..12).map(|_| admitted(broker.address)).collect();
    for _ in 0..30 {
        let mut refused = Client::connect(broker.address);
        refused.send_raw(&request(ApiKey::ApiVersions, 0, 1, &[]));
        assert_eq!(refused.rest(), [0; 0]);
    }
    broker.expect_line("max.connections is reached");
    // Those that were there before are served, and a place that is free again is given away.
    for client in &mut kept {
        assert_eq!(client.topic_error("served"), 0);
    }
    kept.truncate(4);
    kept.extend((0..8).map(|_| admitted(broker.address)));
    for client in &mut kept {
        assert_eq!(client.topic_error("served"), 0);
    }
    broker.is_sound();
}

#[test]
fn no_more_connections_from_one_address_than_allowed() {
    let mut broker = Broker::start("per-ip", &["shards=3", "max.connections.per.ip=5"]);
    let kept: Vec<Client> = (0..5).map(|_| admitted(broker.address)).collect();
    for _ in 0..20 {
        let mut refused = Client::connect(broker.address);
        refused.send_raw(&request(ApiKey::ApiVersions, 0, 1, &[]));
        assert_eq!(refused.rest(), [0; 0]);
    }
    broker.expect_line("max.connections.per.ip is reached");
    drop(kept);
    admitted(broker.address);
    broker.is_sound();
}

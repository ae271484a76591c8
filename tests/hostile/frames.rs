//! Frames that are no requests: cut off, too long, of nothing known, or mere noise.

use net::wire::api::{ApiKey, TABLE};
use net::wire::{Reader, api_versions};
use reactor::sim::Rng;

use crate::broker::Broker;
use crate::client::{
    Client, PRODUCE, batch, fetch_body, framed, metadata_body, produce_body, request,
};
use crate::witness::Witness;

/// Sends `bytes` and waits for the broker to close; what it answered before.
fn closes_after(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(broker.address);
    client.send_raw(bytes);
    client.rest()
}

#[test]
fn what_is_no_request_closes_its_connection_and_no_other() {
    let mut broker = Broker::start("no-request", &["socket.request.max.bytes=1000000"]);
    let witness = Witness::start(broker.address);
    let lengths = [-1, i32::MIN, i32::MAX, 1_000_001];
    for length in lengths {
        closes_after(&broker, &length.to_be_bytes());
    }
    for length in 0..8 {
        closes_after(&broker, &framed(&vec![0; length]));
    }
    let mut unknown = request(ApiKey::Metadata, 5, 1, &metadata_body("a"));
    for key in [-1, 4, 7, 66, 9_999, i16::MAX] {
        unknown[4..6].copy_from_slice(&i16::to_be_bytes(key));
        closes_after(&broker, &unknown);
    }
    for info in TABLE.iter().filter(|info| info.key != ApiKey::ApiVersions) {
        for version in [-1, info.min - 1, info.max + 1, i16::MAX] {
            let mut bytes = request(info.key, info.max, 1, &[0; 40]);
            bytes[6..8].copy_from_slice(&version.to_be_bytes());
            closes_after(&broker, &bytes);
        }
    }
    for noise in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03",
    ] {
        closes_after(&broker, noise.as_bytes());
    }
    // The client's name reaches beyond the frame.
    closes_after(
        &broker,
        &framed(&[0, 3, 0, 5, 0, 0, 0, 1, 0x7f, 0xff, b'a']),
    );
    witness.end();
    broker.expect_line("closed the connection of 127.0.0.1:");
    let lines = broker
        .log()
        .iter()
        .filter(|line| line.contains("closed the conn"))
        .count();
    // Each of two shards lets one line a second pass; every line stands for a closed connection.
    assert!(lines < 130, "{lines} lines");
    broker.is_sound();
}

#[test]
fn a_version_of_api_versions_that_is_too_new_is_answered_in_version_0() {
    let broker = Broker::start("too-new", &[]);
    for version in [5, 99, i16::MAX] {
        let mut client = Client::connect(broker.address);
        let mut bytes = request(ApiKey::ApiVersions, 3, 7, b"whatever a later version holds");
        bytes[6..8].copy_from_slice(&i16::to_be_bytes(version));
        client.send_raw(&bytes);
        let mut reply = Reader::new(client.reply_to(7, false));
        let response = api_versions::Response::decode(&mut reply, 0).expect("version 0");
        assert_eq!(response.error_code, 35);
        let own = response
            .api_keys
            .iter()
            .find(|api| api.api_key == 18)
            .expect("itself");
        assert_eq!((own.min_version, own.max_version), (0, 4));
        // The connection goes on.
        assert_eq!(client.topic_error("is.made"), 0);
    }
}

#[test]
fn counts_beyond_the_frame_close_and_reserve_nothing() {
    let mut broker = Broker::start("counts", &[]);
    let before = broker.memory_mib();
    let array = [0x7f, 0xff, 0xff, 0xff];
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for info in TABLE {
        for version in info.min..=info.max {
            // The count is met sooner or later, wherever the API's first array is.
            for zeros in [0, 1, 2, 4, 8, 11, 15, 20, 30] {
                let count: &[u8] = if version >= info.flexible_from {
                    &compact
                } else {
                    &array
                };
                let body = [&vec![0; zeros][..], count, &[1; 20]].concat();
                let mut client = Client::connect(broker.address);
                client.send_raw(&request(info.key, version, 1, &body));
                let done = client.stream.shutdown(std::net::Shutdown::Write);
                // The broker may have closed already.
                drop(done);
                client.rest();
            }
        }
    }
    let grown = broker.memory_mib().saturating_sub(before);
    assert!(grown < 64, "grown by {grown} MiB");
    assert_eq!(Client::connect(broker.address).topic_error("after"), 0);
    broker.is_sound();
}

/// Requests that are sound as they are.
fn sound_requests() -> Vec<(ApiKey, i16, Vec<u8>)> {
    let produce = produce_body("noise", 0, &batch(b"value"), -1);
    vec![
        (ApiKey::Metadata, 5, metadata_body("noise")),
        (
            ApiKey::Fetch,
            crate::client::FETCH,
            fetch_body("noise", 0, 0, 1000, 0),
        ),
        (ApiKey::Produce, PRODUCE, produce),
        (ApiKey::ApiVersions, 3, b"\x02a\x02b\0".to_vec()),
    ]
}

#[test]
fn requests_that_end_early_are_answered_or_closed() {
    let mut broker = Broker::start("early", &[]);
    let witness = Witness::start(broker.address);
    for (key, version, body) in sound_requests() {
        for kept in 0..body.len() {
            let mut client = Client::connect(broker.address);
            client.send_raw(&request(key, version, 1, &body[..kept]));
            let sent_all = client.stream.shutdown(std::net::Shutdown::Write);
            drop(sent_all);
            client.rest();
        }
    }
    witness.end();
    broker.is_sound();
}

#[test]
fn noise_in_sound_requests_harms_nobody() {
    let mut broker = Broker::start("noise", &[]);
    let witness = Witness::start(broker.address);
    let mut rng = Rng::new(1);
    for round in 0..1_500 {
        let (key, version, body) = sound_requests().swap_remove(rng.index(4));
        let mut bytes = request(key, version, round, &body);
        for _ in 0..rng.between(1, 5) {
            let at = 4 + rng.index(bytes.len() - 4);
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, rng.bits() as u8][rng.index(6)];
        }
        let mut client = Client::connect(broker.address);
        client.send_raw(&bytes);
        let sent_all = client.stream.shutdown(std::net::Shutdown::Write);
        drop(sent_all);
        client.rest();
    }
    witness.end();
    broker.is_sound();
}

#[test]
fn a_frame_that_never_ends_is_closed_when_it_has_been_idle() {
    let mut broker = Broker::start("idle", &["connections.max.idle.ms=700"]);
    let mut silent = Client::connect(broker.address);
    let mut half = Client::connect(broker.address);
    half.send_raw(&1000_i32.to_be_bytes());
    half.send_raw(b"\0\x03\0\x05");
    // One that waits for an answer is not idle.
    let mut parked = Client::connect(broker.address);
    parked.create_topic("quiet", 1, &[]);
    parked.send(
        ApiKey::Fetch,
        crate::client::FETCH,
        &fetch_body("quiet", 0, 0, 1000, 3_000),
    );
    assert_eq!((silent.rest(), half.rest()), (Vec::new(), Vec::new()));
    parked.reply().expect("an answer to the parked fetch");
    broker.is_sound();
}

#[test]
fn a_request_that_comes_byte_by_byte_is_a_request() {
    let broker = Broker::start("bytewise", &[]);
    let mut client = Client::connect(broker.address);
    client.create_topic("slowly", 1, &[]);
    let batch = batch(&[7; 3_000]);
    let bytes = request(
        ApiKey::Produce,
        PRODUCE,
        40,
        &produce_body("slowly", 0, &batch, -1),
    );
    for byte in bytes {
        client.send_raw(&[byte]);
    }
    client.reply_to(40, true);
    assert_eq!(client.end("slowly", 0), 1);
}

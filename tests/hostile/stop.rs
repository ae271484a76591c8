//! The end of a broker: asked for while clients wait, while they do not read, and while it starts.

use net::wire::api::ApiKey;
use net::wire::{Str, join_group};
use std::time::Instant;

use crate::broker::{Broker, fresh_dir, launch, wait_for};
use crate::client::{Client, FETCH, batch, encoded, fetch_body, request, stored};

fn join_body(group: &str) -> Vec<u8> {
    let request = join_group::Request {
        group_id: Str::from(group),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 600_000,
        protocol_type: Str::from("consumer"),
        protocols: vec![join_group::JoinGroupRequestProtocol {
            name: Str::from("range"),
            ..Default::default()
        }],
        ..Default::default()
    };
    encoded(|w| request.encode(w, 3))
}

#[test]
fn whoever_waits_gets_an_answer_when_the_broker_is_told_to_stop() {
    let dir = fresh_dir("stop");
    let delay = "group.initial.rebalance.delay.ms=600000";
    let mut broker = Broker::start_in(&dir, &[delay]);
    let mut client = Client::connect(broker.address);
    client.create_topic("quiet", 4, &[]);
    assert_eq!(client.produce("quiet", 0, &batch(b"kept")), (0, 0));
    let mut parked: Vec<Client> = (0..8).map(|_| Client::connect(broker.address)).collect();
    for (at, client) in (0..).zip(&mut parked) {
        client.send(
            ApiKey::Fetch,
            FETCH,
            &fetch_body("quiet", at % 4, i64::from(at % 4 == 0), 99, 600_000),
        );
    }
    let mut joining = Client::connect(broker.address);
    joining.send(ApiKey::JoinGroup, 3, &join_body("waiting"));
    // It asks for much and reads nothing: nobody waits for it for long.
    let mut deaf = Client::connect(broker.address);
    deaf.send_raw(
        &request(
            ApiKey::Metadata,
            5,
            1,
            &crate::client::metadata_body("quiet"),
        )
        .repeat(9),
    );
    broker.has_received_all();
    broker.signal("TERM");
    for client in &mut parked {
        client.reply().expect("an answer to the parked fetch");
    }
    joining.reply().expect("an answer to the parked join");
    assert!(broker.wait().success());
    broker.expect_line("stopped cleanly");
    let broker = Broker::start_in(&dir, &[]);
    broker.expect_line("after a clean stop");
    let got = Client::connect(broker.address).fetch("quiet", 0, 0, 1000);
    assert_eq!(got, stored(&batch(b"kept"), 0));
}

#[test]
fn a_second_signal_ends_at_once_without_a_clean_mark() {
    let dir = fresh_dir("second-signal");
    let mut broker = Broker::start_in(&dir, &[]);
    let mut client = Client::connect(broker.address);
    client.create_topic("bulk", 1, &[]);
    for at in 0..20 {
        assert_eq!(
            client.produce("bulk", 0, &batch(&vec![1; 1_000_000])),
            (0, at)
        );
    }
    // A client that does not read keeps the stop waiting for a while.
    deaf(&mut client);
    // Two of one kind at the same time would be one.
    broker.signals(&["TERM", "INT"]);
    assert_eq!(broker.wait().code(), Some(130));
    broker.expect_line("second signal");
    let broker = Broker::start_in(&dir, &[]);
    broker.expect_line("after an unclean stop");
    assert_eq!(Client::connect(broker.address).end("bulk", 0), 20);
}

#[test]
fn a_client_that_does_not_read_holds_up_no_stop() {
    let mut broker = Broker::start("deaf", &[]);
    let mut client = Client::connect(broker.address);
    client.create_topic("bulk", 1, &[]);
    for at in 0..20 {
        assert_eq!(
            client.produce("bulk", 0, &batch(&vec![1; 1_000_000])),
            (0, at)
        );
    }
    deaf(&mut client);
    broker.signal("TERM");
    assert!(broker.wait().success());
    broker.expect_line("stopped cleanly");
}

/// Asks for far more than anybody reads.
fn deaf(client: &mut Client) {
    for id in 0..40 {
        client.send_raw(&request(
            ApiKey::Fetch,
            FETCH,
            id,
            &fetch_body("bulk", 0, 0, 20 << 20, 0),
        ));
    }
}

#[test]
fn a_signal_at_any_moment_of_a_start_ends_it() {
    let dir = fresh_dir("early-signal");
    let mut broker = Broker::start_in(&dir, &["shards=3"]);
    let mut client = Client::connect(broker.address);
    client.create_topic("many", 200, &[]);
    for partition in 0..200 {
        assert_eq!(
            client.produce("many", partition, &batch(&[1; 5_000])),
            (0, 0)
        );
    }
    broker.signal("KILL");
    broker.wait();
    let begun = Instant::now();
    let mut broker = Broker::start_in(&dir, &["shards=3"]);
    let start = begun.elapsed();
    broker.signal("KILL");
    broker.wait();
    for step in 0..25_u32 {
        let (mut child, log) = launch(&dir, &["shards=3"]);
        // Before the handler is there, a signal simply kills.
        std::thread::sleep(start * step / 20);
        let command = format!("kill -TERM {}", child.id());
        let done = std::process::Command::new("sh")
            .args(["-c", &command])
            .status();
        assert!(done.expect("a shell").success());
        let ended = wait_for(&format!("the end after step {step}"), || {
            child.try_wait().expect("a child")
        });
        assert!(
            ended.success() || ended.code().is_none(),
            "step {step}: {ended}: {log:?}"
        );
    }
    let broker = Broker::start_in(&dir, &["shards=3"]);
    let mut client = Client::connect(broker.address);
    assert!((0..200).all(|partition| client.end("many", partition) == 1));
}

//! Streams arrive whole and in order however they are cut, and back-pressure holds both ways.

use crate::script::{Bench, Script};
use bytes::Bytes;
use reactor::op::{Done, ErrorKind, Op, ShardId, SockId, Token};
use reactor::sim::{ClientId, ClientState};

const SECOND: u64 = 1_000_000_000;

fn connected(bench: &mut Bench) -> (ClientId, SockId) {
    let addr = ([127, 0, 0, 1], 0).into();
    let Done::Listening { sock, local } = bench.op(Op::Listen { addr }) else {
        panic!("listening");
    };
    let accept = bench.submit(Op::Accept { sock });
    let client = bench.world.net().connect(local);
    match bench.wait(accept) {
        Done::Accepted { sock, .. } => (client, sock),
        other => panic!("{other:?}"),
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// Everything received under `token`, and how it ended.
fn stream(bench: &mut Bench, token: Token) -> (Vec<u8>, Done) {
    let mut all = Vec::new();
    loop {
        match bench.wait(token) {
            Done::Received(bytes) => all.extend_from_slice(&bytes),
            end => return (all, end),
        }
    }
}

#[test]
fn a_stream_arrives_whole_then_ends() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let (client, sock) = connected(&mut bench);
        let sent = text(200_000);
        bench.world.net().send(client, &sent);
        bench.world.net().half_close(client);
        let token = bench.submit(Op::Recv { sock });
        let (got, end) = stream(&mut bench, token);
        assert!(
            got == sent && matches!(end, Done::Eof),
            "{} {end:?}",
            got.len()
        );
    }
}

#[test]
fn a_pause_ends_the_receive_and_loses_nothing() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let (client, sock) = connected(&mut bench);
        let sent = text(100_000);
        bench.world.net().send(client, &sent);
        bench.world.net().half_close(client);
        let mut all = Vec::new();
        loop {
            let token = bench.submit(Op::Recv { sock });
            bench.world.pass(200_000);
            // A receive that has ended already makes the pause a no-op.
            bench.submit(Op::Pause { sock });
            let (got, end) = stream(&mut bench, token);
            all.extend(got);
            match end {
                Done::Paused => {}
                Done::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(all == sent);
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_the_send() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let (client, sock) = connected(&mut bench);
        bench.world.net().set_reading(client, false);
        let sent = text(500_000);
        let parts = sent.chunks(9_999).map(Bytes::copy_from_slice).collect();
        let send = bench.submit(Op::Send { sock, parts });
        bench.world.pass(10 * SECOND);
        assert!(bench.world.machine(ShardId(0)).done.is_empty());
        bench.world.net().set_reading(client, true);
        assert!(matches!(bench.wait(send), Done::Ok));
        bench.ok(Op::CloseSock { sock });
        let eof =
            |world: &mut reactor::sim::World<Script>| world.net().state(client) == ClientState::Eof;
        assert!(bench.world.run(SECOND, eof));
        assert!(bench.world.net().take_received(client) == sent);
    }
}

#[test]
fn a_reset_fails_what_is_in_flight() {
    let mut bench = Bench::new(1);
    let (client, sock) = connected(&mut bench);
    bench.world.net().set_reading(client, false);
    let recv = bench.submit(Op::Recv { sock });
    let send = bench.submit(Op::Send {
        sock,
        parts: vec![Bytes::from(text(500_000))],
    });
    bench.world.pass(SECOND);
    bench.world.net().reset(client);
    for token in [recv, send] {
        let done = bench.wait(token);
        assert!(matches!(done, Done::Failed(error) if error.kind == ErrorKind::Disconnected));
    }
}

#[test]
fn a_close_cancels_first_and_completes_last() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let (_, sock) = connected(&mut bench);
        let recv = bench.submit(Op::Recv { sock });
        let close = bench.submit(Op::CloseSock { sock });
        bench.world.pass(SECOND);
        let done = &bench.world.machine(ShardId(0)).done;
        let at = |token| {
            done.iter()
                .position(|(of, _)| *of == token)
                .expect("completed")
        };
        assert!(at(recv) < at(close));
        assert!(matches!(done[at(recv)].1, Done::Failed(e) if e.kind == ErrorKind::Cancelled));
    }
}

#[test]
fn nobody_listening_refuses() {
    let mut bench = Bench::new(1);
    let client = bench.world.net().connect(([127, 0, 0, 1], 9).into());
    bench.world.pass(SECOND);
    assert_eq!(bench.world.net().state(client), ClientState::Refused);
}

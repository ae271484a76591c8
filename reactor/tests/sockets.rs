//! Real loopback sockets through a real ring.

mod support;

use bytes::Bytes;
use reactor::op::{CONTROL, Done, ErrorKind, Op, Outbox, ShardId, SockId, Token};
use reactor::runtime::{Config, Handle};
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use support::{Event, config, run_with};

const LISTEN: Token = Token(1);
const ACCEPT: Token = Token(2);
const RECV: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const CLOSE: u64 = 4 << 32;

#[derive(Debug)]
enum Talk {
    At(SocketAddr),
    Said(String),
    Go,
    End,
}

/// A server on one shard: listens, ends when told to; the rest is `play`.
fn serve(
    config: &Config,
    addr: SocketAddr,
    mut play: impl FnMut(Event<Talk>, &mut Outbox<Talk>) + Send + 'static,
) -> (Handle<Talk>, SocketAddr) {
    let server = move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
        Event::Start(..) => out.ops.push((LISTEN, Op::Listen { addr })),
        Event::Mail(_, Talk::End) => out.exit = true,
        Event::Done(LISTEN, Done::Listening { sock, local }) => {
            out.ops.push((ACCEPT, Op::Accept { sock }));
            out.mail.push((CONTROL, Talk::At(local)));
        }
        event => play(event, out),
    };
    let handle = run_with(config, vec![server]);
    match handle.inbox().recv() {
        Ok((_, Talk::At(local))) => (handle, local),
        other => panic!("no address: {other:?}"),
    }
}

fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn end(handle: Handle<Talk>) {
    handle.send(ShardId(0), Talk::End).expect("running");
    handle.join();
}

fn heard(handle: &Handle<Talk>) -> String {
    match handle.inbox().recv() {
        Ok((_, Talk::Said(text))) => text,
        other => panic!("nothing said: {other:?}"),
    }
}

/// Echoes every connection, keeping every piece received for ever if `keep`.
fn echo(keep: bool) -> impl FnMut(Event<Talk>, &mut Outbox<Talk>) + Send {
    let mut queues: HashMap<u64, (SockId, bool, VecDeque<Bytes>)> = HashMap::new();
    let mut kept = Vec::new();
    let mut count = 0;
    move |event, out| {
        let Event::Done(token, done) = event else {
            return;
        };
        let number = token.0 & 0xffff_ffff;
        match done {
            Done::Accepted { sock, .. } => {
                queues.insert(count, (sock, false, VecDeque::new()));
                out.ops.push((Token(RECV | count), Op::Recv { sock }));
                count += 1;
                return;
            }
            Done::Received(bytes) => {
                if keep {
                    kept.push(bytes.clone());
                }
                queues
                    .get_mut(&number)
                    .expect("accepted")
                    .2
                    .push_back(bytes);
            }
            Done::Ok if token.0 & SEND != 0 => {
                queues.get_mut(&number).expect("accepted").1 = false;
            }
            Done::Eof => {
                let (sock, ..) = queues.remove(&number).expect("accepted");
                return out
                    .ops
                    .push((Token(CLOSE | number), Op::CloseSock { sock }));
            }
            Done::Ok => return,
            other => panic!("{other:?}"),
        }
        let (sock, busy, queue) = queues.get_mut(&number).expect("accepted");
        if !*busy && !queue.is_empty() {
            *busy = true;
            let parts = queue.drain(..).collect();
            out.ops
                .push((Token(SEND | number), Op::Send { sock: *sock, parts }));
        }
    }
}

/// Sends `count` numbers and expects them back in order.
fn numbers_come_back(addr: SocketAddr, count: u64) {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for n in 0..count {
            writer.write_all(&n.to_be_bytes()).expect("written");
        }
    });
    for n in 0..count {
        let mut got = [0; 8];
        stream.read_exact(&mut got).expect("echoed");
        assert_eq!(u64::from_be_bytes(got), n);
    }
    sender.join().expect("sent");
}

/// Sends megabytes in large pieces and expects them back.
fn bulk_comes_back(addr: SocketAddr, seed: u8) {
    let data: Vec<u8> = (0..4_000_037_u32).map(|n| (n % 251) as u8 ^ seed).collect();
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let mut writer = stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&data).expect("written"));
        let mut got = vec![0; data.len()];
        stream.read_exact(&mut got).expect("echoed");
        assert!(got == data, "the echo differs");
    });
}

#[test]
fn ten_thousand_small_messages_come_back_in_order() {
    let (handle, addr) = serve(&config(1), local(), echo(false));
    numbers_come_back(addr, 10_000);
    end(handle);
}

#[test]
fn many_connections_in_turn_reuse_places_of_the_table() {
    let mut small = config(1);
    small.open_max = 64;
    let (handle, addr) = serve(&small, local(), echo(false));
    for _ in 0..200 {
        numbers_come_back(addr, 3);
    }
    end(handle);
}

#[test]
fn ipv4_and_ipv6_listen_side_by_side() {
    let (four, addr) = serve(&config(1), local(), echo(false));
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, addr.port()));
    let (six, _) = serve(&config(1), any, echo(false));
    numbers_come_back(addr, 10);
    numbers_come_back(SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port())), 10);
    end(four);
    end(six);
}

#[test]
fn pieces_that_are_kept_for_ever_starve_nobody() {
    let mut few = config(1);
    few.recv_buffers = 4;
    few.recv_buffer_bytes = 16 << 10;
    let (handle, addr) = serve(&few, local(), echo(true));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || bulk_comes_back(addr, seed));
        }
    });
    numbers_come_back(addr, 1000);
    end(handle);
}

#[test]
fn a_large_send_to_a_slow_reader_arrives_whole_and_is_answered_once() {
    const PART: usize = 3 << 20;
    const PARTS: usize = 9;
    let (handle, addr) = serve(&config(1), local(), |event, out| {
        let Event::Done(token, done) = event else {
            return;
        };
        match done {
            Done::Accepted { sock, .. } => {
                let part = |n: usize| Bytes::from(vec![n as u8; PART + n]);
                let parts = (0..PARTS).map(part).collect();
                out.ops
                    .push((Token(SEND | sock.0), Op::Send { sock, parts }));
            }
            other => {
                let text = format!("{} {other:?}", token.0 >> 32);
                out.mail.push((CONTROL, Talk::Said(text)));
            }
        }
    });
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let mut got = vec![0; 100_000];
    let mut all = Vec::new();
    loop {
        // Far less than a socket holds at a time, so the sender is often short of room.
        let count = stream.read(&mut got).expect("read");
        all.extend_from_slice(&got[..count]);
        if all.len() >= PART * PARTS {
            break;
        }
    }
    let sum: usize = (0..PARTS).map(|n| PART + n).sum();
    let at = all.len();
    all.resize(sum, 0);
    stream.read_exact(&mut all[at..]).expect("the rest");
    let mut rest = &all[..];
    for n in 0..PARTS {
        let (part, more) = rest.split_at(PART + n);
        assert!(part.iter().all(|&byte| byte == n as u8));
        rest = more;
    }
    assert_eq!(heard(&handle), "2 Ok");
    end(handle);
}

#[test]
fn a_pause_ends_the_receive_and_a_new_one_goes_on_where_it_ended() {
    const TOTAL: u64 = 300_000;
    let mut conn = None;
    let (mut next, mut pauses) = (0_u64, 0);
    let mut rest: Vec<u8> = Vec::new();
    let (handle, addr) = serve(&config(1), local(), move |event, out| {
        let Event::Done(_, done) = event else {
            return;
        };
        match done {
            Done::Accepted { sock, .. } => {
                conn = Some(sock);
                out.ops.push((Token(RECV), Op::Recv { sock }));
            }
            Done::Received(bytes) => {
                rest.extend_from_slice(&bytes);
                let whole = rest.len() / 8 * 8;
                for number in rest.drain(..whole).as_slice().chunks(8) {
                    assert_eq!(number, next.to_be_bytes());
                    next += 1;
                }
                let sock = conn.expect("accepted");
                // A second pause at once must not be answered twice.
                out.ops.push((Token(0), Op::Pause { sock }));
                out.ops.push((Token(0), Op::Pause { sock }));
            }
            Done::Paused => {
                pauses += 1;
                let sock = conn.expect("accepted");
                out.ops.push((Token(RECV), Op::Recv { sock }));
            }
            Done::Eof => {
                let text = format!("{next} {}", pauses > 0);
                out.mail.push((CONTROL, Talk::Said(text)));
            }
            other => panic!("{other:?}"),
        }
    });
    let mut stream = TcpStream::connect(addr).expect("a connection");
    for n in 0..TOTAL {
        stream.write_all(&n.to_be_bytes()).expect("written");
    }
    drop(stream);
    assert_eq!(heard(&handle), format!("{TOTAL} true"));
    end(handle);
}

#[test]
fn a_paused_socket_delivers_nothing_until_it_receives_again() {
    let mut conn = None;
    let (handle, addr) = serve(&config(1), local(), move |event, out| match event {
        Event::Done(_, Done::Accepted { sock, .. }) => {
            conn = Some(sock);
            out.ops.push((Token(RECV), Op::Recv { sock }));
            out.ops.push((Token(0), Op::Pause { sock }));
        }
        Event::Mail(_, Talk::Go) => {
            let sock = conn.expect("accepted");
            out.ops.push((Token(RECV), Op::Recv { sock }));
        }
        Event::Done(_, done) => {
            out.mail.push((CONTROL, Talk::Said(format!("{done:?}"))));
        }
        _ => {}
    });
    let mut stream = TcpStream::connect(addr).expect("a connection");
    assert_eq!(heard(&handle), "Paused");
    stream.write_all(b"later").expect("written");
    handle.send(ShardId(0), Talk::Go).expect("running");
    assert_eq!(heard(&handle), "Received(b\"later\")");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    assert_eq!(heard(&handle), "Eof");
    end(handle);
}

#[test]
fn a_close_cancels_what_is_in_flight_and_is_answered_last() {
    let mut listener = None;
    let mut said = Vec::new();
    let play = move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
        Event::Start(..) => out.ops.push((LISTEN, Op::Listen { addr: local() })),
        Event::Mail(..) => out.exit = true,
        Event::Done(LISTEN, Done::Listening { sock, local }) => {
            listener = Some(sock);
            out.ops.push((ACCEPT, Op::Accept { sock }));
            out.mail.push((CONTROL, Talk::At(local)));
        }
        Event::Done(_, Done::Accepted { sock, .. }) => {
            let parts = vec![Bytes::from(vec![7; 64 << 20])];
            out.ops.push((Token(RECV), Op::Recv { sock }));
            out.ops.push((Token(SEND), Op::Send { sock, parts }));
            out.ops.push((Token(CLOSE), Op::CloseSock { sock }));
            // Nothing begins on a socket that is being closed.
            out.ops.push((Token(8 << 32), Op::Recv { sock }));
            let sock = listener.expect("listening");
            out.ops.push((Token(16 << 32), Op::CloseSock { sock }));
        }
        Event::Done(token, done) => {
            let text = match done {
                Done::Failed(error) => format!("{:?}", error.kind),
                other => format!("{other:?}"),
            };
            said.push((token.0 >> 32, text));
            if said.len() == 6 {
                out.mail.push((CONTROL, Talk::Said(format!("{said:?}"))));
            }
        }
        Event::Turn(..) => {}
    };
    let handle = run_with(&config(1), vec![play]);
    let Ok((_, Talk::At(addr))) = handle.inbox().recv() else {
        panic!("no address");
    };
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let text = heard(&handle);
    let place = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("{what} in {text}"))
    };
    let closed = place("(4, \"Ok\")");
    assert!(place("(1, \"Cancelled\")") < closed, "{text}");
    assert!(place("(2, \"Cancelled\")") < closed, "{text}");
    place("(8, \"Cancelled\")");
    assert!(
        place("(0, \"Cancelled\")") < place("(16, \"Ok\")"),
        "{text}"
    );
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "the send was cut off");
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
    end(handle);
}

#[test]
fn an_address_that_somebody_else_listens_on_is_refused() {
    let (handle, addr) = serve(&config(1), local(), echo(false));
    let results = support::one_by_one(move |done, _| match done.len() {
        0 => Some(Op::Listen { addr }),
        _ => None,
    });
    assert!(matches!(&results[0], Done::Failed(e) if e.kind == ErrorKind::AddressInUse));
    end(handle);
}

#[test]
fn a_reset_connection_is_reported_as_gone() {
    let mut conn = None;
    let (handle, addr) = serve(&config(1), local(), move |event, out| match event {
        Event::Done(_, Done::Accepted { sock, .. }) => {
            conn = Some(sock);
            out.mail.push((CONTROL, Talk::Said("accepted".into())));
        }
        Event::Mail(_, Talk::Go) => {
            let sock = conn.expect("accepted");
            let parts = vec![Bytes::from(vec![1; 8 << 20])];
            out.ops.push((Token(SEND), Op::Send { sock, parts }));
        }
        Event::Done(_, Done::Failed(error)) => {
            out.mail
                .push((CONTROL, Talk::Said(format!("{:?}", error.kind))));
        }
        _ => {}
    });
    let mut stream = TcpStream::connect(addr).expect("a connection");
    assert_eq!(heard(&handle), "accepted");
    handle.send(ShardId(0), Talk::Go).expect("running");
    let mut some = [0; 1000];
    stream.read_exact(&mut some).expect("some bytes");
    // Closing with unread bytes resets the connection.
    drop(stream);
    assert_eq!(heard(&handle), "Disconnected");
    end(handle);
}

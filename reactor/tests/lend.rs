//! Memory that is lent to the kernel is not written again before the peer has it.

mod support;

use bytes::Bytes;
use reactor::buf::Arena;
use reactor::op::{CONTROL, Done, Op, Outbox, ShardId, SockId, Token};
use reactor::runtime::{Config, Lend};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use support::{Event, config, run_with};

const LISTEN: Token = Token(1);
const ACCEPT: Token = Token(2);
const SEND: Token = Token(3);
const CLOSE: Token = Token(4);
const ARENA: usize = 32 << 20;
const PIECE: usize = 256 << 10;
const OURS: u8 = 0x11;
const THEIRS: u8 = 0xee;

#[derive(Debug)]
enum Talk {
    At(SocketAddr),
    /// Write all memory that can be had, with other bytes.
    Churn,
    Churned(usize),
    Stop,
    Stopped,
    End,
}

fn filled(arena: &Arena, with: u8) -> Option<Bytes> {
    let mut buf = arena.alloc(PIECE)?;
    buf.append(&vec![with; PIECE]);
    Some(buf.freeze())
}

/// Sends pieces one by one until it is stopped; nothing of them is kept here.
struct Sender {
    arena: Option<Arena>,
    sock: Option<SockId>,
    sent: usize,
    stopping: bool,
}

impl Sender {
    fn play(&mut self, event: Event<Talk>, out: &mut Outbox<Talk>) {
        match event {
            Event::Start(_, arena) => {
                self.arena = Some(arena);
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                out.ops.push((LISTEN, Op::Listen { addr }));
            }
            Event::Done(LISTEN, Done::Listening { sock, local }) => {
                out.ops.push((ACCEPT, Op::Accept { sock }));
                out.mail.push((CONTROL, Talk::At(local)));
            }
            Event::Done(ACCEPT, Done::Accepted { sock, .. }) => {
                self.sock = Some(sock);
                self.send(out);
            }
            Event::Done(SEND, Done::Ok) if self.stopping => self.stop(out),
            Event::Done(SEND, Done::Ok) => self.send(out),
            Event::Mail(_, Talk::Churn) => {
                let arena = self.arena.as_ref().expect("started");
                let held: Vec<Bytes> = std::iter::from_fn(|| filled(arena, THEIRS)).collect();
                out.mail.push((CONTROL, Talk::Churned(held.len())));
            }
            Event::Mail(_, Talk::Stop) => self.stopping = true,
            Event::Mail(_, Talk::End) => out.exit = true,
            Event::Done(..) | Event::Mail(..) | Event::Turn(..) => {}
        }
    }

    fn send(&mut self, out: &mut Outbox<Talk>) {
        let arena = self.arena.as_ref().expect("started");
        let sock = self.sock.expect("accepted");
        // As much as makes a send worth lending, in two parts.
        let parts = (0..2).filter_map(|_| filled(arena, OURS)).collect();
        self.sent += 1;
        out.ops.push((SEND, Op::Send { sock, parts }));
    }

    fn stop(&mut self, out: &mut Outbox<Talk>) {
        let sock = self.sock.expect("accepted");
        out.ops.push((CLOSE, Op::CloseSock { sock }));
        out.mail.push((CONTROL, Talk::Stopped));
    }
}

fn lending(lend: Lend) -> Config {
    let mut config = config(1);
    config.arena_bytes_max = ARENA;
    config.lend = lend;
    config
}

#[test]
fn a_peer_that_stops_reading_gets_its_own_bytes_however_often_memory_is_used_again() {
    for lend in [Lend::Everybody, Lend::Remote, Lend::Nobody] {
        let mut sender = Sender {
            arena: None,
            sock: None,
            sent: 0,
            stopping: false,
        };
        let handle = run_with(
            &lending(lend),
            vec![move |event: Event<Talk>, out: &mut _| {
                sender.play(event, out);
            }],
        );
        let heard = || handle.inbox().recv().expect("the shard runs").1;
        let tell = |talk| handle.send(ShardId(0), talk).expect("the shard runs");
        let Talk::At(addr) = heard() else {
            panic!("no address");
        };
        let mut stream = TcpStream::connect(addr).expect("a connection");
        // Nothing is read while all other memory is written again and again.
        for _ in 0..50 {
            tell(Talk::Churn);
            assert!(matches!(heard(), Talk::Churned(pieces) if pieces > 0));
        }
        tell(Talk::Stop);
        let mut got = vec![0; 1 << 20];
        let mut all = 0;
        loop {
            let count = stream.read(&mut got).expect("read");
            if count == 0 {
                break;
            }
            all += count;
            let wrong = got[..count].iter().position(|byte| *byte != OURS);
            assert_eq!(wrong, None, "{lend:?}: other bytes before byte {all}");
        }
        assert!(
            all >= 2 * PIECE && all % PIECE == 0,
            "{lend:?}: {all} bytes"
        );
        assert!(matches!(heard(), Talk::Stopped));
        // All that was lent comes back, when the peer's kernel has acknowledged the last bytes: it
        // may delay that (RFC 9293, 3.8.6.3), and has read to the end before it does.
        let back = (0..500).any(|_| {
            tell(Talk::Churn);
            let Talk::Churned(pieces) = heard() else {
                panic!("not what was asked for");
            };
            let all = pieces == ARENA / PIECE;
            if !all {
                std::thread::sleep(Duration::from_millis(20));
            }
            all
        });
        assert!(back, "{lend:?}: memory was lent and did not come back");
        tell(Talk::End);
        handle.join();
    }
}

#[test]
fn a_shard_ends_although_a_peer_never_reads_what_was_lent() {
    let mut sender = Sender {
        arena: None,
        sock: None,
        sent: 0,
        stopping: false,
    };
    let handle = run_with(
        &lending(Lend::Everybody),
        vec![move |event: Event<Talk>, out: &mut _| sender.play(event, out)],
    );
    let Ok((_, Talk::At(addr))) = handle.inbox().recv() else {
        panic!("no address");
    };
    let stream = TcpStream::connect(addr).expect("a connection");
    for _ in 0..20 {
        handle.send(ShardId(0), Talk::Churn).expect("running");
        let _ = handle.inbox().recv();
    }
    handle.send(ShardId(0), Talk::End).expect("running");
    handle.join();
    drop(stream);
}

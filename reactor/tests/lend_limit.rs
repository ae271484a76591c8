//! What the limit on locked memory does not allow to be lent is copied. A process of its own: the
//! limit is that of the whole process.

mod support;

use bytes::Bytes;
use reactor::op::{CONTROL, Done, Op, Outbox, ShardId, Token};
use reactor::runtime::Lend;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use support::{Event, config, run_with};

const LISTEN: Token = Token(1);
const ACCEPT: Token = Token(2);
const SEND: Token = Token(3);
const PIECE: usize = 512 << 10;
const SENDS: usize = 40;
const CAP_IPC_LOCK: u32 = 14;

/// Lets the calling thread, and those that it starts, lock 1 MiB at most.
fn limit_locked_memory() {
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    // SAFETY: a local limit.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(done, 0);
    // A header of version 3 for this thread, and its sets in two halves (capget(2)).
    let head = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: the pointers are to a header and to as many sets as its version has.
    let done = unsafe { libc::syscall(libc::SYS_capget, head.as_ptr(), sets.as_mut_ptr()) };
    assert_eq!(done, 0);
    sets[0] &= !(1 << CAP_IPC_LOCK);
    // SAFETY: as above.
    let done = unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), sets.as_ptr()) };
    assert_eq!(done, 0);
}

#[derive(Debug)]
enum Talk {
    At(SocketAddr),
    Sent(Result<(), String>),
    End,
}

#[test]
fn what_may_not_be_locked_is_copied() {
    limit_locked_memory();
    let mut config = config(1);
    config.lend = Lend::Everybody;
    let (mut arena, mut peer, mut left) = (None, None, SENDS);
    let play = move |event: Event<Talk>, out: &mut Outbox<Talk>| {
        match event {
            Event::Start(_, given) => {
                arena = Some(given);
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                return out.ops.push((LISTEN, Op::Listen { addr }));
            }
            Event::Done(LISTEN, Done::Listening { sock, local }) => {
                out.mail.push((CONTROL, Talk::At(local)));
                return out.ops.push((ACCEPT, Op::Accept { sock }));
            }
            Event::Done(ACCEPT, Done::Accepted { sock, .. }) => peer = Some(sock),
            Event::Done(SEND, Done::Ok) => left -= 1,
            Event::Done(SEND, other) => {
                let why = format!("{other:?}");
                return out.mail.push((CONTROL, Talk::Sent(Err(why))));
            }
            Event::Mail(_, Talk::End) => {
                out.exit = true;
                return;
            }
            _ => return,
        }
        if left == 0 {
            return out.mail.push((CONTROL, Talk::Sent(Ok(()))));
        }
        let arena = arena.as_ref().expect("started");
        let mut buf = arena.alloc(PIECE).expect("little is held");
        buf.append(&vec![left as u8; PIECE]);
        let parts: Vec<Bytes> = vec![buf.freeze()];
        let sock = peer.expect("accepted");
        out.ops.push((SEND, Op::Send { sock, parts }));
    };
    let handle = run_with(&config, vec![play]);
    let Ok((_, Talk::At(addr))) = handle.inbox().recv() else {
        panic!("no address");
    };
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("an option");
    let mut piece = vec![0; PIECE];
    for left in (1..=SENDS).rev() {
        stream.read_exact(&mut piece).expect("all of it comes");
        assert!(piece.iter().all(|byte| *byte == left as u8), "{left} left");
    }
    match handle.inbox().recv() {
        Ok((_, Talk::Sent(sent))) => assert_eq!(sent, Ok(())),
        other => panic!("{other:?}"),
    }
    handle.send(ShardId(0), Talk::End).expect("running");
    handle.join();
}

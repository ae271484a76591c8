//! Real loopback sockets through a real ring.

mod support;

use reactor::op::{CONTROL, Done, Op, Outbox, Token};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use support::{Event, config, run_with};

const LISTEN: Token = Token(1);
const ACCEPT: Token = Token(2);
const RECV: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

type Talk = Result<SocketAddr, ()>;

/// Echoes every connection; says where it listens; ends on any mail.
fn echo() -> impl FnMut(Event<Talk>, &mut Outbox<Talk>) + Send {
    use std::collections::{HashMap, VecDeque};
    let mut queues: HashMap<u64, (bool, VecDeque<bytes::Bytes>)> = HashMap::new();
    let mut socks = HashMap::new();
    move |event, out| {
        let (token, done) = match event {
            Event::Start(..) => {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                return out.ops.push((LISTEN, Op::Listen { addr }));
            }
            Event::Mail(..) => {
                out.exit = true;
                return;
            }
            Event::Turn(..) => return,
            Event::Done(token, done) => (token, done),
        };
        let number = token.0 & 0xffff_ffff;
        match done {
            Done::Listening { sock, local } => {
                out.ops.push((ACCEPT, Op::Accept { sock }));
                out.mail.push((CONTROL, Ok(local)));
            }
            Done::Accepted { sock, .. } => {
                let number = socks.len() as u64;
                socks.insert(number, sock);
                queues.insert(number, (false, VecDeque::new()));
                out.ops.push((Token(RECV | number), Op::Recv { sock }));
            }
            Done::Received(bytes) => {
                queues
                    .get_mut(&number)
                    .expect("accepted")
                    .1
                    .push_back(bytes);
            }
            Done::Ok if token.0 & SEND != 0 => {
                queues.get_mut(&number).expect("accepted").0 = false;
            }
            Done::Eof | Done::Failed(_) => {
                let sock = socks[&number];
                out.ops.push((Token(9 << 32), Op::CloseSock { sock }));
                queues.remove(&number);
                return;
            }
            _ => return,
        }
        if let Some((busy, queue)) = queues.get_mut(&number)
            && !*busy
            && !queue.is_empty()
        {
            *busy = true;
            let parts = queue.drain(..).collect();
            let sock = socks[&number];
            out.ops
                .push((Token(SEND | number), Op::Send { sock, parts }));
        }
    }
}

#[test]
fn ten_thousand_small_messages_come_back_in_order() {
    let handle = run_with(&config(1), vec![echo()]);
    let (_, addr) = handle.inbox().recv().expect("an address");
    let mut stream = TcpStream::connect(addr.expect("listening")).expect("a connection");
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for n in 0..10_000_u64 {
            writer.write_all(&n.to_be_bytes()).expect("written");
        }
    });
    for n in 0..10_000_u64 {
        let mut got = [0; 8];
        stream.read_exact(&mut got).expect("echoed");
        assert_eq!(u64::from_be_bytes(got), n);
    }
    sender.join().expect("sent");
    drop(stream);
    handle
        .send(reactor::op::ShardId(0), Err(()))
        .expect("running");
    handle.join();
}

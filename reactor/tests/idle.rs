//! Alone in its file, because it looks at the processor time of the whole process.

mod support;

use reactor::op::{Op, Outbox, ShardId, Token};
use std::net::{Ipv4Addr, SocketAddr};
use support::{Event, config, run_with};

/// Clock ticks (1/100 s) of processor time that this process has used: proc(5), fields 14 and 15.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("a number");
    number(11) + number(12)
}

#[test]
fn shards_with_nothing_to_do_use_no_processor() {
    let make = |_| {
        let mut turns = 0;
        move |event: Event<u64>, out: &mut Outbox<u64>| match event {
            Event::Start(..) => {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                out.ops.push((Token(1), Op::Listen { addr }));
            }
            Event::Done(_, reactor::op::Done::Listening { sock, .. }) => {
                out.ops.push((Token(2), Op::Accept { sock }));
            }
            Event::Mail(..) => {
                out.mail.push((reactor::op::CONTROL, turns));
                out.exit = true;
            }
            Event::Turn(..) => turns += 1,
            Event::Done(..) => {}
        }
    };
    let handle = run_with(&config(4), (0..4).map(make).collect());
    std::thread::sleep(std::time::Duration::from_millis(200));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let used = ticks() - before;
    assert!(
        used <= 5,
        "{used} ticks of processor time in an idle second"
    );
    for id in 0..4 {
        handle.send(ShardId(id), 0).expect("running");
    }
    for (_, turns) in handle.inbox().iter().take(4) {
        assert!(turns < 20, "{turns} turns without work");
    }
    handle.join();
}

//! Several shards: mail between them, locks of the process, the way it starts and ends.

mod support;

use reactor::op::{CONTROL, Done, ErrorKind, Op, Outbox, ShardId, Token};
use reactor::runtime::Config;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Dir, Event, config, run_with};

#[derive(Debug)]
enum Talk {
    Ball(u64),
    Flood(u64),
    Said(String),
    End,
}

/// Passes a ball round the shards; the one who gets the last tells.
fn pass(shards: u16, hops: u64) -> impl FnMut(Event<Talk>, &mut Outbox<Talk>) + Send {
    let mut me = 0;
    move |event, out| match event {
        Event::Start(id, _) => me = id.0,
        Event::Mail(_, Talk::Ball(hop)) if hop == hops => {
            out.mail.push((CONTROL, Talk::Ball(hop)));
        }
        Event::Mail(from, Talk::Ball(hop)) => {
            let before = (me + shards - 1) % shards;
            assert!(from == CONTROL || from.0 == before, "from {from:?} at {me}");
            out.mail
                .push((ShardId((me + 1) % shards), Talk::Ball(hop + 1)));
        }
        Event::Mail(..) => out.exit = true,
        _ => {}
    }
}

fn a_ball_goes_round(shards: u16) {
    a_ball_goes_round_with(&config(shards), shards);
}

fn a_ball_goes_round_with(config: &Config, shards: u16) {
    let plays = (0..shards).map(|_| pass(shards, 20_000)).collect();
    let handle = run_with(config, plays);
    handle.send(ShardId(0), Talk::Ball(0)).expect("running");
    let (_, last) = handle.inbox().recv().expect("the last hop");
    assert!(matches!(last, Talk::Ball(20_000)));
    for id in 0..shards {
        handle.send(ShardId(id), Talk::End).expect("running");
    }
    handle.join();
}

#[test]
fn mail_goes_round_two_shards() {
    a_ball_goes_round(2);
}

#[test]
fn mail_goes_round_more_shards_than_cores() {
    let cores = reactor::cores::available_cores().len() as u16;
    a_ball_goes_round(cores * 2 + 1);
}

/// Shards that keep asking before they sleep, for longer or for less long than a mail takes.
#[test]
fn mail_goes_round_busy_shards() {
    for busy_poll_ns in [1, 2_000, 1_000_000] {
        let config = Config {
            busy_poll_ns,
            ..config(2)
        };
        a_ball_goes_round_with(&config, 2);
    }
}

#[test]
fn one_shard_can_write_to_itself() {
    a_ball_goes_round(1);
}

#[test]
fn a_flood_arrives_whole_and_in_order_and_the_sender_sees_what_waits() {
    const MAILS: u64 = 20_000;
    let mut most_waiting = 0;
    let mut next = 0;
    let make = |_| {
        move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
            Event::Start(id, _) => {
                if id.0 == 0 {
                    let flood = (0..MAILS).map(|n| (ShardId(1), Talk::Flood(n)));
                    out.mail.extend(flood);
                    // Step again, to see what waits.
                    out.wake_at = Some(reactor::op::Mono(0));
                }
            }
            Event::Mail(from, Talk::Flood(n)) => {
                assert_eq!((from, n), (ShardId(0), next));
                next += 1;
                if next == MAILS {
                    out.mail.push((ShardId(0), Talk::End));
                    out.exit = true;
                }
            }
            Event::Mail(..) => {
                let text = format!("{}", most_waiting > 0);
                out.mail.push((CONTROL, Talk::Said(text)));
                out.exit = true;
            }
            Event::Turn(_, waiting) => most_waiting = waiting.max(most_waiting),
            Event::Done(..) => {}
        }
    };
    let handle = run_with(&config(2), (0..2).map(make).collect());
    let (_, said) = handle.inbox().recv().expect("the flood's end");
    assert!(matches!(said, Talk::Said(text) if text == "true"));
    handle.join();
}

/// A machine that takes in less while its mail waits must learn when to go on, also if nothing else
/// happens.
#[test]
fn a_shard_is_stepped_when_its_mail_has_left() {
    let mut waited = false;
    let make = |_| {
        move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
            Event::Start(ShardId(0), _) => {
                let flood = (0..20_000).map(|n| (ShardId(1), Talk::Flood(n)));
                out.mail.extend(flood);
                out.wake_at = Some(reactor::op::Mono(0));
            }
            Event::Turn(_, 0) if std::mem::take(&mut waited) => {
                out.mail.push((CONTROL, Talk::End));
            }
            Event::Turn(_, waiting) => waited |= waiting > 0,
            Event::Mail(_, Talk::End) => out.exit = true,
            _ => {}
        }
    };
    let handle = run_with(&config(2), (0..2).map(make).collect());
    let told = handle.inbox().recv_timeout(Duration::from_secs(60));
    assert!(matches!(told, Ok((ShardId(0), Talk::End))), "{told:?}");
    for id in 0..2 {
        handle.send(ShardId(id), Talk::End).expect("running");
    }
    handle.join();
}

#[test]
fn mail_left_by_an_ending_shard_still_arrives() {
    let mut got = 0;
    let make = |_| {
        move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
            Event::Start(ShardId(0), _) => {
                out.mail
                    .extend((0..5000).map(|n| (ShardId(1), Talk::Flood(n))));
                out.exit = true;
            }
            Event::Mail(..) => {
                got += 1;
                out.exit = got == 5000;
            }
            _ => {}
        }
    };
    run_with(&config(2), (0..2).map(make).collect()).join();
}

/// Every shard locks `path` and says what became of it.
fn lock_on_all(path: std::path::PathBuf, shards: u16) -> Vec<String> {
    let make = |_| {
        let path = path.clone();
        move |event: Event<Talk>, out: &mut Outbox<Talk>| match event {
            Event::Start(..) => out.ops.push((Token(1), Op::Lock { path: path.clone() })),
            Event::Done(_, done) => {
                let text = match done {
                    Done::Failed(error) if error.kind == ErrorKind::Locked => "locked".into(),
                    other => format!("{other:?}"),
                };
                out.mail.push((CONTROL, Talk::Said(text)));
            }
            Event::Mail(..) => out.exit = true,
            Event::Turn(..) => {}
        }
    };
    let handle = run_with(&config(shards), (0..shards).map(make).collect());
    let said = (0..shards).map(|_| match handle.inbox().recv() {
        Ok((_, Talk::Said(text))) => text,
        other => panic!("{other:?}"),
    });
    let said = said.collect();
    let other = File::open(&path).expect("created");
    assert!(other.try_lock().is_err(), "held while the shards run");
    for id in 0..shards {
        handle.send(ShardId(id), Talk::End).expect("running");
    }
    handle.join();
    said
}

#[test]
fn a_lock_is_the_process_s_and_nobody_else_s() {
    let dir = Dir::new("lock");
    let path = dir.join("lock");
    assert_eq!(lock_on_all(path.clone(), 3), ["Ok"; 3]);
    let other = File::open(&path).expect("created");
    other
        .try_lock()
        .expect("free at once when the shards have ended");
    // The lock of another open file is as good as another process's.
    let make = |path: std::path::PathBuf| {
        support::one_by_one(move |done, _| match done.len() {
            0 => Some(Op::Lock { path: path.clone() }),
            _ => None,
        })
    };
    let results = make(path.clone());
    assert!(matches!(&results[0], Done::Failed(e) if e.kind == ErrorKind::Locked));
    other.unlock().expect("held");
    assert!(matches!(make(path)[0], Done::Ok));
}

/// The test starts its own executable again as the process that holds the lock.
#[test]
fn the_lock_of_a_killed_process_is_free_soon_and_not_before() {
    const CHILD: &str = "RINGLOG_TEST_LOCK";
    let lock = |path: std::path::PathBuf| {
        let hold = std::env::var_os(CHILD).is_some();
        support::one_by_one(move |done, _| match done.len() {
            0 => Some(Op::Lock { path: path.clone() }),
            1 if hold => {
                println!("\nheld: {:?}", done[0]);
                // The child lives until it is killed.
                loop {
                    std::thread::park();
                }
            }
            _ => None,
        })
    };
    if let Some(path) = std::env::var_os(CHILD) {
        lock(path.into());
    }
    let dir = Dir::new("killed");
    let path = dir.join("lock");
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "the_lock_of_a_killed_process_is_free_soon_and_not_before",
        ])
        .arg("--nocapture")
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let said = output
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("held: "));
    let refused = lock(path.clone());
    child.kill().expect("running");
    child.wait().expect("a child");
    let free = lock(path);
    assert_eq!(said.as_deref(), Some("held: Ok"));
    assert!(matches!(&refused[0], Done::Failed(e) if e.kind == ErrorKind::Locked));
    assert!(matches!(free[0], Done::Ok), "{free:?}");
}

#[test]
fn a_deadline_alone_steps_a_machine() {
    for busy_poll_ns in [0, 1_000, 100_000_000] {
        a_deadline_steps(&Config {
            busy_poll_ns,
            ..config(1)
        });
    }
}

fn a_deadline_steps(config: &Config) {
    let mut first = None;
    let play = move |event: Event<Talk>, out: &mut Outbox<Talk>| {
        if let Event::Turn(now, _) = event {
            let at = *first.get_or_insert_with(|| now.mono.after_ms(20));
            out.exit = now.mono >= at;
            out.wake_at = Some(at);
        }
    };
    run_with(config, vec![play]).join();
}

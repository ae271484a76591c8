//! Consumers at the end of quiet partitions: each waits in one long poll after the other, with the
//! incremental sessions and the waiting time of a Kafka consumer.

use super::link::{Pipe, resolve};
use super::process::cpu_seconds;
use super::{Options, ready, wire};
use bytes::Bytes;
use mio::{Events, Interest, Poll, Token};
use net::wire::fetch::Response;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// `fetch.max.wait.ms` of a Kafka consumer.
const WAIT_MS: i32 = 500;

struct Consumer {
    pipe: Pipe,
    session: (i32, i32),
    polls: u64,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    let (bootstrap, topic) = (options.bootstrap()?, options.topic()?);
    let partitions: i32 = options.get("partitions", 1000)?;
    let count: i32 = options.get("consumers", 64)?;
    let wait_ms = options.get("wait_ms", WAIT_MS)?;
    let pid: u32 = options.get("pid", 0)?;
    ready::create(&bootstrap, &topic, partitions)?;
    let address = resolve(&bootstrap)?;
    let mut poll = Poll::new()?;
    let mut consumers = Vec::new();
    for number in 0..count {
        let mut pipe = Pipe::open(address)?;
        let token = Token(consumers.len());
        poll.registry()
            .register(&mut pipe.stream, token, Interest::READABLE)?;
        let own = (0..partitions).filter(|partition| partition % count == number);
        let from: Vec<(i32, i64)> = own.map(|partition| (partition, 0)).collect();
        let first = wire::Poll {
            max_wait_ms: wait_ms,
            session: (0, 0),
        };
        pipe.send(&wire::fetch(&topic, &from, first), 0)?;
        consumers.push(Consumer {
            pipe,
            session: (0, 0),
            polls: 0,
        });
    }
    let settle = Duration::from_secs(options.get("warmup", 5)?);
    turn(&mut poll, &mut consumers, wait_ms, settle)?;
    println!("measuring");
    io::stdout().flush()?;
    let measured = Duration::from_secs(options.get("seconds", 10)?);
    let before = (cpu_seconds(pid)?, polls(&consumers));
    let begin = Instant::now();
    turn(&mut poll, &mut consumers, wait_ms, measured)?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds(pid)? - before.0;
    println!(
        "partitions={partitions} consumers={count} wait_ms={wait_ms} seconds={seconds:.1} \
         polls_per_s={:.0} broker_cpu_s={cpu:.2} cpu_percent={:.2}",
        (polls(&consumers) - before.1) as f64 / seconds,
        cpu / seconds * 100.0
    );
    Ok(())
}

fn polls(consumers: &[Consumer]) -> u64 {
    consumers.iter().map(|consumer| consumer.polls).sum()
}

/// Answers every reply with the next poll, for a while.
fn turn(
    poll: &mut Poll,
    consumers: &mut [Consumer],
    wait_ms: i32,
    time: Duration,
) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        poll.poll(&mut events, Some(left))?;
        for event in &events {
            consumers[event.token().0].answer(wait_ms)?;
        }
    }
    Ok(())
}

impl Consumer {
    fn answer(&mut self, wait_ms: i32) -> io::Result<()> {
        let mut replies = Vec::new();
        self.pipe.receive(|reply| replies.push(reply))?;
        for reply in replies {
            self.follow(reply)?;
            self.polls += 1;
            let next = wire::Poll {
                max_wait_ms: wait_ms,
                session: self.session,
            };
            self.pipe.send(&wire::fetch("", &[], next), 0)?;
        }
        Ok(())
    }

    /// Goes on in the session that the broker made.
    fn follow(&mut self, reply: Bytes) -> io::Result<()> {
        let reply = Response::decode(&mut wire::body(reply)?, wire::FETCH_VERSION);
        let reply = reply.map_err(|error| io::Error::other(error.to_string()))?;
        let parts = reply.responses.iter().flat_map(|topic| &topic.partitions);
        let wrong = parts.map(|part| part.error_code).find(|code| *code != 0);
        let code = wrong.unwrap_or(reply.error_code);
        if code != 0 {
            return Err(io::Error::other(format!("a poll failed with error {code}")));
        }
        if reply.session_id == 0 {
            return Err(io::Error::other("the broker keeps no fetch session"));
        }
        self.session = (reply.session_id, self.session.1 + 1);
        Ok(())
    }
}

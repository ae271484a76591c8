//! Open-loop produce: each request has its time, whatever became of the others. Gaps between
//! requests are exponentially distributed, as if many independent clients sent them.

use super::link::{Pipe, correlation, resolve};
use super::process::cpu_seconds;
use super::{Options, ready, wire};
use bytes::Bytes;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use net::wire::produce::Response;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long replies may be late before the run counts as failed.
const LATE_MAX: Duration = Duration::from_secs(30);

/// One connection and the requests it waits for.
struct Sender {
    pipe: Pipe,
    frame: Vec<u8>,
    /// Scheduled times of what is not answered, oldest first, and whether they are measured.
    waiting: VecDeque<(Instant, bool)>,
    /// The correlation id of the oldest one.
    oldest: i32,
}

/// What came of the measured requests.
struct Tally {
    latency_us: Histogram<u64>,
    /// How late requests left this program: its own fault.
    lag_us: Histogram<u64>,
    sent: u64,
    acked: u64,
    refused: u64,
}

struct Plan {
    rate: f64,
    warmup: Duration,
    measured: Duration,
    pid: u32,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    let (bootstrap, topic) = (options.bootstrap()?, options.topic()?);
    let partitions: i32 = options.get("partitions", 64)?;
    let connections: usize = options.get("connections", 64)?;
    let batch = wire::batch(options.get("records", 1)?, options.get("bytes", 100)?);
    let plan = Plan {
        rate: options.get("rate", 50_000.0)?,
        warmup: Duration::from_secs(options.get("warmup", 5)?),
        measured: Duration::from_secs(options.get("seconds", 30)?),
        pid: options.get("pid", 0)?,
    };
    ready::create(&bootstrap, &topic, partitions)?;
    let address = resolve(&bootstrap)?;
    let poll = Poll::new()?;
    let mut senders = Vec::new();
    for number in 0..connections {
        let partition = number as i32 % partitions;
        let mut pipe = Pipe::open(address)?;
        let interest = Interest::READABLE.add(Interest::WRITABLE);
        poll.registry()
            .register(&mut pipe.stream, Token(number), interest)?;
        senders.push(Sender {
            pipe,
            frame: wire::produce(&topic, &[partition], &batch),
            waiting: VecDeque::new(),
            oldest: 0,
        });
    }
    let request_bytes = senders.first().map_or(0, |sender| sender.frame.len());
    println!(
        "partitions={partitions} connections={connections} batch_bytes={} request_bytes={}",
        batch.len(),
        request_bytes
    );
    drive(poll, &mut senders, &plan)
}

fn drive(mut poll: Poll, senders: &mut [Sender], plan: &Plan) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut tally = Tally::new();
    let mut random = wire::Random(0x5eed_0001);
    let begin = Instant::now();
    let (open, close) = (plan.warmup, plan.warmup + plan.measured);
    let mut due = Duration::ZERO;
    let connections = senders.len().max(1);
    let mut next = 0;
    let (mut cpu_open, mut cpu_close) = (None, None);
    loop {
        let now = begin.elapsed();
        if now >= open && cpu_open.is_none() {
            cpu_open = Some(cpu_seconds(plan.pid)?);
            println!("measuring");
            io::stdout().flush()?;
        }
        if now >= close && cpu_close.is_none() {
            cpu_close = Some(cpu_seconds(plan.pid)?);
        }
        while due <= now && due < close {
            let sender = &mut senders[next % connections];
            next += 1;
            let measured = due >= open;
            sender.send(begin + due, measured)?;
            if measured {
                tally.sent += 1;
                tally.lag_us += (now - due).as_micros() as u64;
            }
            due += Duration::from_secs_f64(-random.fraction().ln() / plan.rate);
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let sender = &mut senders[event.token().0];
            if event.is_writable() {
                sender.pipe.flush()?;
            }
            sender.receive(&mut tally)?;
        }
        let open_requests = senders.iter().any(|sender| !sender.waiting.is_empty());
        if now >= close && (!open_requests || now >= close + LATE_MAX) {
            break;
        }
    }
    let cpu = cpu_close.unwrap_or(0.0) - cpu_open.unwrap_or(0.0);
    tally.print(plan, cpu);
    Ok(())
}

impl Sender {
    fn send(&mut self, scheduled: Instant, measured: bool) -> io::Result<()> {
        let number = self.oldest.wrapping_add(self.waiting.len() as i32);
        self.waiting.push_back((scheduled, measured));
        self.pipe.send(&self.frame, number)
    }

    fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        let (waiting, oldest) = (&mut self.waiting, &mut self.oldest);
        let mut wrong = None;
        self.pipe.receive(|response| {
            let expected = *oldest;
            *oldest = oldest.wrapping_add(1);
            match (waiting.pop_front(), correlation(&response)) {
                (Some((scheduled, measured)), Ok(id)) if id == expected => {
                    if measured {
                        tally.count(scheduled.elapsed(), &response);
                    }
                }
                _ => wrong = Some(io::Error::other("a response out of order")),
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }
}

impl Tally {
    fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits are possible");
        Self {
            latency_us: histogram(),
            lag_us: histogram(),
            sent: 0,
            acked: 0,
            refused: 0,
        }
    }

    fn count(&mut self, latency: Duration, response: &Bytes) {
        self.latency_us += latency.as_micros() as u64;
        if is_acked(response) {
            self.acked += 1;
        } else {
            self.refused += 1;
        }
    }

    fn print(&self, plan: &Plan, cpu: f64) {
        let seconds = plan.measured.as_secs_f64();
        println!(
            "rate={} sent={} acked={} refused={} seconds={seconds} acked_per_s={:.0}",
            plan.rate,
            self.sent,
            self.acked,
            self.refused,
            self.acked as f64 / seconds
        );
        let at = |q: f64| self.latency_us.value_at_quantile(q);
        println!(
            "p50_us={} p95_us={} p99_us={} p999_us={} max_us={} lag_p50_us={} lag_p99_us={}",
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999),
            self.latency_us.max(),
            self.lag_us.value_at_quantile(0.5),
            self.lag_us.value_at_quantile(0.99)
        );
        if plan.pid != 0 {
            println!(
                "broker_cpu_s={cpu:.2} cpu_us_per_request={:.3} cpu_percent={:.2}",
                cpu * 1e6 / self.acked.max(1) as f64,
                cpu / seconds * 100.0
            );
        }
    }
}

fn is_acked(response: &Bytes) -> bool {
    let answer = wire::body(response.clone())
        .ok()
        .and_then(|mut body| Response::decode(&mut body, wire::PRODUCE_VERSION).ok());
    answer.is_some_and(|answer| {
        let mut parts = answer.responses.iter().flat_map(|t| &t.partition_responses);
        parts.all(|part| part.error_code == 0)
    })
}

//! The load generator.

mod consumer;
mod headroom;
mod plan;
mod producer;
mod sending;
mod setup;
mod stats;
mod time;
mod validity;
mod worker;

pub(crate) use headroom::headroom;

use crate::client::{Control, create_topics, delete_topics, end_offsets};
use crate::failure::{Failure, Outcome};
use crate::kernel;
use crate::model::{Cost, Doubt, Interval, Pace, Run, Workload};
use plan::Plan;
use stats::{Second, Tally};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use worker::{AFTERWARDS, Worker};

/// Seconds of a window: long enough that its p99.9 says something.
const WINDOW: usize = 30;
/// Before the first record, so that all threads stand ready.
const LEAD_NS: u64 = 20_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const LOOK: Duration = Duration::from_millis(5);
/// A backlog that has not come about by then will not.
const FILL_NS_MAX: u64 = 600 * SECOND_NS;

/// Where the load goes, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// HOST:PORT of any broker of the cluster.
    pub(crate) address: String,
    /// The threads of the generator are pinned to these in turn; empty: not pinned.
    pub(crate) cores: Vec<usize>,
}

/// Sees a run while it lasts. Everything is called from the thread that called [`run`].
pub(crate) trait Observer {
    /// The measured time begins now.
    fn began(&mut self);
    /// A second of it is over; the figures of the broker may be filled in.
    fn second(&mut self, interval: &mut Interval);
    /// The measured time is over; what the broker used meanwhile.
    fn ended(&mut self) -> Option<Cost>;
}

/// Makes topics, runs the workload on them, and deletes them.
pub(crate) fn run(
    workload: &Workload,
    target: &Target,
    observer: &mut dyn Observer,
) -> Outcome<Run> {
    setup::check(workload)?;
    setup::raise_descriptors(workload)?;
    let mut control = Control::open(&target.address)?;
    let number = setup::run_number();
    let topics = setup::topic_names(workload, number);
    let cluster = create_topics(
        &mut control,
        &topics,
        workload.partitions_per_topic,
        &workload.topic_settings,
    )?;
    let outcome = setup::wait_until_led(&topics, &cluster).and_then(|()| {
        let plan = setup::plan(workload, &topics, cluster, number);
        perform(&plan, target, observer, &mut control)
    });
    let deleted =
        Control::open(&target.address).and_then(|mut control| delete_topics(&mut control, &topics));
    let mut run = outcome?;
    if let Err(failure) = deleted {
        run.doubts.push(Doubt {
            fatal: false,
            what: failure.to_string(),
        });
    }
    Ok(run)
}

fn perform(
    plan: &Plan,
    target: &Target,
    observer: &mut dyn Observer,
    control: &mut Control,
) -> Outcome<Run> {
    let (outbox, inbox) = channel();
    let mut workers = Vec::new();
    for (producers, ends) in setup::shares(plan, control)? {
        let seed = plan.seed() << 8 | workers.len() as u64;
        let worker = Worker::new(plan, ends, producers, seed, outbox.clone());
        workers.push(worker.map_err(|error| Failure::new(format!("epoll: {error}")))?);
    }
    drop(outbox);
    let count = workers.len();
    thread::scope(|scope| {
        let mut handles = Vec::new();
        for (at, worker) in workers.into_iter().enumerate() {
            let core = target.cores.get(at % target.cores.len().max(1)).copied();
            handles.push(scope.spawn(move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(core_affinity::CoreId { id });
                }
                worker.run()
            }));
        }
        let mut story = conduct(plan, &inbox, count, observer);
        let mut tally = Tally::new();
        for handle in handles {
            match handle.join() {
                Ok(own) => tally.merge(own),
                Err(_) => return Err(Failure::new("a thread of the load generator failed")),
            }
        }
        story.collect(&inbox);
        let lost = lost(plan, &tally);
        Ok(story.run(plan, tally, lost))
    })
}

/// What the conductor has seen.
struct Story {
    intervals: Vec<Interval>,
    windows: Vec<Interval>,
    window: Second,
    total: Second,
    cost: Option<Cost>,
    stolen_s: Option<f64>,
    ended: u64,
}

impl Story {
    fn new() -> Self {
        Self {
            intervals: Vec::new(),
            windows: Vec::new(),
            window: Second::new(),
            total: Second::new(),
            cost: None,
            stolen_s: None,
            ended: 0,
        }
    }

    /// Takes what happened in one second; so many of them are a window.
    fn second(&mut self, interval: Interval, second: Second) {
        self.window.merge(second);
        self.intervals.push(interval);
        if self.intervals.len().is_multiple_of(WINDOW)
            && let Some(last) = self.intervals.last()
        {
            let mut window = std::mem::replace(&mut self.window, Second::new());
            let broker = self.intervals.iter().rev().take(WINDOW);
            self.windows.push(Interval {
                broker_cpu_s: broker.map(|interval| interval.broker_cpu_s).sum(),
                broker_memory_bytes: last.broker_memory_bytes,
                broker_descriptors: last.broker_descriptors,
                ..window.interval(last.at_s)
            });
            self.total.merge(window);
        }
    }

    /// What came after the last second.
    fn collect(&mut self, inbox: &Receiver<(u64, Second)>) {
        while let Ok((_, second)) = inbox.try_recv() {
            self.total.merge(second);
        }
    }

    fn run(mut self, plan: &Plan, mut tally: Tally, lost: u64) -> Run {
        let from = Plan::at(&plan.measure_from);
        self.total.merge(self.window);
        let seconds = self.ended.saturating_sub(from) as f64 / 1e9;
        let mut counts = std::mem::take(&mut tally.counts);
        counts.acked = self.total.acked;
        counts.consumed = self.total.consumed;
        counts.acked_bytes = self.total.acked_bytes;
        counts.consumed_bytes = self.total.consumed_bytes;
        if plan.workload.pace == Pace::Maximum {
            counts.intended = counts.sent;
        }
        let mut run = Run {
            seconds,
            counts,
            ack: self.total.ack.latency(),
            end_to_end: self.total.end_to_end.latency(),
            send_delay: tally.send_delay.latency(),
            generator_delay: tally.loop_delay.latency(),
            intervals: self.intervals,
            windows: self.windows,
            cost: self.cost,
            generator_cpu_s: tally.cpu_s,
            generator_busy: tally.busy,
            stolen: self.stolen_s.map(|stolen| stolen / seconds.max(1e-9)),
            doubts: Vec::new(),
        };
        run.doubts = validity::doubts(&plan.workload, &run, &tally, lost);
        run
    }
}

/// Sets the times, and tells the observer when they have come.
fn conduct(
    plan: &Plan,
    inbox: &Receiver<(u64, Second)>,
    threads: usize,
    observer: &mut dyn Observer,
) -> Story {
    let mut story = Story::new();
    fill(plan);
    let start = time::now() + LEAD_NS;
    let from = start + plan.workload.warmup.as_nanos() as u64;
    let to = from + plan.workload.measured.as_nanos() as u64;
    plan.measure_to.store(to, Ordering::Release);
    plan.measure_from.store(from, Ordering::Release);
    plan.schedule_from.store(start, Ordering::Release);
    let backlog = plan.workload.backlog_bytes > 0 && plan.workload.pace != Pace::ConsumeOnly;
    if !backlog {
        plan.consuming.store(true, Ordering::Release);
    }
    wait_until(plan, from);
    plan.consuming.store(true, Ordering::Release);
    observer.began();
    let stolen_s = kernel::stolen_s();
    let mut pending: BTreeMap<u64, (usize, Second)> = BTreeMap::new();
    while time::now() < to && !plan.give_up.load(Ordering::Acquire) {
        receive(plan, inbox, threads, &mut pending, &mut story, observer);
    }
    story.ended = time::now().min(to);
    if story.ended < to {
        plan.measure_to.store(story.ended, Ordering::Release);
    }
    story.cost = observer.ended();
    story.stolen_s = stolen_s.and_then(|before| Some(kernel::stolen_s()? - before));
    while receive(plan, inbox, threads, &mut pending, &mut story, observer) {}
    for (_, (_, second)) in pending {
        story.total.merge(second);
    }
    story
}

/// Lets producers fill the topics before anything else, where the workload wants it.
fn fill(plan: &Plan) {
    let bytes = plan.workload.backlog_bytes;
    if bytes == 0 {
        return;
    }
    let deadline = time::now() + FILL_NS_MAX;
    plan.filling.store(true, Ordering::Release);
    while plan.filled_bytes.load(Ordering::Relaxed) < bytes {
        if time::now() > deadline || plan.give_up.load(Ordering::Acquire) {
            plan.give_up.store(true, Ordering::Release);
            break;
        }
        thread::sleep(LOOK);
    }
    plan.filling.store(false, Ordering::Release);
}

fn wait_until(plan: &Plan, moment: u64) {
    while !plan.give_up.load(Ordering::Acquire) {
        let left = moment.saturating_sub(time::now());
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_nanos(left).min(Duration::from_millis(50)));
    }
}

/// Takes one message; false when no more will come.
fn receive(
    plan: &Plan,
    inbox: &Receiver<(u64, Second)>,
    threads: usize,
    pending: &mut BTreeMap<u64, (usize, Second)>,
    story: &mut Story,
    observer: &mut dyn Observer,
) -> bool {
    let (number, second) = match inbox.recv_timeout(LOOK) {
        Ok(message) => message,
        Err(RecvTimeoutError::Timeout) => return true,
        Err(RecvTimeoutError::Disconnected) => return false,
    };
    if number == AFTERWARDS {
        story.total.merge(second);
        return true;
    }
    let entry = pending.entry(number).or_insert_with(|| (0, Second::new()));
    entry.0 += 1;
    entry.1.merge(second);
    if entry.0 == threads
        && let Some((_, mut second)) = pending.remove(&number)
    {
        let from = Plan::at(&plan.measure_from);
        let to = Plan::at(&plan.measure_to);
        let end = (from + (number + 1) * SECOND_NS).min(to);
        let mut interval = second.interval(end.saturating_sub(from) as f64 / 1e9);
        observer.second(&mut interval);
        story.second(interval, second);
    }
    true
}

/// Records that were acknowledged and that the broker does not have, by the offsets it tells.
fn lost(plan: &Plan, tally: &Tally) -> u64 {
    if plan.workload.acks == 0 || tally.gave_up.is_some() {
        return 0;
    }
    let mut lost = 0;
    for (topic, name) in plan.topics.iter().enumerate() {
        for (node, address) in plan.cluster.nodes.iter().enumerate() {
            let own = plan.cluster.led(topic, node);
            if own.is_empty() {
                continue;
            }
            // A broker that does not answer now has lost nothing yet: the run says it is gone.
            for (partition, end) in end_offsets(*address, name, &own).unwrap_or_default() {
                let acked = plan.acked[plan.slot(topic, partition)].load(Ordering::Acquire);
                // A broker that keeps nothing tells no offset.
                lost += u64::try_from(end).map_or(0, |end| acked.saturating_sub(end));
            }
        }
    }
    lost
}

#[cfg(test)]
mod tests;

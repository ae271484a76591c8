//! A thread of the load generator: many connections, one loop.

use super::consumer::{Fetcher, Ledger};
use super::plan::{NEVER, Plan};
use super::producer::{Due, Lane, Producer};
use super::stats::{Second, Stalls, Tally};
use super::time::now;
use crate::client::{Link, Pool};
use crate::model::{Idle, Pace};
use crate::schedule::{Random, Schedule};
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// The second that stands for everything after the measured time.
pub(crate) const AFTERWARDS: u64 = u64::MAX;

const SECOND_NS: u64 = 1_000_000_000;
/// Records in one turn, so that answers are read meanwhile.
const TURN_RECORDS_MAX: u32 = 4096;
/// How long what waits may take to be sent after the measured time, and be answered after that.
const DRAIN_NS: u64 = 5 * SECOND_NS;
const ANSWER_NS: u64 = 10 * SECOND_NS;
const NAP_NS: u64 = 50_000_000;
const RECONNECTS_MAX: u64 = 64;
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;

pub(crate) enum Role {
    Producer { producer: usize, lane: Lane },
    Consumer(Fetcher),
}

/// A connection and what it is for.
pub(crate) struct End {
    pub(crate) link: Link,
    pub(crate) role: Role,
    wants_out: bool,
}

impl End {
    pub(crate) const fn new(link: Link, role: Role) -> Self {
        Self {
            link,
            role,
            wants_out: false,
        }
    }
}

pub(crate) struct Worker<'a> {
    pub(super) plan: &'a Plan,
    epoll: OwnedFd,
    pub(super) ends: Vec<End>,
    pub(super) producers: Vec<Producer>,
    schedule: Option<Schedule>,
    random: Random,
    dues: VecDeque<Due>,
    serial: u64,
    pub(super) pool: Pool,
    pub(super) tally: Tally,
    pub(super) second: Second,
    seconds: u64,
    outbox: Sender<(u64, Second)>,
    pub(super) stalls: Stalls,
    /// Requests without an answer, of all producers.
    pub(super) flights: usize,
    /// Records that wait to be sent.
    pub(super) queued: u64,
    consuming: bool,
    producing: bool,
    /// Nothing is sent any more; what is on its way is still waited for.
    pub(super) closing: bool,
    /// Lanes with batches that became due in this turn.
    touched: Vec<usize>,
    cpu_from: f64,
    busy_ns: u64,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        ends: Vec<End>,
        producers: Vec<Producer>,
        seed: u64,
        outbox: Sender<(u64, Second)>,
    ) -> io::Result<Self> {
        let workload = &plan.workload;
        let all = f64::from(workload.topics * workload.producers_per_topic);
        let schedule = match workload.pace {
            Pace::Rate { records_per_s } if !producers.is_empty() => {
                let share = records_per_s * producers.len() as f64 / all;
                Some(Schedule::new(share, seed))
            }
            _ => None,
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, end) in ends.iter().enumerate() {
            let token = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &end.link.stream, token, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            plan,
            epoll,
            ends,
            producers,
            schedule,
            random: Random::new(seed ^ 0x5eed),
            dues: VecDeque::new(),
            serial: 0,
            pool: Pool::default(),
            tally: Tally::new(),
            second: Second::new(),
            seconds: 0,
            outbox,
            stalls: Stalls::default(),
            flights: 0,
            queued: 0,
            consuming: false,
            producing: true,
            closing: false,
            touched: Vec::new(),
            cpu_from: 0.0,
            busy_ns: 0,
        })
    }

    pub(crate) fn run(mut self) -> Tally {
        // The default slack of timers is as long as the whole latency of a fast broker.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut events = Vec::with_capacity(256);
        let mut measuring = false;
        while !self.plan.give_up.load(Ordering::Relaxed) {
            let woke = now();
            if !measuring && woke >= Plan::at(&self.plan.measure_from) {
                measuring = true;
                self.cpu_from = cpu_s();
            }
            let worked = self.turn(woke);
            self.rotate(now());
            if self.finished(woke) {
                break;
            }
            let before = now();
            let answers = !events.is_empty();
            if self.plan.measured(woke) && (worked || answers) {
                self.busy_ns += before - woke;
            }
            let timeout = self.timeout(before, worked);
            events.clear();
            let space = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, space, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => self.stop(format!("epoll failed: {error}")),
            }
            let began = now();
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                self.event(data.u64() as usize, flags);
            }
            if !events.is_empty() && self.plan.measured(began) {
                self.busy_ns += now() - began;
            }
        }
        self.end()
    }

    /// Does what is due; whether there was anything.
    fn turn(&mut self, time: u64) -> bool {
        if !self.consuming && self.plan.consuming.load(Ordering::Acquire) {
            self.consuming = true;
            for at in 0..self.ends.len() {
                self.ask(at);
            }
        }
        let closed = self.plan.filling.load(Ordering::Acquire)
            || (self.plan.workload.pace == Pace::Maximum
                && time >= Plan::at(&self.plan.schedule_from));
        if closed && time < Plan::at(&self.plan.measure_to) {
            for producer in 0..self.producers.len() {
                self.refill(producer, time);
            }
            // Nothing tells when there is room again where nothing is acknowledged.
            return self.expire(time) || self.plan.workload.acks == 0;
        }
        let put = self.scheduled(time);
        let over = time >= Plan::at(&self.plan.measure_to);
        let left = self.expire(if over && put == 0 { NEVER } else { time });
        put > 0 || left
    }

    /// Puts every record whose time has come into its batch.
    fn scheduled(&mut self, time: u64) -> u32 {
        let from = Plan::at(&self.plan.schedule_from);
        let to = Plan::at(&self.plan.measure_to);
        let Some(mut schedule) = self.schedule.take() else {
            return 0;
        };
        let mut put = 0;
        while put < TURN_RECORDS_MAX && from != NEVER {
            let intended = from + schedule.peek();
            if intended > time || intended >= to {
                break;
            }
            schedule.advance();
            put += 1;
            let producer = self.random.below(self.producers.len() as u32) as usize;
            if self.plan.measured(intended) {
                self.tally.counts.intended += 1;
                self.tally.loop_delay.add(intended, time, 1);
            }
            self.put(producer, intended);
        }
        self.schedule = Some(schedule);
        put
    }

    pub(super) fn put(&mut self, producer: usize, time: u64) {
        let mut due = None;
        let full = self.producers[producer].put(
            self.plan,
            &mut self.pool,
            time,
            &mut due,
            &mut self.serial,
        );
        self.queued += 1;
        if let Some(mut due) = due {
            due.producer = producer;
            self.dues.push_back(due);
        }
        if let Some(batch) = full {
            let at = self.producers[producer].lanes[batch.partition as usize];
            self.queue(at, batch);
        }
    }

    /// Lets the batches leave that have lingered long enough, as soon as there is room.
    fn expire(&mut self, time: u64) -> bool {
        let mut touched = std::mem::take(&mut self.touched);
        while let Some(due) = self.dues.front().copied().filter(|due| due.at <= time) {
            self.dues.pop_front();
            let Some(at) = self.producers[due.producer].ripen(due) else {
                continue;
            };
            if let Role::Producer { lane, .. } = &mut self.ends[at].role {
                lane.ripen(due);
                touched.push(at);
            }
        }
        let any = !touched.is_empty();
        touched.sort_unstable();
        touched.dedup();
        for at in touched.drain(..) {
            self.leave(at);
        }
        self.touched = touched;
        let threads = u64::from(self.plan.workload.generator_threads.max(1));
        let limit = self.plan.held_bytes_max / threads;
        let record = u64::from(self.plan.workload.record_bytes) + 24;
        if self.queued * record > limit {
            self.stop(format!(
                "more records waited to be sent than a thread of the harness holds back, {} MiB of \
                 them: the broker takes fewer than the rate asks for",
                limit >> 20
            ));
        }
        any
    }

    fn timeout(&self, time: u64, worked: bool) -> Timespec {
        if self.plan.workload.idle == Idle::Spin {
            return Timespec::default();
        }
        let mut until = time + NAP_NS;
        let from = Plan::at(&self.plan.schedule_from);
        if let Some(schedule) = &self.schedule {
            let next = from.saturating_add(schedule.peek());
            if next < Plan::at(&self.plan.measure_to) {
                until = until.min(next);
            }
        }
        if let Some(due) = self.dues.front() {
            until = until.min(due.at);
        }
        for moment in [&self.plan.measure_from, &self.plan.measure_to] {
            let moment = Plan::at(moment);
            if moment > time {
                until = until.min(moment);
            }
        }
        let unacknowledged = self.plan.workload.acks == 0 && self.schedule.is_none();
        if worked && (unacknowledged || time >= Plan::at(&self.plan.measure_to)) {
            until = time;
        }
        let wait = until.saturating_sub(time);
        Timespec {
            tv_sec: (wait / SECOND_NS) as i64,
            tv_nsec: (wait % SECOND_NS) as i64,
        }
    }

    fn event(&mut self, at: usize, flags: epoll::EventFlags) {
        let outcome = self.io(at, flags);
        if let Err(why) = outcome {
            self.reconnect(at, &why);
        }
        self.watch(at);
    }

    fn io(&mut self, at: usize, flags: epoll::EventFlags) -> io::Result<()> {
        if flags.contains(epoll::EventFlags::OUT) {
            self.ends[at].link.write(&mut self.pool)?;
        }
        let readable = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if flags.intersects(readable) {
            self.ends[at].link.read()?;
            while let Some(frame) = self.ends[at].link.frame() {
                let understood = match self.ends[at].role {
                    Role::Producer { .. } => self.acknowledged(at, frame),
                    Role::Consumer(_) => self.fetched(at, frame),
                };
                if !understood {
                    return Err(io::Error::other("an answer that is none"));
                }
            }
        }
        if matches!(self.ends[at].role, Role::Producer { .. }) {
            return self.pump(at);
        }
        Ok(())
    }

    fn fetched(&mut self, at: usize, frame: std::ops::Range<usize>) -> bool {
        let End { link, role, .. } = &mut self.ends[at];
        let Role::Consumer(fetcher) = role else {
            return false;
        };
        let mut ledger = Ledger {
            plan: self.plan,
            tally: &mut self.tally,
            second: &mut self.second,
        };
        let understood = fetcher.take(link.bytes(frame), &mut ledger);
        if understood {
            self.ask(at);
        }
        understood
    }

    /// The next request of a consumer; nothing for a producer.
    fn ask(&mut self, at: usize) {
        let End { link, role, .. } = &mut self.ends[at];
        let Role::Consumer(fetcher) = role else {
            return;
        };
        let buffer = self.pool.small.pop().unwrap_or_default();
        fetcher.ask(link, &self.plan.topics[fetcher.topic], buffer);
        if let Err(why) = link.write(&mut self.pool) {
            self.reconnect(at, &why);
        }
        self.watch(at);
    }

    /// Asks the kernel to tell when the socket takes more, while there is more.
    pub(super) fn watch(&mut self, at: usize) {
        let end = &mut self.ends[at];
        let wants = !end.link.idle();
        if wants != end.wants_out {
            end.wants_out = wants;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants);
            let token = epoll::EventData::new_u64(at as u64);
            let _ = epoll::modify(&self.epoll, &end.link.stream, token, flags);
        }
    }

    pub(super) fn reconnect(&mut self, at: usize, why: &io::Error) {
        let address = self.ends[at].link.address;
        self.tally.counts.reconnects += 1;
        self.lose_flights(at, "NETWORK_EXCEPTION");
        if self.tally.counts.reconnects > RECONNECTS_MAX {
            return self.stop(format!(
                "connections to {address} broke again and again: {why}"
            ));
        }
        for _ in 0..ATTEMPTS {
            if let Ok(link) = Link::open(address, RECONNECT_WAIT) {
                let _ = epoll::delete(&self.epoll, &self.ends[at].link.stream);
                let token = epoll::EventData::new_u64(at as u64);
                let added = epoll::add(&self.epoll, &link.stream, token, epoll::EventFlags::IN);
                self.ends[at].link = link;
                self.ends[at].wants_out = false;
                if let (Ok(()), Role::Consumer(fetcher)) = (added, &mut self.ends[at].role) {
                    fetcher.restart();
                    self.ask(at);
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.stop(format!("the broker at {address} is gone: {why}"));
    }

    pub(super) fn stop(&mut self, why: String) {
        self.tally.gave_up.get_or_insert(why);
        self.plan.give_up.store(true, Ordering::Release);
    }

    /// Hands over every second that is complete.
    fn rotate(&mut self, time: u64) {
        let (from, to) = (
            Plan::at(&self.plan.measure_from),
            Plan::at(&self.plan.measure_to),
        );
        if time < from || to == NEVER {
            return;
        }
        while from + self.seconds * SECOND_NS < to
            && time >= (from + (self.seconds + 1) * SECOND_NS).min(to)
        {
            let second = std::mem::replace(&mut self.second, Second::new());
            let _ = self.outbox.send((self.seconds, second));
            self.seconds += 1;
            if time >= to && from + self.seconds * SECOND_NS >= to {
                self.tally.cpu_s = cpu_s() - self.cpu_from;
            }
        }
    }

    /// Whether nothing is left to do, or no time for it.
    fn finished(&mut self, time: u64) -> bool {
        let to = Plan::at(&self.plan.measure_to);
        if time < to {
            return false;
        }
        if self.producing && self.queued == 0 && self.flights == 0 && self.scheduled_all(to) {
            self.producing = false;
            self.plan.producing.fetch_sub(1, Ordering::AcqRel);
        }
        if time > to.saturating_add(DRAIN_NS) {
            // What is on its way is answered before connections are closed.
            self.closing = true;
            return self.flights == 0 || time > to.saturating_add(DRAIN_NS + ANSWER_NS);
        }
        let done = self.plan.producing.load(Ordering::Acquire) == 0;
        done && (self.plan.workload.pace == Pace::ConsumeOnly || self.unread() == 0)
    }

    fn scheduled_all(&self, to: u64) -> bool {
        let from = Plan::at(&self.plan.schedule_from);
        let next = self
            .schedule
            .as_ref()
            .map(|schedule| from.saturating_add(schedule.peek()));
        next.is_none_or(|next| next >= to)
    }

    fn unread(&self) -> u64 {
        let each = self.ends.iter().map(|end| match &end.role {
            Role::Consumer(fetcher) => fetcher.missing(self.plan),
            Role::Producer { .. } => 0,
        });
        each.sum()
    }

    fn end(mut self) -> Tally {
        let time = now();
        self.rotate(time);
        if self.flights > 0 {
            self.stalls.progress(time, false);
        }
        // A run that ended early says so itself; what was on its way then is no error.
        if !self.plan.give_up.load(Ordering::Acquire) {
            for at in 0..self.ends.len() {
                self.lose_flights(at, "NOT_ANSWERED");
            }
            if self.producing && self.queued > 0 {
                self.tally.error("NOT_SENT".to_owned(), self.queued);
            }
        }
        if self.plan.workload.pace != Pace::ConsumeOnly {
            self.tally.missing = self.unread();
        }
        let (from, to) = (
            Plan::at(&self.plan.measure_from),
            Plan::at(&self.plan.measure_to),
        );
        let measured = to.min(time).saturating_sub(from).max(1);
        self.tally.busy = (self.busy_ns as f64 / measured as f64).min(1.0);
        if self.tally.cpu_s == 0.0 && time > from {
            self.tally.cpu_s = cpu_s() - self.cpu_from;
        }
        self.tally.add_stalls(&self.stalls);
        let _ = self.outbox.send((AFTERWARDS, self.second));
        self.tally
    }
}

/// CPU of this thread.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

//! One machine over time: a process of shards, its kernel, and the instants at which things happen.

use super::disk::Disk;
use super::files::{Files, Flight, tear};
use super::net::{Net, NetEvent};
use super::rng::{Rng, mix};
use crate::buf::Arena;
use crate::op::{CONTROL, Done, Input, Machine, Mono, Now, Op, Outbox, ShardId, Token};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// A machine that steps this often for nothing would keep a core busy.
const RESTLESS_STEPS_MAX: u32 = 16;

/// What a test may turn.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of each shard's arena.
    pub arena_bytes: usize,
    /// Mails that one shard's mailbox holds from one sender.
    pub mailbox_max: usize,
    /// Whether a lock outlives the writes that a killed process left in flight, as [`Op::Lock`]
    /// promises. False shows what that promise is worth.
    pub lock_outlives_writes: bool,
    /// Most file operations take up to this long, in nanoseconds; a few take fifty times longer.
    pub latency_ns: u64,
    /// The wall clock at the start, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            arena_bytes: 64 << 20,
            mailbox_max: 16,
            lock_outlives_writes: true,
            latency_ns: 100_000,
            wall_ms: 1_750_000_000_000,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Step {
        life: u64,
        shard: ShardId,
    },
    Wake {
        life: u64,
        shard: ShardId,
        at: u64,
    },
    Landed(u64),
    Mail {
        life: u64,
        from: ShardId,
        to: ShardId,
    },
    Net(NetEvent),
}

/// An event in the queue: ordered by time, then by lot.
#[derive(Debug)]
struct Entry {
    at: u64,
    lot: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.lot) == (other.at, other.lot)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.lot).cmp(&(other.at, other.lot))
    }
}

struct Shard<M: Machine> {
    machine: M,
    inputs: Vec<Input<M::Mail>>,
    step_planned: bool,
    /// Steps in a row that had nothing to do and asked to be stepped again at once.
    restless_steps: u32,
    wake: Option<u64>,
    exited: bool,
}

/// Mail from one shard to another.
struct Channel<T> {
    boxed: VecDeque<T>,
    waiting: VecDeque<T>,
}

/// A machine with one process, in virtual time.
pub struct World<M: Machine> {
    seed: u64,
    rng: Rng,
    settings: Settings,
    time: u64,
    mono_origin: u64,
    wall_offset_ms: i64,
    queue: BinaryHeap<Reverse<Entry>>,
    shards: Vec<Shard<M>>,
    life: u64,
    channels: BTreeMap<(ShardId, ShardId), Channel<M::Mail>>,
    flights: BTreeMap<u64, Flight>,
    next_flight: u64,
    files: Files,
    trace: u64,
    disk: Disk,
    net: Net,
}

impl<M: Machine> World<M> {
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            seed,
            time: 0,
            mono_origin: rng.below(1 << 40),
            wall_offset_ms: settings.wall_ms,
            queue: BinaryHeap::new(),
            shards: Vec::new(),
            life: 0,
            channels: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_flight: 0,
            files: Files::default(),
            trace: mix(seed),
            disk: Disk::default(),
            net: Net::new(rng.fork()),
            rng,
            settings,
        }
    }

    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }

    /// Settings that hold from now on.
    pub fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Covers everything that has happened: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace
    }

    /// Nanoseconds since the world began.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            mono: Mono(self.mono_origin + self.time),
            wall_ms: self.wall_offset_ms + (self.time / 1_000_000) as i64,
        }
    }

    /// Steps the wall clock, which no deadline may notice.
    pub fn step_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// Starts a process of `shards` shards.
    ///
    /// # Panics
    /// If one is running.
    pub fn start(&mut self, shards: u16, mut make: impl FnMut(ShardId, Arena) -> M) {
        assert!(self.shards.is_empty(), "one process runs at a time");
        self.life += 1;
        self.mono_origin += self.rng.below(1 << 40);
        for id in (0..shards).map(ShardId) {
            let machine = make(id, Arena::heap(self.settings.arena_bytes));
            self.shards.push(Shard {
                machine,
                inputs: Vec::new(),
                step_planned: false,
                restless_steps: 0,
                wake: None,
                exited: false,
            });
            self.plan_step(id);
        }
    }

    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Looks at a shard's machine. Panics if there is no such shard.
    #[must_use]
    pub fn machine(&self, shard: ShardId) -> &M {
        &self.shards[usize::from(shard.0)].machine
    }

    /// A shard's machine for the test to speak to; it is stepped soon. Panics if there is none.
    pub fn machine_mut(&mut self, shard: ShardId) -> &mut M {
        self.plan_step(shard);
        &mut self.shards[usize::from(shard.0)].machine
    }

    /// Sends mail as the control thread does.
    pub fn mail(&mut self, to: ShardId, mail: M::Mail) {
        self.post(CONTROL, to, mail);
    }

    /// Whether a shard of the process has ended by itself.
    #[must_use]
    pub fn has_exited(&self, shard: ShardId) -> bool {
        self.shards[usize::from(shard.0)].exited
    }

    /// Whether every shard of the process has ended by itself.
    #[must_use]
    pub fn exited(&self) -> bool {
        self.shards.iter().all(|shard| shard.exited)
    }

    fn plan(&mut self, delay: u64, event: Event) {
        // Lots differ, so that the order of the queue rests on nothing but the seed.
        let lot = self.rng.bits();
        self.queue.push(Reverse(Entry {
            at: self.time + delay,
            lot,
            event,
        }));
    }

    fn plan_step(&mut self, id: ShardId) {
        let shard = &mut self.shards[usize::from(id.0)];
        if !shard.step_planned && !shard.exited {
            shard.step_planned = true;
            let stalled = self.rng.chance(1, 256);
            let delay = self
                .rng
                .between(200, if stalled { 5_000_000 } else { 10_000 });
            self.plan(
                delay,
                Event::Step {
                    life: self.life,
                    shard: id,
                },
            );
        }
    }

    fn note(&mut self, what: u64) {
        self.trace = mix(self.trace ^ what).wrapping_add(self.time);
    }

    /// Lets the next thing happen. False if nothing will ever happen by itself.
    pub fn step(&mut self) -> bool {
        self.plan_net();
        let Some(Reverse(entry)) = self.queue.pop() else {
            return false;
        };
        self.time = self.time.max(entry.at);
        match entry.event {
            Event::Step { life, shard } if life == self.life => self.step_shard(shard),
            Event::Wake { life, shard, at } if life == self.life => {
                if self
                    .shards
                    .get(usize::from(shard.0))
                    .is_some_and(|s| s.wake == Some(at))
                {
                    self.plan_step(shard);
                }
            }
            Event::Mail { life, from, to } if life == self.life => self.hand_over(from, to),
            Event::Landed(flight) => self.land(flight),
            Event::Net(event) => {
                self.net.happen(event);
                self.plan_net();
            }
            Event::Step { .. } | Event::Wake { .. } | Event::Mail { .. } => {}
        }
        true
    }

    /// Runs until `enough` says so, or `limit_ns` from now. True if `enough` did.
    pub fn run(&mut self, limit_ns: u64, mut enough: impl FnMut(&mut Self) -> bool) -> bool {
        let limit = self.time + limit_ns;
        loop {
            if enough(self) {
                return true;
            }
            self.plan_net();
            match self.queue.peek() {
                Some(Reverse(entry)) if entry.at <= limit => self.step(),
                _ => {
                    self.time = limit;
                    return false;
                }
            };
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, ns: u64) {
        self.run(ns, |_| false);
    }

    fn plan_net(&mut self) {
        for (delay, event) in std::mem::take(&mut self.net.events) {
            self.plan(delay, Event::Net(event));
        }
        for (shard, token, done) in std::mem::take(&mut self.net.deliveries) {
            self.deliver(shard, Input::Done(token, done));
        }
    }

    fn deliver(&mut self, id: ShardId, input: Input<M::Mail>) {
        let Some(shard) = self.shards.get_mut(usize::from(id.0)) else {
            return;
        };
        if let Input::Done(token, done) = &input {
            let what = mix(u64::from(id.0)) ^ mix(token.0) ^ digest(done);
            shard.inputs.push(input);
            self.note(what);
        } else {
            shard.inputs.push(input);
            self.note(u64::from(id.0));
        }
        self.plan_step(id);
    }

    fn step_shard(&mut self, id: ShardId) {
        if self.shards.is_empty() {
            // Planned before the process was killed.
            return;
        }
        let now = self.now();
        let waiting: usize = self
            .channels
            .range((id, ShardId(0))..(id, CONTROL))
            .map(|(_, channel)| channel.waiting.len())
            .sum();
        let shard = &mut self.shards[usize::from(id.0)];
        shard.step_planned = false;
        if shard.exited {
            return;
        }
        let idle = shard.inputs.is_empty();
        let mut out = Outbox::default();
        shard
            .machine
            .step(now, &mut shard.inputs, waiting, &mut out);
        assert!(shard.inputs.is_empty(), "a step drains its inputs");
        shard.exited = out.exit;
        let restless = idle && out.wake_at.is_some_and(|at| at <= now.mono);
        shard.restless_steps = if restless {
            shard.restless_steps + 1
        } else {
            0
        };
        assert!(
            shard.restless_steps < RESTLESS_STEPS_MAX,
            "shard {} asks again and again for an instant that has come: it would never sleep",
            id.0
        );
        shard.wake = out.wake_at.map(|at| at.0.saturating_sub(self.mono_origin));
        if let Some(at) = shard.wake {
            let delay = at.saturating_sub(self.time);
            self.plan(
                delay,
                Event::Wake {
                    life: self.life,
                    shard: id,
                    at,
                },
            );
        }
        for (token, op) in out.ops {
            self.submit(id, token, op);
        }
        for (to, mail) in out.mail {
            self.post(id, to, mail);
        }
    }

    fn submit(&mut self, shard: ShardId, token: Token, op: Op) {
        self.note(token.0);
        if is_network(&op) {
            self.net.submit(shard, token, op);
            return self.plan_net();
        }
        let ends = self.time + self.latency();
        let (flight, ends) = self
            .files
            .submit(&mut self.disk, (self.life, shard, token), op, ends);
        self.next_flight += 1;
        self.flights.insert(self.next_flight, flight);
        self.plan(ends - self.time, Event::Landed(self.next_flight));
    }

    fn latency(&mut self) -> u64 {
        let usual = self.settings.latency_ns.max(1);
        let factor = if self.rng.chance(1, 32) { 50 } else { 1 };
        self.rng.between(1, usual * factor)
    }

    fn land(&mut self, number: u64) {
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        self.disk.wall_ms = self.now().wall_ms;
        let done = self.files.complete(&mut self.disk, &flight);
        if flight.life == self.life && !self.shards.is_empty() {
            if let Some(done) = done {
                self.deliver(flight.shard, Input::Done(flight.token, done));
            }
        } else {
            self.release_locks();
        }
    }

    /// Locks of processes that have ended, and whose last write is over.
    fn release_locks(&mut self) {
        for life in 1..=self.life {
            let running = life == self.life && !self.shards.is_empty();
            let writing = self.flights.values().any(|of| of.life == life);
            if !running && (!writing || !self.settings.lock_outlives_writes) {
                self.files.unlock(life);
            }
        }
    }

    fn post(&mut self, from: ShardId, to: ShardId, mail: M::Mail) {
        let max = self.settings.mailbox_max;
        let channel = self.channels.entry((from, to)).or_insert_with(|| Channel {
            boxed: VecDeque::new(),
            waiting: VecDeque::new(),
        });
        if channel.waiting.is_empty() && channel.boxed.len() < max {
            channel.boxed.push_back(mail);
            let delay = self.rng.between(100, 20_000);
            self.plan(
                delay,
                Event::Mail {
                    life: self.life,
                    from,
                    to,
                },
            );
        } else {
            channel.waiting.push_back(mail);
        }
    }

    fn hand_over(&mut self, from: ShardId, to: ShardId) {
        let max = self.settings.mailbox_max;
        let Some(channel) = self.channels.get_mut(&(from, to)) else {
            return;
        };
        let taken = channel.boxed.len();
        let mails: Vec<M::Mail> = channel.boxed.drain(..).collect();
        let refill = channel.waiting.len().min(max);
        channel.boxed.extend(channel.waiting.drain(..refill));
        for mail in mails {
            self.deliver(to, Input::Mail { from, mail });
        }
        if refill > 0 {
            let delay = self.rng.between(100, 20_000);
            self.plan(
                delay,
                Event::Mail {
                    life: self.life,
                    from,
                    to,
                },
            );
            if from != CONTROL {
                // The sender learns that its mail is moving again.
                self.plan_step(from);
            }
        }
        self.note(taken as u64);
    }

    fn drop_process(&mut self) {
        self.shards.clear();
        self.channels.clear();
        self.net.server_ended();
    }

    /// kill -9, or the end of a process whose shards have exited. What has completed stays; of what
    /// is in flight, a write may still land, also after the next process has started.
    pub fn kill(&mut self) {
        self.drop_process();
        for number in self.flights.keys().copied().collect::<Vec<_>>() {
            if self.flights[&number].life == self.life {
                self.leave_behind(number);
            }
        }
        self.files.process_ended(&mut self.disk);
        self.release_locks();
        self.note(1);
    }

    fn leave_behind(&mut self, number: u64) {
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        if !flight.changes_disk() || self.rng.chance(1, 3) {
            return;
        }
        self.next_flight += 1;
        self.flights.insert(self.next_flight, flight);
        let delay = self.rng.between(1_000, 50_000_000);
        self.plan(delay, Event::Landed(self.next_flight));
    }

    /// The machine loses power, and is on again at once.
    pub fn power_cut(&mut self) {
        self.drop_process();
        for flight in std::mem::take(&mut self.flights).into_values() {
            tear(&mut self.disk, &flight, &mut self.rng);
        }
        self.files.forget();
        self.disk.cut(&mut self.rng);
        self.note(2);
    }
}

impl<M: Machine> Drop for World<M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated world that failed had seed {}", self.seed);
        }
    }
}

fn is_network(op: &Op) -> bool {
    matches!(
        op,
        Op::Listen { .. }
            | Op::Accept { .. }
            | Op::Recv { .. }
            | Op::Pause { .. }
            | Op::Send { .. }
            | Op::CloseSock { .. }
    )
}

/// A number that differs, most likely, for different completions.
fn digest(done: &Done) -> u64 {
    let sample = |bytes: &[u8]| {
        let ends = bytes.first().into_iter().chain(bytes.last());
        ends.fold(bytes.len() as u64, |sum, byte| mix(sum ^ u64::from(*byte)))
    };
    match done {
        Done::Ok => 1,
        Done::Opened { len, .. } => 2 ^ mix(*len),
        Done::Read(bytes) => 3 ^ sample(bytes),
        Done::Listed(entries) => 4 ^ mix(entries.len() as u64),
        Done::Space(space) => 12 ^ mix(space.total ^ mix(space.usable)),
        Done::Listening { sock, .. } => 5 ^ mix(sock.0),
        Done::Accepted { sock, .. } => 6 ^ mix(sock.0),
        Done::TurnedAway { peer } => 11 ^ u64::from(peer.port()),
        Done::Received(bytes) => 7 ^ sample(bytes),
        Done::Paused => 8,
        Done::Eof => 9,
        Done::Failed(error) => 10 ^ mix(error.errno as u64),
    }
}

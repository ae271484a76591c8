//! The loop: drain, step, flush.

use super::Io;
use super::ring::Wait;
use crate::mailbox::Post;
use crate::op::{Done, Input, Machine, Mono, Now, Outbox};

/// How long mail for ordinary threads waits before it is tried again: they have no bell to ring.
const RETRY_NS: u64 = 10_000_000;

/// How long a shard that receives much lets completions gather before it takes them together.
const GATHER_NS: u64 = 100_000;

/// Receives in that time above which it does so: at lower rates each is served at once.
const GATHER_MIN: u64 = 4;

/// Over how long the rate is measured, and how long a wait in vain keeps others from following.
const WINDOW_NS: u64 = 1_000_000;

/// One machine and what it runs on.
pub(crate) struct Driver<M: Machine> {
    machine: M,
    io: Io,
    post: Post<M::Mail>,
    inputs: Vec<Input<M::Mail>>,
    out: Outbox<M::Mail>,
    pace: Pace,
    /// How long to keep asking before a sleep, in nanoseconds.
    busy_poll_ns: u64,
    /// The last step was told that mail waits: another follows when it has left.
    held: bool,
}

/// How much is received. At a high rate one sleep for many completions costs far less than a sleep
/// for each: they share the entry into the kernel, the step and the commit round.
#[derive(Debug, Default)]
struct Pace {
    since: Mono,
    received: u64,
    /// Receives to expect while completions gather.
    expected: u64,
    gathering: bool,
}

impl<M: Machine> Driver<M> {
    pub(crate) fn new(machine: M, io: Io, post: Post<M::Mail>, busy_poll_ns: u64) -> Self {
        Self {
            machine,
            io,
            post,
            inputs: Vec::new(),
            out: Outbox::default(),
            pace: Pace::default(),
            busy_poll_ns,
            held: false,
        }
    }

    /// Runs the machine until it exits. Panics if the kernel refuses to be entered, which only a
    /// mistake in this crate can cause.
    pub(crate) fn run(mut self) {
        let mut first = true;
        loop {
            let now = read_clocks();
            self.drain(now.mono);
            let due = self.out.wake_at.is_some_and(|at| at <= now.mono);
            let freed = self.held && self.post.waiting() == 0;
            if first || due || freed || !self.inputs.is_empty() {
                first = false;
                self.step(now);
            }
            if self.out.exit {
                return self.deliver_last_mail();
            }
            self.flush(now.mono);
        }
    }

    fn drain(&mut self, now: Mono) {
        self.io.reap(now);
        let inputs = &mut self.inputs;
        inputs.extend(
            self.io
                .take_ready()
                .map(|(token, done)| Input::Done(token, done)),
        );
        self.pace.note(now, inputs);
        self.post
            .receive(|from, mail| inputs.push(Input::Mail { from, mail }));
        self.post.flush();
    }

    fn step(&mut self, now: Now) {
        self.out.wake_at = None;
        let waiting = self.post.waiting();
        self.held = waiting > 0;
        self.machine
            .step(now, &mut self.inputs, waiting, &mut self.out);
        self.inputs.clear();
        for (token, op) in self.out.ops.drain(..) {
            self.io.start(token, op);
        }
        for (to, mail) in self.out.mail.drain(..) {
            self.post.send(to, mail);
        }
    }

    /// Wakes whom mail was sent to, and enters the kernel, asleep if nothing waits.
    fn flush(&mut self, now: Mono) {
        self.post.ring_bells();
        if self.busy_poll_ns > 0 && self.comes_soon(now) {
            return;
        }
        let waker = self.post.waker();
        waker.announce_sleep();
        let sends = self.io.take_sends();
        let wait = if self.io.has_ready() || self.post.has_mail() || self.post.can_flush() {
            Wait::No
        } else {
            let wait = self.longest_sleep(now);
            if self.busy_poll_ns > 0 {
                wait
            } else {
                self.pace.gather(wait, sends)
            }
        };
        if wait == Wait::No {
            waker.awake();
        }
        let entered = self.io.enter(wait);
        self.post.waker().awake();
        entered.expect("io_uring_enter fails for good only when it is called wrongly");
    }

    /// Hands over what is queued, and keeps asking for what comes next, awake: mail then needs no
    /// bell and a completion no wake-up. `false` when nothing came for as long as that is wanted.
    fn comes_soon(&mut self, now: Mono) -> bool {
        const REASON: &str = "io_uring_enter fails for good only when it is called wrongly";
        self.io.take_sends();
        self.io.enter(Wait::No).expect(REASON);
        if self.io.has_ready() {
            return true;
        }
        let end = now.0.saturating_add(self.busy_poll_ns);
        let due = match self.longest_sleep(now) {
            Wait::AtMost(ns) => now.0.saturating_add(ns),
            Wait::No => now.0,
            Wait::ForCompletion | Wait::ForMany(..) => u64::MAX,
        };
        loop {
            let completed = self.io.has_completions().expect(REASON);
            if completed || self.post.has_mail() || self.post.can_flush() {
                return true;
            }
            let now = read_clocks().mono;
            if now.0 >= end.min(due) {
                return now.0 >= due;
            }
            std::hint::spin_loop();
        }
    }

    fn longest_sleep(&self, now: Mono) -> Wait {
        let retry = self
            .post
            .must_retry()
            .then(|| Mono(now.0.saturating_add(RETRY_NS)));
        let times = [self.out.wake_at, self.io.wake_at(), retry];
        match times.into_iter().flatten().min() {
            Some(at) if at <= now => Wait::No,
            Some(at) => Wait::AtMost(at.0 - now.0),
            None => Wait::ForCompletion,
        }
    }

    /// What the machine sent before it ended must still arrive. Receivers that run make room, those
    /// that have ended do not count.
    fn deliver_last_mail(mut self) {
        self.post.flush();
        self.post.ring_bells();
        while self.post.waiting() > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            // Others may wait for room here in turn.
            self.post.receive(|_, _| ());
            self.post.flush();
            self.post.ring_bells();
        }
    }
}

impl Pace {
    fn note<M>(&mut self, now: Mono, inputs: &[Input<M>]) {
        let received = inputs
            .iter()
            .filter(|input| matches!(input, Input::Done(_, Done::Received(_))))
            .count() as u64;
        self.received += received;
        let passed = now.0.saturating_sub(self.since.0);
        if std::mem::take(&mut self.gathering) && received == 0 {
            // Whoever sends waits for us: a sleep for more than one completion helps nobody.
            *self = Self {
                since: now,
                ..Self::default()
            };
        } else if passed >= WINDOW_NS {
            *self = Self {
                since: now,
                expected: self.received * GATHER_NS / passed,
                ..Self::default()
            };
        }
    }

    /// The sleep to take instead of `wait`. Sends mostly complete while they are handed over, so
    /// the `sends` among the completions are not what is waited for.
    fn gather(&mut self, wait: Wait, sends: u32) -> Wait {
        if self.expected < GATHER_MIN {
            return wait;
        }
        let ns = match wait {
            Wait::AtMost(ns) => ns.min(GATHER_NS),
            Wait::ForCompletion => GATHER_NS,
            Wait::No | Wait::ForMany(..) => return wait,
        };
        self.gathering = true;
        Wait::ForMany(sends + 2 * self.expected as u32, ns)
    }
}

fn read_clocks() -> Now {
    let mono = read_clock(libc::CLOCK_MONOTONIC);
    let wall = read_clock(libc::CLOCK_REALTIME);
    Now {
        mono: Mono(mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64),
        wall_ms: wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000,
    }
}

fn read_clock(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local value, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time
}

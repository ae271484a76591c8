//! Time, mail and reproducibility.

use reactor::op::{Input, Machine, Mono, Now, Op, OpenMode, Outbox, ShardId, Token};
use reactor::sim::{Settings, World};

/// Passes a number round the shards and writes a file each time it comes by.
struct Ring {
    id: ShardId,
    shards: u16,
    laps: u64,
    seen: Vec<u64>,
    most_waiting: usize,
    burst: u64,
}

impl Machine for Ring {
    type Mail = u64;

    fn step(
        &mut self,
        _: Now,
        inputs: &mut Vec<Input<u64>>,
        mail_waiting: usize,
        out: &mut Outbox<u64>,
    ) {
        self.most_waiting = self.most_waiting.max(mail_waiting);
        let next = ShardId((self.id.0 + 1) % self.shards);
        for count in 0..std::mem::take(&mut self.burst) {
            out.mail.push((next, 1_000_000 + count));
        }
        for input in inputs.drain(..) {
            if let Input::Mail { mail, .. } = input {
                self.seen.push(mail);
                if mail < self.laps {
                    out.mail.push((next, mail + 1));
                    let path = format!("/d/{mail}").into();
                    let open = Op::Open {
                        path,
                        mode: OpenMode::Create,
                        direct: true,
                    };
                    out.ops.push((Token(mail), open));
                }
            }
        }
    }
}

fn ring(seed: u64, laps: u64) -> World<Ring> {
    let mut world = World::new(
        seed,
        Settings {
            mailbox_max: 4,
            ..Settings::default()
        },
    );
    world.disk().add_device("/d", None);
    world.start(3, |id, _| Ring {
        id,
        shards: 3,
        laps,
        seen: Vec::new(),
        most_waiting: 0,
        burst: 0,
    });
    world
}

#[test]
fn one_seed_is_one_run() {
    let trace = |seed| {
        let mut world = ring(seed, 100);
        world.mail(ShardId(0), 0);
        world.pass(3_000_000);
        world.power_cut();
        world.trace_hash()
    };
    assert_eq!(trace(1), trace(1));
    assert_eq!(trace(2), trace(2));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn full_mailboxes_keep_order_and_show() {
    let mut world = ring(3, 0);
    world.machine_mut(ShardId(0)).burst = 50;
    world.pass(1_000_000_000);
    let seen = &world.machine(ShardId(1)).seen;
    assert_eq!(*seen, (1_000_000..1_000_050).collect::<Vec<_>>());
    assert!(world.machine(ShardId(0)).most_waiting > 0);
}

/// Notes when it is stepped, and asks to be stepped a second later.
struct Sleeper(Vec<Now>);

impl Machine for Sleeper {
    type Mail = ();

    fn step(&mut self, now: Now, _: &mut Vec<Input<()>>, _: usize, out: &mut Outbox<()>) {
        self.0.push(now);
        out.wake_at = Some(now.mono.after_ms(1_000));
    }
}

#[test]
fn sleepers_wake_in_time_whatever_the_wall_clock_does() {
    let mut world = World::new(5, Settings::default());
    world.start(1, |_, _| Sleeper(Vec::new()));
    world.pass(500_000_000);
    world.step_wall(-3_600_000);
    world.pass(10_000_000_000);
    let steps = &world.machine(ShardId(0)).0;
    assert!(steps.len() >= 9);
    for pair in steps.windows(2) {
        let slept = pair[1].mono.ms_since(pair[0].mono);
        assert!((1_000..1_010).contains(&slept), "{slept} ms");
    }
    assert!(
        steps[1].wall_ms < steps[0].wall_ms,
        "the wall clock went back"
    );
    assert!(steps[0].mono > Mono(0));
}

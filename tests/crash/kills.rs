//! Start, load, SIGKILL, and again: over the same data, with the same clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::Plan;
use crate::admin::{Admin, Still};
use crate::broker::{Broker, Installation, binary, free_port, fresh};
use crate::chance::Chance;
use crate::groups::{lone, member};
use crate::produce::{Sender, Shared, client, lock, wait_for};
use crate::report;
use crate::verify::{Checked, Scan, verify};
use crate::world::{PROBE, PROBER, PRODUCERS};

/// Long enough for the first records on a busy machine.
const PROBE_LIMIT: Duration = Duration::from_secs(180);

const FAILURES_SHOWN_MAX: usize = 10;

/// The clients, which do not stop when a broker is killed.
pub(crate) struct Load {
    pub(crate) world: Shared,
    pub(crate) still: Still,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Creates the first topics on a broker that runs, then begins.
    pub(crate) fn begin(address: &str, chance: &mut Chance) -> Result<Self, String> {
        let world = Shared::default();
        let still = Still::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut admin = Admin::new(address, &world, chance.fork());
        admin.prepare()?;
        let mut threads = Vec::new();
        for index in 0..PRODUCERS {
            let sender = Sender::new(index, address, &world, chance.fork());
            let stop = Arc::clone(&stop);
            threads.push(spawn(move || sender.run(&stop)));
        }
        let strategy = *chance.pick(&["range", "cooperative-sticky"]);
        for _ in 0..2 {
            let (address, world) = (address.to_owned(), Arc::clone(&world));
            let (chance, stop) = (chance.fork(), Arc::clone(&stop));
            threads.push(spawn(move || {
                member(&address, strategy, &world, chance, &stop)
            }));
        }
        let (to, shared) = (address.to_owned(), Arc::clone(&world));
        let (own, until) = (chance.fork(), Arc::clone(&stop));
        threads.push(spawn(move || lone(&to, &shared, own, &until)));
        let (quiet, until) = (Arc::clone(&still), Arc::clone(&stop));
        threads.push(spawn(move || admin.run(&quiet, &until)));
        Ok(Self {
            world,
            still,
            stop,
            threads,
        })
    }

    /// Stops sending and waits until every record is acknowledged.
    pub(crate) fn end(self) -> Result<Shared, String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| "a client failed; see above".to_owned())?;
        }
        no_failures(&self.world)?;
        let under_way: u64 = lock(&self.world)
            .topics
            .values()
            .map(|topic| topic.under_way)
            .sum();
        match under_way {
            0 => Ok(self.world),
            left => Err(format!(
                "{left} records were neither acknowledged nor refused"
            )),
        }
    }
}

pub(crate) fn no_failures(world: &Shared) -> Result<(), String> {
    let failures = &lock(world).failures;
    match failures.len() {
        0 => Ok(()),
        count => {
            let shown = &failures[..count.min(FAILURES_SHOWN_MAX)];
            Err(format!(
                "{count} failures, first of all:\n{}",
                shown.join("\n")
            ))
        }
    }
}

/// How long the starts took.
#[derive(Default)]
struct Times {
    listening: Vec<Duration>,
    serving: Vec<Duration>,
    killed_early: u64,
}

pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    let mut chance = Chance::new(plan.seed);
    let work = fresh(&plan.work);
    let mut installation = Installation {
        binary: binary(),
        dirs: vec![work.join("data-0")],
        port: free_port(&mut chance),
        log: work.join("broker.log"),
        expects: None,
    };
    let address = installation.address();
    let mut broker = Broker::start(&installation, &mut chance);
    broker.listening()?;
    let load = Load::begin(&address, &mut chance)?;
    let mut times = Times::default();
    let mut total = Checked::default();
    let mut killed = 0;
    let from = Instant::now();
    while killed < plan.kills {
        sleep(Duration::from_millis(chance.within(20, 2_500)));
        broker.kill()?;
        killed += 1;
        no_failures(&load.world)?;
        if installation.dirs.len() < 3 && chance.once_in(8) {
            installation
                .dirs
                .push(work.join(format!("data-{}", installation.dirs.len())));
        }
        while killed < plan.kills && chance.once_in(4) {
            killed += 1;
            times.killed_early += kill_early(&installation, &times, &mut chance)?;
        }
        broker = Broker::start(&installation, &mut chance);
        let one = check(&mut broker, &address, &load, &mut times, &mut chance)?;
        println!(
            "kill {killed}: {} shards, {} dirs, serving after {:.0} ms; {}",
            broker.shards,
            installation.dirs.len(),
            times
                .serving
                .last()
                .map_or(0.0, |time| time.as_secs_f64() * 1000.0),
            report::checked(&one)
        );
        total.add(&one);
    }
    let world = load.end()?;
    let known = lock(&world).clone();
    let last = verify(&address, &known, &world, Scan::Running)?;
    broker.kill()?;
    let seconds = from.elapsed().as_secs_f64();
    println!(
        "{killed} kills in {seconds:.0} s: no acknowledged record lost, none twice, offsets \
         contiguous, no committed offset gone back"
    );
    println!("load: {}", report::load(&known.counts));
    println!("checked after the starts: {}", report::checked(&total));
    println!("checked at the end: {}", report::checked(&last));
    times.tell();
    let _ = std::fs::remove_dir_all(&work);
    Ok(())
}

impl Times {
    fn tell(&self) {
        println!(
            "{} kills came before the broker listened",
            self.killed_early
        );
        println!(
            "from start to listening: {}",
            report::spread(&self.listening)
        );
        println!(
            "from start to a record produced and fetched: {}",
            report::spread(&self.serving)
        );
    }
}

/// Kills a broker that has hardly started; 1 if it had not come as far as listening.
fn kill_early(of: &Installation, times: &Times, chance: &mut Chance) -> Result<u64, String> {
    let usual = times
        .listening
        .iter()
        .max()
        .map_or(100_000, Duration::as_micros);
    let usual = u64::try_from(usual).expect("a start takes less");
    let broker = Broker::start(of, chance);
    sleep(Duration::from_micros(chance.within(500, usual + usual / 4)));
    let early = u64::from(!broker.came_up());
    broker.kill()?;
    Ok(early)
}

/// Waits until it serves, then compares everything.
fn check(
    broker: &mut Broker,
    address: &str,
    load: &Load,
    times: &mut Times,
    chance: &mut Chance,
) -> Result<Checked, String> {
    times.listening.push(broker.listening()?);
    probe(address, &load.world, chance).map_err(|why| match broker.alive() {
        Ok(()) => why,
        Err(worse) => worse,
    })?;
    times.serving.push(broker.began.elapsed());
    let _still = load.still.lock().expect("no holder fails");
    let known = lock(&load.world).clone();
    let checked = verify(address, &known, &load.world, Scan::Running)?;
    broker.alive()?;
    no_failures(&load.world)?;
    Ok(checked)
}

/// Produces one record and fetches it.
fn probe(address: &str, world: &Shared, chance: &mut Chance) -> Result<(), String> {
    let last = |world: &Shared| {
        let mut world = lock(world);
        let part = &world.topic(PROBE).parts[0];
        part.acked
            .last_key_value()
            .map_or(-1, |(offset, _)| *offset)
    };
    let before = last(world);
    let mut sender = Sender::new(PROBER, address, world, chance.fork());
    sender.send();
    let acked = wait_for(world, PROBE_LIMIT, |world| {
        let part = &world.topic(PROBE).parts[0];
        part.acked
            .last_key_value()
            .map(|(offset, _)| *offset)
            .filter(|offset| *offset > before)
    });
    let offset = acked.ok_or("the broker does not acknowledge a first record")?;
    let consumer: BaseConsumer = client(address)
        .set("group.id", "the prober commits nothing")
        .set("fetch.wait.max.ms", "10")
        .create()
        .map_err(|error| error.to_string())?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(PROBE, 0, Offset::Offset(offset))
        .expect("a list");
    consumer.assign(&list).map_err(|error| error.to_string())?;
    let from = Instant::now();
    while from.elapsed() < PROBE_LIMIT {
        if let Some(Ok(_)) = consumer.poll(Duration::from_millis(20)) {
            return Ok(());
        }
    }
    Err("the broker does not serve a first record".to_owned())
}

//! File systems that are unlike the usual one: a full one, and some without direct I/O.
//!
//! A producer that does not try again shows how the broker refuses; an idempotent one that tries
//! for ever shows that it goes on by itself, and loses and doubles nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::broker::{Broker, Installation, binary, free_port, fresh};
use crate::chance::Chance;
use crate::images::{Mounted, obstacle, system, text};
use crate::numbers::{Asker, Steady, delete_records, delete_topic, read_all};

const DISK_BYTES: u64 = 96 << 20;
/// Freed again from outside.
const BALLAST_BYTES: usize = 24 << 20;
/// Larger than what waits in a journal for its blocks.
const RECORD_BYTES: usize = 200_000;
/// Records of the topic that is deleted.
const HELD_RECORDS: usize = 50;
/// Starts on the full file system.
const STARTS: usize = 4;
/// What the broker says when a directory is full, and when it is not any more.
const FULL: &str = "no space is left in";
const ROOM: &str = "there is room again in";
const BUFFERED: &str = "no direct I/O";
/// For what happens by itself, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(120);

const SETTINGS: [&str; 4] = [
    "journal.bytes=1048576",
    "recycle.bytes=0",
    "log.segment.bytes=1048576",
    "num.partitions=1",
];

pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    if let Some(why) = obstacle(false) {
        println!("crash: SKIPPED, nothing was checked on small and odd disks: {why}");
        return Ok(());
    }
    let mut chance = Chance::new(plan.seed ^ 0x5_bace);
    let work = fresh(&plan.work);
    let ramfs = Ramfs::new(work.join("ramfs"))?;
    without_direct(&work, &ramfs.0, "a ramfs", &mut chance)?;
    drop(ramfs);
    let journalled = mounted(&work, "journalled", "data=journal")?;
    without_direct(
        &work,
        &journalled.at,
        "an ext4 with data=journal",
        &mut chance,
    )?;
    drop(journalled);
    let small = mounted(&work, "small", "commit=300")?;
    full(&work, &small.at, &mut chance)?;
    begun_when_full(&work, &small.at, &mut chance)?;
    drop(small);
    let _ = std::fs::remove_dir_all(&work);
    Ok(())
}

/// A file system in memory that knows neither O_DIRECT nor fallocate.
struct Ramfs(PathBuf);

impl Ramfs {
    fn new(at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        system("mount", &["-t", "ramfs", "ramfs", text(&at)])?;
        Ok(Self(at))
    }
}

impl Drop for Ramfs {
    fn drop(&mut self) {
        let _ = system("umount", &["--lazy", text(&self.0)]);
    }
}

fn mounted(work: &Path, name: &str, options: &str) -> Result<Mounted, String> {
    let image = work.join(format!("{name}.img"));
    let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(DISK_BYTES)
        .map_err(|error| error.to_string())?;
    Mounted::new(&image, work.join(name), true, options)
}

fn installation(work: &Path, data: PathBuf, chance: &mut Chance) -> Installation {
    Installation {
        binary: binary(),
        dirs: vec![data],
        port: free_port(chance),
        log: work.join("broker.log"),
        expects: Some(FULL),
    }
}

fn start(of: &Installation) -> Broker {
    Broker::start_with(of, 2, &SETTINGS.map(str::to_owned))
}

/// Waits until the broker has said something.
fn says(broker: &mut Broker, what: &str) -> Result<(), String> {
    let from = Instant::now();
    while !broker.said().contains(what) {
        broker.alive()?;
        if from.elapsed() > LIMIT {
            let said = broker.said();
            return Err(format!("the broker does not say \"{what}\", but:\n{said}"));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// It says once that it is slower, and everything works.
fn without_direct(work: &Path, on: &Path, what: &str, chance: &mut Chance) -> Result<(), String> {
    let of = installation(work, on.join("data"), chance);
    let mut broker = start(&of);
    broker.listening()?;
    let mut asker = Asker::new(&of.address(), "plain");
    for at in 0..40 {
        asker.send(if at % 2 == 0 { RECORD_BYTES } else { 100 })?;
    }
    let told = broker.said().matches(BUFFERED).count();
    if told != 1 {
        return Err(format!("on {what}, \"{BUFFERED}\" was said {told} times"));
    }
    read_all(&of.address(), &asker.acked)?;
    broker.kill()?;
    let mut broker = start(&of);
    broker.listening()?;
    read_all(&of.address(), &asker.acked)?;
    asker.send(RECORD_BYTES)?;
    let records = read_all(&of.address(), &asker.acked)?;
    broker.kill()?;
    println!("on {what}: said once, {records} records produced, fetched, there after a kill");
    Ok(())
}

fn ballast(at: &Path) -> Result<PathBuf, String> {
    let path = at.join("ballast");
    std::fs::write(&path, vec![1; BALLAST_BYTES]).map_err(|error| error.to_string())?;
    Ok(path)
}

fn full(work: &Path, on: &Path, chance: &mut Chance) -> Result<(), String> {
    let ballast = ballast(on)?;
    let of = installation(work, on.join("data"), chance);
    let address = of.address();
    let mut broker = start(&of);
    broker.listening()?;
    let steady = Steady::begin(&address, "steady");
    let mut first = Asker::new(&address, "first");
    let (taken, after) = first.fill(RECORD_BYTES)?;
    says(&mut broker, FULL)?;
    says(&mut broker, text(&of.dirs[0]))?;
    println!("full after {taken} records, refused with KAFKA_STORAGE_ERROR after {after:?}");
    for _ in 0..10 {
        first.is_refused(RECORD_BYTES)?;
    }
    let records = read_all(&address, &first.acked)?;
    println!("full: 10 more were refused, {records} records that were acknowledged were read");

    std::fs::remove_file(ballast).map_err(|error| error.to_string())?;
    let after = first.resumes(RECORD_BYTES)?;
    says(&mut broker, ROOM)?;
    println!("space freed from outside: appends went on by themselves after {after:?}");
    let (taken, _) = first.fill(RECORD_BYTES)?;
    let start = first.acked.last();
    delete_records(&address, "first", start)?;
    first.acked.forget_below(start);
    let after = first.resumes(RECORD_BYTES)?;
    println!("full again after {taken}, DeleteRecords: appends went on after {after:?}");
    // The topic to be deleted holds more than the journals take of what is freed.
    for _ in 0..HELD_RECORDS {
        first.send(RECORD_BYTES)?;
    }
    let mut second = Asker::new(&address, "second");
    let (taken, _) = second.fill(RECORD_BYTES)?;
    delete_topic(&address, "first")?;
    let after = second.resumes(RECORD_BYTES)?;
    println!("full again after {taken}, a topic deleted: appends went on after {after:?}");

    // The journals are in another state each time.
    for _ in 0..STARTS {
        let (taken, _) = second.fill(RECORD_BYTES)?;
        broker.kill()?;
        broker = start_again(&of)?;
        let records = read_all(&address, &second.acked)?;
        println!("full again after {taken}, killed and started: {records} records are there");
        let start = second.acked.last();
        delete_records(&address, "second", start)?;
        second.acked.forget_below(start);
        second.resumes(RECORD_BYTES)?;
        read_all(&address, &second.acked)?;
    }
    let steady = steady.end()?;
    let records = read_all(&address, &steady)?;
    println!("{records} records of an idempotent producer, sent all the while, are there once");
    broker.alive()?;
    broker.kill()?;
    std::fs::remove_dir_all(&of.dirs[0]).map_err(|error| error.to_string())
}

/// A start on a full file system: the journals are there already.
fn start_again(of: &Installation) -> Result<Broker, String> {
    let mut broker = start(of);
    let after = broker.listening()?;
    println!("started on the full file system after {after:?}");
    Ok(broker)
}

/// A first start without space for its journals says so, waits, and goes on by itself.
fn begun_when_full(work: &Path, on: &Path, chance: &mut Chance) -> Result<(), String> {
    let path = on.join("ballast");
    let mut file = std::fs::File::create(&path).map_err(|error| error.to_string())?;
    for bytes in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
    drop(file);
    let of = installation(work, on.join("new"), chance);
    let mut broker = start(&of);
    let from = Instant::now();
    let ended = loop {
        match broker.alive() {
            Err(_) if broker.has_ended() => break true,
            Err(why) => return Err(why),
            Ok(()) if broker.said().contains(FULL) => break false,
            Ok(()) if from.elapsed() > LIMIT => return Err(broker.said()),
            Ok(()) => sleep(Duration::from_millis(10)),
        }
    };
    let said = broker.said();
    if broker.came_up() {
        return Err("it listens although it has no journal".to_owned());
    }
    std::fs::remove_file(path).map_err(|error| error.to_string())?;
    if ended {
        broker = start(&of);
    }
    broker.listening()?;
    let mut asker = Asker::new(&of.address(), "fresh");
    asker.send(RECORD_BYTES)?;
    read_all(&of.address(), &asker.acked)?;
    broker.kill()?;
    let line = said.lines().next().unwrap_or_default();
    println!("a first start on a full file system, which serves once there is space:\n  {line}");
    Ok(())
}

//! What the machine can do at all: the yardstick for what brokers do on it.

mod cores;
mod disk;
mod loopback;
mod memory;
mod sample;
mod server;
mod table;

use crate::failure::{Failure, Outcome};
use crate::kernel::{machine, memory_limit_bytes, set_cores, usable_cores};
use crate::model::{FORMAT, Floor, Latency, Report};
use disk::Scratch;
use sample::{Sample, figure};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const ROUNDS: usize = 3;
const GROUPS: [&str; 6] = ["disk", "loopback", "memory", "cores", "server", "reactor"];

/// Measures what this machine can do: disk, loopback, memory, cores, the least servers.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct FloorOptions {
    /// Directory on the disk to measure, which gets a file of 512 MiB for the time being
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A first answer within half a minute
    #[arg(long)]
    quick: bool,
    /// Measure these groups alone
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = GROUPS)]
    only: Vec<String>,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for results and page
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Core of the measured thread, core of its peer
    #[arg(long, value_name = "SERVER,LOAD", value_parser = two_cores)]
    cores: Option<Pair>,
}

/// The core of the measured thread and the core of the one it deals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    server: usize,
    load: usize,
}

fn two_cores(text: &str) -> Result<Pair, String> {
    let wrong = || format!("{text}: two different cores are needed, such as 0,1");
    let (server, load) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wrong());
    let pair = Pair {
        server: number(server)?,
        load: number(load)?,
    };
    if pair.server == pair.load {
        return Err(wrong());
    }
    Ok(pair)
}

impl Pair {
    fn found() -> Option<Self> {
        match usable_cores()[..] {
            [server, load, ..] => Some(Self { server, load }),
            _ => None,
        }
    }

    /// Runs both at once, each pinned to its core; the first is the measured one.
    fn run<T: Send>(
        self,
        measured: impl FnOnce() -> io::Result<T> + Send,
        peer: impl FnOnce() -> io::Result<()> + Send,
    ) -> io::Result<T> {
        let died = |_| io::Error::other("a measuring thread panicked");
        std::thread::scope(|scope| {
            let peer = scope.spawn(move || set_cores(&[self.load]).and_then(|()| peer()));
            let measured = scope.spawn(move || set_cores(&[self.server]).and_then(|()| measured()));
            let result = measured.join().map_err(died)?;
            let peer = peer.join().map_err(died)?;
            // Where both failed, the peer did because the measured one had.
            let result = result?;
            peer.map(|()| result)
        })
    }
}

type Run<'a> = Box<dyn Fn(Duration) -> io::Result<Sample> + 'a>;

struct Probe<'a> {
    group: &'static str,
    name: String,
    how: &'static str,
    run: Run<'a>,
}

fn probe<'a>(
    group: &'static str,
    name: impl Into<String>,
    how: &'static str,
    run: impl Fn(Duration) -> io::Result<Sample> + 'a,
) -> Probe<'a> {
    Probe {
        group,
        name: name.into(),
        how,
        run: Box::new(run),
    }
}

pub(crate) fn command(options: &FloorOptions) -> Outcome<()> {
    let began = crate::clock::now();
    let mut about = machine(&options.dir);
    if let Some(pair) = options.cores.or_else(Pair::found) {
        about.broker_cores = pair.server.to_string();
        about.generator_cores = pair.load.to_string();
    }
    let floor = measure(options, &mut |text| eprintln!("{text}"))?;
    table::print(&floor);
    let report = Report {
        format: FORMAT,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        began,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: about,
        headroom: Vec::new(),
        comparisons: Vec::new(),
        floor: Some(floor),
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(format!("cannot put the figures into JSON: {error}")))?;
        std::fs::write(path, text)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    if let Some(folder) = &options.out {
        crate::report::write(&report, folder)?;
        println!(
            "\nresults and page: {}",
            folder.join("report.html").display()
        );
    }
    Ok(())
}

/// Disk and servers in some ten seconds, for a report on something else: what fails is a gap in it.
pub(crate) fn brief(
    dir: &Path,
    server: Option<usize>,
    load: Option<usize>,
    progress: &mut dyn FnMut(&str),
) -> Floor {
    let pair = server.zip(load).filter(|(server, load)| server != load);
    let options = FloorOptions {
        dir: dir.to_owned(),
        quick: true,
        only: vec!["disk".to_owned(), "server".to_owned()],
        json: None,
        out: None,
        cores: pair.map(|(server, load)| Pair { server, load }),
    };
    measure(&options, progress).unwrap_or_else(|failure| Floor {
        figures: Vec::new(),
        left_out: vec![failure.to_string()],
    })
}

/// Pinning fails late, so the cores are looked at before anything is measured.
fn check(pair: Pair, exist: impl Fn(usize) -> bool) -> Outcome<()> {
    match [pair.server, pair.load]
        .into_iter()
        .find(|core| !exist(*core))
    {
        None => Ok(()),
        Some(core) => Err(
            Failure::new(format!("--cores: there is no core {core} to use"))
                .advise("Name two that this machine has and that this user may run on."),
        ),
    }
}

/// All groups that are asked for, in alternating rounds.
pub(crate) fn measure(options: &FloorOptions, progress: &mut dyn FnMut(&str)) -> Outcome<Floor> {
    if let Some(pair) = options.cores {
        // Whoever keeps to some cores may still go to the others.
        check(pair, crate::kernel::core_exists)?;
    }
    let only = &options.only;
    let wanted = |group: &str| only.is_empty() || only.iter().any(|only| only == group);
    let mut left_out = Vec::new();
    let scratch = if ["disk", "server", "reactor"].into_iter().any(wanted) {
        progress("disk: writing the space that is measured");
        let size = if options.quick { 128 * MIB } else { 512 * MIB };
        match Scratch::new(&options.dir, size as u64) {
            Ok(scratch) => Some(scratch),
            // Asked for by name it is an error; among others it is a gap.
            Err(failure) if !only.is_empty() => return Err(failure),
            Err(failure) => {
                left_out.push(format!("disk, servers that write: {failure}"));
                None
            }
        }
    } else {
        None
    };
    let area = if wanted("memory") {
        cold_area(options)
    } else {
        Vec::new()
    };
    let files = [
        loopback::cached(&options.dir),
        loopback::in_memory(),
        loopback::in_huge_pages(),
    ];
    let mut probes = Vec::new();
    if let Some(scratch) = &scratch {
        disk_probes(scratch, &mut probes);
    }
    memory_probes(&area, &mut probes);
    match options.cores.or_else(Pair::found) {
        Some(pair) => {
            core_probes(pair, &mut probes);
            loopback_probes(pair, &files, &mut probes);
            server::probes(pair, scratch.as_ref(), &mut probes);
            server::reactor_probes(pair, scratch.as_ref(), &mut probes);
        }
        None => left_out.push("loopback, cores, server, reactor: two cores are needed".to_owned()),
    }
    probes.retain(|probe| wanted(probe.group));
    let time = Duration::from_millis(if options.quick { 80 } else { 500 });
    let mut floor = rounds(&probes, time, progress);
    server::yardstick(&mut floor);
    left_out.append(&mut floor.left_out);
    floor.left_out = left_out;
    Ok(floor)
}

/// Larger than any cache, but an eighth of the memory at most.
fn cold_area(options: &FloorOptions) -> Vec<u8> {
    let size = if options.quick { 256 * MIB } else { 1024 * MIB };
    let eighth = memory_limit_bytes() / 8;
    vec![7; size.min(usize::try_from(eighth).unwrap_or(size))]
}

/// One probe after the other, then all again: what disturbs the machine for a while disturbs one
/// round of many figures, and the median leaves it out.
fn rounds(probes: &[Probe<'_>], time: Duration, progress: &mut dyn FnMut(&str)) -> Floor {
    let mut samples: Vec<io::Result<Vec<Sample>>> = probes.iter().map(|_| Ok(Vec::new())).collect();
    for round in 1..=ROUNDS {
        for (probe, samples) in probes.iter().zip(&mut samples) {
            progress(&format!(
                "round {round} of {ROUNDS}: {}, {}",
                probe.group, probe.name
            ));
            let Ok(before) = samples else { continue };
            match (probe.run)(time) {
                Ok(sample) => before.push(sample),
                Err(error) => *samples = Err(error),
            }
        }
    }
    let mut floor = Floor::default();
    for (probe, samples) in probes.iter().zip(samples) {
        match samples {
            Ok(samples) => {
                let figure = figure(probe.group, &probe.name, probe.how, &samples);
                floor.figures.push(figure);
            }
            Err(error) => {
                let line = format!("{}, {}: {error}", probe.group, probe.name);
                floor.left_out.push(line);
            }
        }
    }
    floor
}

fn size_name(size: usize) -> String {
    match size {
        size if size >= MIB => format!("{} MiB", size / MIB),
        size if size >= KIB => format!("{} KiB", size / KIB),
        size => format!("{size} B"),
    }
}

fn disk_probes<'a>(scratch: &'a Scratch, probes: &mut Vec<Probe<'a>>) {
    for size in [64 * KIB, 256 * KIB, MIB, 4 * MIB] {
        let named = |what: &str| format!("{what}, {}", size_name(size));
        let how = "O_DIRECT, sequential, one at a time, pre-written space, no flush";
        probes.push(probe("disk", named("write"), how, move |time| {
            scratch.write(size, time)
        }));
        let how = "the same by four threads, each in its own quarter";
        probes.push(probe("disk", named("write, depth 4"), how, move |time| {
            scratch.write_deep(size, 4, time)
        }));
        let how = "O_DIRECT, sequential, one at a time";
        probes.push(probe("disk", named("read"), how, move |time| {
            scratch.read(size, time)
        }));
        let how = "the same by four threads, each in its own quarter";
        probes.push(probe("disk", named("read, depth 4"), how, move |time| {
            scratch.read_deep(size, 4, time)
        }));
    }
    for size in [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB] {
        let named = |what: &str| format!("{what}, {}", size_name(size));
        let how = "O_DIRECT pwrite and fdatasync, pre-written space";
        probes.push(probe("disk", named("write + flush"), how, move |time| {
            scratch.write_flush(size, time)
        }));
        let how = "O_DIRECT pwrite and fdatasync, space that is only reserved";
        let name = named("write + flush, reserved space");
        probes.push(probe("disk", name, how, move |time| {
            scratch.write_flush_fresh(size, time)
        }));
    }
    let how = "fdatasync with nothing written before";
    probes.push(probe("disk", "flush of nothing", how, |time| {
        scratch.flush_nothing(time)
    }));
}

fn memory_probes<'a>(area: &'a [u8], probes: &mut Vec<Probe<'a>>) {
    let how = "64 KiB pieces, source and target in the cache";
    probes.push(probe("memory", "copy, warm", how, |time| {
        Ok(memory::copy(64 * KIB, time))
    }));
    let how = "64 KiB pieces of an area larger than the cache, once through it";
    probes.push(probe("memory", "copy, cold", how, |_| {
        Ok(memory::copy_cold(area))
    }));
    for size in [100, KIB, 64 * KIB] {
        let name = format!("CRC-32C, {}", size_name(size));
        let how = "one checksum a piece, in the cache";
        probes.push(probe("memory", name, how, move |time| {
            Ok(memory::checksum(size, time))
        }));
    }
}

fn core_probes(pair: Pair, probes: &mut Vec<Probe<'_>>) {
    let how = "round trip between two cores, both spinning on a word";
    probes.push(probe("cores", "ping, spinning", how, move |time| {
        cores::spin(pair, time)
    }));
    let how = "round trip between two cores, both sleeping in a read of an eventfd";
    probes.push(probe("cores", "ping, eventfd", how, move |time| {
        cores::wake_by_eventfd(pair, time)
    }));
    let how = "round trip between two cores by a channel of the standard library (futex)";
    probes.push(probe("cores", "ping, futex", how, move |time| {
        cores::wake_by_futex(pair, time)
    }));
}

fn loopback_probes<'a>(
    pair: Pair,
    files: &'a [io::Result<std::fs::File>; 3],
    probes: &mut Vec<Probe<'a>>,
) {
    for size in [4 * KIB, 64 * KIB, MIB] {
        let how = "write to a TCP socket, receiver on the other core; CPU of the sender";
        let name = format!("send, {}", size_name(size));
        probes.push(probe("loopback", name, how, move |time| {
            loopback::send(pair, size, time)
        }));
        for (copied, way) in [(true, "copied to its place"), (false, "in its place")] {
            let how = "bodies from a TCP socket, sender on the other core, CRC-32C of each; CPU of \
                       the receiver";
            let name = format!("receive {way}, {}", size_name(size));
            probes.push(probe("loopback", name, how, move |time| {
                loopback::receive(pair, size, copied, time)
            }));
        }
        for (file, from) in files.iter().zip(["page cache", "memfd", "huge pages"]) {
            let how = "sendfile to a TCP socket, receiver on the other core; CPU of the sender";
            let name = format!("sendfile from {from}, {}", size_name(size));
            probes.push(probe("loopback", name, how, move |time| match file {
                Ok(file) => loopback::send_file(pair, file, size, time),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            }));
        }
    }
    let how = "100 bytes there, 36 back, one at a time, blocking reads; CPU of the asking side";
    probes.push(probe("loopback", "ping", how, move |time| {
        loopback::ping(pair, time)
    }));
}

/// How long a durable write of 4 KiB takes now, in two seconds at most after its preparation.
pub(crate) fn disk_flush(dir: &Path) -> Outcome<Latency> {
    let scratch = Scratch::new(dir, 16 * MIB as u64)?;
    let sample = scratch
        .write_flush(4 * KIB, Duration::from_secs(2))
        .map_err(|error| {
            let what = format!("cannot write durably in {}: {error}", dir.display());
            Failure::new(what).advise("Look at the disk, or name another directory.")
        })?;
    Ok(sample
        .times
        .map(|times| Latency::of(&times))
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_cores_are_needed() {
        assert_eq!(two_cores("3, 1"), Ok(Pair { server: 3, load: 1 }));
        for wrong in ["1,1", "1", "a,b", "0,", ""] {
            assert!(two_cores(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_core_that_is_not_there_is_named() {
        let pair = Pair { server: 0, load: 7 };
        assert!(check(pair, |_| true).is_ok());
        let refused = check(pair, |core| core < 2).map_err(|failure| failure.to_string());
        assert!(refused.is_err_and(|said| said.contains("no core 7")));
    }

    #[test]
    fn pings_and_sends_come_through_between_two_threads() -> io::Result<()> {
        let here = usable_cores().first().copied().unwrap_or_default();
        // Both on one core: spinning would only burn time slices, so it is not tried here.
        let pair = Pair {
            server: here,
            load: here,
        };
        let time = Duration::from_millis(5);
        let file = loopback::in_memory()?;
        for sample in [
            cores::wake_by_eventfd(pair, time)?,
            cores::wake_by_futex(pair, time)?,
            loopback::ping(pair, time)?,
        ] {
            let timed = sample.times.map(|times| times.len());
            assert!(sample.operations > 0);
            assert_eq!(timed, Some(sample.operations));
        }
        for sample in [
            loopback::send(pair, 4 * KIB, time)?,
            loopback::receive(pair, 4 * KIB, true, time)?,
            loopback::receive(pair, 4 * KIB, false, time)?,
            loopback::send_file(pair, &file, 4 * KIB, time)?,
        ] {
            assert!(sample.operations > 0);
            assert_eq!(sample.bytes, sample.operations * 4 * KIB as u64);
        }
        Ok(())
    }

    #[test]
    fn a_probe_that_fails_is_left_out_and_says_why() {
        let works = |_| {
            Ok(Sample {
                seconds: 1.0,
                operations: 7,
                ..Sample::default()
            })
        };
        let fails = |_| Err(io::Error::other("no such thing here"));
        let probes = [
            probe("g", "works", "", works),
            probe("g", "fails", "", fails),
        ];
        let floor = rounds(&probes, Duration::ZERO, &mut |_| ());
        assert_eq!(floor.figures.len(), 1);
        assert_eq!(floor.figures[0].operations_per_s, Some(7.0));
        assert_eq!(floor.left_out, ["g, fails: no such thing here"]);
    }
}

//! Power cuts: the broker on an ext4 in a loop device is stopped under load, the image behind the
//! device is copied, and a second broker starts on the copy. Everything that was acknowledged
//! before the stop must be there.
//!
//! What that proves depends on what lies behind the loop device.
//! - `plain`, a file: whatever ext4 had not yet handed to its device is missing from the copy
//!   (file sizes, new directory entries, extents not yet marked as written). But a write that has
//!   reached the device is in the copy whether it was flushed or not.
//! - `volatile`, our own file system of one file (`disk.rs`): a write that no flush has followed is
//!   lost by chance, block by block, as in the cache of a disk. That proves the flushes, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::broker::{Broker, Installation, binary, free_port, fresh};
use crate::chance::Chance;
use crate::disk::{self, Disk};
use crate::kills::{Load, no_failures};
use crate::produce::lock;
use crate::report;
use crate::verify::{Checked, Scan, verify};

const DISK_BYTES: u64 = 4 << 30;
/// The timer of ext4 would write out by itself what nobody has synced.
pub(crate) const UNTIMED: &str = "commit=300";
/// Operations of the stopped process that the kernel has taken already come to an end, so that a
/// copy of the image by `cp` is one of an instant. The cut of the volatile disk is that by itself.
const SETTLE: Duration = Duration::from_millis(150);

/// Runs a command of the system; its complaint is the error.
pub(crate) fn system(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {complaint}", arguments.join(" ")))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the work directory has a plain name")
}

/// An image in a loop device, mounted; both end with this value.
pub(crate) struct Mounted {
    device: String,
    pub(crate) at: PathBuf,
}

impl Mounted {
    /// `make`: with a new file system.
    pub(crate) fn new(image: &Path, at: PathBuf, make: bool, how: &str) -> Result<Self, String> {
        let device = system("losetup", &["--find", "--show", text(image)])?;
        let mounted = Self { device, at };
        if make {
            let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
            system("mkfs.ext4", &["-q", "-F", "-E", options, &mounted.device])?;
        }
        std::fs::create_dir_all(&mounted.at).map_err(|error| error.to_string())?;
        system("mount", &["-o", how, &mounted.device, text(&mounted.at)])?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The ring of a broker that was killed may hold on for a moment.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(why) = system("umount", &[text(&self.at)]) {
            if Instant::now() > deadline || why.contains("not mounted") {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = system("losetup", &["--detach", &self.device]);
    }
}

/// Unmounts the FUSE file system at the end, after what stands on it.
pub(crate) struct Fuse(pub(crate) PathBuf);

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = system("umount", &["--lazy", text(&self.0)]);
    }
}

/// Why this machine cannot do it, if it cannot.
pub(crate) fn obstacle(volatile: bool) -> Option<String> {
    if system("id", &["-u"]).as_deref() != Ok("0") {
        return Some("only root may mount".to_owned());
    }
    if volatile && !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse".to_owned());
    }
    system("losetup", &["--find"]).err()
}

#[derive(Default)]
struct Sums {
    checked: Checked,
    starts: Vec<Duration>,
    unflushed: usize,
    kept: usize,
    copies: u64,
}

pub(crate) fn run(plan: &Plan, volatile: bool) -> Result<(), String> {
    if let Some(why) = obstacle(volatile) {
        println!("crash: SKIPPED, nothing was checked with images of a disk: {why}");
        return Ok(());
    }
    let mut chance = Chance::new(plan.seed ^ 0x1_3a9e);
    let work = fresh(&plan.work);
    let mut image = work.join("plain.img");
    let mut disk = None;
    let mut fuse = None;
    if volatile {
        let at = fresh(&work.join("fuse"));
        disk = Some(Disk::mount(&at, &work, DISK_BYTES)?);
        image = at.join(disk::NAME);
        fuse = Some(Fuse(at));
    } else {
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(DISK_BYTES)
            .map_err(|error| error.to_string())?;
    }
    let mounted = Mounted::new(&image, work.join("disk"), true, UNTIMED)?;
    let result = cuts(plan, &work, &image, disk.as_ref(), &mounted.at, &mut chance);
    drop(mounted);
    drop(fuse);
    if result.is_ok() {
        let _ = std::fs::remove_dir_all(&work);
    }
    result
}

pub(crate) fn installation(work: &Path, on: &Path, dirs: u64, chance: &mut Chance) -> Installation {
    Installation {
        binary: binary(),
        dirs: (0..dirs)
            .map(|index| on.join(format!("data-{index}")))
            .collect(),
        port: free_port(chance),
        log: work.join("broker.log"),
        expects: None,
    }
}

fn cuts(
    plan: &Plan,
    work: &Path,
    image: &Path,
    disk: Option<&Disk>,
    on: &Path,
    chance: &mut Chance,
) -> Result<(), String> {
    let dirs = chance.within(1, 3);
    let of = installation(work, on, dirs, chance);
    let address = of.address();
    let mut broker = Broker::start(&of, chance);
    broker.listening()?;
    let load = Load::begin(&address, chance)?;
    let mut sums = Sums::default();
    let from = Instant::now();
    while sums.copies < plan.images {
        sleep(Duration::from_millis(chance.within(300, 2_500)));
        let copy = work.join("copy.img");
        broker.signal("STOP");
        let flushes = disk.map_or(0, Disk::flushes);
        let cut = match disk {
            Some(disk) => disk.cut(work, &copy, chance).map(Some),
            None => {
                sleep(SETTLE);
                system("cp", &["--sparse=always", text(image), text(&copy)]).map(|_| None)
            }
        };
        // What was acknowledged before the stop is still on its way to the clients: it counts.
        sleep(SETTLE);
        let known = lock(&load.world).clone();
        broker.signal("CONT");
        if let Some(cut) = cut? {
            sums.unflushed += cut.unflushed;
            sums.kept += cut.kept;
        }
        let one = on_copy(work, &copy, dirs, &known, &load, &mut sums, chance)?;
        println!(
            "copy {}: {}{}",
            sums.copies,
            report::checked(&one),
            disk.map_or(String::new(), |_| format!("; {flushes} flushes so far"))
        );
        broker.alive()?;
        no_failures(&load.world)?;
    }
    let world = load.end()?;
    let known = lock(&world).clone();
    let last = verify(&address, &known, &world, Scan::Running)?;
    broker.kill()?;
    let kind = if disk.is_some() { "volatile" } else { "plain" };
    println!(
        "{} copies of a {kind} disk in {:.0} s: all that was acknowledged is there",
        sums.copies,
        from.elapsed().as_secs_f64()
    );
    if disk.is_some() {
        let (kept, unflushed) = (sums.kept, sums.unflushed);
        println!("of {unflushed} blocks that were not flushed at the cuts, {kept} were kept");
    }
    println!("load: {}", report::load(&known.counts));
    println!("checked on the copies: {}", report::checked(&sums.checked));
    println!("checked at the end: {}", report::checked(&last));
    println!(
        "from start to listening, on the copies: {}",
        report::spread(&sums.starts)
    );
    Ok(())
}

/// Starts a broker on the copy and compares what it serves with what was known at the stop.
fn on_copy(
    work: &Path,
    copy: &Path,
    dirs: u64,
    known: &crate::world::World,
    load: &Load,
    sums: &mut Sums,
    chance: &mut Chance,
) -> Result<Checked, String> {
    let mounted = Mounted::new(copy, work.join("copied"), false, UNTIMED)?;
    let of = Installation {
        log: work.join("copy.log"),
        ..installation(work, &mounted.at, dirs, chance)
    };
    let mut broker = Broker::start(&of, chance);
    sums.starts.push(broker.listening()?);
    let checked = verify(&of.address(), known, &load.world, Scan::Copy)?;
    broker.kill()?;
    drop(mounted);
    let _ = std::fs::remove_file(copy);
    sums.checked.add(&checked);
    sums.copies += 1;
    Ok(checked)
}

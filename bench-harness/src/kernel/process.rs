//! /proc of one process.

use super::device::{Device, Traffic};
use crate::model::Cost;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// User and system time are told in this unit on every machine that Linux runs on.
pub(super) const TICKS_PER_S: f64 = 100.0;
const NANOS_PER_S: f64 = 1e9;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) user_s: f64,
    pub(super) system_s: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// In hundredths of a second, with the threads that have ended.
pub(super) fn cpu(pid: u32) -> io::Result<Cpu> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    cpu_in(&text).ok_or_else(|| odd("/proc/PID/stat has no times"))
}

fn cpu_in(stat: &str) -> Option<Cpu> {
    // The name of the program stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    let mut ticks = fields.skip(10).map(|field| field.parse::<f64>().ok());
    Some(Cpu {
        user_s: ticks.next()?? / TICKS_PER_S,
        system_s: ticks.next()?? / TICKS_PER_S,
    })
}

pub(super) fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    memory_in(&status).ok_or_else(|| odd("/proc/PID/status has no memory"))
}

/// Pages of memfd and tmpfs are resident like any other; those of hugetlbfs are counted apart, and
/// belong to both figures because they cannot be swapped out.
fn memory_in(status: &str) -> Option<Memory> {
    let bytes = |name| Some(field(status, name)? * 1024);
    let huge = bytes("HugetlbPages:").unwrap_or(0);
    Some(Memory {
        now: bytes("VmRSS:")? + huge,
        peak: bytes("VmHWM:")? + huge,
    })
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(super) fn descriptors(pid: u32) -> io::Result<u64> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

pub(super) fn threads(pid: u32) -> io::Result<Vec<u32>> {
    let mut tids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        tids.extend(name.to_string_lossy().parse::<u32>());
    }
    Ok(tids)
}

/// What one thread had used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Thread {
    run_ns: u64,
    voluntary: u64,
    involuntary: u64,
}

fn thread(pid: u32, tid: u32) -> io::Result<Thread> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"))?;
    let schedule = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
    let run_ns = schedule
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    let switches = |name| field(&status, name).ok_or_else(|| odd("no switches in the status"));
    Ok(Thread {
        run_ns: run_ns.unwrap_or(0),
        voluntary: switches("voluntary_ctxt_switches:")?,
        involuntary: switches("nonvoluntary_ctxt_switches:")?,
    })
}

/// Everything about a process that only grows.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    cpu: Cpu,
    threads: BTreeMap<u32, Thread>,
    peak: u64,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    device: Option<Traffic>,
}

impl Usage {
    pub(super) fn of(pid: u32, device: Option<&Device>) -> io::Result<Self> {
        let mut all = BTreeMap::new();
        for tid in threads(pid)? {
            // One that ended since is no loss: its CPU is in the figure of the process.
            if let Ok(thread) = thread(pid, tid) {
                all.insert(tid, thread);
            }
        }
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok();
        let io = |name| field(io.as_ref()?, name);
        Ok(Self {
            cpu: cpu(pid)?,
            threads: all,
            peak: memory(pid)?.peak,
            read_bytes: io("read_bytes:"),
            written_bytes: io("write_bytes:"),
            device: device.and_then(|device| device.traffic().ok()),
        })
    }

    pub(super) fn since(&self, before: &Self) -> Cost {
        let none = Thread::default();
        let (mut run_ns, mut voluntary, mut involuntary) = (0, 0, 0);
        for (tid, now) in &self.threads {
            let then = before.threads.get(tid).unwrap_or(&none);
            run_ns += now.run_ns.saturating_sub(then.run_ns);
            voluntary += now.voluntary.saturating_sub(then.voluntary);
            involuntary += now.involuntary.saturating_sub(then.involuntary);
        }
        let cpu = sharpened(self.cpu, before.cpu, run_ns);
        let more = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let device = |of: fn(Traffic) -> u64| more(self.device.map(of), before.device.map(of));
        Cost {
            user_s: cpu.user_s,
            system_s: cpu.system_s,
            voluntary_switches: voluntary,
            involuntary_switches: involuntary,
            syscalls: None,
            instructions: None,
            disk_read_bytes: more(self.read_bytes, before.read_bytes),
            disk_written_bytes: more(self.written_bytes, before.written_bytes),
            device_written_bytes: device(|traffic| traffic.written_bytes),
            device_flushes: device(|traffic| traffic.flushes),
            peak_memory_bytes: Some(self.peak),
            not_counted: Vec::new(),
        }
    }
}

/// The process tells its CPU in ticks, split into user and system; its threads tell it in
/// nanoseconds, unsplit, and forget those that have ended. Both agree unless threads ended: then
/// the ticks have it.
fn sharpened(now: Cpu, before: Cpu, run_ns: u64) -> Cpu {
    let user_s = now.user_s - before.user_s;
    let system_s = now.system_s - before.system_s;
    let (ticks_s, threads_s) = (user_s + system_s, run_ns as f64 / NANOS_PER_S);
    let unsharp_s = 4.0 / TICKS_PER_S;
    if (ticks_s - threads_s).abs() > unsharp_s + 0.02 * ticks_s {
        return Cpu { user_s, system_s };
    }
    let user = if ticks_s > 0.0 { user_s / ticks_s } else { 0.5 };
    Cpu {
        user_s: threads_s * user,
        system_s: threads_s * (1.0 - user),
    }
}

/// The process on this machine that listens on a TCP port; none if there is none, or if this user
/// may not see it.
pub(crate) fn listener_on(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|file| listening_inode(&fs::read_to_string(file).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket))
    })
}

fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, own) = fields.get(1)?.rsplit_once(':')?;
        let listens = fields.get(3)? == &"0A" && u16::from_str_radix(own, 16) == Ok(port);
        listens.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// Confines the calling thread, and whatever it starts from now on, to these cores.
pub(crate) fn set_cores(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("there is no core {core}")));
        }
        set.set(*core);
    }
    let this: Option<Pid> = None;
    Ok(sched_setaffinity(this, &set)?)
}

/// Whether a thread of this user can run there, wherever this one keeps to.
pub(crate) fn core_exists(core: usize) -> bool {
    let tried = std::thread::spawn(move || set_cores(&[core]).is_ok());
    tried.join().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_whatever_a_program_is_called() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 9 0 0";
        let cpu = Cpu {
            user_s: 2.5,
            system_s: 0.5,
        };
        assert_eq!(cpu_in(stat), Some(cpu));
        assert_eq!(cpu_in("42 (a"), None);
        assert_eq!(cpu_in(&stat.replace(") S", ") Z")), None, "it has ended");
    }

    #[test]
    fn huge_pages_are_memory_too() {
        let status = "VmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\nHugetlbPages:\t    4096 kB\n";
        let memory = Memory {
            now: 5096 * 1024,
            peak: 6096 * 1024,
        };
        assert_eq!(memory_in(status), Some(memory));
        assert_eq!(memory_in("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn nanoseconds_of_threads_sharpen_ticks_unless_threads_ended() {
        let at = |user_s, system_s| Cpu { user_s, system_s };
        let sharp = sharpened(at(1.03, 1.01), at(1.0, 1.0), 36_000_000);
        assert!((sharp.user_s - 0.027).abs() < 1e-9, "{sharp:?}");
        assert!((sharp.system_s - 0.009).abs() < 1e-9, "{sharp:?}");
        let ended = sharpened(at(2.0, 1.0), at(1.0, 1.0), 36_000_000);
        assert_eq!(
            ended,
            at(1.0, 0.0),
            "most of it was used by threads that ended"
        );
        let idle = sharpened(at(1.0, 1.0), at(1.0, 1.0), 2_000_000);
        assert!(
            (idle.user_s + idle.system_s - 0.002).abs() < 1e-12,
            "{idle:?}"
        );
    }

    #[test]
    fn cores_are_tried_without_moving_the_caller() {
        let before = crate::kernel::usable_cores();
        assert!(before.iter().all(|core| core_exists(*core)));
        assert!(!core_exists(CpuSet::MAX_CPU));
        assert_eq!(crate::kernel::usable_cores(), before);
    }

    #[test]
    fn who_listens_is_found_by_the_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        assert_eq!(listener_on(port), Some(std::process::id()));
        drop(listener);
        assert_eq!(listener_on(port), None);
    }
}

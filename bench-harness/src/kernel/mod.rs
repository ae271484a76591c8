//! What a process used, by the kernel's own account: read from outside, so that it says the same of
//! every broker, whatever that is written in.

mod calls;
mod device;
mod machine;
mod process;

pub(crate) use machine::{file_system_of, machine, memory_limit_bytes, stolen_s, usable_cores};
pub(crate) use process::{core_exists, listener_on, set_cores};

use crate::model::Cost;
use calls::Calls;
use device::Device;
use process::Usage;
use std::io;
use std::path::Path;

/// A process as it is seen in one moment, cheap enough to be asked every second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Glance {
    /// CPU of all threads since its start.
    pub(crate) cpu_s: f64,
    /// Resident, huge pages included.
    pub(crate) memory_bytes: u64,
    pub(crate) descriptors: Option<u64>,
}

pub(crate) fn glance(pid: u32) -> io::Result<Glance> {
    let cpu = process::cpu(pid)?;
    let memory = process::memory(pid)?;
    Ok(Glance {
        cpu_s: cpu.user_s + cpu.system_s,
        memory_bytes: memory.now,
        descriptors: process::descriptors(pid).ok(),
    })
}

/// Counts what one process uses from `begin` to `end`.
pub(crate) struct Meter {
    pid: u32,
    device: Option<Device>,
    calls: Result<Calls, String>,
    instructions: Result<Calls, String>,
    before: Usage,
}

impl Meter {
    /// `data` is where the process keeps its data: its device is watched too.
    pub(crate) fn begin(pid: u32, data: Option<&Path>) -> io::Result<Self> {
        let device = data.and_then(|path| Device::under(path).ok());
        let calls = Calls::begin(pid);
        let instructions = Calls::instructions(pid);
        let before = Usage::of(pid, device.as_ref())?;
        Ok(Self {
            pid,
            device,
            calls,
            instructions,
            before,
        })
    }

    /// Fails if the process is gone.
    pub(crate) fn end(mut self) -> io::Result<Cost> {
        let after = Usage::of(self.pid, self.device.as_ref())?;
        let mut cost = after.since(&self.before);
        match counted(&mut self.calls, self.pid) {
            Ok(calls) => cost.syscalls = Some(calls),
            Err(why) => cost.not_counted.push(format!("system calls: {why}")),
        }
        match counted(&mut self.instructions, self.pid) {
            Ok(instructions) => cost.instructions = Some(instructions),
            Err(why) => cost.not_counted.push(format!("instructions: {why}")),
        }
        if cost.disk_written_bytes.is_none() {
            let why = "storage of the process: its /proc entry may not be read by this user";
            cost.not_counted.push(why.to_owned());
        }
        if self.device.is_none() {
            let why = "writes of the device: where the data lies, or on what device, is not known";
            cost.not_counted.push(why.to_owned());
        }
        Ok(cost)
    }
}

fn counted(counters: &mut Result<Calls, String>, pid: u32) -> Result<u64, String> {
    match counters {
        Ok(counters) => counters.count(pid),
        Err(why) => Err(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::hint::black_box;
    use std::io::Write;
    use std::time::{Duration, Instant};

    fn me() -> u32 {
        std::process::id()
    }

    /// Uses CPU until the kernel has written some down, or gives up after a long time.
    fn burn(until: impl Fn() -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !until() {
            assert!(Instant::now() < patience, "the kernel counts nothing");
            for n in 0..100_000_u64 {
                black_box(n.wrapping_mul(n));
            }
        }
    }

    #[test]
    fn work_shows_in_the_cost_of_our_own_process() {
        let folder = std::env::temp_dir();
        let meter = Meter::begin(me(), Some(&folder)).expect("our own process can be read");
        let before = glance(me()).expect("our own process can be read");
        let path = folder.join(format!("bench-harness-meter-{}", me()));
        let mut file = File::create(&path).expect("the temporary folder can be written");
        file.write_all(&vec![7; 1 << 20]).expect("a file of 1 MiB");
        file.sync_all().expect("a file of 1 MiB is synced");
        burn(|| glance(me()).expect("alive").cpu_s > before.cpu_s + 0.05);
        std::thread::sleep(Duration::from_millis(2));
        let cost = meter.end().expect("our own process can be read");
        std::fs::remove_file(path).expect("the file of this test is there");
        // Both ends are sharp to a tick or so.
        assert!(cost.cpu_s() >= 0.02, "{cost:?}");
        assert!(cost.voluntary_switches >= 1, "{cost:?}");
        assert!(cost.peak_memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
        if let Some(written) = cost.disk_written_bytes {
            // A file system in memory writes nothing to storage.
            assert!(written == 0 || written >= 1 << 20, "{cost:?}");
        }
        match cost.syscalls {
            // Each look at ourselves is several calls.
            Some(calls) => assert!(calls >= 20, "{cost:?}"),
            None => assert!(
                cost.not_counted
                    .iter()
                    .any(|why| why.starts_with("system calls: ")),
                "{cost:?}"
            ),
        }
    }

    #[test]
    fn a_glance_counts_descriptors_and_memory() {
        let files: Vec<_> = (0..50)
            .map(|_| File::open("/proc/self/stat").expect("/proc is mounted"))
            .collect();
        let glance = glance(me()).expect("our own process can be read");
        assert!(
            glance
                .descriptors
                .is_some_and(|count| count >= files.len() as u64)
        );
        assert!(glance.memory_bytes > 1 << 20);
    }

    #[test]
    fn a_process_that_is_gone_has_no_cost() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("`true` is there");
        let pid = child.id();
        child.wait().expect("a child can be waited for");
        assert!(Meter::begin(pid, None).is_err());
        assert!(glance(pid).is_err());
    }
}

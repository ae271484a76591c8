//! The machine that everything runs on.

use super::device::{Device, has_journal, mount_of};
use super::process::TICKS_PER_S;
use crate::model::Machine;
use rustix::thread::{CpuSet, sched_getaffinity};
use std::fs;
use std::io;
use std::path::Path;

/// What is said of something that the kernel does not tell.
const UNKNOWN: &str = "not known";

/// `data` is where the brokers will keep their data.
pub(crate) fn machine(data: &Path) -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().and_then(|first| first.parse().ok());
    Machine {
        kernel: match read("/proc/sys/kernel/osrelease").trim() {
            "" => UNKNOWN.to_owned(),
            release => format!("Linux {release}"),
        },
        cpu: cpu_in(&read("/proc/cpuinfo")).unwrap_or_else(|| UNKNOWN.to_owned()),
        cores: usable_cores().len(),
        memory_bytes: memory_bytes(),
        storage: storage(data),
        load_average: load.unwrap_or(0.0),
        generator_cores: String::new(),
        broker_cores: String::new(),
    }
}

/// What this machine has; 0 where the kernel does not tell.
fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory_in(&meminfo).unwrap_or(0)
}

/// What this process may use of it: a container may have less than its machine (cgroup v2
/// `memory.max`, v1 `memory.limit_in_bytes`, which are at these places inside of one).
pub(crate) fn memory_limit_bytes() -> u64 {
    let files = ["memory.max", "memory/memory.limit_in_bytes"];
    let limits = files.map(|file| fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)));
    least(memory_bytes(), limits.iter().flatten().map(String::as_str))
}

fn least<'a>(memory: u64, limits: impl Iterator<Item = &'a str>) -> u64 {
    let limits = limits.filter_map(|limit| limit.trim().parse().ok());
    limits.fold(memory, u64::min)
}

/// Seconds, the mean of all cores, in which something was to be done and whoever runs this virtual
/// machine did something else (proc_stat(5), `steal`). None where that is not counted.
pub(crate) fn stolen_s() -> Option<f64> {
    stolen_in(&fs::read_to_string("/proc/stat").ok()?)
}

fn stolen_in(stat: &str) -> Option<f64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: f64 = all.split_whitespace().nth(7)?.parse().ok()?;
    let cores = stat.lines().filter(|line| line.starts_with("cpu")).count() - 1;
    Some(ticks / TICKS_PER_S / cores.max(1) as f64)
}

/// The cores that this process may run on.
pub(crate) fn usable_cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect(),
        Err(_) => vec![0],
    }
}

/// Such as "ext4".
pub(crate) fn file_system_of(path: &Path) -> io::Result<String> {
    mount_of(path).map(|(kind, _)| kind)
}

fn cpu_in(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn storage(data: &Path) -> String {
    let kind = file_system_of(data).unwrap_or_else(|_| "file system not known".to_owned());
    let journal = match kind.as_str() {
        "ext4" if has_journal(data) == Some(false) => " without a journal",
        _ => "",
    };
    match Device::under(data) {
        Ok(device) => format!("{kind}{journal} on {}", device.describe()),
        Err(_) => format!("{kind}, no block device known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_cores_memory_and_storage() {
        let machine = machine(&std::env::temp_dir());
        assert!(machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(machine.cores >= 1, "{machine:?}");
        assert!(machine.memory_bytes > 64 << 20, "{machine:?}");
        assert!(
            !machine.storage.starts_with("file system not known"),
            "{machine:?}"
        );
    }

    #[test]
    fn what_the_host_took_is_the_eighth_time_of_all_cores() {
        let text = "cpu  9 8 7 6 5 4 3 500 2 1\ncpu0 1 1 1 1 1 1 1 1 1 1\ncpu1 1\nintr 9\n";
        assert_eq!(stolen_in(text), Some(2.5));
        assert_eq!(stolen_in("cpu  9 8 7 6\n"), None);
    }

    #[test]
    fn a_container_has_the_least_of_what_limits_it() {
        let known = |limits: &[&str]| least(8 << 30, limits.iter().copied());
        assert_eq!(known(&[]), 8 << 30);
        assert_eq!(known(&["max\n"]), 8 << 30);
        assert_eq!(known(&["9223372036854771712\n"]), 8 << 30);
        assert_eq!(known(&["max\n", "2147483648\n"]), 2 << 30);
    }

    #[test]
    fn the_processor_is_found_in_what_the_kernel_says() {
        let text = "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 2.0GHz\n";
        assert_eq!(cpu_in(text), Some("Some CPU @ 2.0GHz".to_owned()));
        assert_eq!(cpu_in("processor : 0\n"), None);
        assert_eq!(memory_in("MemTotal:  2048 kB\n"), Some(2 << 20));
    }
}

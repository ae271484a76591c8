//! Which cores this process may use, and how much memory.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The cores in this thread's affinity mask (a cpuset shows there), cut down to the processor time
/// that a cgroup quota (v2 `cpu.max`, v1 `cpu.cfs_quota_us`) leaves, rounded up. Never empty.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    within(affinity(), allowed_by_quota())
}

/// The cores to bind shards to: those of the affinity mask. None where a quota allows less time
/// than they have: every container of the machine would choose the same few.
#[must_use]
pub(crate) fn cores_to_bind() -> Vec<usize> {
    bindable(affinity(), allowed_by_quota())
}

fn within(mut cores: Vec<usize>, quota: Option<usize>) -> Vec<usize> {
    if cores.is_empty() {
        cores.push(0);
    }
    cores.truncate(quota.unwrap_or(usize::MAX).max(1));
    cores
}

fn bindable(cores: Vec<usize>, quota: Option<usize>) -> Vec<usize> {
    match quota {
        Some(quota) if quota < cores.len() => Vec::new(),
        _ => cores,
    }
}

/// The least that any cgroup above this process allows.
fn allowed_by_quota() -> Option<usize> {
    cgroup_dirs("cpu").iter().filter_map(|d| quota(d)).min()
}

/// Memory this process may use in bytes: the machine's, or less where a cgroup says so.
#[must_use]
pub fn available_memory() -> usize {
    // SAFETY: plain calls without pointers.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let machine =
        usize::try_from(pages.max(0)).unwrap_or(0) * usize::try_from(page.max(0)).unwrap_or(0);
    let limit = memory_limit(&cgroup_dirs("memory"));
    limit.map_or(machine, |limit| limit.min(machine))
}

fn memory_limit(dirs: &[PathBuf]) -> Option<usize> {
    dirs.iter()
        .flat_map(|d| [d.join("memory.max"), d.join("memory.limit_in_bytes")])
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

fn affinity() -> Vec<usize> {
    // SAFETY: an all-zero set is a valid empty set, and the kernel writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Vec::new();
        }
        set
    };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below the size of the set.
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect()
}

/// Binds the calling thread to `core`; `false` if the kernel refuses.
pub(crate) fn pin(core: usize) -> bool {
    bind_to(&[core])
}

/// Lets the calling thread run on `cores` only; `false` if the kernel refuses.
pub(crate) fn bind_to(cores: &[usize]) -> bool {
    if cores.iter().any(|core| *core >= libc::CPU_SETSIZE as usize) {
        return false;
    }
    // SAFETY: a local set, indices below its size, and the calling thread only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in cores {
            libc::CPU_SET(*core, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0
    }
}

/// Gives the calling thread the least claim to a core (nice 19, setpriority(2)); `false` if the
/// kernel refuses. Not SCHED_IDLE: a thread that never runs may hold what others wait for.
pub(crate) fn be_least() -> bool {
    // SAFETY: a plain call, and on Linux it is for the calling thread only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) == 0 }
}

/// The cores of this thread's affinity mask whose memory is as near as that of `core`; all of them
/// where the kernel does not say.
pub(crate) fn near(core: usize) -> Vec<usize> {
    let mut cores = affinity();
    let path = |node| format!("/sys/devices/system/node/node{node}/cpulist");
    let list = node_of(core).and_then(|node| std::fs::read_to_string(path(node)).ok());
    if let Some(node) = list.and_then(|list| cores_in(&list)) {
        cores.retain(|core| node.iter().any(|range| range.contains(core)));
    }
    cores
}

/// What the kernel's lists say, such as `0-3,8`.
fn cores_in(list: &str) -> Option<Vec<RangeInclusive<usize>>> {
    let ranges = list.trim().split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.collect()
}

/// The memory node of a core: sysfs has a link `node<N>` in each core's folder.
fn node_of(core: usize) -> Option<usize> {
    let folder = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut nodes = names.filter_map(|name| name.strip_prefix("node")?.parse().ok());
    nodes.next()
}

/// This process's cgroup directory of `controller` and its parents, v2 and v1.
fn cgroup_dirs(controller: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    dirs_of(&text, controller, Path::new("/sys/fs/cgroup"))
}

fn dirs_of(text: &str, controller: &str, mount: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let root = if names.is_empty() {
            mount.to_owned()
        } else if names.split(',').any(|name| name == controller) {
            mount.join(controller)
        } else {
            continue;
        };
        let leaf = Path::new(path.trim_start_matches('/'));
        dirs.extend(leaf.ancestors().map(|up| root.join(up)));
    }
    dirs
}

/// Whole cores, rounded up, that the quota in `dir` allows; `None` without a quota.
fn quota(dir: &Path) -> Option<usize> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(text) => {
            let mut fields = text.split_whitespace().map(str::to_owned);
            (fields.next()?, fields.next()?)
        }
        None => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    cores_of(quota.trim(), period.trim())
}

fn cores_of(quota: &str, period: &str) -> Option<usize> {
    let quota: i64 = quota.parse().ok()?;
    let period: i64 = period.parse().ok()?;
    if quota <= 0 || period <= 0 {
        return None;
    }
    usize::try_from((quota - 1) / period + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cores() {
        assert_eq!(cores_of("max", "100000"), None);
        assert_eq!(cores_of("-1", "100000"), None);
        assert_eq!(cores_of("100000", "100000"), Some(1));
        assert_eq!(cores_of("100001", "100000"), Some(2));
        assert_eq!(cores_of("50000", "100000"), Some(1));
    }

    #[test]
    fn a_quota_is_found_in_both_kinds_of_cgroup() {
        let dir = std::env::temp_dir().join(format!("ringlog-cores-{}", std::process::id()));
        let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(quota(&dir), None);
        put("cpu.cfs_quota_us", "250000\n");
        put("cpu.cfs_period_us", "100000\n");
        assert_eq!(quota(&dir), Some(3));
        put("cpu.max", "150000 100000\n");
        assert_eq!(quota(&dir), Some(2));
        put("cpu.max", "max 100000\n");
        assert_eq!(quota(&dir), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn cores_are_bound_to_only_where_their_whole_time_may_be_used() {
        let cores = || vec![2, 3, 4, 5];
        assert_eq!(within(cores(), Some(2)), [2, 3]);
        assert_eq!(within(cores(), None), cores());
        assert_eq!(within(Vec::new(), Some(0)), [0]);
        assert_eq!(bindable(cores(), Some(2)), [0; 0]);
        assert_eq!(bindable(cores(), Some(4)), cores());
        assert_eq!(bindable(cores(), None), cores());
    }

    #[test]
    fn limits_of_both_cgroup_versions_and_of_every_level_count() {
        let mount = std::env::temp_dir().join(format!("ringlog-cgroup-{}", std::process::id()));
        let files = [
            ("a/b/cpu.max", "max 100000"),
            ("a/cpu.max", "350000 100000"),
            ("cpu/c/cpu.cfs_quota_us", "150000"),
            ("cpu/c/cpu.cfs_period_us", "100000"),
            ("cpu/cpu.cfs_quota_us", "-1"),
            ("cpu/cpu.cfs_period_us", "100000"),
            ("a/b/memory.max", "max"),
            ("a/memory.max", "70000"),
            ("memory/c/memory.limit_in_bytes", "50000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
        ];
        for (name, text) in files {
            let path = mount.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let both = |text: &str| {
            let quotas = dirs_of(text, "cpu", &mount);
            let quota = quotas.iter().filter_map(|d| quota(d)).min();
            (quota, memory_limit(&dirs_of(text, "memory", &mount)))
        };
        let second = both("0::/a/b\n");
        let first = both("4:memory:/c\n3:cpu,cpuacct:/c\n1:name=systemd:/c\n");
        std::fs::remove_dir_all(&mount).expect("removed");
        assert_eq!(second, (Some(4), Some(70_000)));
        assert_eq!(first, (Some(2), Some(50_000)));
    }

    #[test]
    fn lists_of_cores_are_ranges() {
        assert_eq!(cores_in("0-3,8\n"), Some(vec![0..=3, 8..=8]));
        assert_eq!(cores_in(""), None);
        assert_eq!(cores_in("0-x"), None);
    }

    #[test]
    fn a_core_is_near_itself() {
        for core in affinity() {
            assert!(near(core).contains(&core));
        }
    }

    #[test]
    fn there_is_always_a_core_and_memory() {
        assert!(!available_cores().is_empty());
        assert!(available_memory() > 0);
    }
}

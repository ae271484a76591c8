//! Which cores this process may use, and how much memory.

use std::path::{Path, PathBuf};

/// The cores in this thread's affinity mask (a cpuset shows there), cut down to the processor time
/// that a cgroup quota (v2 `cpu.max`, v1 `cpu.cfs_quota_us`) leaves, rounded up. Never empty.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    let mut cores = affinity();
    if cores.is_empty() {
        cores.push(0);
    }
    let quota = cgroup_dirs("cpu").iter().filter_map(|d| quota(d)).min();
    cores.truncate(quota.unwrap_or(usize::MAX).max(1));
    cores
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
    let limits = cgroup_dirs("memory");
    let limit = limits
        .iter()
        .flat_map(|d| [d.join("memory.max"), d.join("memory.limit_in_bytes")])
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .min();
    limit.map_or(machine, |limit: usize| limit.min(machine))
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
    if core >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: a local set, an index below its size, and the calling thread only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0
    }
}

/// This process's cgroup directory of `controller` and its parents, v2 and v1.
fn cgroup_dirs(controller: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut dirs = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let root = if names.is_empty() {
            PathBuf::from("/sys/fs/cgroup")
        } else if names.split(',').any(|name| name == controller) {
            Path::new("/sys/fs/cgroup").join(controller)
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
    fn there_is_always_a_core_and_memory() {
        assert!(!available_cores().is_empty());
        assert!(available_memory() > 0);
    }
}

//! What is checked before the first ring: a start that cannot succeed fails with one line that
//! names the cause and the cure.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why no ring can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// `uname -r` is below [`KERNEL_MIN`].
    KernelTooOld { release: String },
    /// io_uring_setup does not exist: seccomp answers so, or the kernel is built without it.
    NotThere,
    /// `kernel.io_uring_disabled` forbids it.
    DisabledBySysctl { value: i32 },
    /// EPERM although the sysctl allows it: a seccomp filter or a security module.
    Forbidden,
    /// Not enough memory or descriptors for a ring.
    Failed { errno: i32 },
}

/// The oldest kernel the driver runs on: SINGLE_ISSUER and DEFER_TASKRUN.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = KERNEL_MIN;
        match self {
            Self::KernelTooOld { release } => write!(
                f,
                "this kernel ({release}) is older than Linux {major}.{minor}, the oldest that \
                 ringlog runs on: start it on a newer kernel"
            ),
            Self::NotThere => write!(
                f,
                "the io_uring system calls are missing (ENOSYS): a seccomp profile hides them \
                 (containers: run with --security-opt seccomp=unconfined or a profile that allows \
                 io_uring_setup, io_uring_enter and io_uring_register), or the kernel was built \
                 without CONFIG_IO_URING"
            ),
            Self::DisabledBySysctl { value } => write!(
                f,
                "io_uring is switched off by kernel.io_uring_disabled={value}: set it to 0 \
                 (sysctl -w kernel.io_uring_disabled=0){}",
                if *value == 1 {
                    ", or start as a member of kernel.io_uring_group"
                } else {
                    ""
                }
            ),
            Self::Forbidden => write!(
                f,
                "io_uring is forbidden here (EPERM) although kernel.io_uring_disabled allows it: \
                 a seccomp profile (containers: run with --security-opt seccomp=unconfined or a \
                 profile that allows io_uring_setup, io_uring_enter and io_uring_register) or a \
                 security module refuses it"
            ),
            Self::Failed { errno } => write!(
                f,
                "cannot create an io_uring: {}; check the limits on memory and open files",
                std::io::Error::from_raw_os_error(*errno)
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// Checks whether rings can be created.
///
/// # Errors
/// The cause, with its cure in the text.
pub fn check() -> Result<(), Unfit> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if parse_release(release).is_some_and(|version| version < KERNEL_MIN) {
        return Err(Unfit::KernelTooOld {
            release: release.to_owned(),
        });
    }
    match io_uring::IoUring::new(2) {
        Ok(_) => Ok(()),
        Err(error) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            let sysctl = sysctl.ok().and_then(|text| text.trim().parse().ok());
            Err(explain(error.raw_os_error().unwrap_or(libc::EIO), sysctl))
        }
    }
}

/// Whether a write that is durable by itself (RWF_DSYNC) ends soon on the device under `path`. It
/// does where the device writes through. Elsewhere its flush is issued by a kernel thread on the
/// core that took the interrupt, which may be busy for milliseconds with something else: so the
/// device must have a queue for each core, or hand completions to the core that asked.
#[must_use]
pub fn synced_writes_pay(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(device) = std::fs::metadata(path).map(|meta| meta.dev()) else {
        return false;
    };
    let (major, minor) = (libc::major(device), libc::minor(device));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has its queue in the disk above it.
    let disk = [device.clone(), device.join("..")];
    let disk = disk.into_iter().find(|disk| disk.join("queue").is_dir());
    disk.is_some_and(|disk| completes_near(&disk, crate::cores::available_cores().len()))
}

fn completes_near(disk: &Path, cores: usize) -> bool {
    let word = |name: &str| {
        let text = std::fs::read_to_string(disk.join("queue").join(name));
        text.map_or(String::new(), |text| text.trim().to_owned())
    };
    let queues = std::fs::read_dir(disk.join("mq")).map_or(0, Iterator::count);
    word("write_cache") == "write through"
        || word("fua") == "1"
        || word("rq_affinity") == "2"
        || queues >= cores.max(2)
}

fn explain(errno: i32, sysctl: Option<i32>) -> Unfit {
    match (errno, sysctl) {
        (libc::ENOSYS, _) => Unfit::NotThere,
        (libc::EPERM | libc::EACCES, Some(value)) if value > 0 => Unfit::DisabledBySysctl { value },
        (libc::EPERM | libc::EACCES, _) => Unfit::Forbidden,
        (errno, _) => Unfit::Failed { errno },
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Raises the limit on open files to the hard limit and returns what holds now.
pub fn raise_open_files() -> u64 {
    let mut limit = get_limit(libc::RLIMIT_NOFILE);
    if limit.rlim_cur < limit.rlim_max {
        let wanted = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: the pointer is to a local value.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0 {
            limit = wanted;
        }
    }
    limit.rlim_cur
}

/// Whether `bytes` may be locked in memory; otherwise one line for people.
///
/// # Errors
/// The line: what is not done, why, what it costs and the cure.
pub fn check_locked_memory(bytes: u64) -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limit = get_limit(libc::RLIMIT_MEMLOCK).rlim_cur;
    if has_ipc_lock(&status) || limit >= bytes {
        return Ok(());
    }
    Err(format!(
        "buffers are not registered with the kernel: that takes {} MiB of locked memory and the \
         limit is {} KiB; everything works, at somewhat more processor time (cure: ulimit -l \
         unlimited, or LimitMEMLOCK=infinity in the systemd unit)",
        bytes >> 20,
        limit >> 10
    ))
}

/// Whether the effective capabilities hold CAP_IPC_LOCK: no limit on locked memory then.
fn has_ipc_lock(status: &str) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set >> CAP_IPC_LOCK & 1 == 1)
}

fn get_limit(what: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local value.
    unsafe { libc::getrlimit(what, &raw mut limit) };
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_whether_its_flushes_end_soon() {
        let disk = std::env::temp_dir().join(format!("ringlog-probe-{}", std::process::id()));
        let queue = disk.join("queue");
        let set = |name: &str, value: &str| std::fs::write(queue.join(name), value);
        std::fs::create_dir_all(&queue).expect("a folder");
        std::fs::create_dir_all(disk.join("mq/0")).expect("a folder");
        for (name, plain, better) in [
            ("write_cache", "write back\n", "write through\n"),
            ("fua", "0\n", "1\n"),
            ("rq_affinity", "1\n", "2\n"),
        ] {
            set(name, plain).expect("written");
            assert!(!completes_near(&disk, 2), "{name}");
            set(name, better).expect("written");
            assert!(completes_near(&disk, 2), "{name}");
            set(name, plain).expect("written");
        }
        std::fs::create_dir_all(disk.join("mq/1")).expect("a folder");
        assert!(completes_near(&disk, 2) && !completes_near(&disk, 3));
        std::fs::remove_dir_all(&disk).expect("removed");
    }

    #[test]
    fn every_cause_has_its_own_line() {
        let causes = [
            explain(libc::ENOSYS, Some(0)),
            explain(libc::EPERM, Some(2)),
            explain(libc::EPERM, Some(1)),
            explain(libc::EPERM, Some(0)),
            explain(libc::EPERM, None),
            explain(libc::ENOMEM, Some(0)),
        ];
        let lines: Vec<String> = causes.iter().map(ToString::to_string).collect();
        assert!(lines[0].contains("ENOSYS") && lines[0].contains("seccomp"));
        assert!(lines[1].contains("kernel.io_uring_disabled=2"));
        assert!(lines[2].contains("io_uring_group"));
        assert!(lines[3].contains("seccomp"));
        assert_eq!(lines[3], lines[4]);
        assert!(lines[5].contains("Cannot allocate memory"));
        assert!(lines.iter().all(|line| !line.contains('\n')));
    }

    #[test]
    fn a_capability_lifts_the_limit_on_locked_memory() {
        assert!(has_ipc_lock("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_ipc_lock("CapEff:\t0000000000004000\n"));
        assert!(!has_ipc_lock("CapEff:\t0000000000003fff\n"));
        assert!(!has_ipc_lock("CapPrm:\t000001ffffffffff\n"));
        assert!(check_locked_memory(0).is_ok());
    }

    #[test]
    fn releases_compare_as_numbers() {
        assert_eq!(parse_release("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse_release("5.4.0"), Some((5, 4)));
        assert!(parse_release("6.18.1") > parse_release("6.2.0"));
        assert_eq!(parse_release("strange"), None);
        let old = Unfit::KernelTooOld {
            release: "5.15.0".into(),
        };
        assert!(old.to_string().contains("6.1") && old.to_string().contains("5.15.0"));
    }
}

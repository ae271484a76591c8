//! What a process used, by the kernel's own account.

use serde::{Deserialize, Serialize};

/// Differences between the beginning and the end of a measured time. What the kernel does not tell
/// (to this user, on this machine) is none, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// CPU of all threads, in seconds; kernel threads that work for it are not in it.
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// System calls of all threads, counted by the kernel's tracepoint.
    pub(crate) syscalls: Option<u64>,
    /// Instructions of all threads in user space, where the processor counts for this machine.
    #[serde(default)]
    pub(crate) instructions: Option<u64>,
    /// Bytes that the process caused to be read from and written to storage (/proc/PID/io).
    pub(crate) disk_read_bytes: Option<u64>,
    pub(crate) disk_written_bytes: Option<u64>,
    /// Bytes that the block device under its data directory wrote and its flushes, by everybody.
    pub(crate) device_written_bytes: Option<u64>,
    pub(crate) device_flushes: Option<u64>,
    /// The most memory it had, in bytes, huge pages included.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// What is none above, and why, in words.
    #[serde(default)]
    pub(crate) not_counted: Vec<String>,
}

impl Cost {
    pub(crate) fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}

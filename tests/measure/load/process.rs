//! What the kernel says of the broker's process.

use std::fs;
use std::io;

/// Ticks of a CPU second in `/proc/PID/stat`: fixed by the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where utime lies behind the name of the process.
const UTIME_AT: usize = 11;

/// CPU seconds of all threads so far, in user space and in the kernel.
pub(crate) fn cpu_seconds(pid: u32) -> io::Result<f64> {
    if pid == 0 {
        return Ok(0.0);
    }
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> = behind_name
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let ticks: f64 = fields.iter().skip(UTIME_AT).take(2).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

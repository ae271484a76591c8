//! System calls, counted by the kernel at their entry, and instructions, counted by the processor.

use super::process::threads;
use perf_event::events::{Event, Hardware, Tracepoint};
use perf_event::{Builder, Counter};
use std::fs;
use std::io;

/// One counter for each thread; threads that these start later are counted with them.
pub(super) struct Calls {
    counters: Vec<Counter>,
}

impl Calls {
    /// Why not, in words, where this user or this machine has no such counter.
    pub(super) fn begin(pid: u32) -> Result<Self, String> {
        let event = Tracepoint::with_id(tracepoint().map_err(|error| {
            format!(
                "the kernel's tracepoints cannot be read ({error}): be root, and mount tracefs \
                 on /sys/kernel/tracing"
            )
        })?);
        Self::of(pid, |tid| count(event, tid, false))
    }

    /// Instructions in user space, which most virtual machines do not count.
    pub(super) fn instructions(pid: u32) -> Result<Self, String> {
        Self::of(pid, |tid| count(Hardware::INSTRUCTIONS, tid, true))
    }

    fn of(pid: u32, count: impl Fn(u32) -> io::Result<Counter>) -> Result<Self, String> {
        let mut calls = Self {
            counters: Vec::new(),
        };
        let tids = threads(pid).map_err(|error| format!("no threads of process {pid}: {error}"))?;
        for tid in tids {
            match count(tid) {
                Ok(counter) => calls.counters.push(counter),
                // It ended while we looked.
                Err(error) if error.raw_os_error() == Some(3) => {}
                Err(error) if matches!(error.raw_os_error(), Some(2 | 95)) => {
                    return Err(format!("this machine has no such counter ({error})"));
                }
                Err(error) => {
                    return Err(format!(
                        "perf_event_open was refused ({error}): be root, or lower \
                         /proc/sys/kernel/perf_event_paranoid to -1"
                    ));
                }
            }
        }
        Ok(calls)
    }

    pub(super) fn count(&mut self, pid: u32) -> Result<u64, String> {
        let each = self.counters.iter_mut().map(Counter::read);
        each.sum::<io::Result<u64>>()
            .map_err(|error| format!("a counter of process {pid} cannot be read: {error}"))
    }
}

/// The number of the tracepoint, which every kernel gives anew.
fn tracepoint() -> io::Result<u64> {
    let of = |root| fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id"));
    let text = of("/sys/kernel/tracing").or_else(|_| of("/sys/kernel/debug/tracing"))?;
    text.trim().parse().map_err(io::Error::other)
}

fn count(event: impl Event, tid: u32, user_only: bool) -> io::Result<Counter> {
    let tid = i32::try_from(tid).map_err(io::Error::other)?;
    let mut counter = Builder::new(event)
        .observe_pid(tid)
        .any_cpu()
        .inherit(true)
        .exclude_kernel(user_only)
        .build()?;
    counter.enable()?;
    Ok(counter)
}

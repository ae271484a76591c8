//! Ctrl-C: the children end, and their data goes with them.

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// As shells count those that a signal ended.
const EXIT_OF_SIGNAL: i32 = 128;

struct Left {
    children: Vec<u32>,
    folders: Vec<PathBuf>,
}

static LEFT: Mutex<Left> = Mutex::new(Left {
    children: Vec::new(),
    folders: Vec::new(),
});

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn kill_too(pid: u32) {
    left().children.push(pid);
}

pub(super) fn ended(pid: u32) {
    left().children.retain(|other| *other != pid);
}

pub(super) fn remove_too(folder: PathBuf) {
    left().folders.push(folder);
}

/// Kills what runs and removes what was written, when somebody ends the harness from outside.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without it children still end with us, by the kernel; only their data stays.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let left = left();
                for pid in &left.children {
                    let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
                    if let Some(pid) = pid {
                        // It may have ended by itself.
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
                for folder in &left.folders {
                    // Whoever stopped us does not wait for a message about it.
                    let _ = fs::remove_dir_all(folder);
                }
                eprintln!("\ninterrupted: brokers ended, their data removed");
                std::process::exit(EXIT_OF_SIGNAL + signal);
            }
        });
    });
}

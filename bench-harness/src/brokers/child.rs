//! A broker as a child process: it never outlives the value that stands for it.

use crate::failure::{Failure, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
/// What a failure shows of a log.
const LOG_LINES: usize = 15;

pub(super) struct Child {
    process: std::process::Child,
    name: String,
    log: PathBuf,
}

impl Child {
    /// Both outputs go to `log`.
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> Outcome<Self> {
        let failed = |error| Failure::new(format!("cannot start {name}: {error}"));
        let out = File::create(log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(failed)?;
        super::interrupt::kill_too(process.id());
        Ok(Self {
            process,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Waits until something listens there.
    pub(super) fn wait_for(&mut self, address: SocketAddr, patience: Duration) -> Outcome<()> {
        let until = Instant::now() + patience;
        loop {
            if TcpStream::connect_timeout(&address, CONNECT_PATIENCE).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(self.failed(&format!("ended while it started ({status})")));
            }
            if Instant::now() > until {
                let seconds = patience.as_secs();
                let what = format!("does not listen on {address} after {seconds} s");
                return Err(self.failed(&what));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Runs a child to its end, and fails if it fails.
    pub(super) fn finish(mut self) -> Outcome<()> {
        let status = self.process.wait();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(&format!("failed ({status})"))),
            Err(error) => Err(self.failed(&format!("cannot be waited for: {error}"))),
        }
    }

    fn failed(&self, what: &str) -> Failure {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        let said = if tail.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("it said:\n    {}", tail.join("\n    "))
        };
        Failure::new(format!("{} {what}", self.name)).advise(said)
    }

    /// Asks it to end, and kills it if it takes too long.
    pub(super) fn stop(mut self) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + STOP_PATIENCE;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; its data is thrown away in any case.
        let _ = self.process.kill();
        let _ = self.process.wait();
        super::interrupt::ended(self.process.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bench-child-{name}-{}", std::process::id()))
    }

    fn shell(name: &str, script: &str) -> (Child, PathBuf) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = log(name);
        let child = Child::start(name, command, &log).expect("there is a shell");
        (child, log)
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_child_is_gone_when_its_value_is_dropped() {
        let (child, log) = shell("dropped", "trap '' TERM; while :; do sleep 1; done");
        let pid = child.pid();
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
        fs::remove_file(log).expect("it has a log");
    }

    #[test]
    fn a_child_is_asked_to_end_before_it_is_killed() {
        let (child, log) = shell(
            "asked",
            "trap 'echo asked; exit' TERM; echo ready; while :; do sleep 0.01; done",
        );
        let pid = child.pid();
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")) {
            std::thread::sleep(POLL);
        }
        child.stop();
        assert!(!exists(pid));
        let said = fs::read_to_string(&log).expect("it has a log");
        assert!(said.contains("asked"), "{said}");
        fs::remove_file(log).expect("it has a log");
    }

    #[test]
    fn a_child_that_ends_instead_of_listening_is_quoted() {
        let (mut child, log) = shell("broken", "echo the disk is full >&2; exit 3");
        let nobody: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let failure = child.wait_for(nobody, Duration::from_secs(60));
        let text = failure.expect_err("nobody listens there").to_string();
        assert!(text.starts_with("broken ended while it started"), "{text}");
        assert!(text.contains("the disk is full"), "{text}");
        fs::remove_file(log).expect("it has a log");
    }
}

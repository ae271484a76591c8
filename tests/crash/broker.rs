//! One broker process: started, watched, stopped and killed.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::chance::Chance;

/// No start takes this long, however busy the machine is.
const START: Duration = Duration::from_secs(180);

/// What every start has in common.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) binary: PathBuf,
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) port: u16,
    /// What the broker prints goes there.
    pub(crate) log: PathBuf,
    /// An error that it may report.
    pub(crate) expects: Option<&'static str>,
}

impl Installation {
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

pub(crate) struct Broker {
    child: Child,
    of: Installation,
    pub(crate) began: Instant,
    pub(crate) shards: u64,
    /// Where the output of this start begins in the log.
    log_from: u64,
}

impl Broker {
    /// Starts a broker with another number of shards and other sizes each time.
    pub(crate) fn start(of: &Installation, chance: &mut Chance) -> Self {
        let shards = chance.within(1, 4);
        let journal = *chance.pick(&[4_u64 << 20, 16 << 20, 64 << 20]);
        let recycle = *chance.pick(&[0_u64, 16 << 20, 256 << 20]);
        let synced_writes = *chance.pick(&[false, true]);
        let settings = [
            format!("journal.bytes={journal}"),
            format!("synced.writes={synced_writes}"),
            format!("recycle.bytes={recycle}"),
            "auto.create.topics.enable=false".to_owned(),
        ];
        Self::start_with(of, shards, &settings)
    }

    pub(crate) fn start_with(of: &Installation, shards: u64, settings: &[String]) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(&of.log);
        let log = log.expect("the log of the broker opens");
        let log_from = log.metadata().expect("the log has a length").len();
        let dirs: Vec<String> = of
            .dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let began = Instant::now();
        let child = Command::new(&of.binary)
            .args([
                "serve",
                "--listen",
                &of.address(),
                "--shards",
                &shards.to_string(),
            ])
            .args(["--set", &format!("log.dirs={}", dirs.join(","))])
            .args(settings)
            .args(["--set", "offsets.topic.num.partitions=8"])
            .args(["--set", "group.initial.rebalance.delay.ms=0"])
            .args(["--set", "log.retention.check.interval.ms=500"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the broker starts");
        Self {
            child,
            of: of.clone(),
            began,
            shards,
            log_from,
        }
    }

    /// Waits until it says that it takes connections. (To connect would prove little: the kernel
    /// closes the listening socket of a killed broker only when it has taken its ring apart.)
    pub(crate) fn listening(&mut self) -> Result<Duration, String> {
        while !self.came_up() {
            self.alive()?;
            if self.began.elapsed() > START {
                return Err(format!("the broker does not listen after {START:?}"));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(self.began.elapsed())
    }

    /// An error if it has ended by itself or complained.
    pub(crate) fn alive(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!(
                "the broker ended by itself: {status}\n{}",
                self.said()
            ));
        }
        let said = self.said();
        let expected = |line: &str| self.of.expects.is_some_and(|text| line.contains(text));
        let mut errors = said
            .lines()
            .filter(|line| line.contains("ringlog: error") && !expected(line));
        if errors.next().is_some() || said.contains("panicked") {
            return Err(format!("the broker complains:\n{said}"));
        }
        Ok(())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    pub(crate) fn said(&self) -> String {
        let all = std::fs::read(&self.of.log).unwrap_or_default();
        let from = usize::try_from(self.log_from).expect("a log fits into memory");
        String::from_utf8_lossy(all.get(from..).unwrap_or_default()).into_owned()
    }

    /// Whether it has come as far as listening.
    pub(crate) fn came_up(&self) -> bool {
        self.said().contains("listening on ")
    }

    pub(crate) fn kill(mut self) -> Result<(), String> {
        let found = self.alive();
        self.end();
        found
    }

    /// Sends a signal by its name, without waiting.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -s {name} failed"
        );
    }

    fn end(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that is free, below those that the kernel gives to clients.
pub(crate) fn free_port(chance: &mut Chance) -> u16 {
    loop {
        let port = u16::try_from(chance.within(20_000, 32_000)).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The broker to test: RINGLOG_BIN, or the one that cargo built along with this program.
pub(crate) fn binary() -> PathBuf {
    match std::env::var_os("RINGLOG_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_ringlog")),
    }
}

/// An empty directory.
pub(crate) fn fresh(dir: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("the work directory can be made");
    // It exists and can be written to.
    File::create(dir.join(".write")).expect("the work directory can be written to");
    dir.to_path_buf()
}

//! A broker process of a test's own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// A running broker over a fresh directory; both are gone when the test is over.
pub(crate) struct Broker {
    dir: PathBuf,
    address: String,
    shards: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker that no other test shares; `name` must be the test's own. HOST in a setting
    /// stands for its address without the port.
    pub(crate) fn start(name: &str, shards: u16, settings: &[&str]) -> Self {
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("librdkafka-{name}-{shards}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory for the test");
        let small = ["arena.bytes=16777216", "journal.bytes=4194304"];
        let host = own_host();
        let mut broker = Self {
            dir,
            address: format!("{host}:0"),
            shards,
            settings: small
                .iter()
                .chain(settings)
                .map(|setting| setting.replace("HOST", &host))
                .collect(),
            child: None,
        };
        broker.start_again();
        broker
    }

    /// Starts it over what an earlier run left, at the same address.
    pub(crate) fn start_again(&mut self) {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("errors"))
            .expect("a file for what it says");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
        command
            .args(["serve", "--listen", &self.address, "--shards"])
            .arg(self.shards.to_string())
            .arg("--data-dir")
            .arg(self.data());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("it is piped");
        self.child = Some(child);
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let told = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        self.address = told.unwrap_or_else(|| panic!("it does not listen: {}", self.said()));
        // What it says later must have somewhere to go.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// As [`Self::start_again`], with another number of shards.
    pub(crate) fn start_again_with(&mut self, shards: u16) {
        self.shards = shards;
        self.start_again();
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has said on standard error, in all its runs.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.join("errors")).unwrap_or_default()
    }

    /// SIGTERM; it must end cleanly.
    pub(crate) fn stop(&mut self) {
        let child = self.child.as_ref().expect("it runs");
        let told = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", child.id())])
            .status();
        assert!(
            told.is_ok_and(|status| status.success()),
            "cannot send SIGTERM"
        );
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.said());
        let said = self.said();
        assert!(said.trim_end().ends_with("stopped cleanly"), "{said}");
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child
            .as_mut()
            .expect("it runs")
            .kill()
            .expect("killed");
        assert!(!self.wait().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.take().expect("it runs").wait().expect("it ends")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the broker said:\n{}", self.said());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A loopback address that no other test has, so that a port stays free while its broker is down.
fn own_host() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let own = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(own < 255, "more brokers than addresses");
    // 127.0 belongs to everyone.
    format!("127.{}.{low}.{own}", high.max(1))
}

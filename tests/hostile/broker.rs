//! A broker of its own for one test, seen from outside: its log, memory, descriptors and end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ringlog");
/// How long anything may take that happens at once on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

type Lines = Arc<Mutex<Vec<String>>>;

/// A running broker; killed when the test is over.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Lines,
}

impl Broker {
    /// In a directory of its own on the disk that the build goes to.
    pub(crate) fn start(name: &str, settings: &[&str]) -> Self {
        Self::start_in(&fresh_dir(name), settings)
    }

    pub(crate) fn start_in(data: &Path, settings: &[&str]) -> Self {
        let (mut child, log) = launch(data, settings);
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let told = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let told = told.unwrap_or_else(|| panic!("no broker: {:?}", log.lock()));
        std::thread::spawn(move || lines.for_each(drop));
        let address = told.parse().expect("an address");
        Self {
            child,
            address,
            log,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the broker has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panicked").clone()
    }

    /// Waits for a line that contains `words`.
    pub(crate) fn expect_line(&self, words: &str) -> String {
        wait_for(&format!("the line {words:?}"), || {
            self.log().into_iter().find(|line| line.contains(words))
        })
    }

    /// Memory in use, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.status("VmRSS:") >> 10
    }

    /// The most memory ever in use, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.status("VmHWM:") >> 10
    }

    fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let text = std::fs::read_to_string(path).expect("the broker runs");
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Descriptors of the process. Files and sockets of the shards' rings are not among them.
    pub(crate) fn descriptors(&self) -> usize {
        let table = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs");
        table.count()
    }

    /// Connections that the kernel knows on the broker's port, in any state but waiting out.
    pub(crate) fn connections(&self) -> usize {
        self.queues().len()
    }

    /// Waits until the broker has received all that was sent to it.
    pub(crate) fn has_received_all(&self) {
        wait_for("the broker to receive", || {
            let empty = |queue: &String| queue.ends_with(":00000000");
            self.queues().iter().all(empty).then_some(())
        });
    }

    /// Of each connection, bytes that wait to be sent and to be received, in hexadecimal.
    fn queues(&self) -> Vec<String> {
        const TIME_WAIT: &str = "06";
        const LISTEN: &str = "0A";
        let port = format!(":{:04X}", self.address.port());
        let text = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
        let own = text.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, queue) = (fields.get(1)?, fields.get(3)?, fields.get(4)?);
            let counts = local.ends_with(&port) && ![TIME_WAIT, LISTEN].contains(state);
            counts.then(|| (*queue).to_owned())
        });
        own.collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.signals(&[name]);
    }

    pub(crate) fn signals(&self, names: &[&str]) {
        // Held meanwhile, it gets all of them at the same moment.
        let held = [&["STOP"], names, &["CONT"]].concat();
        let each = held
            .iter()
            .map(|name| format!("kill -{name} {}", self.pid()));
        let command = each.collect::<Vec<_>>().join(" && ");
        let done = Command::new("sh").args(["-c", &command]).status();
        assert!(done.expect("a shell").success());
    }

    /// How the broker ended, once it has.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the broker's end", || {
            self.child.try_wait().expect("a child")
        })
    }

    /// It runs, and nothing in it has panicked.
    pub(crate) fn is_sound(&mut self) {
        assert_eq!(
            self.child.try_wait().expect("a child"),
            None,
            "{:?}",
            self.log()
        );
        let panicked = self
            .log()
            .into_iter()
            .find(|line| line.contains("panicked"));
        assert_eq!(panicked, None);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already: some tests stop it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log().join("\n"));
        }
    }
}

/// A broker of which nothing is known yet.
pub(crate) fn launch(data: &Path, settings: &[&str]) -> (Child, Lines) {
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data);
    for default in ["arena.bytes=67108864", "shards=2", "journal.bytes=4194304"] {
        let name = default.split('=').next().unwrap_or_default();
        if !settings.iter().any(|given| given.starts_with(name)) {
            command.args(["--set", default]);
        }
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the program starts");
    let log = Lines::default();
    let (errors, lines) = (child.stderr.take().expect("it is piped"), Arc::clone(&log));
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            lines.lock().expect("no reader panicked").push(line);
        }
    });
    (child, log)
}

/// A directory of this test that is not there yet.
pub(crate) fn fresh_dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

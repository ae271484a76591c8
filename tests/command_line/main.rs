//! The program as a person uses it: a broker of its own, commands, what they print.

mod directories;
mod starts;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringlog");

/// A running broker; killed when the test is over.
struct Broker {
    child: Child,
    /// The first address that it listens on.
    address: String,
    /// What it printed when it was ready.
    told: Vec<String>,
    errors: PathBuf,
}

impl Broker {
    fn start(data: &Path, shards: &str) -> Self {
        Self::start_with(data, &["--listen", "127.0.0.1:0", "--shards", shards])
    }

    /// Starts one over the directory `data` and waits until it listens.
    fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::start_by(&mut serve(data, arguments), data)
    }

    /// The same by a command that leads to [`serve`].
    fn start_by(command: &mut Command, data: &Path) -> Self {
        let errors = data.with_extension("errors");
        let mut child = command
            .stderr(File::create(&errors).expect("a file for what it says"))
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut told: Vec<String> = Vec::new();
        // The last of the commands to try ends what it says at the start.
        while !told.last().is_some_and(|line| line.contains(" --follow")) {
            match lines.next() {
                Some(line) => told.push(line),
                None => panic!("it does not start: {}", read(&errors)),
            }
        }
        let address = told
            .iter()
            .find_map(|line| line.strip_prefix("listening on "));
        let address = address
            .expect("the broker says where it listens")
            .to_owned();
        // What it says later must have somewhere to go.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            told,
            errors,
        }
    }

    /// What it has said on standard error.
    fn said(&self) -> String {
        read(&self.errors)
    }

    /// SIGTERM, and how it ended.
    fn stop(&mut self) -> ExitStatus {
        let order = format!("kill -TERM {}", self.child.id());
        let told = Command::new("sh").args(["-c", &order]).status();
        assert!(
            told.is_ok_and(|status| status.success()),
            "cannot send SIGTERM"
        );
        self.child.wait().expect("it ends")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .env("RINGLOG_BOOTSTRAP", &self.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that refuses its arguments does not read what it is given.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("the command ends")
    }

    /// What a command prints; it must succeed.
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a command complains about; it must fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8(output.stderr).expect("text")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be dead already: some tests kill it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a broker over the directory `data`.
fn serve(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("serve")
        .args(arguments)
        .args(["--set", "arena.bytes=16777216", "--data-dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a broker that cannot start says; it must end by itself.
fn refused_start(data: &Path, arguments: &[&str]) -> String {
    let mut child = serve(data, arguments).spawn().expect("the program starts");
    let begin = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().expect("killed");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it has ended");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty(), "it started: {told}");
    assert!(!output.status.success(), "{told}");
    told
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A fresh directory of this test.
fn data(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

#[test]
fn topics_are_made_changed_and_deleted() {
    let broker = Broker::start(&data("topics"), "1");
    let told = broker.ok(
        &[
            "topic",
            "create",
            "a",
            "-p",
            "2",
            "--set",
            "retention.ms=1000",
        ],
        "",
    );
    assert_eq!(told, "created topic a with 2 partition(s)\n");
    assert!(
        broker
            .refused(&["topic", "create", "a"])
            .contains("TOPIC_ALREADY_EXISTS")
    );
    broker.ok(&["topic", "create", "a", "--if-not-exists"], "");
    assert!(
        broker
            .refused(&["topic", "create", "b/c"])
            .contains("INVALID_TOPIC")
    );
    let wrong = broker.refused(&["topic", "create", "b", "--set", "retention.ms=x"]);
    assert!(wrong.contains("INVALID_CONFIG"), "{wrong}");
    broker.ok(
        &["topic", "alter", "a", "-p", "3", "--unset", "retention.ms"],
        "",
    );
    broker.ok(&["topic", "alter", "a", "--set", "durability=memory"], "");
    let shown = broker.ok(&["topic", "describe", "a", "--json"], "");
    assert!(
        shown.contains("\"settings\":{\"durability\":\"memory\"}"),
        "{shown}"
    );
    assert_eq!(shown.matches("\"partition\":").count(), 3);
    assert_eq!(broker.ok(&["topic", "list", "--quiet"], ""), "a\n");
    broker.ok(&["topic", "delete", "a", "--yes"], "");
    assert_eq!(broker.ok(&["topic", "list", "--quiet"], ""), "");
    assert!(
        broker
            .refused(&["consume", "a"])
            .contains("no topic named a")
    );
}

#[test]
fn what_is_produced_is_consumed_also_after_a_kill() {
    let dir = data("records");
    let broker = Broker::start(&dir, "2");
    broker.ok(&["topic", "create", "t", "-p", "3"], "");
    let mut expected: Vec<String> = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..2_000).map(|at| format!("{codec}-{at}\n")).collect();
        broker.ok(&["produce", "t", "-z", codec], &lines);
        expected.extend(lines.lines().map(str::to_owned));
    }
    expected.sort();
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(broker.ok(&["consume", "t"], "")), expected);
    drop(broker);
    // Another number of shards finds the same records.
    let broker = Broker::start(&dir, "1");
    assert_eq!(sorted(broker.ok(&["consume", "t"], "")), expected);
    let few = broker.ok(&["consume", "t", "--from", "@1h", "-n", "5"], "");
    assert_eq!(few.lines().count(), 5);
}

#[test]
fn keys_headers_and_nulls_come_back() {
    let broker = Broker::start(&data("shapes"), "1");
    broker.ok(&["topic", "create", "t", "-p", "4"], "");
    let options = [
        "produce",
        "t",
        "-K",
        ":",
        "-H",
        "h=v",
        "--null-value",
        "NULL",
    ];
    broker.ok(&options, "foobar:1\nabc:NULL\nfoobar:2\n");
    let format = "%k|%s|%S|%h|%p\\n";
    let mut shown: Vec<String> = broker
        .ok(&["consume", "t", "-f", format], "")
        .lines()
        .map(str::to_owned)
        .collect();
    shown.sort();
    // The partitions are those that a Java client chooses.
    let (foobar, abc) = ((-790_332_482_i32 & i32::MAX) % 4, 479_470_107 % 4);
    let expected = [
        format!("abc||-1|h=v|{abc}"),
        format!("foobar|1|1|h=v|{foobar}"),
        format!("foobar|2|1|h=v|{foobar}"),
    ];
    assert_eq!(shown, expected);
    let json = broker.ok(&["consume", "t", "--json", "-p", &abc.to_string()], "");
    assert!(json.contains("\"key\":\"abc\",\"value\":null"), "{json}");
    assert!(
        broker
            .refused(&["consume", "t", "-p", "9"])
            .contains("no partition 9")
    );
}

#[test]
fn offsets_of_a_group_are_moved_and_outlive_a_kill() {
    let dir = data("groups");
    let broker = Broker::start(&dir, "2");
    broker.ok(&["topic", "create", "t"], "");
    broker.ok(&["produce", "t"], "a\nb\nc\n");
    let reset = |broker: &Broker, to: &str| {
        let options = [
            "group",
            "reset-offsets",
            "g",
            "-t",
            "t",
            "--yes",
            "--json",
            "--to",
            to,
        ];
        broker.ok(&options, "")
    };
    assert!(reset(&broker, "latest").contains("\"from\":null,\"to\":3"));
    assert!(reset(&broker, "-2").contains("\"from\":3,\"to\":1"));
    assert!(reset(&broker, "99").contains("\"to\":3"));
    assert!(reset(&broker, "1").contains("\"to\":1"));
    drop(broker);
    let broker = Broker::start(&dir, "1");
    let shown = broker.ok(&["group", "describe", "g", "--json"], "");
    assert!(shown.contains("\"state\":\"Empty\""), "{shown}");
    assert!(
        shown.contains("\"committed\":1,\"ends\":3,\"lag\":2"),
        "{shown}"
    );
    let listed = broker.ok(&["group", "list", "--state", "empty", "--json"], "");
    assert_eq!(listed.lines().count(), 1);
    broker.ok(&["group", "delete", "g", "--yes"], "");
    assert!(
        broker
            .refused(&["group", "describe", "g"])
            .contains("no group named g")
    );
    assert!(
        broker
            .refused(&["group", "delete", "g", "-y"])
            .contains("GROUP_ID_NOT_FOUND")
    );
}

#[test]
fn a_broker_that_is_not_there_is_told_with_advice() {
    let output = Command::new(PROGRAM)
        .args(["topic", "list", "-b", "127.0.0.1:1"])
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("cannot reach a broker at 127.0.0.1:1"),
        "{told}"
    );
    assert!(told.contains("ringlog serve"), "{told}");
}

#[test]
fn settings_are_checked_and_shown() {
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .output()
            .expect("it starts");
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    assert!(run(&["config", "check", "--set", "num.partitions=3"]).0);
    let (ok, told) = run(&["config", "check", "--set", "num.partition=3"]);
    assert!(!ok && told.contains("num.partitions"), "{told}");
    let (ok, told) = run(&["config", "show", "--set", "num.partitions=3"]);
    assert!(ok && told.contains("num.partitions  3"), "{told}");
    let (ok, told) = run(&["config", "show", "num.partition"]);
    assert!(
        !ok && told.contains("did you mean num.partitions?"),
        "{told}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).1.contains("reset-offsets"));
    }
    let (ok, page) = run(&["man"]);
    assert!(ok && page.contains("RINGLOG GROUP RESET-OFFSETS"), "{page}");
}

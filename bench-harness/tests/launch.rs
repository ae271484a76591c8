//! Brokers end with the harness, however that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HARNESS: &str = env!("CARGO_BIN_EXE_bench-harness");

/// One that has ended may wait for somebody to ask how.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_launched_program_is_killed_with_whoever_launched_it() {
    let script = format!("'{HARNESS}' launch --parent $$ -- sleep 600 & echo $!; wait");
    let mut parent = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("it is piped"))
        .read_line(&mut line)
        .expect("the shell tells the process id");
    let pid: u32 = line.trim().parse().expect("the shell tells the process id");
    let patience = Instant::now() + Duration::from_secs(60);
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    while name().trim() != "sleep" {
        assert!(
            Instant::now() < patience,
            "it became no sleep but {}",
            name()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    parent.kill().expect("the shell runs");
    parent.wait().expect("the shell was killed");
    while runs(pid) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = runs(pid);
    if left {
        Command::new("kill")
            .arg(pid.to_string())
            .status()
            .expect("kill is there");
    }
    assert!(!left, "it outlived its parent");
}

#[test]
fn nothing_is_launched_for_somebody_who_has_gone() {
    let output = Command::new(HARNESS)
        .args(["launch", "--parent", "1", "--", "echo", "launched"])
        .output()
        .expect("the harness runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(said.contains("the parent has ended"), "{said}");
}

#[test]
fn files_that_hold_no_results_are_refused() {
    let output = Command::new(HARNESS)
        .args(["report", "/nonexistent/report.json"])
        .output()
        .expect("the harness runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.starts_with("error: cannot read /nonexistent/report.json"),
        "{said}"
    );
}

#[test]
fn comparisons_that_cannot_be_made_say_what_can() {
    for (arguments, said) in [
        (&["compare", "--brokers", "redpanda"][..], "names no broker"),
        (&["compare", "--preset", "nonsense"], "nonsense"),
        (
            &["compare", "--preset", "produce", "--rates", "nan"],
            "is no rate",
        ),
        (
            &["compare", "--preset", "produce", "--rounds", "0"],
            "measures nothing",
        ),
        (
            &["quick", "--ringlog", "/nonexistent/ringlog"],
            "there is no ringlog at /nonexistent/ringlog",
        ),
    ] {
        let output = Command::new(HARNESS).args(arguments).output();
        let output = output.expect("the harness runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            text.contains("error: ") && text.contains(said),
            "{arguments:?}: {text}"
        );
    }
}

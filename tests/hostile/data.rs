//! Data directories that are not as the broker left them, in use, or on other file systems.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::broker::{Broker, fresh_dir, launch, wait_for};
use crate::client::{Client, batch, stored};

/// The line with which a broker refuses to start on `dir`.
fn refusal(dir: &Path, settings: &[&str]) -> String {
    let (mut child, log) = launch(dir, settings);
    let ended = wait_for("a refusal", || child.try_wait().expect("a child"));
    assert_eq!(ended.code(), Some(1), "{log:?}");
    wait_for("a reason", || {
        let lines = log.lock().expect("no reader panicked");
        lines.iter().find(|line| line.contains("error:")).cloned()
    })
}

/// A broker's directory with a few records in it, after a clean stop or a kill.
fn used_dir(name: &str, clean: bool) -> PathBuf {
    let dir = fresh_dir(name);
    let mut broker = Broker::start_in(&dir, &[]);
    let mut client = Client::connect(broker.address);
    for topic in ["one", "two"] {
        client.create_topic(topic, 1, &[]);
        for at in 0..4 {
            assert_eq!(
                client.produce(topic, 0, &batch(&vec![at as u8; 300_000])),
                (0, at)
            );
        }
    }
    broker.signal(if clean { "TERM" } else { "KILL" });
    broker.wait();
    dir
}

/// Every file below `dir` with its path.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn disk_bytes(dir: &Path) -> u64 {
    let blocks = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512);
    files(dir).iter().map(blocks).sum()
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = fresh_dir("in-use");
    let broker = Broker::start_in(&dir, &[]);
    let line = refusal(&dir, &[]);
    assert!(
        line.contains("another") && line.contains("hostile-in-use"),
        "{line}"
    );
    assert_eq!(Client::connect(broker.address).topic_error("served"), 0);
}

/// No damage to any one file stops the broker without a word, or makes it serve other bytes than
/// were written: it refuses with a line that names the file, fences the partition and says so, or
/// does without the file.
#[test]
fn any_one_file_that_is_damaged_or_missing_is_noticed_or_not_needed() {
    for clean in [true, false] {
        let origin = used_dir(if clean { "clean" } else { "killed" }, clean);
        for file in files(&origin) {
            for damage in ["missing", "empty", "noise", "half"] {
                let copy = fresh_dir("damaged");
                copy_dir(&origin, &copy);
                let name = file.strip_prefix(&origin).expect("a file below");
                hurt(&copy.join(name), damage);
                start_on_damage(&copy, name, damage);
            }
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    assert!(done.expect("cp").success());
}

fn hurt(path: &Path, damage: &str) {
    let mut bytes = std::fs::read(path).expect("a file");
    match damage {
        "missing" => return std::fs::remove_file(path).expect("removed"),
        "empty" => bytes.clear(),
        "half" => bytes.truncate(bytes.len() / 2),
        _ => bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55),
    }
    std::fs::write(path, bytes).expect("written");
}

fn start_on_damage(dir: &Path, name: &Path, damage: &str) {
    let what = format!("{} {damage}", name.display());
    let (mut child, log) = launch(dir, &[]);
    let output = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let told = std::io::BufRead::lines(output)
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    match told {
        None => {
            let ended = wait_for("a refusal", || child.try_wait().expect("a child"));
            assert_eq!(ended.code(), Some(1), "{what}");
            wait_for(&format!("a reason: {what}"), || {
                let lines = log.lock().expect("no reader panicked");
                lines
                    .iter()
                    .any(|line| line.contains("error:"))
                    .then_some(())
            });
        }
        Some(address) => {
            let mut client = Client::connect(address.parse().expect("an address"));
            for topic in ["one", "two"] {
                serves_only_the_truth(&mut client, topic, &what);
            }
            let _ = child.kill();
        }
    }
    let _ = child.wait();
    let lines = log.lock().expect("no reader panicked").join("\n");
    assert!(!lines.contains("panicked"), "{what}: {lines}");
}

/// Whatever a topic still has is what was written.
fn serves_only_the_truth(client: &mut Client, topic: &str, what: &str) {
    for at in 0..4 {
        if let Some(got) = client.try_fetch(topic, 0, at, 1 << 20)
            && !got.is_empty()
        {
            let expected = stored(&batch(&vec![at as u8; 300_000]), at);
            let same = got[..expected.len().min(got.len())] == expected[..];
            assert!(same, "{what}: {topic} at {at}: {} bytes", got.len());
        }
    }
}

#[test]
fn a_thousand_empty_partitions_take_no_space_and_a_deleted_topic_gives_its_space_back() {
    let dir = fresh_dir("space");
    let broker = Broker::start_in(&dir, &["recycle.bytes=0", "journal.bytes=4194304"]);
    let mut client = Client::connect(broker.address);
    // Each of the two shards fills two files of its journal ahead while it serves, and the metadata
    // has two of 256 KiB. (Of longer files the first would be a shorter one.)
    let before = wait_for("the journal's files", || {
        let bytes = disk_bytes(&dir);
        (bytes >= ((4 * 4) << 20) + (2 << 18)).then_some(bytes)
    });
    client.create_topic("empty", 1_000, &[]);
    let taken = disk_bytes(&dir).saturating_sub(before);
    assert!(taken < 2 << 20, "1,000 empty partitions take {taken} bytes");
    client.create_topic("full", 1, &[]);
    for at in 0..40 {
        assert_eq!(
            client.produce("full", 0, &batch(&vec![9; 1_000_000])),
            (0, at)
        );
    }
    assert!(disk_bytes(&dir) > before + (38 << 20));
    client.delete_topic("full");
    wait_for("the space of a deleted topic", || {
        (disk_bytes(&dir) < before + (12 << 20)).then_some(())
    });
}

#[test]
fn several_directories_share_the_partitions() {
    let dirs = [fresh_dir("dir-1"), fresh_dir("dir-2"), fresh_dir("dir-3")];
    let list = dirs
        .each_ref()
        .map(|dir| dir.display().to_string())
        .join(",");
    let setting = format!("log.dirs={list}");
    let mut broker = Broker::start_in(&dirs[0], &[&setting]);
    let mut client = Client::connect(broker.address);
    client.create_topic("spread", 9, &[]);
    for partition in 0..9 {
        assert_eq!(
            client.produce("spread", partition, &batch(&vec![3; 400_000])),
            (0, 0)
        );
    }
    for dir in &dirs {
        assert!(disk_bytes(dir) > 400_000, "{} is empty", dir.display());
    }
    broker.signal("KILL");
    broker.wait();
    let broker = Broker::start_in(&dirs[0], &[&setting]);
    let mut client = Client::connect(broker.address);
    assert!((0..9).all(|partition| client.end("spread", partition) == 1));
}

#[test]
fn a_file_system_in_memory_works_and_is_mentioned_once() {
    let dir = PathBuf::from(format!("/dev/shm/ringlog-hostile-{}", std::process::id()));
    let broker = Broker::start_in(&dir, &[]);
    let mut client = Client::connect(broker.address);
    client.create_topic("memory", 3, &[]);
    for at in 0..6 {
        for partition in 0..3 {
            assert_eq!(
                client.produce("memory", partition, &batch(&vec![4; 300_000])),
                (0, at)
            );
        }
    }
    broker.expect_line("direct I/O");
    let lines = broker
        .log()
        .iter()
        .filter(|line| line.contains("direct I/O"))
        .count();
    let removed = std::fs::remove_dir_all(&dir);
    assert_eq!(lines, 1, "{:?}", broker.log());
    removed.expect("removed");
}

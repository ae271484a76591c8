//! Data directories that a broker cannot use: it says why, and changes nothing.

use super::{Broker, data, read, refused_start, serve};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ARGUMENTS: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--shards",
    "2",
    "--set",
    "journal.bytes=1048576",
];

/// A directory that a broker with some records has left, cleanly.
fn used(name: &str) -> PathBuf {
    // Enough for blocks in segments and checkpoints of them, on both shards.
    used_for(name, 4_000)
}

/// The same with so many records.
fn used_for(name: &str, records: usize) -> PathBuf {
    let dir = data(name);
    let mut broker = Broker::start_with(&dir, &ARGUMENTS);
    broker.ok(&["topic", "create", "t", "-p", "4"], "");
    let filler = "0123456789abcdef".repeat(64);
    let lines: String = (0..records)
        .map(|at| format!("key{at}:{at} {filler}\n"))
        .collect();
    broker.ok(&["produce", "t", "-K", ":"], &lines);
    assert!(broker.stop().success());
    dir
}

/// The names and sizes of all files below a directory.
fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path, entry.metadata().expect("a file").len()));
        }
    }
    all.sort();
    all
}

/// A start over `dir` must fail with one line that says all of `expected`, and change nothing.
fn fails(dir: &Path, expected: &[&str]) {
    let before = files(dir);
    let told = refused_start(dir, &ARGUMENTS);
    for words in expected {
        assert!(told.contains(words), "{words}: {told}");
    }
    let errors = told
        .lines()
        .filter(|line| line.starts_with("ringlog: error: "));
    assert_eq!(errors.count(), 1, "{told}");
    assert_eq!(files(dir), before);
}

fn journals(dir: &Path, shard: &str) -> Vec<PathBuf> {
    let all = files(&dir.join("journal"))
        .into_iter()
        .map(|(path, _)| path);
    let name = |path: &PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let found: Vec<_> = all
        .filter(|path| name(path).is_some_and(|name| name.starts_with(shard)))
        .collect();
    assert!(!found.is_empty(), "no journal of {shard}");
    found
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = data("in-use");
    let broker = Broker::start_with(&dir, &ARGUMENTS);
    let told = refused_start(&dir, &ARGUMENTS);
    assert!(
        told.contains("another process uses the log directory"),
        "{told}"
    );
    assert!(told.contains("lock"), "{told}");
    assert!(told.contains("waiting some seconds"), "{told}");
    broker.ok(&["topic", "list"], "");
    let meta = dir.join("meta");
    let output = broker.run(&["inspect", meta.to_str().expect("text")], "");
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && warned.contains("a broker uses"),
        "{warned}"
    );
}

#[test]
fn a_start_waits_for_a_process_that_goes_and_says_so() {
    let dir = data("in-use-for-now");
    let errors = dir.with_extension("errors");
    let mut first = Broker::start_with(&dir, &ARGUMENTS);
    let second = {
        let dir = dir.clone();
        std::thread::spawn(move || Broker::start_with(&dir, &ARGUMENTS))
    };
    // The second one's words replace those of the first.
    while !read(&errors).contains("waiting some seconds") {
        assert!(!second.is_finished(), "{}", read(&errors));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    first.child.kill().expect("killed");
    let second = second.join().expect("the second broker starts");
    second.ok(&["topic", "list"], "");
}

#[test]
fn a_directory_of_another_version_is_not_touched() {
    let dir = used("version");
    let meta = dir.join("meta");
    let mut block = fs::read(&meta).expect("a file");
    block[4..6].copy_from_slice(&9_u16.to_le_bytes());
    let sum = crc32c::crc32c(&block[..4092]);
    block[4092..4096].copy_from_slice(&sum.to_le_bytes());
    fs::write(&meta, block).expect("written");
    fails(&dir, &["version 9", "version 1"]);
}

#[test]
fn a_missing_or_damaged_meta_is_told() {
    let dir = used("meta");
    let meta = dir.join("meta");
    let whole = fs::read(&meta).expect("a file");
    let mut damaged = whole.clone();
    damaged[9] ^= 1;
    fs::write(&meta, &damaged).expect("written");
    fails(&dir, &["meta", "damaged", "backup"]);
    fs::write(&meta, b"").expect("written");
    fails(&dir, &["meta", "empty", "backup"]);
    // The file itself is made when it is opened; its absence and its emptiness are one.
    fs::remove_file(&meta).expect("removed");
    let told = refused_start(&dir, &ARGUMENTS);
    assert!(told.contains("meta"), "{told}");
    fs::write(&meta, &whole).expect("written");
    let broker = Broker::start_with(&dir, &ARGUMENTS);
    assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), 4_000);
}

#[test]
fn journals_that_are_gone_do_not_make_a_new_cluster() {
    let dir = used("journals");
    let kept = dir.with_extension("kept");
    let _ = fs::remove_dir_all(&kept);
    let folder = dir.join("journal");
    fs::rename(&folder, &kept).expect("moved");
    fs::create_dir(&folder).expect("made");
    fails(
        &dir,
        &["journal of its metadata is missing or damaged", "backup"],
    );
    fs::remove_dir(&folder).expect("removed");
    fs::rename(&kept, &folder).expect("moved back");
    let mut in_use = 0;
    for path in journals(&dir, "meta") {
        let whole = fs::read(&path).expect("a file");
        if whole.iter().all(|byte| *byte == 0) {
            // It is there for later.
            continue;
        }
        in_use += 1;
        fs::write(&path, vec![0; whole.len()]).expect("written");
        fails(
            &dir,
            &["journal of its metadata is missing or damaged", "backup"],
        );
        fs::write(&path, &whole).expect("written");
    }
    assert!(in_use > 0, "no journal of the metadata was written to");
    let broker = Broker::start_with(&dir, &ARGUMENTS);
    assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), 4_000);
}

#[test]
fn a_lost_journal_does_not_empty_its_partitions() {
    // With few records nothing but the journal ever knew of them.
    for records in [40, 4_000] {
        let dir = used_for(&format!("lost-journal-{records}"), records);
        let topics = files(&dir.join("topics"));
        for shard in ["0-", "1-"] {
            let lost = journals(&dir, shard).into_iter();
            let lost: Vec<_> = lost
                .map(|path| (fs::read(&path).expect("a file"), path))
                .collect();
            for (_, path) in &lost {
                fs::remove_file(path).expect("removed");
            }
            let expected = format!("the journal of shard {} is missing", &shard[..1]);
            fails(&dir, &[&expected, "backup"]);
            for (whole, path) in &lost {
                let mut damaged = whole.clone();
                damaged[..64].fill(0xaa);
                fs::write(path, damaged).expect("written");
            }
            fails(&dir, &[&expected, "backup"]);
            assert_eq!(files(&dir.join("topics")), topics);
            for (whole, path) in &lost {
                fs::write(path, whole).expect("written");
            }
        }
        let broker = Broker::start_with(&dir, &ARGUMENTS);
        assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), records);
    }
}

/// An empty folder where a disk is not mounted is no new directory.
#[test]
fn a_disk_that_is_not_mounted_is_missed() {
    let (first, second) = (data("mounted"), data("unmounted"));
    let dirs = format!("log.dirs={},{}", first.display(), second.display());
    let both = [&ARGUMENTS[..], &["--set", &dirs]].concat();
    let one = format!("log.dirs={}", first.display());
    let one = [&ARGUMENTS[..], &["--set", &one]].concat();
    let mut broker = Broker::start_with(&first, &both);
    broker.ok(&["topic", "create", "t", "-p", "8"], "");
    let lines: String = (0..80).map(|at| format!("key{at}:{at}\n")).collect();
    broker.ok(&["produce", "t", "-K", ":"], &lines);
    assert!(broker.stop().success());
    let away = second.with_extension("away");
    let _ = fs::remove_dir_all(&away);
    fs::rename(&second, &away).expect("moved");
    fs::create_dir(&second).expect("made");
    let told = refused_start(&first, &both);
    for words in [&*second.display().to_string(), "is empty", "mount"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    fs::remove_dir_all(&second).expect("removed");
    fs::rename(&away, &second).expect("moved back");
    let mut broker = Broker::start_with(&first, &both);
    assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), 80);
    assert!(broker.stop().success());
    // To go on without it is a decision, and then another directory may be added.
    let mut broker = Broker::start_with(&first, &one);
    let left = broker.ok(&["consume", "t"], "").lines().count();
    assert!((1..80).contains(&left), "{left} records left");
    assert!(broker.stop().success());
    fs::remove_dir_all(&second).expect("removed");
    let broker = Broker::start_with(&first, &both);
    assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), left);
}

#[test]
fn a_damaged_checkpoint_is_made_anew() {
    let dir = used("checkpoint");
    let found = files(&dir.join("topics"));
    let checkpoints = found
        .iter()
        .filter(|(path, _)| path.ends_with("checkpoint"));
    let mut count = 0;
    for (path, _) in checkpoints {
        let mut bytes = fs::read(path).expect("a file");
        bytes[20] ^= 1;
        fs::write(path, bytes).expect("written");
        count += 1;
    }
    assert!(count > 0, "{found:?}");
    let broker = Broker::start_with(&dir, &ARGUMENTS);
    assert_eq!(broker.ok(&["consume", "t"], "").lines().count(), 4_000);
}

#[test]
fn a_missing_segment_fences_its_partition_and_no_other() {
    let dir = used("segment");
    let found = files(&dir.join("topics"));
    // The longest: that of the metadata holds nothing yet.
    let segment = found
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "log"))
        .max_by_key(|(_, len)| *len);
    let (segment, _) = segment.expect("a segment");
    fs::remove_file(segment).expect("removed");
    let broker = Broker::start_with(&dir, &ARGUMENTS);
    assert!(
        broker.said().contains("damaged and fenced"),
        "{}",
        broker.said()
    );
    assert!(
        broker
            .refused(&["consume", "t"])
            .contains("KAFKA_STORAGE_ERROR")
    );
    broker.ok(&["topic", "create", "u"], "");
    broker.ok(&["produce", "u"], "a\n");
    assert_eq!(broker.ok(&["consume", "u"], ""), "a\n");
}

/// The folder that holds a data directory is somebody else's: to pass through it is enough.
#[test]
fn the_folder_around_a_data_directory_need_not_be_readable() {
    let around = data("around");
    let dir = around.join("data");
    fs::create_dir_all(&dir).expect("a directory");
    let mode = |bits| fs::set_permissions(&around, fs::Permissions::from_mode(bits));
    mode(0o311).expect("ours");
    let may_all = fs::read_dir(&around).is_ok();
    let mut command = serve(&dir, &ARGUMENTS);
    if may_all {
        // The superuser, but without what lets it read everything.
        let mut plain = Command::new("setpriv");
        plain.arg("--bounding-set=-dac_override,-dac_read_search");
        plain.arg("--inh-caps=-dac_override,-dac_read_search");
        plain.arg(command.get_program()).args(command.get_args());
        plain.stdin(Stdio::null()).stdout(Stdio::piped());
        command = plain;
    }
    let mut broker = Broker::start_by(&mut command, &dir);
    broker.ok(&["topic", "create", "t"], "");
    assert!(broker.stop().success());
    mode(0o755).expect("ours");
}

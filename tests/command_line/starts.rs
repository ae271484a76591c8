//! How a broker starts, what it says, how it stops.

use super::{Broker, PROGRAM, data, refused_start};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// What a fresh installation of Kafka 4.2 starts with.
const SERVER_PROPERTIES: &str = "\
# Licensed to whom it may concern
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\\
    SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/nowhere
num.partitions=3
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn a_start_says_where_it_listens_and_what_to_try() {
    let dir = data("welcome");
    let broker = Broker::start_with(&dir, &["--listen", "localhost:0", "--shards", "2"]);
    let (_, port) = broker.address.rsplit_once(':').expect("a port");
    let mut bases = vec![format!("127.0.0.1:{port}")];
    if TcpListener::bind("[::1]:0").is_ok() {
        bases.push(format!("[::1]:{port}"));
    }
    for (at, base) in bases.iter().enumerate() {
        assert_eq!(broker.told[at], format!("listening on {base}"));
        broker.ok(&["topic", "list", "-b", base], "");
    }
    broker.ok(&["topic", "list", "-b", &format!("localhost:{port}")], "");
    let whole = fs::canonicalize(&dir).expect("it is there");
    let data = &broker.told[bases.len()];
    assert!(
        data.starts_with(&format!("data in {}, 2 shard(s)", whole.display())),
        "{data}"
    );
    assert!(data.contains("durability = disk"), "{data}");

    let [create, produce, consume] = &broker.told[bases.len() + 1..] else {
        panic!("{:?}", broker.told);
    };
    let shell = |line: &str| {
        let output = Command::new("sh")
            .args(["-c", line])
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    shell(create.strip_prefix("try: ").expect("the first"));
    shell(produce);
    assert_eq!(shell(&format!("{consume} --count 1")), "hello\n");
}

#[test]
fn kafkas_own_server_properties_starts_it() {
    let dir = data("properties");
    let file = dir.with_extension("properties");
    fs::write(&file, SERVER_PROPERTIES).expect("written");
    let config = file.to_str().expect("text");
    let mut broker = Broker::start_with(
        &dir,
        &[
            "--config",
            config,
            "--listen",
            "127.0.0.1:0",
            "--advertise",
            "127.0.0.1:0",
        ],
    );
    broker.ok(&["topic", "create", "t"], "");
    let shown = broker.ok(&["topic", "describe", "t", "--json"], "");
    assert_eq!(shown.matches("\"partition\":").count(), 3, "{shown}");
    assert!(broker.stop().success());
    let said = broker.said();
    let warnings: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("no effect"))
        .collect();
    assert_eq!(warnings.len(), 1, "{said}");
    for name in [
        "controller.quorum.bootstrap.servers",
        "transaction.state.log.min.isr",
    ] {
        assert_eq!(warnings[0].matches(name).count(), 1, "{said}");
    }
}

#[test]
fn a_server_properties_in_latin_1_starts_it() {
    let dir = data("latin-1");
    let file = dir.with_extension("properties");
    fs::write(&file, b"# Schl\xfcssel\r\nnum.partitions=\\\r\n  3\r\n").expect("written");
    let config = file.to_str().expect("text");
    let broker = Broker::start_with(&dir, &["--config", config, "--listen", "127.0.0.1:0"]);
    broker.ok(&["topic", "create", "t"], "");
    let shown = broker.ok(&["topic", "describe", "t", "--json"], "");
    assert_eq!(shown.matches("\"partition\":").count(), 3, "{shown}");

    let file = dir.with_extension("toml");
    fs::write(&file, b"# Schl\xfcssel\n").expect("written");
    let config = file.to_str().expect("text");
    let told = refused_start(&data("latin-1-toml"), &["--config", config]);
    assert!(told.contains("TOML must be UTF-8"), "{told}");
}

#[test]
fn wrong_settings_are_refused_with_advice() {
    let dir = data("wrong-settings");
    let file = dir.with_extension("toml");
    fs::write(&file, "num.partiton = 3\n").expect("written");
    let config = file.to_str().expect("text");
    for (arguments, expected) in [
        (["--config", config], "did you mean num.partitions?"),
        (
            ["--set", "log.retention.hour=1"],
            "did you mean log.retention.hours?",
        ),
        (["--set", "num.partitions"], "expected KEY=VALUE"),
        (["--listen", "localhost"], "a host and a port are needed"),
        (["--listen", "localhost:http"], "the port is a number"),
        (["--shards", "0"], "0 is not in 1..=1024"),
        (
            ["--config", "/nowhere/x.toml"],
            "cannot read /nowhere/x.toml",
        ),
        (
            ["--set", "listeners=SASL_SSL://:9092"],
            "SASL_SSL, which is not built yet",
        ),
        (
            ["--set", "listeners=SSL://:9092"],
            "SSL, which is not built yet",
        ),
        (["--set", "authorizer.class.name=x"], "protects the broker"),
        (
            ["--listen", "192.0.2.1:9092"],
            "this machine has no such address",
        ),
    ] {
        let told = refused_start(&dir, &arguments);
        assert!(told.contains(expected), "{arguments:?}: {told}");
        assert!(!dir.exists(), "{arguments:?} made a directory");
    }
}

#[test]
fn listeners_of_both_families_share_a_port() {
    let port = loop {
        let Ok(six) = TcpListener::bind("[::1]:0") else {
            return; // This machine has no IPv6.
        };
        let port = six.local_addr().expect("bound").port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            break port;
        }
    };
    let listeners = format!("listeners=A://127.0.0.1:{port},B://[::1]:{port}");
    let broker = Broker::start_with(
        &data("both-families"),
        &[
            "--set",
            &listeners,
            "--set",
            "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
        ],
    );
    broker.ok(&["topic", "create", "t"], "");
    for base in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert!(broker.told.contains(&format!("listening on {base}")));
        broker.ok(&["produce", "t", "-b", &base], "a\n");
    }
}

#[test]
fn shards_get_ports_and_ids_only_where_there_are_some() {
    let dir = data("wrong-shard-ports");
    for (given, expected) in [
        (
            ["shard.listener.port=65536", "node.id=1"],
            "shard.listener.port",
        ),
        (
            ["shard.listener.port=65535", "node.id=1"],
            "the ports 65535 to 65536",
        ),
        (
            [
                "shard.listener.port=9091",
                "listeners=PLAINTEXT://127.0.0.1:9092",
            ],
            "127.0.0.1:9092 is one of the listeners",
        ),
        (
            ["shard.listener.port=9200", "node.id=1000000"],
            "it is 1000000",
        ),
    ] {
        let [port, other] = given;
        let arguments = ["--shards", "2", "--set", port, "--set", other];
        let told = refused_start(&dir, &arguments);
        assert!(told.contains(expected), "{given:?}: {told}");
        assert!(!dir.exists(), "{given:?} made a directory");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let (first, shards) = match port.checked_sub(1) {
        Some(first) if first > 1023 => (first, "2"),
        _ => (port, "1"),
    };
    let setting = format!("shard.listener.port={first}");
    let arguments = [
        "--shards",
        shards,
        "--listen",
        "127.0.0.1:0",
        "--set",
        &setting,
    ];
    let told = refused_start(&data("shard-port-in-use"), &arguments);
    let advice = "Choose other ports for the shards with --set shard.listener.port=PORT";
    assert!(
        told.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{told}"
    );
    assert!(told.contains(advice), "{told}");
}

#[test]
fn a_directory_of_a_node_with_too_high_a_number_is_not_shown_as_shards() {
    let dir = data("high-node");
    let listen = ["--listen", "127.0.0.1:0", "--shards", "2"];
    let mut broker =
        Broker::start_with(&dir, &[&listen[..], &["--set", "node.id=2000000"]].concat());
    broker.stop();
    // The settings say nothing of the number now: the directory does.
    let ports = ["--set", "shard.listener.port=9200"];
    let told = refused_start(&dir, &[&listen[..], &ports].concat());
    assert!(told.contains("it is 2000000"), "{told}");
}

#[test]
fn the_programs_own_commands_find_the_shards() {
    let dir = data("shard-ports");
    // No other test has this address.
    let host = format!("127.200.{}.1", std::process::id() % 250 + 1);
    let listen = format!("{host}:0");
    let settings = [
        "--listen",
        &listen,
        "--shards",
        "2",
        "--set",
        "shard.listener.port=9200",
    ];
    let mut broker = Broker::start_with(&dir, &settings);
    let says = "each shard is a broker to clients, on the ports 9200 to 9201";
    assert!(
        broker.told.iter().any(|line| line == says),
        "{:?}",
        broker.told
    );
    broker.ok(&["topic", "create", "t", "--partitions", "4"], "");
    let lines: String = (0..100).map(|at| format!("{at}\n")).collect();
    broker.ok(&["produce", "t"], &lines);
    for port in [9200, 9201] {
        let base = format!("{host}:{port}");
        let read = broker.ok(&["consume", "t", "-b", &base, "--count", "100"], "");
        assert_eq!(read.lines().count(), 100);
    }
    broker.stop();
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let told = refused_start(&data("port-in-use"), &["--listen", &address]);
    assert!(
        told.contains(&format!("cannot listen on {address}")),
        "{told}"
    );
    assert!(told.contains("Is another broker running there?"), "{told}");
}

#[test]
fn a_stop_answers_whoever_waits_and_leaves_a_clean_mark() {
    let dir = data("stops");
    let mut broker = Broker::start(&dir, "2");
    assert!(
        broker.said().contains("begun in a new data directory"),
        "{}",
        broker.said()
    );
    broker.ok(&["topic", "create", "t"], "");
    // Its fetch waits for records that never come.
    let mut follower = Command::new(PROGRAM)
        .args(["consume", "t", "--follow", "-b", &broker.address])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    broker.ok(&["produce", "t"], "a\n");
    assert!(broker.stop().success(), "{}", broker.said());
    assert!(
        broker.said().ends_with("stopped cleanly\n"),
        "{}",
        broker.said()
    );
    follower.kill().expect("killed");
    follower.wait().expect("it ends");

    let broker = Broker::start(&dir, "2");
    assert!(
        broker.said().contains("start 2 after a clean stop"),
        "{}",
        broker.said()
    );
    assert!(
        broker.said().contains("1 partition holds data"),
        "{}",
        broker.said()
    );
    drop(broker);
    let broker = Broker::start(&dir, "2");
    assert!(
        broker.said().contains("start 3 after an unclean stop"),
        "{}",
        broker.said()
    );
    assert_eq!(broker.ok(&["consume", "t"], ""), "a\n");
}

/// Bytes that a process has had read from disks.
fn bytes_read(broker: &Broker) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/io", broker.child.id())).expect("a Linux");
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    line.expect("a counter").parse().expect("a number")
}

#[test]
fn a_start_after_a_clean_stop_reads_no_records() {
    let dir = data("clean-start");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--shards",
        "2",
        "--set",
        "journal.bytes=1048576",
    ];
    let mut broker = Broker::start_with(&dir, &arguments);
    broker.ok(&["topic", "create", "t", "-p", "4"], "");
    let line = "0123456789abcdef".repeat(64);
    let lines: String = (0..16_384).map(|at| format!("{at} {line}\n")).collect();
    broker.ok(&["produce", "t", "--timeout", "120"], &lines);
    assert!(broker.stop().success());
    let broker = Broker::start_with(&dir, &arguments);
    // 16 MiB of records; the journals and the first and last block of each log are read.
    let read = bytes_read(&broker);
    assert!(read < 8 << 20, "{read} bytes were read");
    let consumed = broker.ok(&["consume", "t"], "");
    assert_eq!(consumed.len(), lines.len());
}

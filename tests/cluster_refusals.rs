//! What the controller refuses, and in which words. The words are those that a running Apache
//! Kafka 4.2.0 answered to the same requests (one broker, topics `t` and `a.b`), except where ours
//! say what is not built.

use reactor::op::Now;
use ringlog::cluster::command::{
    Answer, Change, Command, MorePartitions, NewTopic, Op, Resource, ResourceChange,
    ResourceReplacement, TopicRef,
};
use ringlog::cluster::{Controller, ErrorKind, Fx, Image};
use ringlog::config::Static;
use std::sync::Arc;
use storage::types::TopicId;

/// A controller that commits each write at once.
struct Cluster {
    controller: Controller,
}

impl Cluster {
    fn new() -> Self {
        let fixed = Arc::new(Static::default());
        let controller = Controller::new(fixed, Image::default(), 0, 1);
        let mut cluster = Self { controller };
        cluster.ask(Command::Register);
        for (name, partitions) in [("t", 1), ("a.b", 1)] {
            let refused = cluster.create(topic(name, partitions, 1, &[]));
            assert_eq!(refused, None);
        }
        cluster
    }

    fn ask(&mut self, command: Command) -> Answer {
        let mut fx = Fx::default();
        self.controller.handle(Now::default(), command, 7, &mut fx);
        for write in std::mem::take(&mut fx.writes) {
            self.controller.committed(write.id, 0, &mut fx);
        }
        assert_eq!(fx.answers.len(), 1);
        let (ticket, answer) = fx.answers.remove(0);
        assert_eq!(ticket, 7);
        answer
    }

    fn create(&mut self, topic: NewTopic) -> Option<(ErrorKind, String)> {
        let command = Command::CreateTopics {
            topics: vec![topic],
            validate_only: false,
        };
        match self.ask(command) {
            Answer::Created(mut answers) => refused(answers.remove(0).1),
            other => panic!("{other:?}"),
        }
    }

    fn alter(&mut self, resource: Resource, changes: &[(&str, Op, Option<&str>)]) -> Refused {
        let change = |&(name, op, value): &(&str, Op, Option<&str>)| Change {
            name: name.to_owned(),
            op,
            value: value.map(str::to_owned),
        };
        let changes = changes.iter().map(change).collect();
        let command = Command::IncrementalAlterConfigs {
            resources: vec![ResourceChange { resource, changes }],
            validate_only: false,
        };
        match self.ask(command) {
            Answer::PerResource(mut answers) => refused(answers.remove(0).1),
            Answer::Failed(error) => refused::<()>(Err(error)),
            other => panic!("{other:?}"),
        }
    }

    fn grow(&mut self, name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>) -> Refused {
        let more = MorePartitions {
            name: name.to_owned(),
            count,
            assignments,
        };
        let command = Command::CreatePartitions {
            topics: vec![more],
            validate_only: true,
        };
        match self.ask(command) {
            Answer::PerTopic(mut answers) => refused(answers.remove(0).1),
            other => panic!("{other:?}"),
        }
    }
}

type Refused = Option<(ErrorKind, String)>;

fn refused<T>(result: Result<T, ringlog::cluster::Error>) -> Refused {
    result.err().map(|error| (error.kind, error.message))
}

fn topic(name: &str, partitions: i32, replicas: i16, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let config =
        |&(name, value): &(&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
    NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: replicas,
        assignments: Vec::new(),
        configs: configs.iter().map(config).collect(),
    }
}

fn expect(got: Refused, kind: ErrorKind, message: &str) {
    assert_eq!(got, Some((kind, message.to_owned())));
}

#[test]
fn names() {
    use ErrorKind::{InvalidTopicName, TopicAlreadyExists};
    let mut cluster = Cluster::new();
    let mut create = |name: &str| cluster.create(topic(name, 1, 1, &[]));
    expect(create("t"), TopicAlreadyExists, "Topic 't' already exists.");
    let message = "Topic name is invalid: '.' is not allowed";
    expect(create("."), InvalidTopicName, message);
    let message = "Topic name is invalid: the empty string is not allowed";
    expect(create(""), InvalidTopicName, message);
    let message = "Topic name is invalid: 'a b' contains one or more characters other than ASCII \
                   alphanumerics, '.', '_' and '-'";
    expect(create("a b"), InvalidTopicName, message);
    let message = "Topic 'a_b' collides with existing topic: a.b";
    expect(create("a_b"), InvalidTopicName, message);
}

#[test]
fn counts() {
    use ErrorKind::{InvalidPartitions, InvalidReplicationFactor, PolicyViolation};
    let mut cluster = Cluster::new();
    let mut create = |partitions, replicas| cluster.create(topic("n", partitions, replicas, &[]));
    let message = "Number of partitions was set to an invalid non-positive value.";
    expect(create(0, 1), InvalidPartitions, message);
    expect(create(-2, 1), InvalidPartitions, message);
    let message = "Replication factor must be larger than 0, or -1 to use the default value.";
    expect(create(1, 0), InvalidReplicationFactor, message);
    expect(create(1, -2), InvalidReplicationFactor, message);
    let message = "Unable to replicate the partition 3 time(s): The target replication factor of 3 \
                   cannot be reached because only 1 broker(s) are registered.";
    expect(create(1, 3), InvalidReplicationFactor, message);
    let message = "Excessively large number of partitions per request.";
    expect(create(10_001, 1), PolicyViolation, message);
    expect(create(i32::MAX, 1), PolicyViolation, message);
    let message = "Unable to perform excessively large batch operation.";
    expect(create(10_000, 1), PolicyViolation, message);
    assert_eq!(create(-1, -1), None);
    let made = cluster
        .controller
        .image()
        .topic("n")
        .map(|topic| topic.partitions.len());
    assert_eq!(made, Some(1));
}

#[test]
fn assignments() {
    use ErrorKind::InvalidReplicaAssignment;
    let mut cluster = Cluster::new();
    let mut assign = |assignments: &[(i32, &[i32])]| {
        let mut new = topic("n", -1, -1, &[]);
        let assignments = assignments
            .iter()
            .map(|(index, nodes)| (*index, nodes.to_vec()));
        new.assignments = assignments.collect();
        cluster.create(new)
    };
    let prefix = "The manual partition assignment includes";
    let message = format!("{prefix} broker 2, but no such broker is registered.");
    expect(assign(&[(0, &[2])]), InvalidReplicaAssignment, &message);
    expect(
        assign(&[(0, &[1]), (1, &[1, 2])]),
        InvalidReplicaAssignment,
        &message,
    );
    let message = format!("{prefix} the broker 1 more than once.");
    expect(assign(&[(0, &[1, 1])]), InvalidReplicaAssignment, &message);
    let message = format!("{prefix} an empty replica list.");
    expect(assign(&[(0, &[])]), InvalidReplicaAssignment, &message);
    let message = "partitions should be a consecutive 0-based integer sequence";
    expect(assign(&[(1, &[1])]), InvalidReplicaAssignment, message);
    expect(
        assign(&[(0, &[1]), (2, &[1])]),
        InvalidReplicaAssignment,
        message,
    );
    assert_eq!(assign(&[(1, &[1]), (0, &[1])]), None);
}

const TOPIC_SETTINGS: &str = include_str!("data/topic_settings.txt");

#[test]
fn topic_settings_at_creation_and_later() {
    let rows = TOPIC_SETTINGS.lines().filter(|line| !line.starts_with('#'));
    for (number, row) in rows.enumerate() {
        let mut fields = row.splitn(3, '|');
        let mut field = || fields.next().expect("a row has three fields");
        let (name, value, message) = (field(), field(), field());
        let mut cluster = Cluster::new();
        let expected =
            (!message.is_empty()).then(|| (ErrorKind::InvalidConfig, message.to_owned()));
        let new = topic(&format!("n{number}"), 1, 1, &[(name, Some(value))]);
        assert_eq!(cluster.create(new), expected, "create {name}={value}");
        let changes = [(name, Op::Set, Some(value))];
        let got = cluster.alter(Resource::Topic("t".to_owned()), &changes);
        assert_eq!(got, expected, "alter {name}={value}");
    }
}

#[test]
fn topic_settings_together() {
    use ErrorKind::InvalidConfig;
    let mut cluster = Cluster::new();
    let new = topic("n", 1, 1, &[("retention.ms", None)]);
    let message = "Null value not supported for topic configs: retention.ms";
    expect(cluster.create(new), InvalidConfig, message);
    let lags = [
        ("min.compaction.lag.ms", Some("10")),
        ("max.compaction.lag.ms", Some("5")),
    ];
    let message = "conflict topic config setting min.compaction.lag.ms (10) > \
                   max.compaction.lag.ms (5)";
    expect(
        cluster.create(topic("n", 1, 1, &lags)),
        InvalidConfig,
        message,
    );
}

#[test]
fn changes_of_topics() {
    use ErrorKind::{InvalidConfig, InvalidRequest, InvalidTopicName, UnknownTopic};
    let mut cluster = Cluster::new();
    let mut alter =
        |topic: &str, changes: &[_]| cluster.alter(Resource::Topic(topic.to_owned()), changes);
    let message = "Can't APPEND to key retention.ms because its type is not LIST.";
    expect(
        alter("t", &[("retention.ms", Op::Append, Some("5"))]),
        InvalidConfig,
        message,
    );
    let message = "Can't SUBTRACT to key nope because its type is not LIST.";
    expect(
        alter("t", &[("nope", Op::Subtract, Some("5"))]),
        InvalidConfig,
        message,
    );
    let message = "Null value not supported for : retention.ms";
    expect(
        alter("t", &[("retention.ms", Op::Set, None)]),
        InvalidRequest,
        message,
    );
    let twice = [
        ("retention.ms", Op::Set, Some("6")),
        ("retention.ms", Op::Set, Some("7")),
    ];
    expect(
        alter("t", &twice),
        InvalidRequest,
        "Error due to duplicate config keys",
    );
    let set = [("retention.ms", Op::Set, Some("5"))];
    expect(
        alter("missing", &set),
        UnknownTopic,
        "The topic 'missing' does not exist.",
    );
    expect(
        alter("", &set),
        InvalidRequest,
        "Default topic resources are not allowed.",
    );
    assert_eq!(
        alter("a b", &set).map(|error| error.0),
        Some(InvalidTopicName)
    );
}

#[test]
fn lists_grow_and_shrink() {
    let mut cluster = Cluster::new();
    let mut change = |name: &str, op: Op, value: Option<&str>| {
        let got = cluster.alter(Resource::Topic("t".to_owned()), &[(name, op, value)]);
        assert_eq!(got, None, "{name}");
    };
    change("nope", Op::Delete, None);
    change("cleanup.policy", Op::Subtract, Some("delete"));
    change("cleanup.policy", Op::Append, Some("delete, delete"));
    let throttled = "follower.replication.throttled.replicas";
    change(throttled, Op::Append, Some("0:1"));
    change(throttled, Op::Append, Some("1:1,0:1"));
    let configs = &cluster.controller.image().topic("t").unwrap().configs;
    assert_eq!(
        configs.get("cleanup.policy").map(String::as_str),
        Some("delete")
    );
    assert_eq!(configs.get(throttled).map(String::as_str), Some("0:1,1:1"));
}

#[test]
fn a_command_too_large_for_the_metadata_log_changes_nothing() {
    let mut cluster = Cluster::new();
    let long = vec!["0:1"; 2_500_000].join(",");
    let mut alter = |names: &[&str]| {
        let changes: Vec<_> = names
            .iter()
            .map(|name| (*name, Op::Set, Some(long.as_str())))
            .collect();
        cluster.alter(Resource::Topic("t".to_owned()), &changes)
    };
    let names = [
        "leader.replication.throttled.replicas",
        "follower.replication.throttled.replicas",
    ];
    let (kind, message) = alter(&names).expect("both are more than a segment");
    assert_eq!(kind, ErrorKind::PolicyViolation);
    assert!(message.contains("Nothing was changed"), "{message}");
    assert_eq!(alter(&names[..1]), None);
    let image = cluster.controller.image();
    let configs = &image.topic("t").expect("it exists").configs;
    assert_eq!(configs.keys().collect::<Vec<_>>(), [names[0]]);
}

#[test]
fn a_topic_does_not_outgrow_a_record_of_a_snapshot_step_by_step() {
    let mut cluster = Cluster::new();
    let long = vec!["0:1"; 2_500_000].join(",");
    let mut alter = |name: &str, value: &str| {
        let topic = Resource::Topic("t".to_owned());
        cluster.alter(topic, &[(name, Op::Set, Some(value))])
    };
    assert_eq!(alter("leader.replication.throttled.replicas", &long), None);
    let other = "follower.replication.throttled.replicas";
    let (kind, message) = alter(other, &long).expect("both are more than a segment");
    assert_eq!(kind, ErrorKind::PolicyViolation);
    assert!(message.contains("topic 't'"), "{message}");
    assert_eq!(alter(other, "0:1"), None);
}

#[test]
fn changes_of_brokers() {
    use ErrorKind::{InvalidConfig, InvalidRequest};
    let dynamic = "Cannot update these configs dynamically: Set";
    let elr = "min.insync.replicas cannot be";
    let table = [
        (
            "log.dirs",
            "/x",
            format!("{dynamic}(log.dirs)"),
            format!("{dynamic}(log.dirs)"),
        ),
        (
            "node.id",
            "4",
            format!("{dynamic}(node.id)"),
            format!("{dynamic}(node.id)"),
        ),
        (
            "listeners",
            "PLAINTEXT://:1",
            format!("{dynamic}(listeners)"),
            "Cannot update these configs at default cluster level, broker id must be specified: \
             Set(listeners)"
                .to_owned(),
        ),
        ("log.retention.ms", "5000", String::new(), String::new()),
        ("nope", "1", String::new(), String::new()),
        ("compression.type", "lz4", String::new(), String::new()),
    ];
    for (name, value, node, all) in table {
        for (resource, message) in [("1", node), ("", all)] {
            let mut cluster = Cluster::new();
            let resource = Resource::Broker(resource.to_owned());
            let got = cluster.alter(resource, &[(name, Op::Set, Some(value))]);
            let expected = (!message.is_empty()).then_some((InvalidRequest, message));
            assert_eq!(got, expected, "{name}");
        }
    }
    let mut cluster = Cluster::new();
    let mut alter = |node: &str, name: &str, op: Op, value: Option<&str>| {
        cluster.alter(Resource::Broker(node.to_owned()), &[(name, op, value)])
    };
    let message = "Invalid value 5 for configuration log.segment.bytes: Value must be at least \
                   1048576";
    expect(
        alter("1", "log.segment.bytes", Op::Set, Some("5")),
        InvalidRequest,
        message,
    );
    let message = format!("Broker-level {elr} altered while ELR is enabled.");
    expect(
        alter("1", "min.insync.replicas", Op::Set, Some("2")),
        InvalidConfig,
        &message,
    );
    let message = format!("Cluster-level {elr} removed while ELR is enabled.");
    expect(
        alter("", "min.insync.replicas", Op::Delete, None),
        InvalidConfig,
        &message,
    );
    assert_eq!(alter("", "min.insync.replicas", Op::Set, Some("2")), None);
    assert_eq!(alter("1", "log.retention.ms", Op::Delete, None), None);
    let kind = alter("2", "log.retention.ms", Op::Set, Some("5")).map(|error| error.0);
    assert_eq!(kind, Some(InvalidRequest));
    let kind = alter("x", "log.retention.ms", Op::Set, Some("5")).map(|error| error.0);
    assert_eq!(kind, Some(InvalidRequest));
}

#[test]
fn more_partitions() {
    use ErrorKind::{InvalidPartitions, InvalidReplicaAssignment, UnknownTopic};
    let mut cluster = Cluster::new();
    let mut grow = |name: &str, count, assignments| cluster.grow(name, count, assignments);
    let message = "Topic already has 1 partition(s).";
    expect(grow("t", 1, None), InvalidPartitions, message);
    let message = "The topic t currently has 1 partition(s); 0 would not be an increase.";
    expect(grow("t", 0, None), InvalidPartitions, message);
    let message = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were \
                   specified.";
    expect(
        grow("t", 3, Some(vec![vec![1]])),
        InvalidReplicaAssignment,
        message,
    );
    let message = "This server does not host this topic-partition.";
    expect(grow("missing", 3, None), UnknownTopic, message);
    assert_eq!(grow("t", 3, Some(vec![vec![1], vec![1]])), None);
    let kind = grow("t", 200_000, None).map(|error| error.0);
    assert_eq!(kind, Some(ErrorKind::PolicyViolation));
}

#[test]
fn deletion() {
    let mut cluster = Cluster::new();
    let id = cluster.controller.image().topic("a.b").unwrap().id;
    let topics = vec![
        TopicRef::Name("missing".to_owned()),
        TopicRef::Id(TopicId([9; 16])),
        TopicRef::Name("t".to_owned()),
        TopicRef::Name("t".to_owned()),
        TopicRef::Id(id),
    ];
    let Answer::Deleted(deleted) = cluster.ask(Command::DeleteTopics { topics }) else {
        panic!("another answer");
    };
    let kinds: Vec<_> = deleted
        .iter()
        .map(|one| one.result.as_ref().map_err(|error| error.kind).copied())
        .collect();
    let expected = [
        Err(ErrorKind::UnknownTopic),
        Err(ErrorKind::UnknownTopicId),
        Err(ErrorKind::InvalidRequest),
        Err(ErrorKind::InvalidRequest),
        Ok(()),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(deleted[4].name.as_deref(), Some("a.b"));
    assert!(cluster.controller.image().topic("t").is_some());
    assert!(cluster.controller.image().topic_by_id(id).is_none());
}

#[test]
fn one_request_names_things_twice() {
    let mut cluster = Cluster::new();
    let command = Command::CreateTopics {
        topics: vec![
            topic("x", 1, 1, &[]),
            topic("y", 1, 1, &[]),
            topic("x", 1, 1, &[]),
        ],
        validate_only: false,
    };
    let Answer::Created(created) = cluster.ask(command) else {
        panic!("another answer");
    };
    let names: Vec<_> = created
        .iter()
        .map(|(name, result)| (&**name, result.is_ok()))
        .collect();
    assert_eq!(names, [("x", false), ("y", true)]);
    let resource = Resource::Topic("t".to_owned());
    let one = ResourceReplacement {
        resource,
        configs: Vec::new(),
    };
    let command = Command::AlterConfigs {
        resources: vec![one.clone(), one],
        validate_only: false,
    };
    let Answer::PerResource(answers) = cluster.ask(command) else {
        panic!("another answer");
    };
    assert!(answers.iter().all(|(_, result)| {
        result
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::InvalidRequest)
    }));
}

#[test]
fn replacing_settings_takes_back_those_not_named() {
    let mut cluster = Cluster::new();
    let topic = Resource::Topic("t".to_owned());
    let both = [
        ("retention.ms", Op::Set, Some("5")),
        ("segment.ms", Op::Set, Some("6")),
    ];
    assert_eq!(cluster.alter(topic.clone(), &both), None);
    let configs = vec![("segment.ms".to_owned(), Some("7".to_owned()))];
    let command = |configs, validate_only| Command::AlterConfigs {
        resources: vec![ResourceReplacement {
            resource: topic.clone(),
            configs,
        }],
        validate_only,
    };
    let of_t = |cluster: &Cluster| {
        cluster
            .controller
            .image()
            .topic("t")
            .unwrap()
            .configs
            .clone()
    };
    let before = of_t(&cluster);
    cluster.ask(command(configs.clone(), true));
    assert_eq!(of_t(&cluster), before, "validate-only changes nothing");
    cluster.ask(command(configs, false));
    assert_eq!(
        of_t(&cluster),
        [("segment.ms".to_owned(), "7".to_owned())].into()
    );
}

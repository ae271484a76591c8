//! What librdkafka does not ask, asked by hand.

use crate::broker::Broker;
use crate::clients::create;
use crate::wire::ask;
use net::wire::api::ApiKey;
use net::wire::{Str, describe_configs, describe_log_dirs, fetch, incremental_alter_configs};

/// `ConfigResource.Type`: loggers, client metrics, groups.
const NOT_BUILT: [(i8, &str); 3] = [(8, "0"), (16, "metrics"), (32, "group")];

#[test]
fn what_is_not_built_is_answered_as_the_protocol_page_says() {
    let broker = Broker::start("not-built", 2, &["node.id=0"]);
    let address = broker.address();
    create(address, "t", 1, &[]);

    let partition = fetch::FetchPartition {
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let request = fetch::Request {
        replica_id: 1,
        max_bytes: 1 << 20,
        topics: vec![fetch::FetchTopic {
            topic: Str::from("t"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut reply = ask(address, ApiKey::Fetch, 11, |w, v| request.encode(w, v));
    let response = fetch::Response::decode(&mut reply, 11).expect("a response");
    assert_eq!(response.responses[0].partitions[0].error_code, 6);

    for (kind, name) in NOT_BUILT {
        let resource = incremental_alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configs: Vec::new(),
        };
        let request = incremental_alter_configs::Request {
            resources: vec![resource],
            validate_only: false,
        };
        let key = ApiKey::IncrementalAlterConfigs;
        let mut reply = ask(address, key, 1, |w, v| request.encode(w, v));
        let response = incremental_alter_configs::Response::decode(&mut reply, 1);
        let response = response.expect("a response");
        assert_eq!(response.responses[0].error_code, 42, "{kind}");

        let resource = describe_configs::DescribeConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configuration_keys: None,
        };
        let request = describe_configs::Request {
            resources: vec![resource],
            ..Default::default()
        };
        let key = ApiKey::DescribeConfigs;
        let mut reply = ask(address, key, 4, |w, v| request.encode(w, v));
        let response = describe_configs::Response::decode(&mut reply, 4).expect("a response");
        let result = &response.results[0];
        assert_eq!((result.error_code, result.configs.len()), (0, 0), "{kind}");
    }

    let page = include_str!("../../docs/protocol.md");
    for row in [
        "| Fetch as a replica | NOT_LEADER_OR_FOLLOWER (6) |",
        "of a group, of client metrics, or of a broker's loggers | INVALID_REQUEST (42) |",
        "of a group, of client metrics, or of the broker's loggers | an empty list",
    ] {
        assert!(page.contains(row), "{row}");
    }
}

fn log_dirs(address: &str) -> Vec<describe_log_dirs::DescribeLogDirsResult> {
    let request = describe_log_dirs::Request { topics: None };
    let key = ApiKey::DescribeLogDirs;
    let mut reply = ask(address, key, 4, |w, v| request.encode(w, v));
    let response = describe_log_dirs::Response::decode(&mut reply, 4).expect("a response");
    assert_eq!(response.error_code, 0);
    response.results
}

#[test]
fn the_space_of_log_directories_is_told() {
    let broker = Broker::start("space", 2, &[]);
    let address = broker.address();
    create(address, "t", 3, &[]);
    let dirs = log_dirs(address);
    assert_eq!((dirs.len(), dirs[0].error_code), (1, 0));
    let (total, usable) = (dirs[0].total_bytes, dirs[0].usable_bytes);
    assert!(
        total > 0 && (0..=total).contains(&usable),
        "{usable} of {total}"
    );
    let mut topics = dirs[0].topics.iter();
    let topic = topics.find(|topic| &*topic.name == "t").expect("the topic");
    assert_eq!(topic.partitions.len(), 3);

    // Gone, as when its file system is unmounted.
    let data = broker.data();
    let away = data.with_extension("away");
    std::fs::rename(&data, &away).expect("moved");
    let dirs = log_dirs(address);
    std::fs::rename(&away, &data).expect("moved back");
    let told = (
        dirs[0].error_code,
        dirs[0].total_bytes,
        dirs[0].usable_bytes,
    );
    assert_eq!(told, (56, -1, -1));
}

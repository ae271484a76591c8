//! Shards that are brokers of their own to clients: who is told what, and that everything is
//! served everywhere all the same.

use std::collections::BTreeSet;

use net::wire::{Str, create_topics, describe_cluster, describe_configs, describe_log_dirs};
use net::wire::{describe_quorum, describe_topic_partitions, find_coordinator, list_groups};
use net::wire::{list_config_resources, metadata, offset_commit};

use super::stand::{MS, Stand, addr, ask};
use crate::client::Client;

const FIRST: u16 = 9200;
const SHARDS: u16 = 3;
const ID_STEP: i32 = 1_000_000;
const BROKER: i8 = 4;

fn stand() -> Stand {
    let mut stand = Stand::new(SHARDS, &[("shard.listener.port", "9200"), ("node.id", "7")]);
    // The listener of all serves when the first shard does.
    stand.world.pass(100 * MS);
    stand
}

fn id(shard: u16) -> i32 {
    7 + i32::from(shard) * ID_STEP
}

/// Brokers and their ports, the controller, and the leader of each partition of `topic`.
fn told(
    stand: &mut Stand,
    client: &mut Client,
    topic: &'static str,
) -> (Vec<(i32, i32)>, i32, Vec<i32>) {
    let asked = metadata::MetadataRequestTopic {
        name: Some(Str::from_static(topic)),
        ..Default::default()
    };
    let request = metadata::Request {
        topics: Some(vec![asked]),
        ..Default::default()
    };
    let answer = ask!(stand, client, Metadata 9, metadata, request);
    let brokers = answer.brokers.iter();
    let brokers = brokers
        .map(|broker| (broker.node_id, broker.port))
        .collect();
    let leaders = answer.topics[0].partitions.iter().map(|part| {
        assert_eq!(part.replica_nodes, [part.leader_id]);
        assert_eq!(part.isr_nodes, [part.leader_id]);
        part.leader_id
    });
    (brokers, answer.controller_id, leaders.collect())
}

fn coordinator(stand: &mut Stand, client: &mut Client, group: &str) -> (i32, i32) {
    let request = find_coordinator::Request {
        coordinator_keys: vec![Str::from(group)],
        ..Default::default()
    };
    let answer = ask!(stand, client, FindCoordinator 4, find_coordinator, request);
    let found = &answer.coordinators[0];
    assert_eq!(found.error_code, 0);
    (found.node_id, found.port)
}

fn groups(stand: &mut Stand, client: &mut Client) -> Vec<String> {
    let request = list_groups::Request::default();
    let answer = ask!(stand, client, ListGroups 4, list_groups, request);
    assert_eq!(answer.error_code, 0);
    let groups = answer.groups.iter();
    groups.map(|group| group.group_id.to_string()).collect()
}

fn logs(stand: &mut Stand, client: &mut Client) -> Vec<(String, i32)> {
    let request = describe_log_dirs::Request { topics: None };
    let answer = ask!(stand, client, DescribeLogDirs 4, describe_log_dirs, request);
    let [dir] = &answer.results[..] else {
        panic!("{} log directories", answer.results.len());
    };
    assert!(dir.error_code == 0 && dir.total_bytes > 0);
    let of = |topic: &describe_log_dirs::DescribeLogDirsTopic| {
        let name = topic.name.to_string();
        let parts = topic.partitions.clone().into_iter();
        parts.map(move |part| (name.clone(), part.partition_index))
    };
    dir.topics.iter().flat_map(of).collect()
}

#[test]
fn each_shard_is_a_broker_and_leads_what_it_owns() {
    let mut stand = stand();
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 6, &[]), 0);
    let brokers: Vec<_> = (0..SHARDS)
        .map(|shard| (id(shard), i32::from(FIRST + shard)))
        .collect();
    let seen = told(&mut stand, &mut client, "t");
    assert_eq!((&seen.0, seen.1), (&brokers, id(0)));
    for shard in 0..SHARDS {
        let mut own = stand.client_of(FIRST + shard);
        assert_eq!(
            told(&mut stand, &mut own, "t"),
            seen,
            "every endpoint says the same"
        );
        let led = seen.2.iter().filter(|leader| **leader == id(shard)).count();
        assert_eq!(led, 2, "shard {shard} has its share");
        let request = describe_cluster::Request {
            endpoint_type: 1,
            ..Default::default()
        };
        let cluster = ask!(stand, &mut own, DescribeCluster 1, describe_cluster, request);
        let described = cluster.brokers.iter();
        let described: Vec<_> = described.map(|one| (one.broker_id, one.port)).collect();
        assert_eq!((described, cluster.controller_id), (brokers.clone(), id(0)));
    }
    let request = describe_topic_partitions::Request {
        response_partition_limit: 100,
        ..Default::default()
    };
    let pages = ask!(stand, client, DescribeTopicPartitions 0, describe_topic_partitions, request);
    let parts = pages.topics[0].partitions.iter();
    assert_eq!(parts.map(|part| part.leader_id).collect::<Vec<_>>(), seen.2);
    let request = describe_quorum::Request {
        topics: vec![describe_quorum::RequestedTopic {
            topic_name: Str::from_static("__cluster_metadata"),
            partitions: vec![describe_quorum::RequestedPartition::default()],
        }],
    };
    let quorum = ask!(stand, client, DescribeQuorum 2, describe_quorum, request);
    assert_eq!(quorum.nodes.len(), 1, "the quorum has one voter");
    let node = &quorum.nodes[0];
    assert_eq!((node.node_id, node.listeners[0].port), (id(0), FIRST));
}

#[test]
fn every_endpoint_serves_every_partition() {
    let mut stand = stand();
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 3, &[]), 0);
    for port in (FIRST..FIRST + SHARDS).chain([addr().port()]) {
        let mut any = stand.client_of(port);
        for partition in 0..3 {
            let batch = stand.batch(1, 10);
            let (code, _) = stand.produce(&mut any, ("t", partition), batch);
            assert_eq!(code, 0, "partition {partition} by port {port}");
        }
    }
}

#[test]
fn whoever_asks_all_brokers_counts_groups_and_logs_once() {
    let mut stand = stand();
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 7, &[]), 0);
    let names: BTreeSet<String> = (0..12).map(|group| format!("g{group}")).collect();
    let mut coordinators = BTreeSet::new();
    for name in &names {
        let (node, port) = coordinator(&mut stand, &mut client, name);
        coordinators.insert(node);
        let mut own = stand.client_of(u16::try_from(port).expect("a port"));
        let request = offset_commit::Request {
            group_id: Str::from(name.as_str()),
            generation_id_or_member_epoch: -1,
            topics: vec![offset_commit::OffsetCommitRequestTopic {
                name: Str::from_static("t"),
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = ask!(stand, own, OffsetCommit 7, offset_commit, request);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        assert!(
            groups(&mut stand, &mut own).contains(name),
            "it is where it was found"
        );
    }
    assert!(coordinators.len() > 1, "groups are spread over shards");
    let (mut listed, mut logged) = (Vec::new(), Vec::new());
    for shard in 0..SHARDS {
        let mut own = stand.client_of(FIRST + shard);
        listed.extend(groups(&mut stand, &mut own));
        logged.extend(logs(&mut stand, &mut own));
    }
    listed.sort();
    logged.sort();
    assert_eq!(listed, names.iter().cloned().collect::<Vec<_>>());
    assert_eq!(
        groups(&mut stand, &mut client),
        listed,
        "the listener of all has all"
    );
    let mut all = logs(&mut stand, &mut client);
    all.sort();
    assert_eq!((all.len(), &logged), (7 + 3, &all));
}

#[test]
fn every_id_of_the_node_names_the_node() {
    let mut stand = stand();
    let mut client = stand.client();
    let ids = ["7", "1000007", "2000007"];
    for (at, name) in ids.into_iter().enumerate() {
        let bytes = (100_000 + at).to_string();
        let code = stand.set(&mut client, (BROKER, name), "message.max.bytes", &bytes);
        assert_eq!(code, 0, "set by {name}");
        for name in ids {
            let request = describe_configs::Request {
                resources: vec![describe_configs::DescribeConfigsResource {
                    resource_type: BROKER,
                    resource_name: Str::from_static(name),
                    configuration_keys: Some(vec![Str::from_static("message.max.bytes")]),
                }],
                ..Default::default()
            };
            let answer = ask!(stand, client, DescribeConfigs 4, describe_configs, request);
            let result = &answer.results[0];
            assert_eq!((result.error_code, &*result.resource_name), (0, name));
            assert_eq!(result.configs[0].value.as_deref(), Some(&*bytes));
        }
    }
    let code = stand.set(&mut client, (BROKER, "3000007"), "message.max.bytes", "1");
    assert_eq!(code, 42, "no such shard");
    let request = list_config_resources::Request {
        resource_types: vec![BROKER],
    };
    let answer = ask!(stand, client, ListConfigResources 1, list_config_resources, request);
    let listed = answer.config_resources.iter();
    assert!(listed.map(|one| &*one.resource_name).eq(ids));

    let assignment = |partition_index, broker: i32| create_topics::CreatableReplicaAssignment {
        partition_index,
        broker_ids: vec![broker],
    };
    let request = create_topics::Request {
        topics: vec![create_topics::CreatableTopic {
            name: Str::from_static("placed"),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment(0, id(2)), assignment(1, id(0))],
            ..Default::default()
        }],
        timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = ask!(stand, client, CreateTopics 5, create_topics, request);
    assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
}

#[test]
fn another_number_of_shards_moves_partitions_and_coordinators() {
    let mut stand = stand();
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 6, &[]), 0);
    coordinator(&mut stand, &mut client, "g");
    for shards in [1, 2] {
        stand.restart_with(shards);
        stand.world.pass(100 * MS);
        let mut own = stand.client_of(FIRST);
        let (brokers, _, leaders) = told(&mut stand, &mut own, "t");
        let ids: BTreeSet<i32> = (0..shards).map(id).collect();
        assert_eq!(brokers.len(), usize::from(shards));
        assert_eq!(leaders.into_iter().collect::<BTreeSet<_>>(), ids);
        assert!(ids.contains(&coordinator(&mut stand, &mut own, "g").0));
        for partition in 0..6 {
            let batch = stand.batch(1, 10);
            assert_eq!(stand.produce(&mut own, ("t", partition), batch).0, 0);
        }
    }
}

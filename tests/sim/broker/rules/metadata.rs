//! Topics as clients see them, and who may connect.

use net::wire::{Str, describe_topic_partitions, fetch, metadata};

use super::stand::{End, Stand, ask};
use crate::client::Client;

fn named(stand: &mut Stand, client: &mut Client, names: &[&str]) -> metadata::Response {
    let topic = |name: &&str| metadata::MetadataRequestTopic {
        name: Some(Str::from(*name)),
        ..Default::default()
    };
    let request = metadata::Request {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    ask!(stand, client, Metadata 10, metadata, request)
}

#[test]
fn a_topic_that_is_made_on_the_way_is_in_the_answer() {
    let mut stand = Stand::new(3, &[("num.partitions", "4")]);
    let mut client = stand.client();
    let names = ["new.one", "not legal", "new_one", "other"];
    let answer = named(&mut stand, &mut client, &names);
    let told: Vec<_> = answer
        .topics
        .iter()
        .map(|topic| {
            (
                topic.name.as_deref().unwrap(),
                topic.error_code,
                topic.partitions.len(),
            )
        })
        .collect();
    // Of two names that collide one is made.
    assert_eq!(told[1], ("not legal", 17, 0));
    assert_eq!(told[3], ("other", 0, 4));
    let mut pair = [(told[0].1, told[0].2), (told[2].1, told[2].2)];
    pair.sort_unstable();
    assert_eq!(pair, [(0, 4), (17, 0)]);
    // Produce and fetch work at once, on whatever shard.
    for partition in 0..4 {
        let batch = stand.batch(1, 10);
        assert_eq!(
            stand.produce(&mut client, ("other", partition), batch),
            (0, 0)
        );
    }
}

#[test]
fn a_topic_made_again_is_another_one() {
    let mut stand = Stand::new(2, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    let id = |stand: &mut Stand, client: &mut Client| {
        let answer = named(stand, client, &["t"]);
        assert_eq!(answer.topics[0].error_code, 0);
        answer.topics[0].topic_id
    };
    let old = id(&mut stand, &mut client);
    let batch = stand.batch(5, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    assert_eq!(stand.delete(&mut client, "t"), 0);
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    for _ in 0..2 {
        let new = id(&mut stand, &mut client);
        assert_ne!(new, old);
        for (topic_id, code) in [(old, 100), (new, 0)] {
            let request = fetch::Request {
                topics: vec![fetch::FetchTopic {
                    topic_id,
                    partitions: vec![fetch::FetchPartition {
                        partition_max_bytes: 1 << 20,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = ask!(stand, client, Fetch 13, fetch, request);
            let part = &answer.responses[0].partitions[0];
            assert_eq!(part.error_code, code);
            assert!(part.high_watermark <= 0, "the new one is empty");
        }
        stand.restart(End::PowerCut);
        client = stand.client();
    }
}

#[test]
fn pages_of_partitions_are_as_long_as_the_setting_says() {
    let mut stand = Stand::new(1, &[("max.request.partition.size.limit", "3")]);
    let mut client = stand.client();
    for (name, partitions) in [("a", 2), ("b", 1), ("c", 4), ("d", 1)] {
        assert_eq!(stand.create(&mut client, name, partitions, &[]), 0);
    }
    let mut cursor = None;
    let mut pages = Vec::new();
    loop {
        let request = describe_topic_partitions::Request {
            response_partition_limit: 2_000,
            cursor,
            ..Default::default()
        };
        let answer =
            ask!(stand, client, DescribeTopicPartitions 0, describe_topic_partitions, request);
        let page: Vec<String> = answer
            .topics
            .iter()
            .map(|topic| {
                let parts = topic.partitions.iter();
                let parts: Vec<String> = parts.map(|p| p.partition_index.to_string()).collect();
                format!("{}:{}", topic.name.as_deref().unwrap(), parts.join(""))
            })
            .collect();
        pages.push(page.join(" "));
        let Some(next) = answer.next_cursor else {
            break;
        };
        cursor = Some(describe_topic_partitions::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
        });
    }
    assert_eq!(pages, ["a:01 b:0", "c:012", "c:3 d:0"]);
}

#[test]
fn connections_are_counted_over_all_shards() {
    let mut stand = Stand::new(3, &[("max.connections.per.ip", "6")]);
    let mut first = stand.client();
    // The stand's own first connection is one of them.
    let mut others: Vec<Client> = std::iter::from_fn(|| stand.try_client()).take(20).collect();
    let before = others.len();
    assert!((4..=5).contains(&before), "{before}");
    others.pop().unwrap().close(&mut stand.world);
    stand.world.pass(100_000_000);
    others.push(stand.client());
    assert!(stand.try_client().is_none());
    // A limit that is set while running counts those that are there.
    assert_eq!(
        stand.set(&mut first, (4, ""), "max.connections.per.ip", "7"),
        0
    );
    others.push(stand.client());
    assert!(stand.try_client().is_none());
    assert_eq!(stand.set(&mut first, (4, ""), "max.connections", "3"), 0);
    assert_eq!(
        stand.set(&mut first, (4, ""), "max.connections.per.ip", "100"),
        0
    );
    assert!(stand.try_client().is_none());
}

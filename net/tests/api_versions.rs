//! The table of APIs against what a real broker advertises.

use net::wire::api::TABLE;
use std::collections::BTreeMap;

const KAFKA: &str = include_str!("fixtures/api-versions-4.2.0.txt");

#[test]
fn advertised_as_kafka_does() {
    let mut kafka = BTreeMap::new();
    for line in KAFKA.lines().filter(|line| !line.starts_with('#')) {
        let [key, name, min, max] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line of the fixture: {line}");
        };
        let [key, min, max] = [key, min, max].map(|word| word.parse::<i16>().expect(line));
        kafka.insert(key, (name, min, max));
    }
    assert_eq!(TABLE.len(), 31);
    for info in TABLE {
        let ours = (info.name, info.advertised_min, info.max);
        assert_eq!(Some(&ours), kafka.get(&info.key.to_wire()));
        assert!(info.min == info.advertised_min || info.name == "Produce");
    }
}

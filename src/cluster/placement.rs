//! Which shard owns a partition, and which partition of an internal topic a key belongs to.

use storage::types::{METADATA, PartitionId, TopicId};

/// The owning shard among `shards`: the partitions of one topic go round robin from a place given
/// by the topic's id, so that each topic is spread evenly and topics start at different shards.
/// The metadata log is always on shard 0. With no shards at all the answer is 0.
pub fn owner(id: PartitionId, shards: u16) -> u16 {
    if id == METADATA || shards <= 1 {
        return 0;
    }
    let index = u64::from(id.index.cast_unsigned());
    let shards = u64::from(shards);
    let owner = (mix(id.topic) % shards + index % shards) % shards;
    u16::try_from(owner).expect("a remainder of a u16 fits a u16")
}

/// Spreads ids evenly, whatever bits of them vary (the finaliser of MurmurHash3, public domain).
fn mix(id: TopicId) -> u64 {
    let bits = u128::from_be_bytes(id.0);
    let mut x = u64::try_from(bits >> 64).expect("64 bits are left") ^ bits as u64;
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// The partition of `__consumer_offsets` that holds a group, of `partitions` in all: Java's
/// `String.hashCode` of the group id, without its sign (`Utils.abs`), modulo the number.
pub fn group_partition(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_hashes() {
        // "".hashCode() is 0; "polygenelubricants".hashCode() is Integer.MIN_VALUE.
        assert_eq!(group_partition("", 50), 0);
        assert_eq!(group_partition("polygenelubricants", 50), 0);
        // "hello".hashCode() is 99162322.
        assert_eq!(group_partition("hello", 50), 99_162_322 % 50);
    }

    #[test]
    fn a_topic_is_spread_evenly_and_topics_start_everywhere() {
        for shards in 1..9_u16 {
            let mut first = vec![0_u32; usize::from(shards)];
            for topic in 0..800_u128 {
                let topic = TopicId((topic + 7).to_be_bytes());
                let mut of_topic = vec![0_u32; usize::from(shards)];
                for index in 0..12 {
                    of_topic[usize::from(owner(PartitionId { topic, index }, shards))] += 1;
                }
                let (low, high) = (of_topic.iter().min(), of_topic.iter().max());
                assert!(high.unwrap() - low.unwrap() <= 1);
                first[usize::from(owner(PartitionId { topic, index: 0 }, shards))] += 1;
            }
            let expected = 800 / u32::from(shards);
            assert!(first.iter().all(|&n| n > expected / 2), "{first:?}");
        }
        assert_eq!(owner(METADATA, 8), 0);
    }
}

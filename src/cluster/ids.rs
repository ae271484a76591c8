//! Identities made here: topic ids and the cluster id. Random, from a seed the shell gives.

use super::image::Image;
use storage::types::TopicId;

/// A generator of version 4 UUIDs (splitmix64, public domain: the seed decides everything).
#[derive(Clone, Debug)]
pub struct Ids {
    state: u64,
}

/// Ids up to this one are reserved, as in Kafka (`Uuid.RESERVED`).
const RESERVED_UP_TO: u128 = 100;

impl Ids {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A version 4 UUID that is not reserved and whose text does not begin with '-', which command
    /// lines would take for an option (`Uuid.randomUuid`, Kafka).
    pub fn uuid(&mut self) -> [u8; 16] {
        loop {
            let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
            let version = bits & !(0xf << 76) | (0x4 << 76);
            let uuid = version & !(0x3 << 62) | (0x2 << 62);
            let bytes = uuid.to_be_bytes();
            if uuid > RESERVED_UP_TO && !base64(bytes).starts_with('-') {
                return bytes;
            }
        }
    }

    /// An id that no topic of the image has.
    pub fn topic(&mut self, image: &Image) -> TopicId {
        loop {
            let id = TopicId(self.uuid());
            if image.topic_by_id(id).is_none() {
                return id;
            }
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The 22 characters that Kafka writes a UUID as: base64url without padding (RFC 4648).
pub fn base64(bytes: [u8; 16]) -> String {
    // 128 bits are 21 groups of six and one of two, which is filled up with zeros.
    let bits = u128::from_be_bytes(bytes);
    let group = |n: u32| {
        let six = if n == 21 {
            bits << 4
        } else {
            bits >> (122 - 6 * n)
        };
        char::from(ALPHABET[(six & 63) as usize])
    };
    (0..22).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648() {
        assert_eq!(base64([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(base64([0xff; 16]), "_____________________w");
        assert_eq!(base64(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
    }

    #[test]
    fn uuids_are_version_4_never_reserved_never_options() {
        let mut ids = Ids::new(7);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let uuid = ids.uuid();
            assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
            assert!(!base64(uuid).starts_with('-'));
            assert!(seen.insert(uuid));
        }
        assert_eq!(Ids::new(9).uuid(), Ids::new(9).uuid());
        assert_ne!(Ids::new(9).uuid(), Ids::new(10).uuid());
    }
}

//! Member ids: a readable name, a dash, and a random UUID, from a seeded generator.

use std::fmt::Write;
use std::sync::Arc;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and plenty for names that need only be distinct.
#[derive(Debug)]
pub(super) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, for tests that need a seeded generator.
    #[cfg(test)]
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A new member id that begins with the instance id or client id it is for.
    pub(super) fn generate(&mut self, prefix: &str) -> Arc<str> {
        let high = (self.next() & !0xf000) | 0x4000;
        let low = (self.next() & !(0b11 << 62)) | (0b10 << 62);
        let mut id = String::with_capacity(prefix.len() + 37);
        // Writing into a String cannot fail.
        let _ = write!(
            id,
            "{prefix}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
        );
        id.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_prefix_and_a_version_4_uuid() {
        let mut ids = MemberIds::new(7);
        let (one, two) = (ids.generate("app"), ids.generate("app"));
        assert_ne!(one, two);
        let parts: Vec<&str> = one.split('-').collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [3, 8, 4, 4, 4, 12]
        );
        assert!(parts[3].starts_with('4'));
        assert!(matches!(parts[4].as_bytes()[0], b'8' | b'9' | b'a' | b'b'));
    }
}

//! Topic and directory identifiers.

use std::fmt;

/// 128 bits; all zero means none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Self = Self([0; 16]);

    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// As Kafka shows it: URL-safe Base64 without padding, 22 letters.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        for index in 0..22_u32 {
            // The last letter holds the two bits that are left, followed by four zero bits.
            let shift = 122_i64 - i64::from(index) * 6;
            let six = if shift >= 0 {
                bits >> shift
            } else {
                bits << -shift
            };
            write!(f, "{}", char::from(LETTERS[(six & 63) as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Uuid;

    #[test]
    fn shown_as_kafka_shows_it() {
        // Expected letters: `base64` of the same bytes, `+/` made `-_`, padding cut.
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        let counting = std::array::from_fn(|index| index as u8);
        assert_eq!(Uuid(counting).to_string(), "AAECAwQFBgcICQoLDA0ODw");
    }
}

//! CRC-32C (Castagnoli), the checksum of record batches and of everything else on the disk.

use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest, checksum};

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    checksum(Crc32Iscsi, bytes) as u32
}

/// The CRC-32C of what `crc` is the one of, followed by `bytes`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

/// The polynomial, least power first in the highest bit, as CRC-32C has it.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 2^n, modulo the polynomial.
const POWERS: [u32; 64] = {
    let mut powers = [0; 64];
    powers[0] = 1 << 30;
    let mut n = 1;
    while n < 64 {
        powers[n] = product(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

/// The product of two polynomials, modulo the polynomial.
const fn product(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 1_u32 << 31);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
        bit >>= 1;
    }
    product
}

/// The CRC-32C of what `crc` is the one of, followed by `len` bytes that have the CRC-32C `more`:
/// for each bit that is set in `len`, it takes as long as the CRC of two or three KiB.
#[must_use]
pub fn crc32c_combine(crc: u32, more: u32, len: usize) -> u32 {
    if crc == 0 {
        return more;
    }
    let mut shifted = crc;
    let (mut left, mut power) = (len as u64, 3);
    while left > 0 {
        if left & 1 != 0 {
            shifted = product(POWERS[power], shifted);
        }
        left >>= 1;
        power += 1;
    }
    shifted ^ more
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// Whatever instructions this machine has, and wherever the bytes are cut.
        #[test]
        fn it_is_the_sum_that_others_compute(
            bytes in prop::collection::vec(any::<u8>(), 0..5000),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected = crc32c::crc32c(&bytes);
            prop_assert_eq!(super::crc32c(&bytes), expected);
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(super::crc32c_append(super::crc32c(head), tail), expected);
            let (first, more) = (super::crc32c(head), super::crc32c(tail));
            prop_assert_eq!(super::crc32c_combine(first, more, tail.len()), expected);
        }
    }

    #[test]
    fn what_follows_may_be_of_any_length() {
        let bytes = vec![0xa5; 3 << 20];
        for len in [0, 1, 1 << 16, (1 << 16) + 1, 1 << 20, (2 << 20) + 12_345] {
            let (head, tail) = bytes.split_at(bytes.len() - len);
            let (first, more) = (super::crc32c(head), super::crc32c(tail));
            let expected = super::crc32c(&bytes);
            assert_eq!(super::crc32c_combine(first, more, len), expected);
        }
    }

    #[test]
    fn check_value() {
        // RFC 3720, B.4 has longer ones; this is the catalogue's.
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}

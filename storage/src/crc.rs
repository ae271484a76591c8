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
        }
    }

    #[test]
    fn check_value() {
        // RFC 3720, B.4 has longer ones; this is the catalogue's.
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}

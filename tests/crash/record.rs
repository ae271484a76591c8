//! Records that say who they are: everything in one follows from its number.

use crate::chance::Chance;

/// The largest value: 1 MiB.
const VALUE_BYTES_MAX: u64 = 1 << 20;
/// The number itself and a check on it.
const HEAD: usize = 10;
const SEQUENCE_BITS: u32 = 32;

/// The number of a record: no two records of a run have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId {
    pub(crate) producer: u8,
    /// Which of the topics of one name it was sent to.
    pub(crate) incarnation: u16,
    pub(crate) partition: u8,
    /// Counts the records of the producer.
    pub(crate) sequence: u32,
}

impl RecordId {
    fn pack(self) -> u64 {
        u64::from(self.producer) << 56
            | u64::from(self.incarnation) << (SEQUENCE_BITS + 8)
            | u64::from(self.partition) << SEQUENCE_BITS
            | u64::from(self.sequence)
    }

    fn unpack(packed: u64) -> Self {
        let bytes = packed.to_be_bytes();
        Self {
            producer: bytes[0],
            incarnation: u16::from_be_bytes([bytes[1], bytes[2]]),
            partition: bytes[3],
            sequence: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// The key and the value. Sizes from 10 bytes to 1 MiB, small ones mostly; half of the values
    /// compress well.
    pub(crate) fn content(self) -> (Option<Vec<u8>>, Vec<u8>) {
        let packed = self.pack();
        let mut chance = Chance::new(packed.rotate_left(17) ^ 0x5eed);
        let check = chance.next().to_be_bytes();
        let bytes = match chance.within(0, 1000) {
            0..=2 => chance.within(200_000, VALUE_BYTES_MAX + 1),
            3..=19 => chance.within(32_000, 200_000),
            20..=149 => chance.within(1_000, 32_000),
            150..=199 => HEAD as u64,
            _ => chance.within(HEAD as u64, 1_000),
        };
        let key = chance.once_in(2).then(|| {
            let length = chance.within(0, 24);
            (0..length)
                .map(|_| chance.next().to_be_bytes()[0])
                .collect()
        });
        let length = usize::try_from(bytes).expect("1 MiB fits");
        let mut value = Vec::with_capacity(length + 8);
        value.extend_from_slice(&packed.to_be_bytes());
        value.extend_from_slice(&check[..HEAD - 8]);
        let plain = chance.once_in(2).then(|| chance.next());
        while value.len() < length {
            let word = plain.unwrap_or_else(|| chance.next());
            value.extend_from_slice(&word.to_be_bytes());
        }
        value.truncate(length);
        (key, value)
    }

    /// Which record this is, if it is one as it was sent, byte for byte.
    pub(crate) fn recognise(key: Option<&[u8]>, value: &[u8]) -> Result<Self, String> {
        let Some((head, _)) = value.split_first_chunk::<8>() else {
            return Err(format!("a value of {} bytes was never sent", value.len()));
        };
        let id = Self::unpack(u64::from_be_bytes(*head));
        let (sent_key, sent) = id.content();
        // librdkafka gives an empty key back as none.
        let bare = |key: Option<&[u8]>| key.unwrap_or_default().to_vec();
        if sent != value || bare(sent_key.as_deref()) != bare(key) {
            return Err(format!(
                "{id:?} was sent with {} bytes, what came back has {} and differs",
                sent.len(),
                value.len()
            ));
        }
        Ok(id)
    }
}

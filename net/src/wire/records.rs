//! Record batches inside a message: never copied, possibly in several pieces.

use bytes::Bytes;

/// Whole record batches lying one after the other, in pieces that are written without a copy.
///
/// Decoding gives the pieces of the frame that hold them, shared: usually one. A fetch response
/// hands over what the log returned. Kafka's broker answers with empty records,
/// `Some(Records::default())`, where there are none; null is legal on the wire but surprises some
/// clients.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub parts: Vec<Bytes>,
}

impl Records {
    /// Bytes in all pieces.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The first `N` bytes, or as many as there are, and their number.
    #[must_use]
    pub fn head<const N: usize>(&self) -> ([u8; N], usize) {
        let (mut head, mut filled) = ([0; N], 0);
        let bytes = self.parts.iter().flat_map(|part| part.iter());
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = *from;
            filled += 1;
        }
        (head, filled)
    }

    /// Everything as one piece: shared if it is one already, copied otherwise.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.parts.len() {
            0 | 1 => self.parts.pop().unwrap_or_default(),
            _ => self.parts.concat().into(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        let parts = if bytes.is_empty() {
            Vec::new()
        } else {
            vec![bytes]
        };
        Self { parts }
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(parts: Vec<Bytes>) -> Self {
        Self { parts }
    }
}

/// How the bytes are cut into pieces does not matter.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let left = self.parts.iter().flat_map(|part| part.iter());
        left.eq(other.parts.iter().flat_map(|part| part.iter()))
    }
}

impl Eq for Records {}

//! The protocol of the measured servers: a length of 4 bytes, then a number of 8 bytes and a
//! body. The answer has 36 bytes and names the number.

use std::io::{self, ErrorKind};

pub(super) const HEAD: usize = 12;
pub(super) const ACK: usize = 36;
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// Cuts the stream of one connection into frames, however it arrives.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    filled: usize,
    left: usize,
    crc: u32,
}

impl Frames {
    /// Leaves an answer in `acks` for every frame that ends in `piece`; with `check` it has the
    /// checksum of everything behind the frame's length.
    pub(super) fn take(
        &mut self,
        mut piece: &[u8],
        check: bool,
        acks: &mut Vec<u8>,
    ) -> io::Result<()> {
        while !piece.is_empty() {
            if self.filled < HEAD {
                let count = piece.len().min(HEAD - self.filled);
                let (now, rest) = piece.split_at(count);
                self.head[self.filled..self.filled + count].copy_from_slice(now);
                self.filled += count;
                piece = rest;
                if self.filled < HEAD {
                    return Ok(());
                }
                self.begin(check)?;
            }
            let (body, rest) = piece.split_at(piece.len().min(self.left));
            if check {
                self.crc = crc32c::crc32c_append(self.crc, body);
            }
            self.left -= body.len();
            piece = rest;
            if self.left == 0 {
                acks.extend_from_slice(&ack(&self.head[4..], self.crc));
                self.filled = 0;
            }
        }
        Ok(())
    }

    fn begin(&mut self, check: bool) -> io::Result<()> {
        let [a, b, c, d, ..] = self.head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let number = (HEAD - 4) as u32;
        if !(number..=FRAME_BYTES_MAX).contains(&length) {
            let what = format!("a frame of {length} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        self.left = (length - number) as usize;
        self.crc = if check {
            crc32c::crc32c(&self.head[4..])
        } else {
            0
        };
        Ok(())
    }
}

fn ack(number: &[u8], crc: u32) -> [u8; ACK] {
    let mut ack = [0; ACK];
    ack[..4].copy_from_slice(&((ACK - 4) as u32).to_be_bytes());
    ack[4..12].copy_from_slice(number);
    ack[12..16].copy_from_slice(&crc.to_be_bytes());
    ack
}

/// The number that an answer names.
pub(super) fn answered(ack: &[u8]) -> Option<u64> {
    let (length, rest) = ack.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    (u32::from_be_bytes(*length) == (ACK - 4) as u32).then_some(u64::from_be_bytes(*number))
}

/// Writes what every frame of this size begins with.
pub(super) fn write_head(frame: &mut [u8], number: u64) {
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..HEAD].copy_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_arrive() {
        let mut stream = Vec::new();
        let mut sums = Vec::new();
        for (number, length) in [12, 40, 13, 5000].into_iter().enumerate() {
            let mut frame = vec![9; length];
            write_head(&mut frame, number as u64);
            sums.push(crc32c::crc32c(&frame[4..]));
            stream.extend(frame);
        }
        for step in [1, 3, 11, 12, 13, 64, stream.len()] {
            let (mut frames, mut acks) = (Frames::default(), Vec::new());
            for piece in stream.chunks(step) {
                frames.take(piece, true, &mut acks).expect("they are whole");
            }
            assert_eq!(acks.len(), 4 * ACK, "in pieces of {step}");
            for (number, ack) in acks.chunks(ACK).enumerate() {
                assert_eq!(answered(ack), Some(number as u64));
                assert_eq!(ack[12..16], sums[number].to_be_bytes());
            }
        }
    }

    #[test]
    fn frames_without_sense_are_refused() {
        for length in [0_u32, 7, FRAME_BYTES_MAX + 1, u32::MAX] {
            let mut head = [0; HEAD];
            head[..4].copy_from_slice(&length.to_be_bytes());
            let refused = Frames::default().take(&head, false, &mut Vec::new());
            assert!(refused.is_err(), "{length}");
        }
        assert_eq!(answered(&[0; ACK]), None);
    }
}

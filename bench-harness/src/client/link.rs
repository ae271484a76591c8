//! A connection that never blocks.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// Pieces in one write.
const PIECES_MAX: usize = 64;
const INPUT_BYTES: usize = 16 << 10;
/// What is small is put together until it has so many bytes.
const SMALL_BYTES: usize = 32 << 10;
/// No answer is longer.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Buffers that are kept for later.
const POOLED_MAX: usize = 4096;

/// Buffers to use again: they keep what the template put into them.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) batches: Vec<Vec<u8>>,
    pub(crate) small: Vec<Vec<u8>>,
    pub(crate) times: Vec<Vec<u64>>,
}

impl Pool {
    pub(crate) fn keep_times(&mut self, mut times: Vec<u64>) {
        if self.times.len() < POOLED_MAX {
            times.clear();
            self.times.push(times);
        }
    }
}

pub(crate) enum Segment {
    Small(Vec<u8>),
    /// So many bytes of a batch's buffer.
    Batch(Vec<u8>, usize),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Batch(bytes, length) => &bytes[..*length],
        }
    }
}

pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    out: VecDeque<Segment>,
    /// Bytes of the first segment that are written already.
    written: usize,
    input: Vec<u8>,
    filled: Range<usize>,
}

impl Link {
    pub(crate) fn open(address: SocketAddr, wait: Duration) -> io::Result<Self> {
        Self::of(TcpStream::connect_timeout(&address, wait)?, address)
    }

    pub(crate) fn of(stream: TcpStream, address: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            address,
            out: VecDeque::new(),
            written: 0,
            input: vec![0; INPUT_BYTES],
            filled: 0..0,
        })
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        self.out.push_back(segment);
    }

    /// Where small things are appended that leave after everything before.
    pub(crate) fn small(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        let room =
            matches!(self.out.back(), Some(Segment::Small(last)) if last.len() < SMALL_BYTES);
        if !room {
            let mut buffer = pool.small.pop().unwrap_or_default();
            buffer.clear();
            self.out.push_back(Segment::Small(buffer));
        }
        match self.out.back_mut() {
            Some(Segment::Small(last)) => last,
            _ => unreachable!("a small segment is the last one now"),
        }
    }

    /// Bytes that were pushed and are not with the kernel.
    pub(crate) fn waiting(&self) -> usize {
        let all: usize = self.out.iter().map(|segment| segment.bytes().len()).sum();
        all - self.written
    }

    /// Whether everything that was pushed is with the kernel.
    pub(crate) fn idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes as much as the socket takes.
    pub(crate) fn write(&mut self, pool: &mut Pool) -> io::Result<()> {
        while let Some(first) = self.out.front() {
            let first = &first.bytes()[self.written..];
            let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
            let count = self.out.len().min(PIECES_MAX);
            for (piece, segment) in pieces.iter_mut().zip(&self.out) {
                *piece = IoSlice::new(segment.bytes());
            }
            pieces[0] = IoSlice::new(first);
            match self.stream.write_vectored(&pieces[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => self.advance(bytes, pool),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize, pool: &mut Pool) {
        self.written += bytes;
        while let Some(first) = self.out.front() {
            let length = first.bytes().len();
            if self.written < length {
                break;
            }
            self.written -= length;
            let (kept, buffer) = match self.out.pop_front() {
                Some(Segment::Small(buffer)) => (&mut pool.small, buffer),
                Some(Segment::Batch(buffer, _)) => (&mut pool.batches, buffer),
                None => break,
            };
            if kept.len() < POOLED_MAX {
                kept.push(buffer);
            }
        }
    }

    /// Reads once, what is there; false if nothing was.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        self.make_room()?;
        match self.stream.read(&mut self.input[self.filled.end..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.filled.end += bytes;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        let wanted = self.frame_bytes().unwrap_or(0);
        if wanted > FRAME_BYTES_MAX {
            return Err(io::Error::other("an answer without end"));
        }
        if self.filled.start + wanted > self.input.len() || self.filled.end == self.input.len() {
            self.input.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            let length = self.input.len().max(wanted + INPUT_BYTES);
            self.input.resize(length, 0);
        }
        Ok(())
    }

    /// Of the frame that is being read, with its length.
    fn frame_bytes(&self) -> Option<usize> {
        let bytes = self.input[self.filled.clone()].first_chunk()?;
        Some(u32::from_be_bytes(*bytes) as usize + 4)
    }

    /// The next whole frame, without its length.
    pub(crate) fn frame(&mut self) -> Option<Range<usize>> {
        let length = self.frame_bytes()?;
        if length > self.filled.len() {
            return None;
        }
        let frame = self.filled.start + 4..self.filled.start + length;
        self.filled.start += length;
        Some(frame)
    }

    pub(crate) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.input[frame]
    }
}

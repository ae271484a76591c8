//! Connections: a blocking one for a call at a time, and one for a loop that never blocks.

use super::wire::CORRELATION_AT;
use bytes::{Buf, Bytes, BytesMut};
use mio::net::TcpStream as MioStream;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

/// Room made for each read.
const READ_BYTES: usize = 64 << 10;

pub(crate) fn resolve(address: &str) -> io::Result<SocketAddr> {
    let mut found = address.to_socket_addrs()?;
    found
        .next()
        .ok_or_else(|| io::Error::other(format!("{address} has no address")))
}

/// One request at a time.
pub(crate) struct Link(TcpStream);

impl Link {
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(resolve(address)?)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// The response to a framed request, header included.
    pub(crate) fn call(&mut self, frame: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(frame)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut response = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut response)?;
        Ok(response.into())
    }
}

/// A connection of a loop: what goes out waits here if the socket takes no more.
pub(crate) struct Pipe {
    pub(crate) stream: MioStream,
    unsent: BytesMut,
    received: BytesMut,
}

impl Pipe {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: MioStream::from_std(stream),
            unsent: BytesMut::new(),
            received: BytesMut::new(),
        })
    }

    /// Sends a framed request under `correlation`, now as far as the socket takes it.
    pub(crate) fn send(&mut self, frame: &[u8], correlation: i32) -> io::Result<()> {
        let at = self.unsent.len();
        self.unsent.extend_from_slice(frame);
        let place = at + CORRELATION_AT;
        self.unsent[place..place + 4].copy_from_slice(&correlation.to_be_bytes());
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => self.unsent.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come in; `take` gets each whole response, header included.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Bytes)) -> io::Result<()> {
        loop {
            let before = self.received.len();
            self.received.resize(before + READ_BYTES, 0);
            let read = self.stream.read(&mut self.received[before..]);
            self.received
                .truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.cut(&mut take);
                    if count < READ_BYTES {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn cut(&mut self, take: &mut impl FnMut(Bytes)) {
        while let Some(length) = self.received.first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            if self.received.len() < 4 + length {
                return;
            }
            self.received.advance(4);
            take(self.received.split_to(length).freeze());
        }
    }
}

/// The correlation id of a response.
pub(crate) fn correlation(response: &Bytes) -> io::Result<i32> {
    let id = response.first_chunk().copied();
    id.map(i32::from_be_bytes)
        .ok_or_else(|| io::Error::other("a response without a header"))
}

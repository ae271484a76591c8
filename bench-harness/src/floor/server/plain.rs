//! Servers made of a fixed sequence of plain system calls, one thread each.

use super::frames::{ACK, Frames};
use crate::floor::disk::{Aligned, BLOCK, Scratch};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// What one turn takes in at most.
pub(super) const TURN_BYTES: usize = 4 << 20;

/// Told of every piece: its connection, where it was written, its length.
pub(super) type Written<'a> = &'a mut (dyn FnMut(usize, u64, usize) + Send);

struct Client {
    stream: TcpStream,
    frames: Frames,
    acks: Vec<u8>,
}

struct Clients {
    ring: OwnedFd,
    all: Vec<Client>,
    events: Vec<epoll::Event>,
}

impl Clients {
    fn accept(listener: &TcpListener, count: usize) -> io::Result<Self> {
        let ring = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut all = Vec::new();
        for number in 0..count {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&ring, &stream, data, epoll::EventFlags::IN)?;
            all.push(Client {
                stream,
                frames: Frames::default(),
                acks: Vec::with_capacity(64 * ACK),
            });
        }
        let events = Vec::with_capacity(count);
        Ok(Self { ring, all, events })
    }

    fn wait(&mut self) -> io::Result<()> {
        self.events.clear();
        match epoll::wait(&self.ring, spare_capacity(&mut self.events), None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Client {
    /// None at the end of the stream.
    fn receive(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.stream, space, RecvFlags::empty()) {
            Ok((0, _)) => Ok(None),
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Some(0)),
            // Whoever closes before it has read everything resets the connection.
            Err(Errno::CONNRESET) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&mut self) -> io::Result<()> {
        if self.acks.is_empty() {
            return Ok(());
        }
        let sent = send(&self.stream, &self.acks, SendFlags::NOSIGNAL)?;
        if sent < self.acks.len() {
            // The load reads its answers, and they are far smaller than any socket's memory.
            return Err(ErrorKind::WriteZero.into());
        }
        self.acks.clear();
        Ok(())
    }
}

/// epoll_wait, then a recv and a send for each connection that is ready.
pub(super) fn ack_only(listener: &TcpListener, connections: usize) -> io::Result<()> {
    let mut clients = Clients::accept(listener, connections)?;
    let mut space = vec![0; 256 << 10];
    loop {
        clients.wait()?;
        for event in &clients.events {
            let client = &mut clients.all[event.data.u64() as usize];
            let Some(count) = client.receive(&mut space)? else {
                return Ok(());
            };
            client
                .frames
                .take(&space[..count], false, &mut client.acks)?;
            client.answer()?;
        }
    }
}

/// epoll_wait, a recv for each connection that is ready, one O_DIRECT write of all of it, one
/// fdatasync, a send for each connection that has answers.
pub(super) fn flush_then_ack(
    listener: &TcpListener,
    connections: usize,
    check: bool,
    disk: &Scratch,
    written: Written<'_>,
) -> io::Result<()> {
    let mut clients = Clients::accept(listener, connections)?;
    let mut space = Aligned::new(TURN_BYTES);
    let mut pos = 0;
    loop {
        clients.wait()?;
        if pos + TURN_BYTES as u64 > disk.len() {
            pos = 0;
        }
        let (mut used, mut ended) = (0, false);
        for event in &clients.events {
            if used == TURN_BYTES {
                break;
            }
            let number = event.data.u64() as usize;
            let client = &mut clients.all[number];
            let Some(count) = client.receive(&mut space.bytes_mut()[used..])? else {
                ended = true;
                continue;
            };
            let piece = &space.bytes()[used..used + count];
            client.frames.take(piece, check, &mut client.acks)?;
            written(number, pos + used as u64, count);
            used += count;
        }
        if used > 0 {
            let padded = used.next_multiple_of(BLOCK);
            disk.write_at(&space.bytes()[..padded], pos)?;
            disk.flush()?;
            pos += padded as u64;
            for event in &clients.events {
                clients.all[event.data.u64() as usize].answer()?;
            }
        }
        if ended {
            return Ok(());
        }
    }
}

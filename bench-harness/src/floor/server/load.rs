//! The load: one thread, some connections, each with so many requests on their way at all times.

use super::Shape;
use super::frames::{ACK, answered, write_head};
use crate::floor::sample::{cpu_now, process_cpu_now};
use crate::model::micros;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A server that is silent for so long has failed.
const PATIENCE: rustix::event::Timespec = rustix::event::Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// When no more requests are made.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Elapsed(Duration),
    /// So many on each connection.
    Sent(u64),
}

pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) cpu_s: f64,
    /// Of all other threads of the process: the server, and what the kernel does for it in threads
    /// of its own.
    pub(super) server_cpu_s: f64,
    pub(super) times: Option<Histogram<u64>>,
}

struct Peer {
    stream: TcpStream,
    /// Room for the requests that are on their way, one after the other.
    frames: Vec<u8>,
    made: u64,
    answered: u64,
    /// Of all bytes ever made.
    sent_bytes: u64,
    sent_at: Vec<Instant>,
    answers: Vec<u8>,
}

pub(super) fn connect(to: SocketAddr, shape: Shape) -> io::Result<Vec<TcpStream>> {
    let one = |_| {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    (0..shape.connections).map(one).collect()
}

/// A listener of loopback, for the plain servers.
pub(super) fn listener() -> io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// What the frames of a connection are filled with, so that no two connections send the same.
pub(super) fn filling(connection: usize, at: usize) -> u8 {
    (at * 31 + connection * 7) as u8
}

impl Peer {
    fn new(stream: TcpStream, number: usize, shape: Shape, now: Instant) -> Self {
        let frame: Vec<u8> = (0..shape.bytes).map(|at| filling(number, at)).collect();
        Self {
            stream,
            frames: frame.repeat(shape.in_flight),
            made: 0,
            answered: 0,
            sent_bytes: 0,
            sent_at: vec![now; shape.in_flight],
            answers: Vec::with_capacity(ACK * (shape.in_flight + 1)),
        }
    }

    fn make(&mut self, shape: Shape, now: Instant) {
        let slot = self.made as usize % shape.in_flight;
        let frame = &mut self.frames[slot * shape.bytes..(slot + 1) * shape.bytes];
        write_head(frame, self.made);
        self.sent_at[slot] = now;
        self.made += 1;
    }

    /// Everything that has arrived: each answer is for the request that waits longest.
    fn read(&mut self, shape: Shape, times: &mut Option<Histogram<u64>>) -> io::Result<u64> {
        match recv(
            &self.stream,
            spare_capacity(&mut self.answers),
            RecvFlags::empty(),
        ) {
            Ok((_, 0)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let mut count = 0;
        for answer in self.answers.chunks_exact(ACK) {
            if answered(answer) != Some(self.answered) || self.answered >= self.made {
                let what = format!("an answer that is not for request {}", self.answered);
                return Err(io::Error::new(ErrorKind::InvalidData, what));
            }
            let slot = self.answered as usize % shape.in_flight;
            if let Some(times) = times {
                // It grows with what it is given, up to any time an answer can take.
                times
                    .record(micros(now - self.sent_at[slot]))
                    .unwrap_or_default();
            }
            self.answered += 1;
            count += 1;
        }
        self.answers.drain(..count as usize * ACK);
        Ok(count)
    }

    fn write(&mut self, shape: Shape) -> io::Result<()> {
        let made_bytes = self.made * shape.bytes as u64;
        while self.sent_bytes < made_bytes {
            let from = self.sent_bytes as usize % self.frames.len();
            let left = usize::try_from(made_bytes - self.sent_bytes).unwrap_or(usize::MAX);
            let to = self.frames.len().min(from.saturating_add(left));
            match send(&self.stream, &self.frames[from..to], SendFlags::NOSIGNAL) {
                Ok(count) => self.sent_bytes += count as u64,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Runs until every request that was made has its answer.
pub(super) fn drive(streams: Vec<TcpStream>, shape: Shape, until: Until) -> io::Result<Load> {
    let ring: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let began = Instant::now();
    let (cpu, all_cpu) = (cpu_now(), process_cpu_now());
    let mut peers = Vec::new();
    for (number, stream) in streams.into_iter().enumerate() {
        peers.push(Peer::new(stream, number, shape, began));
    }
    let mut times = Histogram::new(3).ok();
    let more = |made: u64, now: Instant| match until {
        Until::Elapsed(time) => now < began + time,
        Until::Sent(count) => made < count,
    };
    for (number, peer) in peers.iter_mut().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&ring, &peer.stream, data, flags)?;
        while peer.made < shape.in_flight as u64 && more(peer.made, began) {
            peer.make(shape, Instant::now());
        }
        peer.write(shape)?;
    }
    let mut events = Vec::with_capacity(shape.connections);
    while peers.iter().any(|peer| peer.answered < peer.made) {
        events.clear();
        match epoll::wait(&ring, spare_capacity(&mut events), Some(&PATIENCE)) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let peer = &mut peers[event.data.u64() as usize];
            let answers = peer.read(shape, &mut times)?;
            let now = Instant::now();
            for _ in 0..answers {
                if more(peer.made, now) {
                    peer.make(shape, now);
                }
            }
            peer.write(shape)?;
        }
    }
    let cpu_s = cpu_now() - cpu;
    Ok(Load {
        seconds: began.elapsed().as_secs_f64(),
        requests: peers.iter().map(|peer| peer.answered).sum(),
        cpu_s,
        server_cpu_s: process_cpu_now() - all_cpu - cpu_s,
        times,
    })
}

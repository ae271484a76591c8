//! What the loopback takes: the sender is measured, the receiver drains on the other core.

use super::Pair;
use super::sample::{Sample, Watch};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create, sendfile};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Of files to send from.
const SOURCE: u64 = 32 << 20;

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok((one, other))
}

fn drain(mut from: TcpStream) -> io::Result<()> {
    let mut space = vec![0; 1 << 20];
    while from.read(&mut space)? > 0 {}
    Ok(())
}

pub(super) fn send(pair: Pair, size: usize, time: Duration) -> io::Result<Sample> {
    let (mut to, from) = connected()?;
    let piece = vec![7; size];
    pair.run(
        move || {
            let mut watch = Watch::start(time);
            while watch.running() {
                to.write_all(&piece)?;
                watch.count(1, size as u64);
            }
            Ok(watch.end())
        },
        move || drain(from),
    )
}

/// Of memory that what is received comes to lie in, used again and again from the start.
const PLACE: usize = 64 << 20;
/// Of one of the pieces that a stream is received into where its place is not known yet, and how
/// many of them take turns.
const PIECE: usize = 128 << 10;
const PIECES: usize = 16;

/// Receives bodies of `size` bytes, checks their CRC-32C and has them lie one behind the other:
/// `copied` there from the pieces that they came in, or received there.
pub(super) fn receive(pair: Pair, size: usize, copied: bool, time: Duration) -> io::Result<Sample> {
    let (mut to, mut from) = connected()?;
    let body = vec![7; size];
    pair.run(
        move || {
            let mut place = vec![1_u8; PLACE];
            let mut pieces = vec![1_u8; PIECES * PIECE];
            let mut pieces_used = 0;
            let mut watch = Watch::start(time);
            let mut at = 0;
            while watch.running() {
                if at + size > PLACE {
                    at = 0;
                }
                let (end, mut crc) = (at + size, 0);
                while at < end {
                    let here = &mut place[at..end];
                    let got = if copied {
                        let begin = pieces_used % PIECES * PIECE;
                        pieces_used += 1;
                        let piece = &mut pieces[begin..begin + PIECE.min(here.len())];
                        let got = from.read(piece)?;
                        crc = crc32c::crc32c_append(crc, &piece[..got]);
                        here[..got].copy_from_slice(&piece[..got]);
                        got
                    } else {
                        let got = from.read(here)?;
                        crc = crc32c::crc32c_append(crc, &here[..got]);
                        got
                    };
                    if got == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    at += got;
                }
                black_box(crc);
                watch.count(1, size as u64);
            }
            Ok(watch.end())
        },
        // The receiver ends it.
        move || {
            while to.write_all(&body).is_ok() {}
            Ok(())
        },
    )
}

/// A file in the page cache, without a name.
pub(super) fn cached(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("bench-harness-sendfile-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    filled(file)
}

pub(super) fn in_memory() -> io::Result<File> {
    filled(File::from(memfd_create(
        "bench-harness",
        MemfdFlags::CLOEXEC,
    )?))
}

/// Without mapping it, it can only be reserved: it holds zeros.
pub(super) fn in_huge_pages() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = File::from(memfd_create("bench-harness", flags)?);
    let reserved = fallocate(&file, FallocateFlags::empty(), 0, SOURCE);
    reserved.map_err(|error| {
        let what = format!("vm.nr_hugepages keeps no huge pages free for it: {error}");
        io::Error::other(what)
    })?;
    Ok(file)
}

fn filled(mut file: File) -> io::Result<File> {
    file.write_all(&vec![7; usize::try_from(SOURCE).unwrap_or(usize::MAX)])?;
    Ok(file)
}

/// sendfile of pieces of `size` bytes.
pub(super) fn send_file(
    pair: Pair,
    file: &File,
    size: usize,
    time: Duration,
) -> io::Result<Sample> {
    let (to, from) = connected()?;
    pair.run(
        move || {
            let mut watch = Watch::start(time);
            let mut pos = 0;
            while watch.running() {
                let mut left = size;
                while left > 0 {
                    match sendfile(&to, file, Some(&mut pos), left)? {
                        0 => return Err(ErrorKind::UnexpectedEof.into()),
                        sent => left -= sent,
                    }
                }
                watch.count(1, size as u64);
                if pos + size as u64 > SOURCE {
                    pos = 0;
                }
            }
            Ok(watch.end())
        },
        move || drain(from),
    )
}

/// 100 bytes there, 36 bytes back, one at a time; the asking side is measured.
pub(super) fn ping(pair: Pair, time: Duration) -> io::Result<Sample> {
    let (mut asking, mut answering) = connected()?;
    pair.run(
        move || {
            let mut watch = Watch::start(time).timed();
            let mut answer = [0; 36];
            while watch.running() {
                asking.write_all(&[1; 100])?;
                asking.read_exact(&mut answer)?;
                watch.count(1, 0);
            }
            Ok(watch.end())
        },
        move || {
            let mut question = [0; 100];
            loop {
                match answering.read_exact(&mut question) {
                    Ok(()) => answering.write_all(&[2; 36])?,
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        },
    )
}

//! The sparse registered file table of a ring and what the driver knows about each place in it.

use crate::op::{Done, ErrorKind, FileId, IoError, SockId, Token};
use std::os::fd::OwnedFd;

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) direct: bool,
    /// Behind everything that was there, was written or was reserved.
    pub(crate) end: u64,
    pub(crate) in_flight: u32,
    pub(crate) closing: Option<Token>,
    /// Kept only where the kernel has no IORING_OP_FTRUNCATE (before 6.9).
    pub(crate) fd: Option<OwnedFd>,
}

/// An open socket or listener. The numbers are operation slots.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    pub(crate) recv: Option<u32>,
    pub(crate) pausing: bool,
    pub(crate) send: Option<u32>,
    /// Whether memory is lent to the peer.
    pub(crate) lends: bool,
    pub(crate) accept: Option<u32>,
    pub(crate) closing: Option<Token>,
    /// The close is in the kernel's hands.
    pub(crate) closed: bool,
}

impl Socket {
    pub(crate) fn is_quiet(&self) -> bool {
        self.recv.is_none() && self.send.is_none() && self.accept.is_none()
    }
}

#[derive(Debug)]
enum Entry {
    Free,
    /// Held by the driver itself (the wake-up event, locks).
    Own,
    File(OpenFile),
    Sock(Socket),
}

#[derive(Debug)]
struct Place {
    generation: u32,
    entry: Entry,
}

/// Grows as places are used, up to the size registered with the ring.
#[derive(Debug)]
pub(crate) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    places_max: u32,
    socks: u32,
    files: u32,
}

impl Table {
    pub(crate) fn new(places_max: u32) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            places_max,
            socks: 0,
            files: 0,
        }
    }

    /// Places that sockets may take: clients must not keep the shard from opening its own files.
    const fn socks_max(&self) -> u32 {
        self.places_max - self.places_max / 4
    }

    /// And its own files must not keep it from taking connections.
    const fn files_max(&self) -> u32 {
        self.places_max - self.places_max / 4
    }

    fn put(&mut self, entry: Entry) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if (self.places.len() as u32) < self.places_max => {
                self.places.push(Place {
                    generation: 0,
                    entry: Entry::Free,
                });
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        self.places[index as usize].entry = entry;
        Some(index)
    }

    pub(crate) fn put_own(&mut self) -> Option<u32> {
        self.put(Entry::Own)
    }

    pub(crate) fn put_file(&mut self, file: OpenFile) -> Option<u32> {
        if self.files >= self.files_max() {
            return None;
        }
        let index = self.put(Entry::File(file))?;
        self.files += 1;
        Some(index)
    }

    pub(crate) fn put_sock(&mut self) -> Option<SockId> {
        if self.socks >= self.socks_max() {
            return None;
        }
        let index = self.put(Entry::Sock(Socket::default()))?;
        self.socks += 1;
        let generation = self.places[index as usize].generation;
        Some(SockId(u64::from(generation) << 32 | u64::from(index)))
    }

    /// Frees a place; identifiers of what was there reach nothing any more.
    pub(crate) fn remove(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        match std::mem::replace(&mut place.entry, Entry::Free) {
            Entry::Sock(_) => self.socks -= 1,
            Entry::File(_) => self.files -= 1,
            Entry::Own | Entry::Free => {}
        }
        self.free.push(index);
    }

    pub(crate) fn file(&mut self, file: FileId) -> Option<&mut OpenFile> {
        match &mut self.places.get_mut(file.0 as usize)?.entry {
            Entry::File(open) => Some(open),
            _ => None,
        }
    }

    pub(crate) fn sock(&mut self, sock: SockId) -> Option<&mut Socket> {
        let place = self.places.get_mut(index_of(sock) as usize)?;
        match &mut place.entry {
            Entry::Sock(socket) if u64::from(place.generation) == sock.0 >> 32 => Some(socket),
            _ => None,
        }
    }
}

pub(crate) fn index_of(sock: SockId) -> u32 {
    (sock.0 & 0xffff_ffff) as u32
}

/// The failure that `errno` stands for.
pub(crate) fn failed(errno: i32) -> Done {
    let kind = match errno {
        libc::ENOENT => ErrorKind::NotFound,
        libc::EEXIST => ErrorKind::AlreadyExists,
        libc::ENOSPC | libc::EDQUOT => ErrorKind::NoSpace,
        libc::EIO => ErrorKind::Medium,
        libc::EACCES | libc::EPERM | libc::EROFS => ErrorKind::PermissionDenied,
        libc::EADDRINUSE => ErrorKind::AddressInUse,
        libc::ECONNRESET
        | libc::ECONNABORTED
        | libc::EPIPE
        | libc::ETIMEDOUT
        | libc::ENOTCONN
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::ENETDOWN
        | libc::ESHUTDOWN => ErrorKind::Disconnected,
        libc::ECANCELED => ErrorKind::Cancelled,
        libc::EMFILE | libc::ENFILE => ErrorKind::TooManyFiles,
        _ => ErrorKind::Other,
    };
    Done::Failed(IoError { kind, errno })
}

pub(crate) fn failed_io(error: &std::io::Error) -> Done {
    failed(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> OpenFile {
        OpenFile {
            direct: false,
            end: 0,
            in_flight: 0,
            closing: None,
            fd: None,
        }
    }

    #[test]
    fn neither_files_nor_sockets_take_all_places() {
        let mut table = Table::new(64);
        let files: Vec<u32> = std::iter::from_fn(|| table.put_file(file())).collect();
        assert_eq!(files.len(), 48);
        let socks = std::iter::from_fn(|| table.put_sock()).count();
        assert_eq!(socks, 16);
        table.remove(files[0]);
        assert!(table.put_sock().is_some());
        table.remove(files[1]);
        assert!(table.put_file(file()).is_some());
    }
}

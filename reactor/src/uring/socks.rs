//! Sockets: listen, accept, receive, pause, send, close.

use super::gather::Gather;
use super::recv::GROUP;
use super::slots::{InFlight, Target, Work};
use super::table::{Socket, failed, failed_io, index_of};
use super::{ACCEPT_PAUSE_MS, Io};
use crate::op::{Done, Mono, Op, SockId, Token};
use bytes::Bytes;
use io_uring::{cqueue, opcode, squeue, types};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
/// Connections that wait to be accepted; the kernel cuts this to net.core.somaxconn.
const BACKLOG_MAX: i32 = 4096;

impl Io {
    pub(super) fn listen(&mut self, token: Token, addr: SocketAddr, give_up: Mono) {
        let done = self.try_listen(addr);
        let taken = matches!(&done, Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE));
        if taken
            && self
                .again_later(token, Op::Listen { addr }, give_up)
                .is_ok()
        {
            return;
        }
        self.done(token, done.unwrap_or_else(|error| failed_io(&error)));
    }

    fn try_listen(&mut self, addr: SocketAddr) -> io::Result<Done> {
        {
            let mut listens = self.shared.listens();
            if addr.port() != 0 && !listens.contains(&addr) {
                // With SO_REUSEPORT another process of this user could listen on the same address
                // without anybody noticing; without it the kernel tells.
                drop(bind(addr, false)?);
                listens.push(addr);
            }
        }
        let listener = TcpListener::from(bind(addr, true)?);
        // SAFETY: a plain call on our own descriptor.
        if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG_MAX) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let local = listener.local_addr()?;
        let mut listens = self.shared.listens();
        if !listens.contains(&local) {
            listens.push(local);
        }
        drop(listens);
        let sock = self.adopt_sock(listener.as_raw_fd())?;
        Ok(Done::Listening { sock, local })
    }

    /// Registers a descriptor with the ring; the caller's own may then be closed.
    fn adopt_sock(&mut self, fd: i32) -> io::Result<SockId> {
        let sock = self.table.put_sock();
        let sock = sock.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        let place = index_of(sock);
        if let Err(error) = self.ring.submitter().register_files_update(place, &[fd]) {
            self.table.remove(place);
            return Err(error);
        }
        Ok(sock)
    }

    /// The socket, if operations may begin on it; otherwise answers `token`.
    fn usable(&mut self, token: Token, sock: SockId) -> Option<&mut Socket> {
        let usable = self.table.sock(sock).is_some_and(|s| s.closing.is_none());
        if !usable {
            self.done(token, failed(libc::ECANCELED));
            return None;
        }
        self.table.sock(sock)
    }

    fn submit_on_sock(
        &mut self,
        token: Token,
        sock: SockId,
        work: Work,
        entry: squeue::Entry,
    ) -> u32 {
        let target = Target::Sock(sock);
        let flight = InFlight {
            token,
            target,
            work,
        };
        // SAFETY: the entry points to nothing, or into what the work owns.
        unsafe { self.submit(flight, entry) }
    }

    pub(super) fn accept(&mut self, token: Token, sock: SockId) {
        let Some(socket) = self.usable(token, sock) else {
            return;
        };
        if socket.accept.is_some() {
            return self.done(token, failed(libc::EALREADY));
        }
        let slot = self.submit_on_sock(token, sock, Work::Accept, accept_entry(sock));
        if let Some(socket) = self.table.sock(sock) {
            socket.accept = Some(slot);
        }
    }

    pub(super) fn recv(&mut self, token: Token, sock: SockId) {
        let Some(socket) = self.usable(token, sock) else {
            return;
        };
        if socket.recv.is_some() {
            return self.done(token, failed(libc::EALREADY));
        }
        let slot = self.submit_on_sock(token, sock, Work::Recv, recv_entry(sock));
        if let Some(socket) = self.table.sock(sock) {
            socket.recv = Some(slot);
            socket.pausing = false;
        }
    }

    pub(super) fn pause(&mut self, sock: SockId) {
        let Some(socket) = self.table.sock(sock) else {
            return;
        };
        let Some(slot) = socket.recv.filter(|_| !socket.pausing) else {
            return;
        };
        socket.pausing = true;
        self.cancel(slot);
    }

    pub(super) fn send(&mut self, token: Token, sock: SockId, parts: Vec<Bytes>) {
        let Some(socket) = self.usable(token, sock) else {
            return;
        };
        if socket.send.is_some() {
            return self.done(token, failed(libc::EALREADY));
        }
        let slot = if self.lends(sock, &parts) {
            self.lend(token, sock, parts)
        } else {
            let mut gather = Gather::new(parts);
            if gather.is_empty() {
                return self.done(token, Done::Ok);
            }
            let entry = send_entry(sock, &mut gather);
            self.submit_on_sock(token, sock, Work::Send(gather), entry)
        };
        self.sends += 1;
        if let Some(socket) = self.table.sock(sock) {
            socket.send = Some(slot);
        }
    }

    pub(super) fn close_sock(&mut self, token: Token, sock: SockId) {
        let Some(socket) = self.usable(token, sock) else {
            return;
        };
        socket.closing = Some(token);
        let in_flight = [socket.recv, socket.send, socket.accept];
        for slot in in_flight.into_iter().flatten() {
            self.cancel(slot);
        }
        self.close_if_quiet(sock);
    }

    pub(super) fn close_if_quiet(&mut self, sock: SockId) {
        let Some(socket) = self.table.sock(sock) else {
            return;
        };
        if let (Some(token), true, false) = (socket.closing, socket.is_quiet(), socket.closed) {
            socket.closed = true;
            let entry = opcode::Close::new(types::Fixed(index_of(sock))).build();
            self.submit_on_sock(token, sock, Work::CloseSock, entry);
        }
    }

    /// A completion of an operation on a socket.
    pub(super) fn sock_completed(
        &mut self,
        slot: u32,
        sock: SockId,
        result: i32,
        flags: u32,
        now: Mono,
    ) {
        match &mut self.slots.get(slot).work {
            Work::Recv => self.recv_completed(slot, sock, result, flags),
            Work::Accept => self.accept_completed(slot, sock, result, flags, now),
            Work::Send(_) => self.send_completed(slot, sock, result),
            Work::Lend(_) => self.lend_completed(slot, sock, result, flags),
            _ => {
                let flight = self.slots.take(slot);
                self.table.remove(index_of(sock));
                self.done(flight.token, Done::Ok);
            }
        }
    }

    fn recv_completed(&mut self, slot: u32, sock: SockId, result: i32, flags: u32) {
        let token = self.slots.get(slot).token;
        if let Some(id) = cqueue::buffer_select(flags) {
            match usize::try_from(result) {
                Ok(len) if len > 0 => {
                    let piece = self.recv_pool.piece(id, len);
                    self.done(token, Done::Received(piece));
                }
                _ => self.recv_pool.give_back(id),
            }
        }
        if cqueue::more(flags) {
            return;
        }
        match -result {
            0 => self.end_recv(slot, sock, Done::Eof),
            errno if errno > 0 && !matches!(errno, libc::ENOBUFS | libc::EINTR | libc::EAGAIN) => {
                let paused = errno == libc::ECANCELED && !self.is_closing(sock);
                let done = if paused { Done::Paused } else { failed(errno) };
                self.end_recv(slot, sock, done);
            }
            // The kernel ended it for a reason of its own: no buffer was left, or the completion
            // queue was full. Nobody asked, so it goes on.
            _ => self.recv_again.push(slot),
        }
    }

    pub(super) fn is_closing(&mut self, sock: SockId) -> bool {
        self.ending || self.table.sock(sock).is_none_or(|s| s.closing.is_some())
    }

    fn end_recv(&mut self, slot: u32, sock: SockId, done: Done) {
        let flight = self.slots.take(slot);
        if let Some(socket) = self.table.sock(sock) {
            socket.recv = None;
            socket.pausing = false;
        }
        self.done(flight.token, done);
    }

    /// Continues a receive that the kernel ended, unless it was paused or closed meanwhile.
    pub(super) fn rearm_recv(&mut self, slot: u32) {
        let Target::Sock(sock) = self.slots.target(slot) else {
            return;
        };
        if self.is_closing(sock) {
            self.end_recv(slot, sock, failed(libc::ECANCELED));
            self.close_if_quiet(sock);
        } else if self.table.sock(sock).is_some_and(|s| s.pausing) {
            self.end_recv(slot, sock, Done::Paused);
        } else {
            // SAFETY: the entry points to no memory; buffers come from the registered ring.
            unsafe { self.resubmit(slot, recv_entry(sock)) };
        }
    }

    fn accept_completed(&mut self, slot: u32, sock: SockId, result: i32, flags: u32, now: Mono) {
        let token = self.slots.get(slot).token;
        if result >= 0 {
            // SAFETY: the kernel just gave this descriptor to this accept.
            let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(result) });
            if let Some(done) = self.accepted(&stream) {
                self.done(token, done);
            }
        }
        if cqueue::more(flags) {
            return;
        }
        if self.is_closing(sock) {
            return self.end_accept(slot, sock, libc::ECANCELED);
        }
        match -result {
            // The multishot ended for a reason of its own, or that one connection has gone.
            ..=0 | libc::EINTR | libc::EAGAIN | libc::ECONNABORTED => {
                // SAFETY: the entry points to no memory.
                unsafe { self.resubmit(slot, accept_entry(sock)) };
            }
            errno => {
                let at = now.after_ms(ACCEPT_PAUSE_MS);
                self.accept_ends.push((sock, at, errno));
            }
        }
    }

    /// `None` for a connection that is gone already.
    fn accepted(&mut self, stream: &TcpStream) -> Option<Done> {
        let peer = stream.peer_addr().ok()?;
        let local = stream.local_addr().ok()?;
        // Dropping the stream closes it.
        Some(match self.adopt_sock(stream.as_raw_fd()) {
            Ok(sock) => {
                if let Some(socket) = self.table.sock(sock) {
                    socket.lends = self.lend.to(peer.ip(), local.ip());
                }
                Done::Accepted { sock, peer, local }
            }
            Err(_) => Done::TurnedAway { peer },
        })
    }

    fn end_accept(&mut self, slot: u32, sock: SockId, errno: i32) {
        let flight = self.slots.take(slot);
        if let Some(socket) = self.table.sock(sock) {
            socket.accept = None;
        }
        self.done(flight.token, failed(errno));
    }

    /// Says which accepts the kernel has ended, now that the pause is over.
    pub(super) fn end_accepts(&mut self, now: Mono) {
        let (due, later) = self
            .accept_ends
            .drain(..)
            .partition(|(_, at, _)| *at <= now);
        self.accept_ends = later;
        let due: Vec<(SockId, Mono, i32)> = due;
        for (sock, _, errno) in due {
            let Some(slot) = self.table.sock(sock).and_then(|s| s.accept) else {
                continue;
            };
            let closing = self.is_closing(sock);
            let errno = if closing { libc::ECANCELED } else { errno };
            self.end_accept(slot, sock, errno);
            self.close_if_quiet(sock);
        }
    }

    fn send_completed(&mut self, slot: u32, sock: SockId, result: i32) {
        let closing = self.is_closing(sock);
        let again = matches!(-result, libc::EINTR | libc::EAGAIN);
        if let Work::Send(gather) = &mut self.slots.get(slot).work {
            gather.advance(usize::try_from(result).unwrap_or(0));
            if (again || result > 0) && !gather.is_empty() && !closing {
                let entry = send_entry(sock, gather);
                // SAFETY: the entry points into the gather that the slot owns.
                return unsafe { self.resubmit(slot, entry) };
            }
        }
        let flight = self.slots.take(slot);
        if let Some(socket) = self.table.sock(sock) {
            socket.send = None;
        }
        let all = matches!(&flight.work, Work::Send(gather) if gather.is_empty());
        self.done(flight.token, sent(result, all, closing));
    }
}

/// How a send ended: its last result, whether everything has gone, whether its socket is closing.
pub(super) fn sent(result: i32, all: bool, closing: bool) -> Done {
    match -result {
        _ if all => Done::Ok,
        _ if closing => failed(libc::ECANCELED),
        errno if errno > 0 => failed(errno),
        _ => failed(libc::EPIPE),
    }
}

fn accept_entry(sock: SockId) -> squeue::Entry {
    opcode::AcceptMulti::new(types::Fixed(index_of(sock)))
        .flags(libc::SOCK_CLOEXEC)
        .build()
}

fn recv_entry(sock: SockId) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fixed(index_of(sock)), GROUP).build()
}

fn send_entry(sock: SockId, gather: &mut Gather) -> squeue::Entry {
    let place = types::Fixed(index_of(sock));
    if let Some((start, len)) = gather.single() {
        return opcode::Send::new(place, start, len)
            .flags(SEND_FLAGS)
            .build();
    }
    opcode::SendMsg::new(place, gather.message())
        .flags(SEND_FLAGS as u32)
        .build()
}

/// A bound socket. TCP_NODELAY and SO_KEEPALIVE pass from a listener to what it accepts.
fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv6() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    // SAFETY: a plain call without pointers.
    let raw = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    // As Kafka does: a peer that has vanished is noticed although nothing is sent to it.
    set(&fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE)?;
    if reuse_port {
        set(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
    }
    set(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    if addr.is_ipv6() {
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
    }
    let done = match addr {
        SocketAddr::V4(v4) => {
            // SAFETY: all-zero is a valid address structure.
            let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            bind_to(&fd, &name)
        }
        SocketAddr::V6(v6) => {
            // SAFETY: all-zero is a valid address structure.
            let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            bind_to(&fd, &name)
        }
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

fn bind_to<A>(fd: &OwnedFd, name: &A) -> i32 {
    let len = size_of::<A>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe one local address structure.
    unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(name).cast(), len) }
}

fn set(fd: &OwnedFd, level: i32, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe one local integer.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const on).cast(), len) };
    if done != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

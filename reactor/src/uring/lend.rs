//! Sends that lend memory instead of copying it (IORING_OP_SENDMSG_ZC): the kernel reads the parts
//! until it says, once for each entry, that it does so no more. Only then are they given back, and
//! so nothing else can be written where a peer has yet to read, however long it takes.

use super::gather::Gather;
use super::slots::{InFlight, Target, Work};
use super::table::index_of;
use super::{Io, socks};
use crate::op::{SockId, Token};
use bytes::Bytes;
use io_uring::{cqueue, opcode, squeue, types};
use std::net::IpAddr;

/// To whom a shard's memory may be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lend {
    Nobody,
    /// To peers on other machines, as long as the kernel does not report that it copied after all.
    Remote,
    Everybody,
}

/// Shorter sends are copied: to pin pages and to be told costs more.
const LEND_BYTES_MIN: usize = 32 * 1024;

/// This share of the arena is kept by what is lent at most: peers that stop reading must not keep
/// the rest from being written.
const LENT_SHARE: usize = 4;

/// How long nothing is lent after the kernel was short of memory for it, in ms.
const LEND_PAUSE_MS: u64 = 1_000;

/// From the kernel's io_uring.h; the crate has no public names for these.
const REPORT_USAGE: u16 = 1 << 3;
const USAGE_COPIED: i32 = i32::MIN;

/// A send whose memory the kernel may still read.
pub(crate) struct Lent {
    gather: Box<Gather>,
    /// All that was lent, also what has gone out.
    #[allow(dead_code, reason = "owned for the kernel")]
    parts: Vec<Bytes>,
    /// Entries of which the kernel has yet to say that it reads no more.
    notices: u32,
    /// Bytes of the blocks that the parts keep.
    kept: usize,
    /// The machine knows how the send ended, or another send goes on with it.
    told: bool,
}

impl Lend {
    /// Whether memory may be lent to `peer`, which reached us as `local`.
    pub(super) fn to(self, peer: IpAddr, local: IpAddr) -> bool {
        let (peer, local) = (peer.to_canonical(), local.to_canonical());
        match self {
            Self::Nobody => false,
            Self::Remote => !peer.is_loopback() && peer != local,
            Self::Everybody => true,
        }
    }
}

impl Io {
    /// Whether a send of these parts on `sock` should lend them.
    pub(super) fn lends(&mut self, sock: SockId, parts: &[Bytes]) -> bool {
        if self.lend == Lend::Nobody || !self.ring.has_sendmsg_zc {
            return false;
        }
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        let room = (self.arena.bytes_max() / LENT_SHARE).saturating_sub(self.lent);
        bytes >= LEND_BYTES_MIN
            && self.now >= self.lend_again
            && self.table.sock(sock).is_some_and(|socket| socket.lends)
            && self.kept_by(parts) <= room
    }

    /// Bytes of the blocks that these parts keep: a small part may keep a large one.
    fn kept_by(&self, parts: &[Bytes]) -> usize {
        let (mut kept, mut last) = (0, None);
        for part in parts {
            match self.arena.block_of(part.as_ptr()) {
                Some(block) if last == Some(block.start) => {}
                Some(block) => {
                    // A part of several regions keeps them all.
                    kept += block.len().max(part.len());
                    last = Some(block.start);
                }
                None => kept += part.len(),
            }
        }
        kept
    }

    pub(super) fn lend(&mut self, token: Token, sock: SockId, parts: Vec<Bytes>) -> u32 {
        let mut gather = Gather::new(parts.clone());
        let entry = entry(sock, &mut gather);
        let kept = self.kept_by(&parts);
        let lent = Lent {
            gather,
            parts,
            notices: 0,
            kept,
            told: false,
        };
        self.lent += kept;
        let flight = InFlight {
            token,
            target: Target::Sock(sock),
            work: Work::Lend(Box::new(lent)),
        };
        // SAFETY: the entry points into the gather, which the slot keeps, as it does the parts,
        // until the kernel has said that it reads them no more.
        unsafe { self.submit(flight, entry) }
    }

    /// A completion of an entry, or the notice that its memory is read no more.
    pub(super) fn lend_completed(&mut self, slot: u32, sock: SockId, result: i32, flags: u32) {
        let closing = self.is_closing(sock);
        let flight = self.slots.get(slot);
        let token = flight.token;
        let Work::Lend(lent) = &mut flight.work else {
            return;
        };
        if cqueue::notif(flags) {
            lent.notices -= 1;
            if result & USAGE_COPIED != 0 && self.lend == Lend::Remote {
                self.stop_lending(sock);
            }
            return self.end_lend(slot);
        }
        lent.notices += u32::from(cqueue::more(flags));
        lent.gather.advance(usize::try_from(result).unwrap_or(0));
        let again = result > 0 || matches!(-result, libc::EINTR | libc::EAGAIN);
        if again && !lent.gather.is_empty() && !closing {
            let entry = entry(sock, &mut lent.gather);
            // SAFETY: the slot keeps all that the entry points to.
            return unsafe { self.resubmit(slot, entry) };
        }
        lent.told = true;
        let all = lent.gather.is_empty();
        let rest = lent.gather.rest();
        self.end_lend(slot);
        if let Some(socket) = self.table.sock(sock) {
            socket.send = None;
        }
        if closing || all || !self.must_copy(sock, -result) {
            return self.done(token, socks::sent(result, all, closing));
        }
        self.send(token, sock, rest);
    }

    /// Whether a send that the kernel refused with `errno` is to go on as a copy.
    fn must_copy(&mut self, sock: SockId, errno: i32) -> bool {
        match errno {
            // The user's limit on locked memory, or the socket's on what is under way: for now.
            libc::ENOMEM | libc::ENOBUFS => self.lend_again = self.now.after_ms(LEND_PAUSE_MS),
            // A kernel before 6.2 cannot report, and not every socket can lend.
            libc::EINVAL | libc::EOPNOTSUPP => self.stop_lending(sock),
            _ => return false,
        }
        true
    }

    fn stop_lending(&mut self, sock: SockId) {
        if let Some(socket) = self.table.sock(sock) {
            socket.lends = false;
        }
    }

    /// Gives the memory back if nobody reads it any more.
    fn end_lend(&mut self, slot: u32) {
        if let Work::Lend(lent) = &self.slots.get(slot).work
            && lent.told
            && lent.notices == 0
        {
            self.lent -= lent.kept;
            self.slots.take(slot);
        }
    }
}

fn entry(sock: SockId, gather: &mut Gather) -> squeue::Entry {
    opcode::SendMsgZc::new(types::Fixed(index_of(sock)), gather.message())
        .ioprio(REPORT_USAGE)
        .flags(socks::SEND_FLAGS as u32)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_on_the_same_machine_are_told_from_others() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let cases = [
            ("127.0.0.1", "127.0.0.1", false),
            ("127.0.0.2", "127.0.0.1", false),
            ("::1", "::1", false),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", false),
            ("10.0.0.5", "10.0.0.5", false),
            ("::ffff:10.0.0.5", "10.0.0.5", false),
            ("10.0.0.6", "10.0.0.5", true),
            ("fd00::6", "fd00::5", true),
        ];
        for (peer, local, remote) in cases {
            let (peer, local) = (ip(peer), ip(local));
            assert_eq!(Lend::Remote.to(peer, local), remote, "{peer} at {local}");
            assert!(!Lend::Nobody.to(peer, local) && Lend::Everybody.to(peer, local));
        }
    }
}

//! Sockets and connection machines of one shard: who receives, who is paused, who is closed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use net::conn::{Conn, ConnError, ConnLimits, Frame};
use reactor::op::{Done, ErrorKind, Mono, Op, SockId, Token};

use crate::limits::{GONE_MS_MAX, SMALL_REQUEST_BYTES_MAX, STALLED_MS_MAX};

use super::budget::{Budget, Held};

/// A connection of this shard, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// The top byte of the tokens of this room.
pub const ROOM: u8 = 0x02;

/// What an operation of this room was for; the second byte of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Listen = 1,
    Accept = 2,
    Receive = 3,
    Send = 4,
    Close = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    On,
    /// A pause is asked for and has not ended the receive yet.
    Pausing,
    Off,
}

#[derive(Debug)]
struct Connection {
    sock: SockId,
    machine: Conn,
    peer: SocketAddr,
    local: SocketAddr,
    receiving: Receiving,
    held: Held,
    sending: bool,
    /// It is one of those that the broker's limits allow: nothing is received before that.
    counted: bool,
    /// The peer sends no more. What it sent before still counts: a producer that wants no
    /// acknowledgement may leave right after its last request.
    ended: Option<Mono>,
    closing: bool,
    /// When it is looked at again: its entry in [`Connections::idle`].
    due: Mono,
}

impl Connection {
    fn holds(&self) -> Held {
        Held {
            requests: self.machine.in_bytes(),
            replies: self.machine.out_bytes(),
        }
    }

    /// Whether it holds memory and has made no progress for too long.
    fn is_stalled(&self, requests: bool, replies: bool, now: Mono) -> Option<&'static str> {
        if now.ms_since(self.machine.active_at()) < STALLED_MS_MAX {
            return None;
        }
        if replies && self.machine.is_sending() {
            return Some("it does not take its replies, and the memory for replies is used up");
        }
        let large = self.held.requests > SMALL_REQUEST_BYTES_MAX;
        let silent = self.receiving == Receiving::On && self.machine.is_mid_request();
        (requests && large && silent)
            .then_some("its request does not go on, and the memory for requests is used up")
    }
}

/// What happened to the connections in a step, for the shard to act on.
#[derive(Debug)]
pub enum NetEvent {
    Listening {
        local: SocketAddr,
    },
    ListenFailed {
        addr: SocketAddr,
        why: String,
    },
    /// A connection is accepted; it is served once [`Connections::counted`] says so.
    Came {
        conn: ConnId,
        peer: IpAddr,
    },
    /// The peer sends no more: nothing it asked for need wait any longer.
    Ended {
        conn: ConnId,
    },
    /// The connection is gone: forget what was parked for it.
    Closed {
        conn: ConnId,
        /// Its peer, if it was counted.
        counted: Option<IpAddr>,
    },
    /// A line for the log: nobody can connect for the moment.
    NotAccepting {
        addr: SocketAddr,
        why: String,
    },
    /// A line for the log: who was closed and why.
    Refused {
        peer: SocketAddr,
        why: String,
    },
}

/// All sockets of one shard.
pub struct Connections {
    limits: ConnLimits,
    budget: Budget,
    next: u64,
    listeners: BTreeMap<u64, (SocketAddr, Option<SockId>)>,
    conns: BTreeMap<u64, Connection>,
    idle: BTreeMap<(Mono, u64), ()>,
    /// Connections that received or were answered since they were last looked at.
    touched: Vec<u64>,
    events: Vec<NetEvent>,
    draining: bool,
}

impl Connections {
    #[must_use]
    pub fn new(limits: ConnLimits, replies_bytes_max: usize) -> Self {
        Self {
            limits,
            budget: Budget::new(replies_bytes_max),
            next: 0,
            listeners: BTreeMap::new(),
            conns: BTreeMap::new(),
            idle: BTreeMap::new(),
            touched: Vec::new(),
            events: Vec::new(),
            draining: false,
        }
    }

    pub fn listen(&mut self, addr: SocketAddr, ops: &mut Vec<(Token, Op)>) {
        let id = self.number();
        self.listeners.insert(id, (addr, None));
        ops.push((token(Purpose::Listen, id), Op::Listen { addr }));
    }

    pub fn take_events(&mut self) -> Vec<NetEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes in a completion of this room.
    pub fn on_done(&mut self, token: Token, done: Done, now: Mono, ops: &mut Vec<(Token, Op)>) {
        let id = token.0 & 0xffff_ffff_ffff;
        match (token.0 >> 48) as u8 {
            p if p == Purpose::Listen as u8 => self.on_listen(id, done, ops),
            p if p == Purpose::Accept as u8 => self.on_accept(id, done, now, ops),
            p if p == Purpose::Receive as u8 => self.on_receive(id, done, now),
            p if p == Purpose::Send as u8 => self.on_sent(id, &done, now, ops),
            p if p == Purpose::Close as u8 => self.on_closed(id),
            _ => {}
        }
    }

    fn on_listen(&mut self, id: u64, done: Done, ops: &mut Vec<(Token, Op)>) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        match done {
            Done::Listening { sock, local } => {
                listener.1 = Some(sock);
                ops.push((token(Purpose::Accept, id), Op::Accept { sock }));
                self.events.push(NetEvent::Listening { local });
            }
            Done::Failed(error) => {
                let addr = listener.0;
                self.events.push(NetEvent::ListenFailed {
                    addr,
                    why: error.to_string(),
                });
            }
            _ => {}
        }
    }

    fn on_accept(&mut self, id: u64, done: Done, now: Mono, ops: &mut Vec<(Token, Op)>) {
        match done {
            Done::Accepted { sock, peer, local } => self.admit(sock, peer, local, now, ops),
            Done::TurnedAway { peer } => {
                let why = "no place is left for it among the open files of its shard".to_owned();
                self.events.push(NetEvent::Refused { peer, why });
            }
            Done::Failed(error) if error.kind == ErrorKind::Cancelled => {}
            Done::Failed(error) => {
                // Out of descriptors, usually: the listener goes on when connections have closed.
                let Some((addr, sock)) = self.listeners.get(&id).copied() else {
                    return;
                };
                self.events.push(NetEvent::NotAccepting {
                    addr,
                    why: error.to_string(),
                });
                if let Some(sock) = sock {
                    ops.push((token(Purpose::Accept, id), Op::Accept { sock }));
                }
            }
            _ => {}
        }
    }

    fn admit(
        &mut self,
        sock: SockId,
        peer: SocketAddr,
        local: SocketAddr,
        now: Mono,
        ops: &mut Vec<(Token, Op)>,
    ) {
        let id = self.number();
        if self.draining {
            let why = "the broker is stopping".to_owned();
            self.events.push(NetEvent::Refused { peer, why });
            ops.push((token(Purpose::Close, id), Op::CloseSock { sock }));
            return;
        }
        let connection = Connection {
            sock,
            machine: Conn::new(self.limits, now),
            peer,
            local,
            receiving: Receiving::Off,
            held: Held::default(),
            sending: false,
            counted: false,
            ended: None,
            closing: false,
            due: Mono::default(),
        };
        self.conns.insert(id, connection);
        self.look_again(id, now.after_ms(self.limits.idle_ms_max));
        self.events.push(NetEvent::Came {
            conn: ConnId(id),
            peer: peer.ip(),
        });
    }

    /// Sets when the connection is looked at again, in place of the time set before.
    fn look_again(&mut self, id: u64, due: Mono) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let before = std::mem::replace(&mut conn.due, due);
            self.idle.remove(&(before, id));
            self.idle.insert((due, id), ());
        }
    }

    /// The connection is counted and may be served, or is one too many. False if it has closed
    /// meanwhile.
    pub fn counted(
        &mut self,
        id: ConnId,
        refused: Option<&'static str>,
        ops: &mut Vec<(Token, Op)>,
    ) -> bool {
        if let Some(why) = refused {
            self.refuse(id, why.to_owned(), ops);
        }
        let Some(conn) = self.conns.get_mut(&id.0) else {
            return false;
        };
        conn.counted = refused.is_none();
        self.touched.push(id.0);
        true
    }

    fn on_receive(&mut self, id: u64, done: Done, now: Mono) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        match done {
            Done::Received(data) if !conn.closing => {
                conn.machine.on_received(data, now);
                self.touched.push(id);
            }
            Done::Paused => {
                conn.receiving = Receiving::Off;
                self.touched.push(id);
            }
            Done::Eof | Done::Failed(_) => {
                conn.receiving = Receiving::Off;
                conn.ended = Some(now);
                self.look_again(id, now.after_ms(GONE_MS_MAX));
                self.events.push(NetEvent::Ended { conn: ConnId(id) });
                self.touched.push(id);
            }
            _ => {}
        }
    }

    fn on_sent(&mut self, id: u64, done: &Done, now: Mono, ops: &mut Vec<(Token, Op)>) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.sending = false;
        if matches!(done, Done::Failed(_)) && conn.ended.is_none() {
            self.close(ConnId(id), ops);
            return;
        }
        conn.machine.on_sent(now);
        self.touched.push(id);
    }

    fn on_closed(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else {
            self.listeners.remove(&id);
            return;
        };
        self.idle.remove(&(conn.due, id));
        self.budget.change(conn.held, Held::default());
        self.budget.forget(id);
        self.events.push(NetEvent::Closed {
            conn: ConnId(id),
            counted: conn.counted.then(|| conn.peer.ip()),
        });
    }

    /// The next request of a touched connection, with the peer's and the listener's address.
    pub fn next_request(&mut self, id: ConnId) -> Option<Result<Frame, ConnError>> {
        let conn = self.conns.get_mut(&id.0).filter(|conn| !conn.closing)?;
        conn.machine.next_request().transpose()
    }

    /// Whether the peer sends no more.
    #[must_use]
    pub fn has_ended(&self, id: ConnId) -> bool {
        self.conns
            .get(&id.0)
            .is_some_and(|conn| conn.ended.is_some())
    }

    /// The listener's and the peer's address of a connection.
    #[must_use]
    pub fn addresses(&self, id: ConnId) -> Option<(SocketAddr, SocketAddr)> {
        self.conns.get(&id.0).map(|conn| (conn.local, conn.peer))
    }

    pub fn reply(&mut self, id: ConnId, seq: u64, parts: Vec<Bytes>) {
        if let Some(conn) = self.conns.get_mut(&id.0) {
            conn.machine.reply(seq, parts);
            self.touched.push(id.0);
        }
    }

    /// The request is done and has no reply (acks=0).
    pub fn no_reply(&mut self, id: ConnId, seq: u64) {
        if let Some(conn) = self.conns.get_mut(&id.0) {
            conn.machine.no_reply(seq);
            self.touched.push(id.0);
        }
    }

    /// The connections to look at, each once.
    pub fn take_touched(&mut self) -> Vec<ConnId> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().map(ConnId).collect()
    }

    /// Sends what is ready, pauses or resumes receiving.
    pub fn settle(&mut self, id: ConnId, now: Mono, ops: &mut Vec<(Token, Op)>) {
        let Some(conn) = self.conns.get_mut(&id.0).filter(|conn| !conn.closing) else {
            return;
        };
        if !conn.sending
            && let Some(parts) = conn.machine.take_send(now)
        {
            conn.sending = true;
            ops.push((
                token(Purpose::Send, id.0),
                Op::Send {
                    sock: conn.sock,
                    parts,
                },
            ));
        }
        let held = conn.holds();
        self.budget
            .change(std::mem::replace(&mut conn.held, held), held);
        let pause = conn.machine.wants_pause()
            || held.requests > SMALL_REQUEST_BYTES_MAX && self.budget.squeezes(id.0);
        if held.requests <= SMALL_REQUEST_BYTES_MAX {
            self.budget.forget(id.0);
        }
        match (conn.receiving, pause) {
            (Receiving::On, true) => {
                conn.receiving = Receiving::Pausing;
                ops.push((token(Purpose::Receive, id.0), Op::Pause { sock: conn.sock }));
            }
            (Receiving::Off, false) if conn.counted && conn.ended.is_none() => {
                conn.receiving = Receiving::On;
                ops.push((token(Purpose::Receive, id.0), Op::Recv { sock: conn.sock }));
            }
            _ => {}
        }
        let drained = self.draining && !conn.sending && conn.machine.unanswered() == 0;
        if drained || conn.ended.is_some() && !conn.machine.has_request() {
            self.close(id, ops);
        } else if conn.machine.may_go_on() {
            // It waits for the shard to have room: nothing else may touch it.
            self.touched.push(id.0);
        }
    }

    /// Receives again from those that had to wait for memory, as far as there is memory now.
    pub fn release(&mut self, now: Mono, ops: &mut Vec<(Token, Op)>) {
        for id in self.budget.released(now) {
            self.settle(ConnId(id), now, ops);
        }
    }

    /// Bytes that the replies of this shard may still hold.
    #[must_use]
    pub fn room_for_replies(&self) -> usize {
        self.budget.room_for_replies()
    }

    /// Closes with a line for the log.
    pub fn refuse(&mut self, id: ConnId, why: String, ops: &mut Vec<(Token, Op)>) {
        if let Some(conn) = self.conns.get(&id.0).filter(|conn| !conn.closing) {
            self.events.push(NetEvent::Refused {
                peer: conn.peer,
                why,
            });
            self.close(id, ops);
        }
    }

    pub fn close(&mut self, id: ConnId, ops: &mut Vec<(Token, Op)>) {
        if let Some(conn) = self.conns.get_mut(&id.0)
            && !conn.closing
        {
            conn.closing = true;
            ops.push((
                token(Purpose::Close, id.0),
                Op::CloseSock { sock: conn.sock },
            ));
        }
    }

    /// Closes connections that have been silent too long and wait for nothing, that are gone and
    /// cannot be done with, or that hold memory that others need (`appends_wait`: appends do).
    pub fn tick(&mut self, appends_wait: bool, now: Mono, ops: &mut Vec<(Token, Op)>) {
        while let Some(((at, id), ())) = self.idle.first_key_value() {
            if *at > now {
                break;
            }
            let (at, id) = (*at, *id);
            self.idle.remove(&(at, id));
            let Some(conn) = self.conns.get(&id) else {
                continue;
            };
            let gone = conn.ended.map(|ended| ended.after_ms(GONE_MS_MAX));
            match gone.or_else(|| conn.machine.idle_deadline()) {
                Some(due) if due <= now => self.close(ConnId(id), ops),
                Some(due) => self.look_again(id, due),
                // The peer waits for us: look again after a whole period.
                None => self.look_again(id, now.after_ms(self.limits.idle_ms_max.max(1))),
            }
        }
        if self.budget.must_check(appends_wait, now) {
            self.close_stalled(now, ops);
        }
    }

    fn close_stalled(&mut self, now: Mono, ops: &mut Vec<(Token, Op)>) {
        let requests = self.budget.has_too_many_requests();
        let replies = self.budget.has_too_many_replies();
        let stalled = self.conns.iter().filter_map(|(id, conn)| {
            let why = conn.is_stalled(requests, replies, now)?;
            Some((*id, why))
        });
        let mut stalled: Vec<(u64, &str)> = stalled.collect();
        if let Some(id) = self.budget.overdue(now) {
            let why = "its request takes too long, and others wait for the memory for requests";
            stalled.push((id, why));
        }
        for (id, why) in stalled {
            self.refuse(ConnId(id), why.to_owned(), ops);
        }
    }

    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        let idle = self.idle.first_key_value().map(|((at, _), ())| *at);
        idle.into_iter().chain(self.budget.wake_at()).min()
    }

    /// Stops listening; each connection closes when its last reply is sent.
    pub fn drain(&mut self, ops: &mut Vec<(Token, Op)>) {
        self.draining = true;
        for (id, (_, sock)) in &self.listeners {
            if let Some(sock) = sock {
                ops.push((token(Purpose::Close, *id), Op::CloseSock { sock: *sock }));
            }
        }
        self.touched.extend(self.conns.keys().copied());
    }

    /// Closes every connection, answered or not.
    pub fn close_all(&mut self, ops: &mut Vec<(Token, Op)>) {
        let all: Vec<u64> = self.conns.keys().copied().collect();
        for id in all {
            self.close(ConnId(id), ops);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn token(purpose: Purpose, id: u64) -> Token {
    Token(u64::from(ROOM) << 56 | (purpose as u64) << 48 | id)
}

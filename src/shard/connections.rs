//! Sockets and connection machines of one shard: who receives, who is paused, who is closed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use net::conn::{Conn, ConnError, ConnLimits, Frame};
use reactor::op::{Done, ErrorKind, Mono, Op, SockId, Token};

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
    sending: bool,
    /// It is one of those that the broker's limits allow: nothing is received before that.
    counted: bool,
    /// The peer sends no more. What it sent before still counts: a producer that wants no
    /// acknowledgement may leave right after its last request.
    ended: bool,
    closing: bool,
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
    /// The connection is gone: forget what was parked for it.
    Closed {
        conn: ConnId,
        /// Its peer, if it was counted.
        counted: Option<IpAddr>,
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
    pub fn new(limits: ConnLimits) -> Self {
        Self {
            limits,
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
            Done::Failed(error) if error.kind == ErrorKind::Cancelled => {}
            Done::Failed(error) => {
                // Out of descriptors, usually: the listener goes on when connections have closed.
                let Some((addr, sock)) = self.listeners.get(&id).copied() else {
                    return;
                };
                let why = format!("cannot accept connections on {addr}: {error}");
                self.events.push(NetEvent::Refused { peer: addr, why });
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
            self.events.push(NetEvent::Refused {
                peer,
                why: "the broker is stopping".to_owned(),
            });
            ops.push((token(Purpose::Close, id), Op::CloseSock { sock }));
            return;
        }
        let machine = Conn::new(self.limits, now);
        let connection = Connection {
            sock,
            machine,
            peer,
            local,
            receiving: Receiving::Off,
            sending: false,
            counted: false,
            ended: false,
            closing: false,
        };
        self.conns.insert(id, connection);
        self.idle
            .insert((now.after_ms(self.limits.idle_ms_max), id), ());
        self.events.push(NetEvent::Came {
            conn: ConnId(id),
            peer: peer.ip(),
        });
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
                conn.ended = true;
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
        if matches!(done, Done::Failed(_)) && !conn.ended {
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
        match (conn.receiving, conn.machine.wants_pause()) {
            (Receiving::On, true) => {
                conn.receiving = Receiving::Pausing;
                ops.push((token(Purpose::Receive, id.0), Op::Pause { sock: conn.sock }));
            }
            (Receiving::Off, false) if conn.counted && !conn.ended => {
                conn.receiving = Receiving::On;
                ops.push((token(Purpose::Receive, id.0), Op::Recv { sock: conn.sock }));
            }
            _ => {}
        }
        let drained = self.draining && !conn.sending && conn.machine.unanswered() == 0;
        let more = conn.machine.has_request();
        if drained || conn.ended && !more {
            self.close(id, ops);
        } else if more {
            // It waits for replies, or for the shard to have room: nothing else may touch it.
            self.touched.push(id.0);
        }
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

    /// Closes connections that have been silent too long and wait for nothing.
    pub fn tick(&mut self, now: Mono, ops: &mut Vec<(Token, Op)>) {
        while let Some(((at, id), ())) = self.idle.first_key_value() {
            if *at > now {
                break;
            }
            let (at, id) = (*at, *id);
            self.idle.remove(&(at, id));
            let Some(conn) = self.conns.get(&id) else {
                continue;
            };
            match conn.machine.idle_deadline() {
                Some(due) if due <= now => self.close(ConnId(id), ops),
                Some(due) => {
                    self.idle.insert((due, id), ());
                }
                // The peer waits for us: look again after a whole period.
                None => {
                    self.idle
                        .insert((now.after_ms(self.limits.idle_ms_max), id), ());
                }
            }
        }
    }

    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        self.idle.first_key_value().map(|((at, _), ())| *at)
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

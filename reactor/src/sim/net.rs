//! The network between a simulated machine and clients that a test plays.
//!
//! Bytes travel in seeded fragments with seeded delays. Both directions have bounded windows: a
//! client that stops reading holds up the server's sends, a server that does not receive holds up
//! the client's.

use super::disk::failure;
use super::rng::Rng;
use crate::op::{Done, ErrorKind, Op, ShardId, SockId, Token};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// A connection, seen from the client that the test plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// What a client knows of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    Connecting,
    Open,
    /// The server has ended its stream.
    Eof,
    /// The connection was torn down by either side.
    Reset,
    /// Nobody listens.
    Refused,
}

/// Something that happens on the network at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetEvent {
    Arrive(ClientId),
    ToServer(ClientId),
    Recv(ClientId),
    ToClient(ClientId),
    Sent(ClientId),
    Close(SockId),
    Accept(SockId),
}

/// For a shard: a completion that is due now.
pub(super) type Delivery = (ShardId, Token, Done);

#[derive(Debug)]
struct Listener {
    shard: ShardId,
    addr: SocketAddr,
    accept: Option<Token>,
    backlog: VecDeque<ClientId>,
    closing: Option<Token>,
}

#[derive(Debug)]
struct Send {
    token: Token,
    parts: VecDeque<Bytes>,
    taken: bool,
}

#[derive(Debug)]
struct Conn {
    addr: SocketAddr,
    state: ClientState,
    server: Option<(ShardId, SockId)>,
    /// Written by the client, still on its way.
    outgoing: VecDeque<u8>,
    half_closed: bool,
    /// In the server's receive buffer.
    arrived: VecDeque<u8>,
    arrived_eof: bool,
    recv: Option<Token>,
    pausing: bool,
    send: Option<Send>,
    /// In the server's send buffer.
    leaving: VecDeque<u8>,
    received: Vec<u8>,
    reading: bool,
    /// Bytes in the client's receive buffer that it has not looked at.
    unread: usize,
    closing: Option<Token>,
    server_gone: bool,
    /// Bytes each buffer holds at most.
    window: usize,
}

/// The network, and every client on it.
#[derive(Debug)]
pub struct Net {
    rng: Rng,
    listeners: BTreeMap<SockId, Listener>,
    conns: Vec<Conn>,
    socks: BTreeMap<SockId, ClientId>,
    next_sock: u64,
    next_port: u16,
    pub(super) events: Vec<(u64, NetEvent)>,
    pub(super) deliveries: Vec<Delivery>,
}

impl Net {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            listeners: BTreeMap::new(),
            conns: Vec::new(),
            socks: BTreeMap::new(),
            next_sock: 0,
            next_port: 40_000,
            events: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Begins to connect to a listener of the machine.
    pub fn connect(&mut self, addr: SocketAddr) -> ClientId {
        let id = ClientId(u32::try_from(self.conns.len()).expect("a test plays few clients"));
        self.conns.push(Conn {
            addr,
            state: ClientState::Connecting,
            server: None,
            outgoing: VecDeque::new(),
            half_closed: false,
            arrived: VecDeque::new(),
            arrived_eof: false,
            recv: None,
            pausing: false,
            send: None,
            leaving: VecDeque::new(),
            received: Vec::new(),
            reading: true,
            unread: 0,
            closing: None,
            server_gone: false,
            window: self.rng.between(1, 64) as usize * 1024,
        });
        self.at(NetEvent::Arrive(id));
        id
    }

    /// Hands bytes to the client's kernel, which takes any number.
    pub fn send(&mut self, id: ClientId, bytes: &[u8]) {
        let conn = self.conn(id);
        assert!(!conn.half_closed, "a client sends after its half-close");
        conn.outgoing.extend(bytes);
        self.at(NetEvent::ToServer(id));
    }

    /// The client sends nothing more, after what it has sent.
    pub fn half_close(&mut self, id: ClientId) {
        self.conn(id).half_closed = true;
        self.at(NetEvent::ToServer(id));
    }

    /// Tears the connection down. Bytes on their way are lost.
    pub fn reset(&mut self, id: ClientId) {
        let conn = self.conn(id);
        if matches!(conn.state, ClientState::Refused | ClientState::Reset) {
            return;
        }
        conn.state = ClientState::Reset;
        conn.outgoing.clear();
        conn.leaving.clear();
        self.at(NetEvent::Recv(id));
        self.at(NetEvent::Sent(id));
    }

    /// Whether the client takes bytes out of its receive buffer.
    pub fn set_reading(&mut self, id: ClientId, reading: bool) {
        let conn = self.conn(id);
        conn.reading = reading;
        if reading {
            conn.unread = 0;
        }
        self.at(NetEvent::ToClient(id));
    }

    /// The bytes received since the last call.
    pub fn take_received(&mut self, id: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.conn(id).received)
    }

    #[must_use]
    pub fn state(&self, id: ClientId) -> ClientState {
        self.conns[id.0 as usize].state
    }

    fn conn(&mut self, id: ClientId) -> &mut Conn {
        &mut self.conns[id.0 as usize]
    }

    fn at(&mut self, event: NetEvent) {
        let delay = if self.rng.chance(1, 64) {
            self.rng.between(1_000_000, 20_000_000)
        } else {
            self.rng.between(1_000, 100_000)
        };
        self.events.push((delay, event));
    }

    fn sock(&mut self) -> SockId {
        self.next_sock += 1;
        // Slots are used again at once, with another generation.
        SockId(((self.next_sock / 4) << 32) | (self.next_sock % 4))
    }

    fn client_of(&self, shard: ShardId, sock: SockId, op: &Op) -> ClientId {
        let id = self.socks.get(&sock);
        let id = *id.unwrap_or_else(|| panic!("{shard:?} uses {sock:?}, not open: {op:?}"));
        let conn = &self.conns[id.0 as usize];
        assert_eq!(
            conn.server,
            Some((shard, sock)),
            "a socket belongs to one shard"
        );
        assert!(
            conn.closing.is_none(),
            "{shard:?} uses {sock:?} after closing it: {op:?}"
        );
        id
    }

    pub(super) fn submit(&mut self, shard: ShardId, token: Token, op: Op) {
        match op {
            Op::Listen { addr } => self.listen(shard, token, addr),
            Op::Accept { sock } => {
                let listener = self
                    .listeners
                    .get_mut(&sock)
                    .expect("accepts on a listener");
                assert!(listener.accept.is_none(), "one accept a listener");
                assert_eq!(listener.shard, shard, "a listener belongs to one shard");
                listener.accept = Some(token);
                self.at(NetEvent::Accept(sock));
            }
            Op::Recv { sock } => {
                let id = self.client_of(shard, sock, &op);
                let conn = self.conn(id);
                assert!(conn.recv.is_none(), "one receive a socket");
                conn.recv = Some(token);
                conn.pausing = false;
                self.at(NetEvent::Recv(id));
            }
            Op::Pause { sock } => {
                let id = self.client_of(shard, sock, &op);
                self.conn(id).pausing = true;
                self.at(NetEvent::Recv(id));
            }
            Op::Send { sock, ref parts } => {
                let id = self.client_of(shard, sock, &op);
                let conn = self.conn(id);
                assert!(conn.send.is_none(), "one send in flight a socket");
                let parts = parts
                    .iter()
                    .filter(|part| !part.is_empty())
                    .cloned()
                    .collect();
                conn.send = Some(Send {
                    token,
                    parts,
                    taken: false,
                });
                self.take_sends(id);
            }
            Op::CloseSock { sock } => {
                if let Some(listener) = self.listeners.get_mut(&sock) {
                    assert!(listener.closing.is_none(), "a listener is closed once");
                    listener.closing = Some(token);
                } else {
                    let id = self.client_of(shard, sock, &op);
                    let conn = self.conn(id);
                    assert!(conn.closing.is_none(), "a socket is closed once");
                    conn.closing = Some(token);
                }
                self.at(NetEvent::Close(sock));
            }
            _ => unreachable!("operations on files do not come here"),
        }
    }

    fn listen(&mut self, shard: ShardId, token: Token, mut addr: SocketAddr) {
        if addr.port() == 0 {
            addr.set_port(self.next_port);
            self.next_port += 1;
        }
        if self
            .listeners
            .values()
            .any(|other| other.addr == addr && other.shard == shard)
        {
            let error = failure(ErrorKind::AddressInUse);
            return self.deliveries.push((shard, token, Done::Failed(error)));
        }
        let sock = self.sock();
        let listener = Listener {
            shard,
            addr,
            accept: None,
            backlog: VecDeque::new(),
            closing: None,
        };
        self.listeners.insert(sock, listener);
        self.deliveries
            .push((shard, token, Done::Listening { sock, local: addr }));
    }

    pub(super) fn happen(&mut self, event: NetEvent) {
        match event {
            NetEvent::Arrive(id) => self.arrive(id),
            NetEvent::ToServer(id) => self.reach_server(id),
            NetEvent::Recv(id) => self.recv(id),
            NetEvent::ToClient(id) => self.reach_client(id),
            NetEvent::Sent(id) => self.sent(id),
            NetEvent::Close(sock) => self.close(sock),
            NetEvent::Accept(sock) => self.accept(sock),
        }
    }

    fn arrive(&mut self, id: ClientId) {
        let addr = self.conn(id).addr;
        let open = |listener: &Listener| listener.addr == addr && listener.closing.is_none();
        let matching: Vec<SockId> = self
            .listeners
            .iter()
            .filter(|(_, of)| open(of))
            .map(|(sock, _)| *sock)
            .collect();
        if matching.is_empty() {
            self.conn(id).state = ClientState::Refused;
            return;
        }
        let sock = matching[self.rng.index(matching.len())];
        if self.conn(id).state == ClientState::Connecting {
            self.conn(id).state = ClientState::Open;
        }
        self.listeners
            .get_mut(&sock)
            .expect("just found")
            .backlog
            .push_back(id);
        self.accept(sock);
    }

    fn accept(&mut self, listener_sock: SockId) {
        let Some(listener) = self.listeners.get_mut(&listener_sock) else {
            return;
        };
        let (Some(token), None) = (listener.accept, listener.closing) else {
            return;
        };
        let (shard, local) = (listener.shard, listener.addr);
        for id in std::mem::take(&mut listener.backlog) {
            let sock = self.sock();
            self.socks.insert(sock, id);
            self.conn(id).server = Some((shard, sock));
            let port = 50_000 + (id.0 % 10_000) as u16;
            let peer = SocketAddr::from(([127, 0, 0, 1], port));
            self.deliveries
                .push((shard, token, Done::Accepted { sock, peer, local }));
        }
    }

    fn reach_server(&mut self, id: ClientId) {
        let piece = self.rng.between(1, 16 * 1024);
        let small = self.rng.chance(1, 4);
        let conn = self.conn(id);
        if matches!(conn.state, ClientState::Reset | ClientState::Refused) {
            return;
        }
        let room = conn.window.saturating_sub(conn.arrived.len());
        let piece = if small { piece % 64 + 1 } else { piece } as usize;
        let count = piece.min(room).min(conn.outgoing.len());
        conn.arrived.extend(conn.outgoing.drain(..count));
        let more = !conn.outgoing.is_empty() && room > count;
        let ended = conn.half_closed && conn.outgoing.is_empty() && !conn.arrived_eof;
        conn.arrived_eof |= ended;
        if more {
            self.at(NetEvent::ToServer(id));
        }
        if count > 0 || ended {
            self.at(NetEvent::Recv(id));
        }
    }

    fn recv(&mut self, id: ClientId) {
        let piece = self.rng.between(1, 32 * 1024) as usize;
        let piece_first = self.rng.chance(1, 2);
        let conn = self.conn(id);
        let (Some(token), Some((shard, _))) = (conn.recv, conn.server) else {
            return;
        };
        if conn.state == ClientState::Reset {
            conn.recv = None;
            let error = failure(ErrorKind::Disconnected);
            return self.deliveries.push((shard, token, Done::Failed(error)));
        }
        let mut ended = None;
        let count = piece.min(conn.arrived.len());
        let taken = (count > 0 && (!conn.pausing || piece_first))
            .then(|| conn.arrived.drain(..count).collect::<Vec<u8>>());
        if conn.pausing {
            ended = Some(Done::Paused);
        } else if conn.arrived.is_empty() && conn.arrived_eof {
            ended = Some(Done::Eof);
        }
        let more = ended.is_none() && !conn.arrived.is_empty();
        if ended.is_some() {
            conn.recv = None;
        }
        if let Some(bytes) = taken {
            self.deliveries
                .push((shard, token, Done::Received(Bytes::from(bytes))));
            self.at(NetEvent::ToServer(id));
        }
        if let Some(done) = ended {
            self.deliveries.push((shard, token, done));
        }
        if more {
            self.at(NetEvent::Recv(id));
        }
    }

    /// The server's kernel takes what fits its send buffer.
    fn take_sends(&mut self, id: ClientId) {
        let conn = self.conn(id);
        let Some(send) = conn.send.as_mut().filter(|send| !send.taken) else {
            return;
        };
        while let Some(part) = send.parts.front_mut() {
            let room = conn.window.saturating_sub(conn.leaving.len());
            if room == 0 {
                break;
            }
            conn.leaving.extend(part.split_to(room.min(part.len())));
            if part.is_empty() {
                send.parts.pop_front();
            }
        }
        send.taken = send.parts.is_empty();
        if send.taken || conn.state == ClientState::Reset {
            self.at(NetEvent::Sent(id));
        }
        self.at(NetEvent::ToClient(id));
    }

    fn sent(&mut self, id: ClientId) {
        let conn = self.conn(id);
        let reset = conn.state == ClientState::Reset;
        let (Some(send), Some((shard, _))) = (conn.send.as_ref(), conn.server) else {
            return;
        };
        if !send.taken && !reset {
            return;
        }
        let done = if send.taken {
            Done::Ok
        } else {
            Done::Failed(failure(ErrorKind::Disconnected))
        };
        let token = send.token;
        conn.send = None;
        self.deliveries.push((shard, token, done));
    }

    fn reach_client(&mut self, id: ClientId) {
        let piece = self.rng.between(1, 32 * 1024) as usize;
        let conn = self.conn(id);
        if conn.state != ClientState::Open {
            return;
        }
        let room = if conn.reading {
            piece
        } else {
            conn.window.saturating_sub(conn.unread).min(piece)
        };
        let count = room.min(conn.leaving.len());
        conn.received.extend(conn.leaving.drain(..count));
        if !conn.reading {
            conn.unread += count;
        }
        if conn.leaving.is_empty() && conn.send.is_none() && conn.server_gone {
            conn.state = ClientState::Eof;
        }
        let more = !conn.leaving.is_empty() && count > 0;
        if more {
            self.at(NetEvent::ToClient(id));
        }
        if count > 0 {
            self.take_sends(id);
        }
    }

    fn close(&mut self, sock: SockId) {
        let cancelled = || Done::Failed(failure(ErrorKind::Cancelled));
        if let Some(listener) = self.listeners.remove(&sock) {
            let shard = listener.shard;
            self.deliveries
                .extend(listener.accept.map(|token| (shard, token, cancelled())));
            self.deliveries
                .extend(listener.closing.map(|token| (shard, token, Done::Ok)));
            for id in listener.backlog {
                self.conn(id).state = ClientState::Reset;
            }
            return;
        }
        let Some(id) = self.socks.remove(&sock) else {
            // The process ended after it had asked for this.
            return;
        };
        let conn = self.conn(id);
        let (shard, _) = conn
            .server
            .take()
            .expect("the server has its end until it closes it");
        let send = conn.send.take().map(|send| send.token);
        let ended = [conn.recv.take(), send];
        let token = conn.closing.take().expect("a close has its token");
        conn.server_gone = true;
        if !conn.arrived.is_empty() && conn.state == ClientState::Open {
            // Linux answers unread bytes at a close with a reset.
            conn.state = ClientState::Reset;
        }
        let ended = ended.into_iter().flatten();
        self.deliveries
            .extend(ended.map(|token| (shard, token, cancelled())));
        self.deliveries.push((shard, token, Done::Ok));
        self.at(NetEvent::ToClient(id));
    }

    /// The process, or the whole machine, is gone.
    pub(super) fn server_ended(&mut self) {
        self.listeners.clear();
        self.socks.clear();
        self.deliveries.clear();
        for conn in &mut self.conns {
            conn.server = None;
            conn.recv = None;
            conn.send = None;
            conn.closing = None;
            if conn.state == ClientState::Open {
                conn.state = ClientState::Reset;
            }
        }
    }
}

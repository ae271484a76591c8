//! The same servers on `reactor`, written as a shard of the broker would be.

use super::frames::Frames;
use super::plain::TURN_BYTES;
use crate::floor::disk::BLOCK;
use bytes::Bytes;
use reactor::buf::{Arena, Buf};
use reactor::op::{
    CONTROL, Done, FileId, Input, Machine, Now, Op, OpenMode, Outbox, ShardId, SockId, Token,
};
use reactor::runtime::{Config, Handle, start};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const ARENA_BYTES: usize = 256 << 20;
const OPEN_MAX: u32 = 1024;
/// More than any shape has on its way.
const GATHER_BYTES_MAX: usize = 16 << 20;

const LISTEN: Token = Token(1);
const ACCEPT: Token = Token(2);
const OPEN: Token = Token(3);
const WRITE: Token = Token(4);
const SYNC: Token = Token(5);
/// With the number of a connection in the low half.
const RECV: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// Between the server and the thread that started it.
#[derive(Debug)]
pub(super) enum Word {
    At(SocketAddr),
    /// A connection has ended, and with it the load.
    Ended,
    Failed(String),
    End,
}

/// What the server writes to, and whether it checks what it writes.
pub(super) struct Store {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    pub(super) check: bool,
    /// Told of every piece: its connection, where it is written, its length.
    pub(super) written: Box<dyn FnMut(usize, u64, usize) + Send>,
}

struct Client {
    sock: SockId,
    frames: Frames,
    /// For requests that have come since the last write began.
    coming: Vec<u8>,
    /// For requests that are being written.
    writing: Vec<u8>,
    acks: Vec<u8>,
    sending: bool,
}

/// Where the pieces of a turn are gathered, since a write takes whole blocks.
struct Gather {
    store: Store,
    arena: Arena,
    file: Option<FileId>,
    space: Option<Buf>,
    /// Of `space`, what earlier parts have taken.
    taken: usize,
    /// Buffers that are full, to be written before what is in `space`.
    parts: Vec<Bytes>,
    /// Where the next write goes, and how much has been gathered for it.
    pos: u64,
    gathered: usize,
    /// Answers wait for the write and the flush that are under way.
    busy: bool,
}

struct Server {
    started: bool,
    clients: Vec<Client>,
    gather: Option<Gather>,
}

pub(super) struct Running {
    handle: Handle<Word>,
    pub(super) addr: SocketAddr,
}

/// Starts a server on a core of its own.
pub(super) fn serve(core: usize, store: Option<Store>) -> io::Result<Running> {
    let config = Config {
        cores: vec![core],
        arena_bytes_max: ARENA_BYTES,
        open_max: OPEN_MAX,
        ..Config::for_shards(1)
    };
    let make = move |_: ShardId, arena: Arena| Server {
        started: false,
        clients: Vec::new(),
        gather: store.map(|store| Gather::new(store, arena)),
    };
    let handle = start(&config, vec![make]).map_err(|why| io::Error::other(why.to_string()))?;
    match handle.inbox().recv() {
        Ok((_, Word::At(addr))) => Ok(Running { handle, addr }),
        other => {
            handle.join();
            Err(io::Error::other(format!("the server said {other:?}")))
        }
    }
}

impl Running {
    /// Waits until the load has closed its connections.
    pub(super) fn wait(self) -> io::Result<()> {
        let said = self.handle.inbox().recv();
        self.handle.join();
        match said {
            Ok((_, Word::Ended)) => Ok(()),
            other => Err(io::Error::other(format!("the server said {other:?}"))),
        }
    }

    /// When nobody has connected.
    pub(super) fn stop(self) {
        // Whoever does not take it has ended already.
        let _ = self.handle.send(ShardId(0), Word::End);
        self.handle.join();
    }
}

impl Gather {
    fn new(store: Store, arena: Arena) -> Self {
        Self {
            store,
            arena,
            file: None,
            space: None,
            taken: 0,
            parts: Vec::new(),
            pos: 0,
            gathered: 0,
            busy: false,
        }
    }

    fn open(&self) -> Op {
        Op::Open {
            path: self.store.path.clone(),
            mode: OpenMode::Write,
            direct: true,
        }
    }

    /// The one copy of what was received.
    fn append(&mut self, number: usize, mut piece: &[u8]) -> io::Result<()> {
        if self.gathered == 0 && self.pos + GATHER_BYTES_MAX as u64 > self.store.len {
            self.pos = 0;
        }
        if self.gathered + piece.len() > GATHER_BYTES_MAX - BLOCK {
            return Err(io::Error::other("more is on its way than one write takes"));
        }
        let pos = self.pos + self.gathered as u64;
        (self.store.written)(number, pos, piece.len());
        self.gathered += piece.len();
        while !piece.is_empty() {
            let full = |space: &Buf| space.len() == space.capacity();
            if self.space.as_ref().is_none_or(full) {
                self.cut();
                self.space = self.arena.alloc(TURN_BYTES);
                self.taken = 0;
            }
            let space = self.space.as_mut();
            let space = space.ok_or_else(|| io::Error::other("the arena is used up"))?;
            let (fits, rest) = piece.split_at(piece.len().min(space.capacity() - space.len()));
            space.append(fits);
            piece = rest;
        }
        Ok(())
    }

    /// Makes a part of what is in `space` and belongs to none.
    fn cut(&mut self) {
        if let Some(space) = &self.space
            && space.len() > self.taken
        {
            self.parts.push(space.slice(self.taken..space.len()));
            self.taken = space.len();
        }
    }

    /// Writes what has come, if nothing is being written.
    fn write(&mut self, clients: &mut [Client], out: &mut Outbox<Word>) {
        let Some(file) = self.file.filter(|_| !self.busy && self.gathered > 0) else {
            return;
        };
        for client in clients {
            std::mem::swap(&mut client.coming, &mut client.writing);
        }
        if let Some(space) = &mut self.space {
            space.pad_zero(space.len().next_multiple_of(BLOCK) - space.len());
        }
        self.cut();
        let pos = self.pos;
        self.pos += self.gathered.next_multiple_of(BLOCK) as u64;
        self.gathered = 0;
        self.busy = true;
        let op = Op::Write {
            file,
            pos,
            parts: std::mem::take(&mut self.parts),
            sync: false,
        };
        out.ops.push((WRITE, op));
    }

    /// What was being written is durable.
    fn written(&mut self, clients: &mut [Client]) {
        self.busy = false;
        for client in clients {
            client.acks.append(&mut client.writing);
        }
    }
}

impl Server {
    /// False when the server is to end.
    fn take(&mut self, token: Token, done: Done, out: &mut Outbox<Word>) -> Result<bool, String> {
        let number = token.0 as u32 as usize;
        match (token, done) {
            (LISTEN, Done::Listening { sock, local }) => {
                out.ops.push((ACCEPT, Op::Accept { sock }));
                out.mail.push((CONTROL, Word::At(local)));
            }
            (ACCEPT, Done::Accepted { sock, .. }) => self.accept(sock, out),
            (OPEN, Done::Opened { file, direct, .. }) => {
                if !direct {
                    return Err("no O_DIRECT here".to_owned());
                }
                if let Some(gather) = &mut self.gather {
                    gather.file = Some(file);
                }
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                out.ops.push((LISTEN, Op::Listen { addr }));
            }
            (WRITE, Done::Ok) => {
                if let Some(file) = self.gather.as_ref().and_then(|gather| gather.file) {
                    out.ops.push((SYNC, Op::Sync { file }));
                }
            }
            (SYNC, Done::Ok) => {
                if let Some(gather) = &mut self.gather {
                    gather.written(&mut self.clients);
                }
            }
            (Token(token), Done::Received(piece)) if token & RECV != 0 => {
                self.receive(number, &piece)
                    .map_err(|error| error.to_string())?;
            }
            (Token(token), Done::Ok) if token & SEND != 0 => self.clients[number].sending = false,
            (_, Done::Eof) => return Ok(false),
            (token, done) => return Err(format!("{token:?}: {done:?}")),
        }
        Ok(true)
    }

    fn accept(&mut self, sock: SockId, out: &mut Outbox<Word>) {
        let number = self.clients.len() as u64;
        self.clients.push(Client {
            sock,
            frames: Frames::default(),
            coming: Vec::new(),
            writing: Vec::new(),
            acks: Vec::new(),
            sending: false,
        });
        out.ops.push((Token(RECV | number), Op::Recv { sock }));
    }

    fn receive(&mut self, number: usize, piece: &[u8]) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(gather) = &mut self.gather else {
            return client.frames.take(piece, false, &mut client.acks);
        };
        let check = gather.store.check;
        client.frames.take(piece, check, &mut client.coming)?;
        gather.append(number, piece)
    }

    /// A send for each connection that has answers and no send under way.
    fn answer(&mut self, out: &mut Outbox<Word>) {
        for (number, client) in (0_u64..).zip(&mut self.clients) {
            if client.acks.is_empty() || client.sending {
                continue;
            }
            client.sending = true;
            let sock = client.sock;
            let parts = vec![Bytes::from(std::mem::take(&mut client.acks))];
            out.ops
                .push((Token(SEND | number), Op::Send { sock, parts }));
        }
    }

    fn begin(&mut self, out: &mut Outbox<Word>) {
        self.started = true;
        let op = match &self.gather {
            Some(gather) => (OPEN, gather.open()),
            None => {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                (LISTEN, Op::Listen { addr })
            }
        };
        out.ops.push(op);
    }
}

impl Machine for Server {
    type Mail = Word;

    fn step(&mut self, _: Now, inputs: &mut Vec<Input<Word>>, _: usize, out: &mut Outbox<Word>) {
        if !self.started {
            self.begin(out);
        }
        for input in inputs.drain(..) {
            let went = match input {
                Input::Done(token, done) => self.take(token, done, out),
                Input::Mail { .. } => Ok(false),
            };
            match went {
                Ok(true) => {}
                Ok(false) => {
                    out.mail.push((CONTROL, Word::Ended));
                    out.exit = true;
                    return;
                }
                Err(why) => {
                    out.mail.push((CONTROL, Word::Failed(why)));
                    out.exit = true;
                    return;
                }
            }
        }
        self.answer(out);
        if let Some(gather) = &mut self.gather {
            gather.write(&mut self.clients, out);
        }
    }
}

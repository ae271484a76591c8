//! One shard with nothing but a store, driven by commands of the test and watched by the model.

use crate::metadata::{self, Decision};
use crate::model::{Model, Stage};
use crate::plan::{Mistake, Trouble, log_config};
use bytes::Bytes;
use reactor::op::{Done, Input, Machine, Mono, Now, Op, Outbox, ShardId, Token};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use storage::batch::patch;
use storage::store::{
    AppendError, Event, Fx, ReadError, ReadRequest, Reading, RecoveryReport, Store, StoreMail,
};
use storage::types::{
    AlivePartition, LogConfig, METADATA, PartitionId, Slot, StoreConfig, Ticket, TopicId,
};

/// What the test asks of a shard.
#[derive(Debug)]
pub(crate) enum Command {
    Append {
        id: PartitionId,
        values: Vec<Vec<u8>>,
    },
    Decide(Decision),
    DeleteRecords {
        id: PartitionId,
        offset: i64,
    },
    Read {
        id: PartitionId,
        offset: i64,
        bytes_max: usize,
    },
    Stop,
}

/// Mail between shards.
pub(crate) enum Letter {
    Store(StoreMail),
    /// The partitions that exist, as the metadata log says.
    Alive(Vec<PartitionId>),
    /// The tombstone of a topic is durable.
    Gone(TopicId),
}

/// Why a read was asked for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Replay,
    /// Of everything up to the end at recovery.
    Verify {
        upto: i64,
    },
    Look,
}

/// The machine of one shard.
pub(crate) struct Shell {
    shard: u16,
    shards: u16,
    store: Store,
    model: Rc<RefCell<Model>>,
    mistake: Option<Mistake>,
    pub(crate) commands: VecDeque<Command>,
    ids: BTreeMap<Slot, PartitionId>,
    reads: BTreeMap<u64, (PartitionId, i64, Purpose)>,
    next_ticket: u64,
    metadata: Vec<u8>,
    /// Topics whose tombstone waits for its durability, by its offset.
    deleting: Vec<(i64, TopicId)>,
    /// Moves of retired files under way by the number of their chain of operations, and whether
    /// they lead into the pool.
    moving: BTreeMap<u64, bool>,
    wake: Option<Mono>,
    started: bool,
    pub(crate) ready: bool,
    pub(crate) stopped: bool,
    pub(crate) failed: Option<String>,
}

/// The shard that owns a partition, differently for every number of shards.
pub(crate) fn owner(id: &PartitionId, shards: u16) -> u16 {
    if *id == METADATA {
        return 0;
    }
    let mixed = u16::from(id.topic.0[0]) * 7 + u16::from(id.topic.0[15]) + id.index as u16;
    mixed % shards
}

/// Whether a path is that of a retired segment file.
pub(crate) fn is_in_pool(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("recycle"))
}

fn config_of(id: &PartitionId) -> LogConfig {
    if *id == METADATA {
        // For ever, whole: the simulated controller writes no snapshots.
        return LogConfig {
            segment_bytes: 32 * 1024,
            retention_ms: None,
            ..LogConfig::default()
        };
    }
    log_config(id.topic)
}

impl Shell {
    pub(crate) fn new(
        config: StoreConfig,
        arena: reactor::buf::Arena,
        model: Rc<RefCell<Model>>,
        mistake: Option<Mistake>,
    ) -> Self {
        Self {
            shard: config.shard,
            shards: config.shards,
            store: Store::new(config, arena),
            model,
            mistake,
            commands: VecDeque::new(),
            ids: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_ticket: 0,
            metadata: Vec::new(),
            deleting: Vec::new(),
            moving: BTreeMap::new(),
            wake: None,
            started: false,
            ready: false,
            stopped: false,
            failed: None,
        }
    }

    /// Nothing is asked of this shard that it has not answered.
    pub(crate) fn idle(&self) -> bool {
        self.commands.is_empty() && self.reads.is_empty()
    }

    /// Notes the moves that end with `token` or begin with operations in `ops`.
    fn watch_moves(&mut self, ops: &[(Token, Op)]) {
        for (token, op) in ops {
            if let Op::Rename { from, to } = op
                && [from, to].iter().any(|path| is_in_pool(path))
            {
                self.moving.insert(token.0 >> 16, is_in_pool(to));
            }
        }
    }

    fn watch_done(&mut self, token: Token, done: &Done) {
        match done {
            // The syncs of directories that follow the rename.
            Done::Ok if token.0 & 0xffff > 0 => {}
            _ => return,
        }
        let moves = &mut self.model.borrow_mut().moves;
        match self.moving.remove(&(token.0 >> 16)) {
            Some(true) => moves.kept += 1,
            Some(false) => moves.reused += 1,
            None => {}
        }
    }

    /// The process ends here, whatever is under way.
    pub(crate) fn note_end(&self) {
        let moves = &mut self.model.borrow_mut().moves;
        for into in self.moving.values() {
            let broken = if *into {
                &mut moves.kept_in_part
            } else {
                &mut moves.reused_in_part
            };
            *broken += 1;
        }
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.model.borrow().trouble == Some(trouble)
    }

    fn slot(&mut self, id: &PartitionId, now: Now) -> Slot {
        let slot = self.store.slot(id).unwrap_or_else(|| {
            let going = self.model.borrow().is_going(id);
            assert!(!going, "{id:?} was deleted and is made anew");
            self.store.create(*id, config_of(id), now)
        });
        self.ids.insert(slot, *id);
        slot
    }

    fn append(&mut self, id: &PartitionId, values: &[Vec<u8>], now: Now) -> Option<i64> {
        let slot = self.slot(id, now);
        let batch = metadata::batch(values, now.wall_ms);
        match self.store.append(slot, &batch, 3, now) {
            Ok(appended) => {
                let mut bytes = batch.bytes().to_vec();
                patch(&mut bytes, appended.base_offset, 3);
                let (base, last) = (appended.base_offset, appended.last_offset);
                assert_eq!(
                    last - base + 1,
                    values.len() as i64,
                    "{id:?}: offsets of a batch"
                );
                self.model.borrow_mut().appended(id, base, last, bytes);
                Some(last)
            }
            Err(AppendError::Busy) => None,
            Err(AppendError::NoSpace) if self.has(Trouble::Space) => None,
            Err(AppendError::Fenced) if self.has(Trouble::Medium) => None,
            Err(other) => panic!("{id:?}: the append was refused: {other:?}"),
        }
    }

    fn obey(&mut self, command: Command, now: Now, fx: &mut Fx, out: &mut Outbox<Letter>) {
        match command {
            Command::Append { id, .. }
            | Command::DeleteRecords { id, .. }
            | Command::Read { id, .. }
                if self.model.borrow().is_going(&id) => {}
            Command::Append { id, values } => {
                self.append(&id, &values, now);
            }
            Command::Decide(decision) => self.decide(decision, now, out),
            Command::DeleteRecords { id, offset } => {
                let slot = self.slot(&id, now);
                self.model.borrow_mut().start_asked(&id, offset);
                let _ = self.store.delete_records(slot, offset, now);
            }
            Command::Read {
                id,
                offset,
                bytes_max,
            } => {
                self.read(id, offset, bytes_max, Purpose::Look, now, fx);
            }
            Command::Stop => self.store.stop(now, fx),
        }
    }

    fn decide(&mut self, decision: Decision, now: Now, out: &mut Outbox<Letter>) {
        let Some(offset) = self.append(&METADATA, &[decision.encode()], now) else {
            return;
        };
        self.model.borrow_mut().decided(decision, offset);
        if let Decision::Delete { topic } = decision {
            if self.mistake == Some(Mistake::DeleteBeforeTombstone) {
                self.tell_all(out, || Letter::Gone(topic));
            } else {
                self.deleting.push((offset, topic));
            }
        }
    }

    fn tell_all(&self, out: &mut Outbox<Letter>, letter: impl Fn() -> Letter) {
        out.mail
            .extend((0..self.shards).map(|to| (ShardId(to), letter())));
    }

    fn read(
        &mut self,
        id: PartitionId,
        offset: i64,
        bytes_max: usize,
        purpose: Purpose,
        now: Now,
        fx: &mut Fx,
    ) {
        let slot = self.slot(&id, now);
        let upto = match purpose {
            Purpose::Verify { upto } => upto,
            Purpose::Replay | Purpose::Look => self.store.info(slot).end,
        };
        let request = ReadRequest {
            offset,
            bytes_max,
            first_batch_whole: true,
            upto,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.reads.insert(ticket, (id, offset, purpose));
        let result = match self.store.read(slot, &request, Ticket(ticket), now, fx) {
            Ok(Reading::Pending) => return,
            Ok(Reading::Ready(parts)) => Ok(parts),
            Err(error) => Err(error),
        };
        fx.events.push(Event::Read {
            ticket: Ticket(ticket),
            result,
        });
    }

    fn on_read(
        &mut self,
        ticket: Ticket,
        result: Result<Vec<Bytes>, ReadError>,
        (now, fx, out): (Now, &mut Fx, &mut Outbox<Letter>),
    ) {
        let asked = self.reads.remove(&ticket.0);
        let (id, offset, purpose) = asked.expect("an answer to a question");
        let (next, bytes) = match result {
            Ok(parts) => {
                let bytes = parts.concat();
                (self.model.borrow_mut().read(&id, offset, &bytes), bytes)
            }
            Err(_) if self.model.borrow().is_going(&id) => return,
            Err(ReadError::OutOfRange { .. }) => {
                self.model.borrow_mut().out_of_range(&id, offset);
                let slot = self.slot(&id, now);
                (self.store.info(slot).log_start.max(offset), Vec::new())
            }
            Err(ReadError::Fenced | ReadError::Damaged) if self.has(Trouble::Medium) => return,
            Err(other) => panic!("{id:?}: the read at {offset} failed: {other:?}"),
        };
        match purpose {
            // The rest of a topic that was deleted meanwhile is nobody's.
            _ if self.model.borrow().is_going(&id) => {}
            Purpose::Look => {}
            Purpose::Verify { upto } if next >= upto => {}
            Purpose::Verify { .. } => {
                assert!(next > offset, "{id:?}: nothing at {offset}, below the end");
                self.read(id, next, 40_000, purpose, now, fx);
            }
            Purpose::Replay => {
                self.metadata.extend(bytes);
                let slot = self.slot(&id, now);
                if next < self.store.info(slot).end {
                    assert!(
                        next > offset,
                        "metadata: nothing at {offset}, below the end"
                    );
                    self.read(id, next, 5_000, purpose, now, fx);
                } else {
                    self.replayed(out);
                }
            }
        }
    }

    fn replayed(&mut self, out: &mut Outbox<Letter>) {
        let alive = metadata::alive(&metadata::decode(&self.metadata));
        self.model.borrow_mut().found_alive(&alive);
        self.tell_all(out, || Letter::Alive(alive.clone()));
    }

    fn on_ready(&mut self, report: &RecoveryReport, now: Now, fx: &mut Fx) {
        self.ready = true;
        let mut alive = self.model.borrow().partitions(Stage::Alive);
        for found in &report.partitions {
            let id = found.id;
            let may = !found.fenced || self.has(Trouble::Medium);
            assert!(may, "{id:?} is fenced and nothing was damaged");
            let known = id == METADATA || alive.contains(&id);
            assert!(known, "{id:?} was recovered and does not exist");
            self.ids.insert(found.slot, id);
        }
        alive.retain(|id| owner(id, self.shards) == self.shard);
        for id in alive {
            let found = report.partitions.iter().find(|found| found.id == id);
            let (start, end) = found.map_or((0, 0), |found| (found.log_start, found.end));
            self.model.borrow_mut().recovered(&id, start, end);
            if start < end {
                self.read(id, start, 40_000, Purpose::Verify { upto: end }, now, fx);
            }
        }
    }

    fn on_event(&mut self, event: Event, now: Now, fx: &mut Fx, out: &mut Outbox<Letter>) {
        match event {
            Event::Mail { to, mail } => out.mail.push((ShardId(to), Letter::Store(mail))),
            Event::MetadataReady => {
                let slot = self.slot(&METADATA, now);
                let info = self.store.info(slot);
                self.model
                    .borrow_mut()
                    .recovered(&METADATA, info.log_start, info.end);
                self.read(METADATA, info.log_start, 5_000, Purpose::Replay, now, fx);
            }
            Event::Ready(report) => self.on_ready(&report, now, fx),
            Event::Durable { slot, end_offset } => self.on_durable(slot, end_offset, out),
            Event::LogStart { slot, log_start } => {
                if let Some(id) = self.ids.get(&slot) {
                    self.model.borrow_mut().start_durable(id, log_start);
                }
            }
            Event::Read { ticket, result } => self.on_read(ticket, result, (now, fx, out)),
            Event::Found { .. } | Event::Notice(_) => {}
            Event::Fenced { what, why, .. } => {
                assert!(self.has(Trouble::Medium), "{what} is fenced: {why}");
            }
            Event::SpaceFull { dir, .. } | Event::SpaceStillFull { dir } => {
                assert!(self.has(Trouble::Space), "{} cannot be full", dir.display());
            }
            Event::SpaceBack { .. } => {}
            Event::Failed(why) => self.failed = Some(why),
            Event::Stopped => self.on_stopped(),
        }
    }

    fn on_durable(&mut self, slot: Slot, end: i64, out: &mut Outbox<Letter>) {
        let Some(id) = self.ids.get(&slot) else {
            return;
        };
        self.model.borrow_mut().durable(id, end);
        if *id == METADATA {
            let (durable, waiting) = self.deleting.iter().partition(|(offset, _)| *offset < end);
            self.deleting = waiting;
            let durable: Vec<(i64, TopicId)> = durable;
            for (_, topic) in durable {
                self.tell_all(out, || Letter::Gone(topic));
            }
        }
    }

    /// A clean stop has made everything durable.
    fn on_stopped(&mut self) {
        self.stopped = true;
        let model = &mut *self.model.borrow_mut();
        let ids: Vec<PartitionId> = model.logs.keys().copied().collect();
        for id in ids.iter().filter(|id| owner(id, self.shards) == self.shard) {
            model.stopped(id);
        }
    }

    fn on_letter(&mut self, from: ShardId, letter: Letter, now: Now, fx: &mut Fx) {
        match letter {
            Letter::Store(mail) => self.store.on_mail(from.0, mail, now, fx),
            Letter::Alive(ids) => {
                let describe = |id: PartitionId| AlivePartition {
                    id,
                    owner: owner(&id, self.shards),
                    config: config_of(&id),
                };
                let alive: Vec<AlivePartition> = ids.into_iter().map(describe).collect();
                self.store.set_alive(&alive, now, fx);
            }
            Letter::Gone(topic) => {
                let gone: Vec<PartitionId> = self
                    .ids
                    .values()
                    .filter(|id| id.topic == topic)
                    .copied()
                    .collect();
                for id in gone {
                    self.ids.retain(|_, of| *of != id);
                    self.store.delete(&id, now, fx);
                }
            }
        }
    }
}

impl Machine for Shell {
    type Mail = Letter;

    fn step(
        &mut self,
        now: Now,
        inputs: &mut Vec<Input<Letter>>,
        _: usize,
        out: &mut Outbox<Letter>,
    ) {
        let mut fx = Fx::default();
        if !self.started {
            self.started = true;
            self.store.start(now, &mut fx);
        }
        if let Some(ambush) = &mut self.model.borrow_mut().ambush {
            ambush.hear(inputs);
        }
        for input in inputs.drain(..) {
            match input {
                Input::Done(token, done) => {
                    self.watch_done(token, &done);
                    self.store.on_done(token, done, now, &mut fx);
                }
                Input::Mail { from, mail } => self.on_letter(from, mail, now, &mut fx),
            }
        }
        while let Some(command) = self.commands.pop_front() {
            self.obey(command, now, &mut fx, out);
        }
        if self.wake.is_some_and(|at| at <= now.mono) {
            self.wake = None;
            self.store.tick(now, &mut fx);
        }
        self.store.flush(now, &mut fx);
        while !fx.events.is_empty() {
            for event in std::mem::take(&mut fx.events) {
                self.on_event(event, now, &mut fx, out);
            }
        }
        self.wake = [self.wake, fx.wake_at].into_iter().flatten().min();
        out.wake_at = self.wake;
        if let Some(ambush) = &mut self.model.borrow_mut().ambush {
            ambush.watch(fx.ops.iter().map(|(_, op)| op));
        }
        self.watch_moves(&fx.ops);
        out.ops.append(&mut fx.ops);
    }
}

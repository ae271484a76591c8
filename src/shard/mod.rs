//! One shard: the rooms of the broker on one core, stepped by a driver.
//!
//! `drain -> step -> flush`: a step takes in completions, mail and due timers, lets the rooms work
//! until nothing moves any more, and leaves operations for the kernel. No room calls the kernel,
//! reads a clock or takes a lock, so the simulator runs this very code.

mod budget;
mod census;
pub mod connections;
mod coordinators;
pub mod endpoints;
mod life;
pub mod mail;
pub mod pending;
mod replay;
mod requests;
pub mod settings;
mod spaces;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use reactor::buf::Arena;
use reactor::op::{CONTROL, Done, Input, Machine, Mono, Now, Outbox, ShardId, Token};
use storage::store::{Event, Lack, Store};

use crate::api::session::FetchSessions;
use crate::cluster::image::Image;
use crate::config::settings::BrokerSettings;
use crate::limits::REPLIES_ARENA_PART_MAX;
use crate::partition::{self, Partitions};

use census::Census;
use connections::{ConnId, Connections, NetEvent};
use coordinators::Coordinators;
use life::{Life, Phase};
use mail::{Answer, Call, Mail, ReplyTo};
use pending::Pending;
use requests::Tally;
use settings::ShardSettings;
use spaces::Spaces;

/// The shard number in the [`ReplyTo`] of appends that the broker itself makes.
const INTERNAL: u16 = u16::MAX - 1;

/// What a shard tells the people who run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A line for the log.
    Line(Level, String),
    /// The shard accepts connections here.
    Listening(std::net::SocketAddr),
    /// The logs are recovered; what was found, in words.
    Recovered(String),
    /// The shard cannot go on; why, and what to do.
    Failed(String),
    /// Everything is durable and closed.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// One core's share of the broker.
pub struct Shard {
    settings: Arc<ShardSettings>,
    /// The broker's settings by the newest image.
    broker: BrokerSettings,
    life: Life,
    store: Store,
    partitions: Partitions,
    coordinators: Coordinators,
    connections: Connections,
    pending: Pending,
    sessions: FetchSessions,
    /// On shard 0: the connections of all shards.
    census: Census,
    spaces: Spaces,
    image: Arc<Image>,
    /// Counts the images of this run: answers wait until every shard works by a version.
    image_version: u64,
    /// The image that the partitions were last made to match.
    applied: Arc<Image>,
    /// Producer ids this shard may still give out.
    producer_ids: std::ops::Range<i64>,
    fx: partition::Fx,
    /// Calls and answers of this shard to itself, until the step has no more of them.
    local: VecDeque<Mail>,
    mail: Vec<(ShardId, Mail)>,
    ops: Vec<(Token, reactor::op::Op)>,
    closed_lines: RateLimit,
    /// Where the calls of this shard's clients went.
    tally: Tally,
    /// Connections whose sends and pauses are settled at the end of the step.
    unsettled: Vec<ConnId>,
}

impl Shard {
    /// A shard that begins to recover its logs in its first step.
    #[must_use]
    pub fn new(settings: Arc<ShardSettings>, shard: ShardId, arena: Arena) -> Self {
        let number = shard.0;
        let replies_bytes_max = arena.bytes_max() / REPLIES_ARENA_PART_MAX;
        let store = Store::new(settings.store_config(number), arena);
        Self {
            broker: settings.broker.clone(),
            life: Life::new(number, settings.shards),
            store,
            partitions: Partitions::default(),
            coordinators: Coordinators::new(&settings, number),
            connections: Connections::new(settings.conn_limits(), replies_bytes_max),
            pending: Pending::new(number),
            sessions: FetchSessions::new(
                settings.fetch_sessions_max(),
                settings.seed ^ u64::from(number),
            ),
            census: Census::default(),
            spaces: Spaces::default(),
            image: Arc::new(Image::default()),
            image_version: 0,
            applied: Arc::new(Image::default()),
            producer_ids: 0..0,
            fx: partition::Fx::default(),
            local: VecDeque::new(),
            mail: Vec::new(),
            ops: Vec::new(),
            closed_lines: RateLimit::default(),
            tally: Tally::default(),
            unsettled: Vec::new(),
            settings,
        }
    }

    fn number(&self) -> u16 {
        self.life.shard
    }

    fn line(&mut self, level: Level, line: String) {
        self.report(Report::Line(level, line));
    }

    /// Tells the control thread.
    fn report(&mut self, report: Report) {
        self.mail.push((CONTROL, Mail::Report(report)));
    }

    fn on_input(&mut self, input: Input<Mail>, now: Now) {
        match input {
            Input::Done(token, done) => self.on_done(token, done, now),
            Input::Mail { from, mail } => self.on_mail(from.0, mail, now),
        }
    }

    fn on_done(&mut self, token: Token, done: Done, now: Now) {
        match (token.0 >> 56) as u8 {
            connections::ROOM => self
                .connections
                .on_done(token, done, now.mono, &mut self.ops),
            spaces::ROOM => self.fx.answers.extend(self.spaces.on_done(token, &done)),
            _ => self.store.on_done(token, done, now, &mut self.fx.store),
        }
    }

    fn on_mail(&mut self, from: u16, mail: Mail, now: Now) {
        match mail {
            Mail::Call { reply_to, call } => self.carry_out(reply_to, call, now),
            Mail::Answer { reply_to, answer } => self.on_answer(reply_to, answer, now),
            Mail::Hurry { reply_to } => {
                self.partitions
                    .hurry(reply_to, now, &mut self.store, &mut self.fx);
            }
            Mail::Store(mail) => self.store.on_mail(from, mail, now, &mut self.fx.store),
            Mail::Image { version, image } => self.on_image(version, image, now),
            Mail::Readable { reply_to, bytes } => self.on_readable(reply_to, bytes),
            Mail::Came { conn, peer } => self.on_came(from, conn, peer),
            Mail::Counted {
                conn,
                peer,
                refused,
            } => {
                let known = self.connections.counted(conn, refused, &mut self.ops);
                if !known && refused.is_none() {
                    self.post(0, Mail::Left { peer });
                }
            }
            Mail::Left { peer } => self.census.leave(peer),
            Mail::ImageApplied { version } => self.on_image_applied(from, version, now),
            Mail::Prepared { lossy } => self.on_prepared(lossy, now),
            Mail::Serve => self.serve(),
            Mail::Drain => self.drain(now),
            Mail::Drained => self.on_drained(now),
            // For the control thread only.
            Mail::Report(_) => {}
        }
    }

    /// Does what a call asks; the answer comes at once or later.
    fn carry_out(&mut self, reply_to: ReplyTo, call: Call, now: Now) {
        match call {
            Call::Produce(call) => {
                self.partitions
                    .produce(reply_to, call, now, &mut self.store, &mut self.fx);
            }
            Call::Fetch(call) => {
                self.partitions
                    .fetch(reply_to, call, now, &mut self.store, &mut self.fx);
            }
            Call::Partition { id, ask } => {
                self.partitions
                    .ask(reply_to, &id, &ask, now, &mut self.store, &mut self.fx);
            }
            Call::LogDirs => {
                let answer = Answer::LogDirs(self.partitions.log_dirs(&self.store));
                self.fx.answers.push((reply_to, answer));
            }
            Call::Spaces => {
                let dirs = &self.settings.broker.log_dirs;
                self.spaces.ask(reply_to, dirs, &mut self.ops);
            }
            Call::Group { partition, call } => self.group_call(reply_to, partition, *call, now),
            Call::Control(command) => self.control_call(reply_to, *command, now),
        }
    }

    /// Lets effects of the rooms reach the other rooms until nothing moves any more.
    fn settle(&mut self, now: Now) {
        loop {
            let mut moved = false;
            for event in std::mem::take(&mut self.fx.store.events) {
                moved = true;
                self.on_store_event(event, now);
            }
            for (reply_to, answer) in std::mem::take(&mut self.fx.answers) {
                moved = true;
                self.send_answer(reply_to, answer, now);
            }
            for (reply_to, bytes) in std::mem::take(&mut self.fx.readable) {
                moved = true;
                self.post(reply_to.shard, Mail::Readable { reply_to, bytes });
            }
            while let Some(mail) = self.local.pop_front() {
                moved = true;
                self.on_mail(self.number(), mail, now);
            }
            for event in self.connections.take_events() {
                moved = true;
                self.on_net_event(event, now);
            }
            moved |= self.serve_requests(now);
            if !moved {
                break;
            }
        }
    }

    fn send_answer(&mut self, reply_to: ReplyTo, answer: Answer, now: Now) {
        if reply_to.shard == INTERNAL {
            self.on_internal_append(reply_to, &answer, now);
        } else {
            self.post(reply_to.shard, Mail::Answer { reply_to, answer });
        }
    }

    /// Mail to any shard, this one included.
    fn post(&mut self, to: u16, mail: Mail) {
        if to == self.number() {
            self.local.push_back(mail);
        } else {
            self.mail.push((ShardId(to), mail));
        }
    }

    fn on_store_event(&mut self, event: Event, now: Now) {
        let (store, fx) = (&mut self.store, &mut self.fx);
        match event {
            Event::Durable { slot, end_offset } => {
                self.partitions.on_durable(slot, end_offset, now, store, fx);
            }
            Event::LogStart { slot, log_start } => {
                self.partitions
                    .on_log_start(slot, log_start, now, store, fx);
            }
            Event::Read { ticket, result } => {
                if ticket.0 & replay::REPLAY_TICKET == 0 {
                    self.partitions.on_read(ticket, result, now, store, fx);
                } else {
                    self.on_replay_read(ticket, result, now);
                }
            }
            Event::Found { ticket, result } => {
                self.partitions.on_found(ticket, result, fx);
            }
            Event::Mail { to, mail } => self.post(to, Mail::Store(mail)),
            Event::MetadataReady => self.on_metadata_ready(now),
            Event::Ready(report) => self.on_store_ready(&report, now),
            Event::Fenced { what, why, slots } => {
                self.partitions.on_fenced(&slots, fx);
                self.line(Level::Error, format!("{what} takes no more appends: {why}"));
            }
            Event::SpaceFull { dir, lacks } => self.on_space_full(&dir, lacks),
            Event::SpaceStillFull { dir } => {
                self.partitions.on_no_space(&dir, &self.store, &mut self.fx);
            }
            Event::SpaceBack { dir } => {
                self.line(
                    Level::Info,
                    format!("there is room again in {}: appends go on", dir.display()),
                );
            }
            Event::Notice(line) => self.line(Level::Warning, line),
            Event::Failed(why) => self.fail(why),
            Event::Stopped => self.on_store_stopped(),
        }
    }

    fn on_space_full(&mut self, dir: &Path, lacks: Lack) {
        let (what, cure) = match lacks {
            Lack::Space => (
                "no space is left",
                "free some there, or delete records or topics",
            ),
            Lack::OpenFiles => (
                "no more files can be opened",
                "raise the limit on open files (ulimit -n, LimitNOFILE)",
            ),
        };
        let goes_on = if self.life.phase == Phase::Recovering {
            "the start waits until there is room, and goes on by itself"
        } else {
            "appends are refused until there is room, and go on by themselves; reads work"
        };
        let line = format!("{what} in {}: {goes_on}; {cure}", dir.display());
        self.line(Level::Error, line);
    }

    fn on_net_event(&mut self, event: NetEvent, now: Now) {
        match event {
            NetEvent::Listening { local } => {
                self.report(Report::Listening(local));
            }
            NetEvent::ListenFailed { addr, why } => {
                let ports = self.settings.shard_ports.as_ref();
                let choice = if ports.is_some_and(|ports| ports.contains(addr)) {
                    "other ports for the shards with --set shard.listener.port=PORT"
                } else {
                    "another address with --listen HOST:PORT"
                };
                self.fail(format!(
                    "cannot listen on {addr}: {why}. Is another broker running there? \
                     Choose {choice}."
                ));
            }
            NetEvent::Came { conn, peer } => self.post(0, Mail::Came { conn, peer }),
            NetEvent::Ended { conn } => {
                for (shard, reply_to) in self.pending.fetches_of(conn) {
                    self.post(shard, Mail::Hurry { reply_to });
                }
            }
            NetEvent::Closed { conn, counted } => {
                if let Some(peer) = counted {
                    self.post(0, Mail::Left { peer });
                }
                for (shard, reply_to) in self.pending.forget(conn) {
                    self.post(shard, Mail::Hurry { reply_to });
                }
                self.on_connection_closed(now);
            }
            NetEvent::Refused { peer, why } => {
                self.limited_line(&format!("closed the connection of {peer}: {why}"), now);
            }
            NetEvent::NotAccepting { addr, why } => {
                self.limited_line(
                    &format!(
                        "cannot accept connections on {addr}: {why}; tried again until it works"
                    ),
                    now,
                );
            }
        }
    }

    /// A line that clients can cause, and must not fill the log with.
    fn limited_line(&mut self, line: &str, now: Now) {
        if let Some(more) = self.closed_lines.pass(now.mono) {
            let tail = match more {
                0 => String::new(),
                more => format!(" ({more} more like it were not logged)"),
            };
            self.line(Level::Warning, format!("{line}{tail}"));
        }
    }

    /// On shard 0: another connection, if the limits on all shards together allow it.
    fn on_came(&mut self, from: u16, conn: ConnId, peer: IpAddr) {
        let (most, most_per_ip) = (
            self.broker.connections_max,
            self.broker.connections_per_ip_max,
        );
        let refused = self.census.enter(peer, most, most_per_ip).err();
        self.post(
            from,
            Mail::Counted {
                conn,
                peer,
                refused,
            },
        );
    }

    fn fail(&mut self, why: String) {
        self.life.phase = Phase::Failed;
        self.report(Report::Failed(why));
    }

    fn tick(&mut self, now: Now) {
        self.store.tick(now, &mut self.fx.store);
        self.partitions.tick(now, &mut self.store, &mut self.fx);
        let appends_wait = self.partitions.is_stalled();
        self.connections.tick(appends_wait, now.mono, &mut self.ops);
        self.tick_coordinators(now);
        self.tick_life(now);
    }

    fn wake_at(&self) -> Option<Mono> {
        [
            self.fx.store.wake_at,
            self.partitions.wake_at(),
            self.connections.wake_at(),
            self.coordinators.wake_at(),
            self.life.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Machine for Shard {
    type Mail = Mail;

    fn step(
        &mut self,
        now: Now,
        inputs: &mut Vec<Input<Mail>>,
        mail_waiting: usize,
        out: &mut Outbox<Mail>,
    ) {
        if self.life.phase == Phase::New {
            self.life.phase = Phase::Recovering;
            self.store.start(now, &mut self.fx.store);
        }
        self.life.mail_waiting = mail_waiting;
        self.partitions.begin_step();
        for input in inputs.drain(..) {
            self.on_input(input, now);
        }
        self.tick(now);
        self.settle(now);
        self.store.flush(now, &mut self.fx.store);
        self.settle(now);
        self.settle_connections(now);
        out.ops.append(&mut self.fx.store.ops);
        out.ops.append(&mut self.ops);
        out.mail.append(&mut self.mail);
        out.wake_at = self.wake_at();
        out.exit = matches!(self.life.phase, Phase::Stopped | Phase::Failed);
    }
}

/// Lets one line a second pass and counts the others.
#[derive(Debug, Default)]
struct RateLimit {
    next: Mono,
    held: u64,
}

impl RateLimit {
    /// `Some(n)`: say it, and that `n` were held back since the last one.
    fn pass(&mut self, now: Mono) -> Option<u64> {
        if now < self.next {
            self.held += 1;
            return None;
        }
        self.next = now.after_ms(1_000);
        Some(std::mem::take(&mut self.held))
    }
}

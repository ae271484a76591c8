//! Requests of this shard's connections: dispatch to the API, calls out, answers in, replies.

use std::fmt;

use net::wire::Reader;
use reactor::op::Now;

use crate::api::{self, Cx, Handled, Work};

use super::Shard;
use super::connections::ConnId;
use super::life::Phase;
use super::mail::{Answer, Call, Mail, ReplyTo};
use super::pending::{Asker, Gathered};

/// Calls that requests of this shard's clients have made, changes of the cluster left out: those
/// are shard 0's in any case.
#[derive(Debug, Default)]
pub(super) struct Tally {
    own: u64,
    crossed: u64,
}

impl Tally {
    fn note(&mut self, own: u16, calls: &[(u16, Call)]) {
        for (to, call) in calls {
            match call {
                Call::Control(_) => {}
                _ if *to == own => self.own += 1,
                _ => self.crossed += 1,
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, crossed } = self;
        write!(
            f,
            "calls of its clients: {own} for this shard, {crossed} for others"
        )
    }
}

impl Shard {
    /// Dispatches what the touched connections have received. True if there was any request.
    pub(super) fn serve_requests(&mut self, now: Now) -> bool {
        if self.is_overloaded() {
            return false;
        }
        let mut any = false;
        for conn in self.connections.take_touched() {
            while let Some(next) = self.connections.next_request(conn) {
                any = true;
                match next {
                    Ok(frame) => self.dispatch(conn, frame, now),
                    Err(error) => {
                        self.connections
                            .refuse(conn, error.to_string(), &mut self.ops);
                    }
                }
                if self.is_overloaded() {
                    break;
                }
            }
            self.unsettled.push(conn);
        }
        any
    }

    /// While mail waits for room, or appends for memory, requests stay in their connections, whose
    /// bounds then stop the receiving.
    fn is_overloaded(&self) -> bool {
        self.life.mail_waiting > 0 || self.partitions.is_stalled()
    }

    fn dispatch(&mut self, conn: ConnId, frame: net::conn::Frame, now: Now) {
        let Some((local, peer)) = self.connections.addresses(conn) else {
            return;
        };
        let asker = Asker {
            conn,
            seq: frame.seq,
        };
        let mut cx = Cx {
            now,
            header: &frame.header,
            local,
            peer,
            image: &self.image,
            settings: &self.settings,
            broker: &self.broker,
            shards: self.life.shards,
            sessions: &mut self.sessions,
            producer_ids: &mut self.producer_ids,
            hurried: self.life.phase >= Phase::Draining || self.connections.has_ended(conn),
            reply_bytes_max: self.connections.room_for_replies(),
        };
        let handled = api::handle(&mut cx, Reader::of_pieces(frame.body, frame.more));
        self.act(asker, handled);
    }

    fn act(&mut self, asker: Asker, handled: Handled) {
        match handled {
            Handled::Reply(parts) => self.connections.reply(asker.conn, asker.seq, parts),
            Handled::Silent => self.connections.no_reply(asker.conn, asker.seq),
            Handled::Close(why) => self.connections.refuse(asker.conn, why, &mut self.ops),
            Handled::Work(work) => self.call_out(asker, work),
        }
    }

    fn call_out(&mut self, asker: Asker, work: Work) {
        let shards: Vec<u16> = work.calls.iter().map(|(shard, _)| *shard).collect();
        let request = self
            .pending
            .add(asker, work.finish, shards, work.fetch_bytes_min);
        let shard = self.number();
        self.tally.note(shard, &work.calls);
        for (part, (to, call)) in work.calls.into_iter().enumerate() {
            let part = u32::try_from(part).unwrap_or(u32::MAX);
            let reply_to = ReplyTo {
                shard,
                request,
                part,
            };
            self.post(to, Mail::Call { reply_to, call });
        }
    }

    /// A shard could read so much for a fetch that waits for several shards.
    pub(super) fn on_readable(&mut self, reply_to: ReplyTo, bytes: u64) {
        let hurried = self.pending.readable(reply_to, bytes);
        self.hurry(hurried);
    }

    fn hurry(&mut self, parts: Vec<ReplyTo>) {
        for reply_to in parts {
            if let Some(shard) = self.pending.shard_of(reply_to) {
                self.post(shard, Mail::Hurry { reply_to });
            }
        }
    }

    pub(super) fn on_answer(&mut self, reply_to: ReplyTo, answer: Answer, now: Now) {
        match self.pending.gather(reply_to, answer) {
            None => {}
            Some(Gathered::Waiting(hurried)) => self.hurry(hurried),
            Some(Gathered::Complete(request, answers)) => {
                let mut cx = api::FinishCx {
                    now,
                    image: &self.image,
                    settings: &self.settings,
                    broker: &self.broker,
                    shards: self.life.shards,
                    sessions: &mut self.sessions,
                    producer_ids: &mut self.producer_ids,
                };
                let handled = (request.finish)(&mut cx, answers);
                self.act(request.asker, handled);
            }
        }
    }

    /// Sends what is ready and pauses or resumes receiving, once a step.
    pub(super) fn settle_connections(&mut self, now: Now) {
        let mut conns = std::mem::take(&mut self.unsettled);
        conns.extend(self.connections.take_touched());
        conns.sort_unstable();
        conns.dedup();
        for conn in conns {
            self.connections.settle(conn, now.mono, &mut self.ops);
        }
        self.connections.release(now.mono, &mut self.ops);
    }
}

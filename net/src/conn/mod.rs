//! The connection machine: framing, ordered replies, pipelining, limits.
//!
//! Pure: it is handed the bytes that came in and the time, and says what to send. The driver
//! calls [`Conn::on_received`], then [`Conn::next_request`] until there is none, answers each by
//! [`Conn::reply`] or [`Conn::no_reply`] in any order, and sends what [`Conn::take_send`] gives,
//! one send at a time. Replies leave in the order of the requests. It stops receiving while
//! [`Conn::wants_pause`], and closes at [`Conn::idle_deadline`] or on a [`ConnError`].
//!
//! Requests of one connection are handled one after the other, as in Kafka, with one exception: a
//! Produce may be handed out while earlier Produces still wait for their disk, so that a producer
//! with several requests in flight fills one commit round instead of waiting for as many.

mod frames;
mod replies;

use crate::wire::api::ApiKey;
use crate::wire::{DecodeError, Reader, RequestHeader};
use bytes::Bytes;
use frames::Frames;
use reactor::op::Mono;
use replies::Replies;
use std::fmt;

/// What one connection may cost. All lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnLimits {
    /// The longest request, without its length prefix: Kafka's `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// Received and not yet answered. One request may exceed it on its own.
    pub in_bytes_max: usize,
    /// Replies not yet taken by the peer; above it no further request is handed out. The replies
    /// to requests handed out before may exceed it.
    pub out_bytes_max: usize,
    /// Requests handed out and not yet answered.
    pub requests_max: usize,
    /// The most one send gathers.
    pub send_bytes_max: usize,
    /// Silence after which the connection is closed, in milliseconds: Kafka's
    /// `connections.max.idle.ms`.
    pub idle_ms_max: u64,
}

/// Why the connection must be closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnError {
    /// A length prefix that is negative or above [`ConnLimits::frame_bytes_max`].
    FrameLength(i32),
    /// A request header that cannot be read, or an API or version that is not spoken.
    Header(DecodeError),
    /// A reply of more than `i32::MAX` bytes, which no frame can carry.
    ReplyLength(usize),
}

impl fmt::Display for ConnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameLength(length) => write!(f, "illegal request length {length}"),
            Self::Header(why) => write!(f, "unreadable request header: {why}"),
            Self::ReplyLength(length) => write!(f, "a reply of {length} bytes cannot be framed"),
        }
    }
}

impl std::error::Error for ConnError {}

/// One request, to be answered under its `seq`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counts the requests of the connection from 0.
    pub seq: u64,
    pub header: RequestHeader,
    /// What follows the header, or the first piece of it; shared with what was received where it
    /// came in one piece.
    pub body: Bytes,
    /// The other pieces of a large Produce that came in several, shared with what was received.
    pub more: Vec<Bytes>,
}

/// One connection. Lives on one shard from accept to close.
#[derive(Debug)]
pub struct Conn {
    limits: ConnLimits,
    frames: Frames,
    replies: Replies,
    active_at: Mono,
    fault: Option<ConnError>,
}

impl Conn {
    #[must_use]
    pub fn new(limits: ConnLimits, now: Mono) -> Self {
        Self {
            limits,
            frames: Frames::default(),
            replies: Replies::default(),
            active_at: now,
            fault: None,
        }
    }

    /// Whether a whole request is here that was not handed out yet, and may be later.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.fault.is_none() && self.frames.has_whole()
    }

    /// Whether a whole request is here that could be handed out now: nothing the peer or a handler
    /// does has to come first.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.has_request()
            && self.may_take()
            && self.replies.out_bytes() < self.limits.out_bytes_max
    }

    /// Whether a request has begun to come in and is not whole.
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        self.frames.bytes() > 0 && !self.frames.has_whole()
    }

    /// Takes in the next bytes of the stream.
    pub fn on_received(&mut self, data: Bytes, now: Mono) {
        self.active_at = now;
        self.frames.push(data);
    }

    /// The next request that may be handled now.
    ///
    /// # Errors
    /// Any [`ConnError`], once every reply before it has left, so ask again after
    /// [`on_sent`](Self::on_sent). The stream is lost from there on: the error stays.
    pub fn next_request(&mut self) -> Result<Option<Frame>, ConnError> {
        if let Some(fault) = self.fault {
            return if self.replies.is_idle() {
                Err(fault)
            } else {
                Ok(None)
            };
        }
        if !self.may_take() {
            return Ok(None);
        }
        match self.take() {
            Ok(frame) => Ok(frame),
            Err(fault) => {
                self.fault = Some(fault);
                self.next_request()
            }
        }
    }

    fn may_take(&self) -> bool {
        let waiting = self.replies.waiting();
        waiting == 0
            || waiting < self.limits.requests_max
                && self.replies.waiting_bytes() < self.limits.in_bytes_max
                && self.replies.only_produce_waits()
                && self.frames.next_key() == Some(ApiKey::Produce.to_wire())
    }

    fn take(&mut self) -> Result<Option<Frame>, ConnError> {
        if self.replies.out_bytes() >= self.limits.out_bytes_max {
            return Ok(None);
        }
        let Some((first, more)) = self.frames.take(self.limits.frame_bytes_max)? else {
            return Ok(None);
        };
        let mut reader = Reader::of_pieces(first, more);
        let frame_bytes = reader.remaining();
        let header = RequestHeader::decode(&mut reader).map_err(ConnError::Header)?;
        let seq = self.replies.expect(&header, frame_bytes);
        let (body, more) = reader.into_pieces();
        Ok(Some(Frame {
            seq,
            header,
            body,
            more,
        }))
    }

    /// Answers the request `seq` with the body of a reply; its length and header are put before
    /// it here. A `seq` that was answered already is ignored.
    pub fn reply(&mut self, seq: u64, body: Vec<Bytes>) {
        if let Err(fault) = self.replies.answer(seq, Some(body)) {
            self.fault.get_or_insert(fault);
        }
    }

    /// Declares that the request `seq` gets no reply: a Produce with `acks=0`.
    pub fn no_reply(&mut self, seq: u64) {
        if let Err(fault) = self.replies.answer(seq, None) {
            self.fault.get_or_insert(fault);
        }
    }

    /// What to send next: `None` while a send is in flight or nothing is ready.
    pub fn take_send(&mut self, now: Mono) -> Option<Vec<Bytes>> {
        let parts = self.replies.take_send(self.limits.send_bytes_max)?;
        self.active_at = now;
        Some(parts)
    }

    /// The kernel has taken all of the last [`take_send`](Self::take_send).
    pub fn on_sent(&mut self, now: Mono) {
        self.active_at = now;
        self.replies.on_sent();
    }

    /// Whether to stop receiving: too much is queued in either direction, or the stream is lost.
    /// A request that is still incomplete never pauses, since only more bytes complete it.
    #[must_use]
    pub fn wants_pause(&self) -> bool {
        self.fault.is_some()
            || self.replies.out_bytes() >= self.limits.out_bytes_max
            || self.in_bytes() >= self.limits.in_bytes_max && self.frames.has_whole()
    }

    /// When to close for lack of progress; `None` while the peer waits for us.
    #[must_use]
    pub fn idle_deadline(&self) -> Option<Mono> {
        let peer_waits = self.replies.waiting() > 0 || self.replies.has_unsent();
        let deadline = self.active_at.after_ms(self.limits.idle_ms_max);
        (self.replies.is_sending() || !peer_waits).then_some(deadline)
    }

    /// Bytes of requests this connection holds: received and under way to an answer.
    #[must_use]
    pub fn in_bytes(&self) -> usize {
        self.frames.bytes() + self.replies.waiting_bytes()
    }

    /// Bytes of replies that the kernel has not taken.
    #[must_use]
    pub const fn out_bytes(&self) -> usize {
        self.replies.out_bytes()
    }

    /// Whether the kernel has a part of a reply that the peer lets it wait with.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.replies.is_sending()
    }

    /// When bytes last came in or went out.
    #[must_use]
    pub const fn active_at(&self) -> Mono {
        self.active_at
    }

    /// Requests handed out and not yet answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.replies.waiting()
    }
}

#[cfg(test)]
mod tests;

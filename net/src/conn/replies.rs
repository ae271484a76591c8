//! Replies in the order of their requests, whatever order the answers come in.

use super::ConnError;
use crate::wire::api::ApiKey;
use crate::wire::{RequestHeader, Writer, encode_response_header, response_header_bytes};
use bytes::Bytes;
use std::collections::VecDeque;

/// The most pieces one send gathers; the kernel takes at most 1,024 (`IOV_MAX`, writev(2)).
const SEND_PARTS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Requests handed out, oldest first; the first one is not answered.
    queue: VecDeque<Expected>,
    next_seq: u64,
    waiting: usize,
    waiting_not_produce: usize,
    waiting_bytes: usize,
    /// Framed replies whose turn has come.
    ready: VecDeque<Bytes>,
    /// Bytes of all replies not yet taken by the kernel, also of those whose turn has not come.
    out_bytes: usize,
    sending_bytes: usize,
}

#[derive(Debug)]
struct Expected {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    frame_bytes: usize,
    /// The framed reply; empty when there is none to send.
    answer: Option<Vec<Bytes>>,
}

impl Replies {
    /// Notes a request that is handed out and numbers it.
    pub(super) fn expect(&mut self, header: &RequestHeader, frame_bytes: usize) -> u64 {
        self.queue.push_back(Expected {
            key: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            frame_bytes,
            answer: None,
        });
        self.waiting += 1;
        self.waiting_not_produce += usize::from(header.api_key != ApiKey::Produce);
        self.waiting_bytes += frame_bytes;
        self.next_seq += 1;
        self.next_seq - 1
    }

    pub(super) fn answer(&mut self, seq: u64, body: Option<Vec<Bytes>>) -> Result<(), ConnError> {
        let first_seq = self.next_seq - self.queue.len() as u64;
        let index = seq
            .checked_sub(first_seq)
            .and_then(|index| usize::try_from(index).ok());
        let Some(expected) = index.and_then(|index| self.queue.get_mut(index)) else {
            return Ok(());
        };
        if expected.answer.is_some() {
            return Ok(());
        }
        self.waiting -= 1;
        self.waiting_not_produce -= usize::from(expected.key != ApiKey::Produce);
        self.waiting_bytes -= expected.frame_bytes;
        let framed = body.map_or(Ok(Vec::new()), |body| frame(expected, &body));
        let (parts, outcome) = match framed {
            Ok(parts) => (parts, Ok(())),
            Err(fault) => (Vec::new(), Err(fault)),
        };
        self.out_bytes += parts.iter().map(Bytes::len).sum::<usize>();
        expected.answer = Some(parts);
        while let Some(parts) = self.queue.front_mut().and_then(|front| front.answer.take()) {
            self.ready.extend(parts);
            self.queue.pop_front();
        }
        outcome
    }

    pub(super) fn take_send(&mut self, send_bytes_max: usize) -> Option<Vec<Bytes>> {
        if self.sending_bytes > 0 || self.ready.is_empty() {
            return None;
        }
        let mut parts = Vec::with_capacity(self.ready.len().min(SEND_PARTS_MAX));
        let mut room = send_bytes_max.max(1);
        while room > 0 && parts.len() < SEND_PARTS_MAX {
            let Some(mut part) = self.ready.pop_front() else {
                break;
            };
            if part.len() > room {
                let rest = part.split_off(room);
                self.ready.push_front(rest);
            }
            room -= part.len();
            self.sending_bytes += part.len();
            parts.push(part);
        }
        Some(parts)
    }

    pub(super) const fn on_sent(&mut self) {
        self.out_bytes -= self.sending_bytes;
        self.sending_bytes = 0;
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) const fn only_produce_waits(&self) -> bool {
        self.waiting_not_produce == 0
    }

    pub(super) const fn out_bytes(&self) -> usize {
        self.out_bytes
    }

    pub(super) const fn is_sending(&self) -> bool {
        self.sending_bytes > 0
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether every request has been answered and every reply has left.
    pub(super) const fn is_idle(&self) -> bool {
        self.waiting == 0 && self.out_bytes == 0
    }
}

/// Length prefix, header and body as one reply; small bodies become one piece with their header.
fn frame(expected: &Expected, body: &[Bytes]) -> Result<Vec<Bytes>, ConnError> {
    let head_bytes = response_header_bytes(expected.key, expected.version);
    let bytes = head_bytes + body.iter().map(Bytes::len).sum::<usize>();
    let length = i32::try_from(bytes).map_err(|_| ConnError::ReplyLength(bytes))?;
    let small = body.first().map_or(0, Bytes::len).min(1 << 10);
    let mut w = Writer::with_capacity(size_of::<i32>() + head_bytes + small);
    w.put(&length.to_be_bytes());
    encode_response_header(
        &mut w,
        expected.key,
        expected.version,
        expected.correlation_id,
    );
    for part in body {
        w.put_shared(part);
    }
    Ok(w.into_parts())
}

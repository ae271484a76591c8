//! One simulated connection that speaks the protocol: frames out, frames in, in order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use net::wire::api::ApiKey;
use net::wire::{Reader, RequestHeader, Str, Writer};
use reactor::sim::{ClientId, ClientState, World};
use ringlog::shard::Shard;

pub(crate) type Net = World<Shard>;

/// A connection and the answers that are still to come on it.
pub(crate) struct Client {
    id: ClientId,
    correlation: i32,
    received: BytesMut,
    /// Key, version and tag of each request without an answer.
    waiting: VecDeque<(ApiKey, i16, u64)>,
}

/// The body of one response.
pub(crate) struct Reply {
    pub(crate) tag: u64,
    pub(crate) version: i16,
    pub(crate) body: Reader,
}

impl Client {
    pub(crate) fn connect(world: &mut Net, addr: SocketAddr) -> Self {
        let id = world.net().connect(addr);
        Self {
            id,
            correlation: 0,
            received: BytesMut::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Sends one request; its reply carries `tag`.
    pub(crate) fn send(
        &mut self,
        world: &mut Net,
        (api_key, api_version): (ApiKey, i16),
        tag: u64,
        encode: impl FnOnce(&mut Writer, i16),
    ) {
        self.correlation += 1;
        self.send_frame(world, (api_key, api_version), encode);
        self.waiting.push_back((api_key, api_version, tag));
    }

    /// Sends a request that gets no answer.
    pub(crate) fn send_unanswered(
        &mut self,
        world: &mut Net,
        api: (ApiKey, i16),
        encode: impl FnOnce(&mut Writer, i16),
    ) {
        self.send_frame(world, api, encode);
    }

    fn send_frame(
        &mut self,
        world: &mut Net,
        (api_key, api_version): (ApiKey, i16),
        encode: impl FnOnce(&mut Writer, i16),
    ) {
        let header = RequestHeader {
            api_key,
            api_version,
            correlation_id: self.correlation,
            client_id: Some(Str::from_static("sim")),
        };
        let mut w = Writer::new();
        header.encode(&mut w);
        encode(&mut w, api_version);
        let frame = w.into_bytes();
        let length = i32::try_from(frame.len()).expect("a small frame");
        world.net().send(self.id, &length.to_be_bytes());
        world.net().send(self.id, &frame);
    }

    pub(crate) fn close(self, world: &mut Net) {
        world.net().half_close(self.id);
    }

    pub(crate) fn is_gone(&self, world: &mut Net) -> bool {
        !matches!(
            world.net().state(self.id),
            ClientState::Connecting | ClientState::Open
        )
    }

    /// The next reply, if all of it is there.
    pub(crate) fn reply(&mut self, world: &mut Net) -> Option<Reply> {
        let fresh = world.net().take_received(self.id);
        self.received.extend_from_slice(&fresh);
        let length = self
            .received
            .first_chunk::<4>()
            .map(|bytes| i32::from_be_bytes(*bytes))?;
        let length = usize::try_from(length).expect("a frame's length");
        if self.received.len() < 4 + length {
            return None;
        }
        let mut frame: Bytes = self.received.split_to(4 + length).freeze().slice(4..);
        let (key, version, tag) = self.waiting.pop_front().expect("a reply to a request");
        let correlation = i32::from_be_bytes(frame[..4].try_into().expect("four bytes"));
        let answered = self.correlation - i32::try_from(self.waiting.len()).expect("few requests");
        assert_eq!(
            correlation, answered,
            "replies leave in the order of the requests"
        );
        let flexible = version >= key.info().flexible_from && key != ApiKey::ApiVersions;
        let header = if flexible { 5 } else { 4 };
        frame = frame.slice(header..);
        Some(Reply {
            tag,
            version,
            body: Reader::new(frame),
        })
    }

    /// Sends one request and lets the world run until its reply, or until the connection has gone
    /// or too much time has passed.
    pub(crate) fn ask(
        &mut self,
        world: &mut Net,
        api: (ApiKey, i16),
        encode: impl FnOnce(&mut Writer, i16),
    ) -> Option<Reply> {
        assert_eq!(self.waiting.len(), 0, "one question at a time");
        self.send(world, api, 0, encode);
        for _ in 0..60_000 {
            if let Some(reply) = self.reply(world) {
                return Some(reply);
            }
            if self.is_gone(world) {
                return None;
            }
            world.pass(1_000_000);
        }
        panic!("no answer to {api:?} within a simulated minute")
    }
}

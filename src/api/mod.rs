//! The boundary between the wire and the domain: one file per API key.
//!
//! A handler turns a decoded request into an immediate reply or into [`Work`]: calls to the shards
//! that own what the request names, and a closure that builds the reply from their answers. Below
//! this folder nobody knows an API version or an error number.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
pub mod error;
mod fetch;
mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
pub mod session;
pub mod support;
mod sync_group;
mod table;
mod topics;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use net::wire::api::ApiKey;
use net::wire::{RequestHeader, Writer};
use reactor::op::Now;

use crate::cluster::image::Image;
use crate::config::settings::BrokerSettings;
use crate::shard::endpoints::Brokers;
use crate::shard::mail::{Answer, Call};
use crate::shard::settings::ShardSettings;

use session::FetchSessions;
pub use table::handle;

/// What a handler sees of the shard that received the request.
pub struct Cx<'a> {
    pub now: Now,
    pub header: &'a RequestHeader,
    /// The listener's address: what the client reached us by.
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub image: &'a Arc<Image>,
    pub settings: &'a Arc<ShardSettings>,
    pub broker: &'a BrokerSettings,
    pub shards: u16,
    pub sessions: &'a mut FetchSessions,
    /// Producer ids that this shard may give out.
    pub producer_ids: &'a mut Range<i64>,
    /// The broker is stopping, or the client has gone: answer at once instead of parking.
    pub hurried: bool,
    /// Bytes of records that a reply may hold without using up the memory for replies.
    pub reply_bytes_max: usize,
}

/// What the end of a request sees: the image may be newer than at its beginning.
pub struct FinishCx<'a> {
    pub now: Now,
    pub image: &'a Arc<Image>,
    pub settings: &'a Arc<ShardSettings>,
    pub broker: &'a BrokerSettings,
    pub shards: u16,
    pub sessions: &'a mut FetchSessions,
    pub producer_ids: &'a mut Range<i64>,
}

/// What becomes of a request.
pub enum Handled {
    /// The response's body; the connection puts length and header before it.
    Reply(Vec<Bytes>),
    /// Done, without a response (acks=0).
    Silent,
    /// Close the connection; why, for the log.
    Close(String),
    Work(Work),
}

/// Builds the reply, or further work, from the answers in the order of the calls.
pub type Finish = Box<dyn FnOnce(&mut FinishCx<'_>, Vec<Answer>) -> Handled>;

/// Calls to shards, and what to do with their answers. At least one call.
pub struct Work {
    pub calls: Vec<(u16, Call)>,
    pub finish: Finish,
    /// For a fetch: enough bytes to answer without waiting for the other shards.
    pub fetch_bytes_min: Option<u64>,
}

impl Handled {
    /// Asks the shards, then finishes; without a call it finishes at once.
    pub(crate) fn work(
        cx: &mut Cx<'_>,
        calls: Vec<(u16, Call)>,
        finish: impl FnOnce(&mut FinishCx<'_>, Vec<Answer>) -> Self + 'static,
    ) -> Self {
        if calls.is_empty() {
            return finish(&mut cx.finish(), Vec::new());
        }
        Self::Work(Work {
            calls,
            finish: Box::new(finish),
            fetch_bytes_min: None,
        })
    }
}

impl Cx<'_> {
    /// The view that a finishing closure gets.
    pub(crate) fn finish(&mut self) -> FinishCx<'_> {
        FinishCx {
            now: self.now,
            image: self.image,
            settings: self.settings,
            broker: self.broker,
            shards: self.shards,
            sessions: self.sessions,
            producer_ids: self.producer_ids,
        }
    }

    /// What this client is told of the brokers there are.
    pub(crate) fn brokers(&self) -> Brokers {
        self.settings.brokers(self.image.node_id, self.local)
    }

    pub(crate) fn version(&self) -> i16 {
        self.header.api_version
    }

    /// What a reply needs to know of its request.
    pub(crate) fn reply_to(&self) -> ReplyHeader {
        ReplyHeader {
            key: self.header.api_key,
            version: self.header.api_version,
        }
    }
}

/// The part of a request's header that its reply depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyHeader {
    pub key: ApiKey,
    pub version: i16,
}

impl ReplyHeader {
    /// A reply whose body `encode` writes.
    pub(crate) fn reply(self, encode: impl FnOnce(&mut Writer, i16)) -> Handled {
        let mut w = Writer::new();
        encode(&mut w, self.version);
        debug_assert_eq!(
            w.lost(),
            None,
            "{:?} v{} cannot carry a field",
            self.key,
            self.version
        );
        Handled::Reply(w.into_parts())
    }
}

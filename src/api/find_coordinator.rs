//! FindCoordinator (key 10): KIP-699. Groups only: there are no transactions or share groups yet,
//! and a request for their coordinators is refused so that no client waits for one.

use net::wire::Str;
use net::wire::find_coordinator::{Coordinator, Request, Response};

use crate::cluster::name::CONSUMER_OFFSETS;
use crate::shard::endpoints::{Brokers, Endpoint};

use super::error::{self, Code};
use super::{Cx, FinishCx, Handled, ReplyHeader, groups};

/// A coordinator's broker, or why there is none.
type Found = Result<(i32, Endpoint), (Code, &'static str)>;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let brokers = cx.brokers();
    if request.key_type != GROUP {
        let why = if (TRANSACTION..=SHARE).contains(&request.key_type) {
            "Only group coordinators exist on this broker: no transactions, no share groups."
        } else {
            error::INVALID_REQUEST
        };
        let refused = |_: &str| Err((Code::INVALID_REQUEST, why));
        return reply(to, &request, &refused);
    }
    if cx.image.topic(CONSUMER_OFFSETS).is_some() {
        return found(&cx.finish(), to, &request, &brokers);
    }
    let calls = vec![groups::create_offsets_topic(cx)];
    Handled::work(cx, calls, move |cx, _| found(cx, to, &request, &brokers))
}

fn found(cx: &FinishCx<'_>, to: ReplyHeader, request: &Request, brokers: &Brokers) -> Handled {
    let of = |group: &str| match groups::partition(cx.image, group) {
        Some(id) => Ok(brokers.of(cx.image.owner(id, cx.shards))),
        None => {
            let why = "The coordinator is not available.";
            Err((Code::COORDINATOR_NOT_AVAILABLE, why))
        }
    };
    reply(to, request, &of)
}

fn reply(to: ReplyHeader, request: &Request, of: &dyn Fn(&str) -> Found) -> Handled {
    let one = |key: Str| match of(&key) {
        Ok((node_id, endpoint)) => Coordinator {
            key,
            node_id,
            host: endpoint.host,
            port: endpoint.port,
            error_code: 0,
            error_message: Some(Str::from_static(if to.version >= 4 { "" } else { "NONE" })),
        },
        Err((code, why)) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: code.0,
            error_message: Some(Str::from_static(why)),
            ..Default::default()
        },
    };
    let mut response = Response::default();
    if to.version >= 4 {
        response.coordinators = request.coordinator_keys.iter().cloned().map(one).collect();
    } else {
        let found = one(request.key.clone());
        response.error_code = found.error_code;
        response.error_message = found.error_message;
        response.node_id = found.node_id;
        response.host = found.host;
        response.port = found.port;
    }
    to.reply(|w, version| response.encode(w, version))
}

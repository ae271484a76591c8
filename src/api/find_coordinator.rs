//! FindCoordinator (key 10): KIP-699. Groups only: there are no transactions or share groups yet,
//! and a request for their coordinators is refused so that no client waits for one.

use net::wire::Str;
use net::wire::find_coordinator::{Coordinator, Request, Response};

use crate::cluster::name::CONSUMER_OFFSETS;
use crate::shard::settings::Endpoint;

use super::error::{self, Code};
use super::{Cx, Handled, ReplyHeader, groups};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let endpoint = cx.settings.endpoint(cx.local);
    if request.key_type != GROUP {
        let why = if (TRANSACTION..=SHARE).contains(&request.key_type) {
            "Only group coordinators exist on this broker: no transactions, no share groups."
        } else {
            error::INVALID_REQUEST
        };
        return reply(to, &request, Err((Code::INVALID_REQUEST, why)));
    }
    if cx.image.topic(CONSUMER_OFFSETS).is_some() {
        let node = (cx.image.node_id, endpoint);
        return reply(to, &request, Ok(&node));
    }
    let calls = vec![groups::create_offsets_topic(cx)];
    Handled::work(cx, calls, move |cx, _| {
        match cx.image.topic(CONSUMER_OFFSETS) {
            Some(_) => reply(to, &request, Ok(&(cx.image.node_id, endpoint))),
            None => {
                let why = "The coordinator is not available.";
                reply(to, &request, Err((Code::COORDINATOR_NOT_AVAILABLE, why)))
            }
        }
    })
}

fn reply(
    to: ReplyHeader,
    request: &Request,
    node: Result<&(i32, Endpoint), (Code, &'static str)>,
) -> Handled {
    let one = |key: Str| match node {
        Ok((node_id, endpoint)) => Coordinator {
            key,
            node_id: *node_id,
            host: endpoint.host.clone(),
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

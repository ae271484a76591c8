//! SyncGroup (key 14): KIP-345, 559.

use bytes::Bytes;
use net::wire::sync_group::{Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall, Sync};

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, groups};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    // Kafka asks for both names from version 5 on (`SyncGroupRequest.areMandatoryProtocol...`).
    if to.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refuse(to, Code::INCONSISTENT_GROUP_PROTOCOL);
    }
    let sync = Sync {
        group: groups::text(&request.group_id),
        generation: request.generation_id,
        member: groups::text(&request.member_id),
        instance: groups::some_text(request.group_instance_id.as_ref()),
        protocol_type: groups::some_text(request.protocol_type.as_ref()),
        protocol_name: groups::some_text(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|one| {
                (
                    groups::text(&one.member_id),
                    Bytes::copy_from_slice(&one.assignment),
                )
            })
            .collect(),
    };
    match groups::call(cx, &request.group_id, GroupCall::Sync(sync)) {
        Err(code) => refuse(to, code),
        Ok(call) => Handled::work(cx, vec![call], move |_, answers| {
            match groups::answer(answers) {
                Some(GroupAnswer::Sync(Ok(synced))) => {
                    let response = Response {
                        protocol_type: synced.protocol_type.as_ref().map(groups::str),
                        protocol_name: synced.protocol_name.as_ref().map(groups::str),
                        assignment: synced.assignment,
                        ..Default::default()
                    };
                    to.reply(|w, version| response.encode(w, version))
                }
                Some(GroupAnswer::Sync(Err(error))) => refuse(to, error.into()),
                _ => refuse(to, Code::UNKNOWN_SERVER_ERROR),
            }
        }),
    }
}

fn refuse(to: ReplyHeader, code: Code) -> Handled {
    let response = Response {
        error_code: code.0,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

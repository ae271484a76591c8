//! JoinGroup (key 11): KIP-62, 345, 394, 559, 814.

use net::wire::Str;
use net::wire::join_group::{JoinGroupResponseMember, Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall, Join, JoinRefused, Joined};

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, groups};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let version = cx.version();
    let join = Join {
        group: groups::text(&request.group_id),
        client: groups::client(cx),
        member: groups::text(&request.member_id),
        instance: groups::some_text(request.group_instance_id.as_ref()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: (version >= 1).then_some(request.rebalance_timeout_ms),
        protocol_type: groups::text(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| {
                let metadata = bytes::Bytes::copy_from_slice(&protocol.metadata);
                (groups::text(&protocol.name), metadata)
            })
            .collect(),
        member_id_required: version >= 4,
        can_skip_assignment: version >= 9,
    };
    let member = request.member_id;
    match groups::call(cx, &request.group_id, GroupCall::Join(join)) {
        Err(code) => refuse(to, code, member),
        Ok(call) => Handled::work(cx, vec![call], move |_, answers| {
            match groups::answer(answers) {
                Some(GroupAnswer::Join(Ok(joined))) => reply(to, &joined),
                Some(GroupAnswer::Join(Err(JoinRefused { error, member }))) => {
                    refuse(to, error.into(), groups::str(&member))
                }
                _ => refuse(to, Code::UNKNOWN_SERVER_ERROR, member),
            }
        }),
    }
}

fn reply(to: ReplyHeader, joined: &Joined) -> Handled {
    let name = joined.protocol_name.as_ref().map(groups::str);
    let response = Response {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_ref().map(groups::str),
        protocol_name: if to.version >= 7 {
            name
        } else {
            Some(name.unwrap_or_default())
        },
        leader: groups::str(&joined.leader),
        skip_assignment: joined.skip_assignment && to.version >= 9,
        member_id: groups::str(&joined.member),
        members: joined
            .members
            .iter()
            .map(|member| JoinGroupResponseMember {
                member_id: groups::str(&member.member),
                group_instance_id: member.instance.as_ref().map(groups::str),
                metadata: member.metadata.clone(),
            })
            .collect(),
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

fn refuse(to: ReplyHeader, code: Code, member: Str) -> Handled {
    let response = Response {
        error_code: code.0,
        member_id: member,
        protocol_name: (to.version < 7).then(Str::default),
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

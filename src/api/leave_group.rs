//! LeaveGroup (key 13): KIP-345 (batches), 800.

use net::wire::leave_group::{MemberResponse, Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall, Leave, MemberName};

use super::error::{Code, code_of};
use super::{Cx, Handled, ReplyHeader, groups};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let members = if to.version >= 3 {
        let name = |member: &net::wire::leave_group::MemberIdentity| MemberName {
            member: groups::text(&member.member_id),
            instance: groups::some_text(member.group_instance_id.as_ref()),
        };
        request.members.iter().map(name).collect()
    } else {
        vec![MemberName {
            member: groups::text(&request.member_id),
            instance: None,
        }]
    };
    let leave = Leave {
        group: groups::text(&request.group_id),
        members,
    };
    match groups::call(cx, &request.group_id, GroupCall::Leave(leave)) {
        Err(code) => refuse(to, code),
        Ok(call) => Handled::work(cx, vec![call], move |_, answers| {
            match groups::answer(answers) {
                Some(GroupAnswer::Leave(Ok(members))) => reply(to, members),
                Some(GroupAnswer::Leave(Err(error))) => refuse(to, error.into()),
                _ => refuse(to, Code::UNKNOWN_SERVER_ERROR),
            }
        }),
    }
}

fn reply(
    to: ReplyHeader,
    members: Vec<(
        MemberName,
        Result<(), crate::coordinator::group::GroupError>,
    )>,
) -> Handled {
    let mut response = Response::default();
    if to.version >= 3 {
        let member = |(name, result): (MemberName, _)| MemberResponse {
            member_id: groups::str(&name.member),
            group_instance_id: name.instance.as_ref().map(groups::str),
            error_code: code_of(&result),
        };
        response.members = members.into_iter().map(member).collect();
    } else {
        response.error_code = members.first().map_or(0, |(_, result)| code_of(result));
    }
    to.reply(|w, version| response.encode(w, version))
}

fn refuse(to: ReplyHeader, code: Code) -> Handled {
    let response = Response {
        error_code: code.0,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

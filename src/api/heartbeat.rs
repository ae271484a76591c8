//! Heartbeat (key 12): KIP-62, 345.

use net::wire::heartbeat::{Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall, Heartbeat};

use super::error::{Code, code_of};
use super::{Cx, Handled, ReplyHeader, groups};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let heartbeat = Heartbeat {
        group: groups::text(&request.group_id),
        generation: request.generation_id,
        member: groups::text(&request.member_id),
        instance: groups::some_text(request.group_instance_id.as_ref()),
    };
    match groups::call(cx, &request.group_id, GroupCall::Heartbeat(heartbeat)) {
        Err(code) => reply(to, code.0),
        Ok(call) => Handled::work(cx, vec![call], move |_, answers| {
            match groups::answer(answers) {
                Some(GroupAnswer::Heartbeat(result)) => reply(to, code_of(&result)),
                _ => reply(to, Code::UNKNOWN_SERVER_ERROR.0),
            }
        }),
    }
}

fn reply(to: ReplyHeader, error_code: i16) -> Handled {
    let response = Response {
        error_code,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

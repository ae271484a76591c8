//! ListGroups (key 16): KIP-518 (states), 848 (types). Every shard has some of the groups.

use net::wire::Str;
use net::wire::list_groups::{ListedGroup, Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall, ListFilter};
use crate::shard::mail::Call;

use super::error::Code;
use super::{Cx, Handled, groups};

/// The type of every group that exists here.
const CLASSIC: Str = Str::from_static("classic");

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let filter = ListFilter {
        states: request.states_filter.iter().map(groups::text).collect(),
        types: request.types_filter.iter().map(groups::text).collect(),
    };
    let call = |shard| {
        let call = Box::new(GroupCall::List(filter.clone()));
        (
            shard,
            Call::Group {
                partition: -1,
                call,
            },
        )
    };
    let calls = cx.brokers().listed().map(call).collect();
    Handled::work(cx, calls, move |_, answers| {
        let mut response = Response::default();
        for answer in groups::answers(answers) {
            match answer {
                Some(GroupAnswer::List(Ok(listed))) => {
                    response
                        .groups
                        .extend(listed.iter().map(|group| ListedGroup {
                            group_id: groups::str(&group.group),
                            protocol_type: groups::str(&group.protocol_type),
                            group_state: Str::from(group.state),
                            group_type: CLASSIC,
                        }));
                }
                Some(GroupAnswer::List(Err(error))) => response.error_code = Code::from(error).0,
                _ => response.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        to.reply(|w, version| response.encode(w, version))
    })
}

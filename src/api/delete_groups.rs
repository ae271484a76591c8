//! DeleteGroups (key 42): KIP-229.

use std::collections::BTreeSet;

use net::wire::delete_groups::{DeletableGroupResult, Request, Response};

use crate::coordinator::group::{GroupAnswer, GroupCall};

use super::error::{Code, code_of};
use super::{Cx, Handled, groups};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    let mut seen = BTreeSet::new();
    for group in request.groups_names {
        if !seen.insert(group.clone()) {
            continue;
        }
        let mut result = DeletableGroupResult {
            group_id: group.clone(),
            error_code: 0,
        };
        match groups::call(
            cx,
            &group,
            GroupCall::Delete {
                group: groups::text(&group),
            },
        ) {
            Ok(call) => {
                places.push(response.results.len());
                calls.push(call);
            }
            Err(_) => result.error_code = Code::GROUP_ID_NOT_FOUND.0,
        }
        response.results.push(result);
    }
    Handled::work(cx, calls, move |_, answers| {
        for (at, answer) in places.into_iter().zip(groups::answers(answers)) {
            response.results[at].error_code = match answer {
                Some(GroupAnswer::Delete(result)) => code_of(&result),
                _ => Code::UNKNOWN_SERVER_ERROR.0,
            };
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

//! DescribeGroups (key 15): KIP-430, 1043.

use std::sync::Arc;

use net::wire::Str;
use net::wire::describe_groups::{DescribedGroup, DescribedGroupMember, Request, Response};

use crate::coordinator::group::{Described, GroupAnswer, GroupCall, GroupError};

use super::error::Code;
use super::{Cx, Handled, groups, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let operations = if request.include_authorized_operations {
        topics::GROUP_OPERATIONS
    } else {
        topics::OPERATIONS_NOT_ASKED
    };
    let mut response = Response::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    for group in request.groups {
        let name: Arc<str> = groups::text(&group);
        match groups::call(cx, &group, GroupCall::Describe { group: name }) {
            Ok(call) => {
                places.push(response.groups.len());
                calls.push(call);
                response.groups.push(DescribedGroup {
                    group_id: group,
                    ..Default::default()
                });
            }
            // Without an offsets topic there is no group at all.
            Err(_) => response.groups.push(unknown(group, to.version, operations)),
        }
    }
    Handled::work(cx, calls, move |_, answers| {
        for (at, answer) in places.into_iter().zip(groups::answers(answers)) {
            let group = &mut response.groups[at];
            let name = std::mem::take(&mut group.group_id);
            *group = match answer {
                Some(GroupAnswer::Describe(Ok(found))) => described(&found, operations),
                Some(GroupAnswer::Describe(Err(GroupError::GroupIdNotFound))) => {
                    unknown(name, to.version, operations)
                }
                Some(GroupAnswer::Describe(Err(error))) => failed(name, error.into()),
                _ => failed(name, Code::UNKNOWN_SERVER_ERROR),
            };
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn described(group: &Described, operations: i32) -> DescribedGroup {
    let member = |member: &crate::coordinator::group::DescribedMember| DescribedGroupMember {
        member_id: groups::str(&member.member),
        group_instance_id: member.instance.as_ref().map(groups::str),
        client_id: groups::str(&member.client_id),
        client_host: groups::str(&member.client_host),
        member_metadata: member.metadata.clone(),
        member_assignment: member.assignment.clone(),
    };
    DescribedGroup {
        group_id: groups::str(&group.group),
        group_state: Str::from(group.state),
        protocol_type: groups::str(&group.protocol_type),
        protocol_data: groups::str(&group.protocol),
        members: group.members.iter().map(member).collect(),
        authorized_operations: operations,
        ..Default::default()
    }
}

/// Before version 6 an unknown group is a dead one; from then on it is an error (KIP-1043).
fn unknown(group_id: Str, version: i16, authorized_operations: i32) -> DescribedGroup {
    let group_state = Str::from_static("Dead");
    let mut group = DescribedGroup {
        group_state,
        authorized_operations,
        ..Default::default()
    };
    if version >= 6 {
        group.error_code = Code::GROUP_ID_NOT_FOUND.0;
        group.error_message = Some(format!("Group {group_id} not found.").into());
    }
    group.group_id = group_id;
    group
}

fn failed(group_id: Str, code: Code) -> DescribedGroup {
    DescribedGroup {
        group_id,
        error_code: code.0,
        ..Default::default()
    }
}

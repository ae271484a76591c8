//! IncrementalAlterConfigs (key 44): KIP-339.

use net::wire::incremental_alter_configs::{AlterConfigsResourceResponse, Request, Response};

use crate::cluster::command::{Change, Command, Op, ResourceChange};
use crate::shard::mail::Call;

use super::alter_configs::{Outcome, outcomes, resource};
use super::error::Code;
use super::{Cx, Handled};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut places = Vec::new();
    let mut changes = Vec::new();
    for asked in &request.resources {
        let resource = resource(cx, asked.resource_type, &asked.resource_name);
        let parsed = resource.and_then(|resource| {
            let changes = asked.configs.iter().map(change).collect::<Result<_, _>>()?;
            Ok(ResourceChange { resource, changes })
        });
        let mut answer = AlterConfigsResourceResponse {
            resource_type: asked.resource_type,
            resource_name: asked.resource_name.clone(),
            ..Default::default()
        };
        match parsed {
            Ok(change) => {
                places.push(response.responses.len());
                changes.push(change);
            }
            Err(Outcome { code, message }) => {
                answer.error_code = code;
                answer.error_message = message;
            }
        }
        response.responses.push(answer);
    }
    let validate_only = request.validate_only;
    let command = Command::IncrementalAlterConfigs {
        resources: changes,
        validate_only,
    };
    let calls = if places.is_empty() {
        Vec::new()
    } else {
        vec![(0, Call::Control(Box::new(command)))]
    };
    Handled::work(cx, calls, move |_, answers| {
        let outcomes = outcomes(answers, places.len());
        for (at, outcome) in places.into_iter().zip(outcomes) {
            response.responses[at].error_code = outcome.code;
            response.responses[at].error_message = outcome.message;
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn change(
    config: &net::wire::incremental_alter_configs::AlterableConfig,
) -> Result<Change, Outcome> {
    let op = match config.config_operation {
        0 => Op::Set,
        1 => Op::Delete,
        2 => Op::Append,
        3 => Op::Subtract,
        other => {
            let message = format!("Unknown config operation type {other}");
            return Err(Outcome::new(Code::INVALID_REQUEST, message));
        }
    };
    let value = config.value.as_deref().map(str::to_owned);
    Ok(Change {
        name: config.name.to_string(),
        op,
        value,
    })
}

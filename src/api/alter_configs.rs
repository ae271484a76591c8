//! AlterConfigs (key 33): KIP-133. What is not named returns to its default.

use net::wire::Str;
use net::wire::alter_configs::{AlterConfigsResourceResponse, Request, Response};

use crate::cluster::command::{Answer as ControlAnswer, Command, Resource, ResourceReplacement};
use crate::cluster::error::Error;
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, Handled};

/// `ConfigResource.Type` on the wire.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// What became of one resource.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub code: i16,
    pub message: Option<Str>,
}

impl Outcome {
    pub(super) fn new(code: Code, message: impl Into<Str>) -> Self {
        Self {
            code: code.0,
            message: Some(message.into()),
        }
    }

    fn of(result: Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self {
                code: 0,
                message: None,
            },
            Err(error) => Self::new(error.kind.into(), error.message),
        }
    }
}

/// The resource that a request names.
///
/// # Errors
/// Kinds of resources that this broker has no settings for.
pub(super) fn resource(cx: &Cx<'_>, kind: i8, name: &str) -> Result<Resource, Outcome> {
    match kind {
        TOPIC => Ok(Resource::Topic(name.to_owned())),
        BROKER => {
            // Shards have the settings of their node.
            let own = cx.image.node_id;
            let id = name.parse::<i32>().ok();
            let node = id.filter(|id| *id != own && cx.settings.is_node(*id, own));
            let name = node.map_or_else(|| name.to_owned(), |_| own.to_string());
            Ok(Resource::Broker(name))
        }
        BROKER_LOGGER | CLIENT_METRICS | GROUP => {
            let message = format!("Settings of resource type {kind} cannot be altered here.");
            Err(Outcome::new(Code::INVALID_REQUEST, message))
        }
        _ => {
            let message = format!("Unknown resource type {kind}");
            Err(Outcome::new(Code::INVALID_REQUEST, message))
        }
    }
}

/// The outcomes of `count` resources, in order.
pub(super) fn outcomes(answers: Vec<Answer>, count: usize) -> Vec<Outcome> {
    for answer in answers {
        let Answer::Control(answer) = answer else {
            continue;
        };
        match *answer {
            ControlAnswer::PerResource(results) => {
                return results
                    .into_iter()
                    .map(|(_, result)| Outcome::of(result))
                    .collect();
            }
            ControlAnswer::Failed(error) => return vec![Outcome::of(Err(error)); count],
            _ => {}
        }
    }
    vec![Outcome::new(Code::UNKNOWN_SERVER_ERROR, "The controller gave no answer."); count]
}

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut places = Vec::new();
    let mut replacements = Vec::new();
    for asked in &request.resources {
        let mut answer = AlterConfigsResourceResponse {
            resource_type: asked.resource_type,
            resource_name: asked.resource_name.clone(),
            ..Default::default()
        };
        match resource(cx, asked.resource_type, &asked.resource_name) {
            Ok(resource) => {
                let config = |config: &net::wire::alter_configs::AlterableConfig| {
                    (
                        config.name.to_string(),
                        config.value.as_deref().map(str::to_owned),
                    )
                };
                let configs = asked.configs.iter().map(config).collect();
                places.push(response.responses.len());
                replacements.push(ResourceReplacement { resource, configs });
            }
            Err(Outcome { code, message }) => {
                answer.error_code = code;
                answer.error_message = message;
            }
        }
        response.responses.push(answer);
    }
    let validate_only = request.validate_only;
    let command = Command::AlterConfigs {
        resources: replacements,
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

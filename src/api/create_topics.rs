//! CreateTopics (key 19): KIP-4, 464, 525, 516.

use net::wire::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, Request, Response,
};

use crate::cluster::command::{Answer as ControlAnswer, Command, CreatedTopic, NewTopic};
use crate::cluster::error::Error;
use crate::cluster::image::Topic;
use crate::config::describe;
use crate::shard::mail::{Answer, Call};
use storage::types::TopicId;

use super::error::Code;
use super::{Cx, FinishCx, Handled, describe_configs, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let asked: Vec<NewTopic> = request
        .topics
        .iter()
        .map(|topic| new_topic(cx, topic))
        .collect();
    let command = Command::CreateTopics {
        topics: asked.clone(),
        validate_only: request.validate_only,
    };
    let calls = vec![(0, Call::Control(Box::new(command)))];
    Handled::work(cx, calls, move |cx, answers| {
        let mut response = Response::default();
        for answer in answers {
            let Answer::Control(answer) = answer else {
                continue;
            };
            match *answer {
                ControlAnswer::Created(created) => {
                    let result = |(name, result)| {
                        let asked = asked.iter().find(|topic| topic.name == name);
                        topic_result(cx, name, result, asked)
                    };
                    response.topics = created.into_iter().map(result).collect();
                }
                ControlAnswer::Failed(error) => {
                    let all = asked.iter().map(|topic| topic.name.clone());
                    response.topics = all.map(|name| refused(name, &error)).collect();
                }
                _ => {}
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn new_topic(cx: &Cx<'_>, topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|one| (one.partition_index, topics::nodes(cx, &one.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.as_deref().map(str::to_owned),
                )
            })
            .collect(),
    }
}

fn topic_result(
    cx: &FinishCx<'_>,
    name: String,
    result: Result<CreatedTopic, Error>,
    asked: Option<&NewTopic>,
) -> CreatableTopicResult {
    match result {
        Err(error) => refused(name, &error),
        Ok(created) => CreatableTopicResult {
            topic_id: topics::uuid(created.id),
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: Some(configs(cx, &name, asked)),
            error_message: None,
            name: name.into(),
            ..Default::default()
        },
    }
}

/// The settings as they are in force for the new topic, or would be.
fn configs(cx: &FinishCx<'_>, name: &str, asked: Option<&NewTopic>) -> Vec<CreatableTopicConfigs> {
    let overrides = match (cx.image.topic(name), asked) {
        (Some(topic), _) => topic.configs.clone(),
        (None, Some(asked)) => asked
            .configs
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect(),
        (None, None) => Default::default(),
    };
    let topic = Topic {
        id: TopicId::default(),
        name: name.into(),
        partitions: Vec::new(),
        configs: overrides,
        created_ms: 0,
    };
    describe::topic(cx.settings.layers(cx.image), &topic, None)
        .into_iter()
        .map(|entry| CreatableTopicConfigs {
            name: entry.name.into(),
            value: entry.value.map(Into::into),
            read_only: entry.read_only,
            config_source: describe_configs::source(entry.source),
            is_sensitive: entry.sensitive,
        })
        .collect()
}

fn refused(name: String, error: &Error) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: Code::from(error.kind).0,
        error_message: Some(error.message.clone().into()),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

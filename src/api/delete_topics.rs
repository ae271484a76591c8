//! DeleteTopics (key 20): KIP-4, 516 (by id), 599.

use net::wire::Str;
use net::wire::delete_topics::{DeletableTopicResult, Request, Response};

use crate::cluster::command::{Answer as ControlAnswer, Command, DeletedTopic, TopicRef};
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, Handled, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let wanted: Vec<TopicRef> = if to.version >= 6 {
        let reference = |topic: &net::wire::delete_topics::DeleteTopicState| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topics::topic_id(topic.topic_id)),
        };
        request.topics.iter().map(reference).collect()
    } else {
        request
            .topic_names
            .iter()
            .map(|name| TopicRef::Name(name.to_string()))
            .collect()
    };
    let command = Command::DeleteTopics {
        topics: wanted.clone(),
    };
    let calls = vec![(0, Call::Control(Box::new(command)))];
    Handled::work(cx, calls, move |_, answers| {
        let mut response = Response::default();
        for answer in answers {
            let Answer::Control(answer) = answer else {
                continue;
            };
            match *answer {
                ControlAnswer::Deleted(deleted) => {
                    response.responses = wanted
                        .iter()
                        .zip(deleted)
                        .map(|(asked, one)| result(asked, one))
                        .collect();
                }
                ControlAnswer::Failed(error) => {
                    let failed = |asked: &TopicRef| {
                        let one = DeletedTopic {
                            name: None,
                            id: None,
                            result: Err(error.clone()),
                        };
                        result(asked, one)
                    };
                    response.responses = wanted.iter().map(failed).collect();
                }
                _ => {}
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn result(asked: &TopicRef, deleted: DeletedTopic) -> DeletableTopicResult {
    let (asked_name, asked_id) = match asked {
        TopicRef::Name(name) => (Some(Str::from(name.as_str())), None),
        TopicRef::Id(id) => (None, Some(topics::uuid(*id))),
    };
    let mut result = DeletableTopicResult {
        name: deleted.name.map(|name| Str::from(&*name)).or(asked_name),
        topic_id: deleted
            .id
            .map(topics::uuid)
            .or(asked_id)
            .unwrap_or_default(),
        ..Default::default()
    };
    if let Err(error) = deleted.result {
        result.error_code = Code::from(error.kind).0;
        result.error_message = Some(error.message.into());
    }
    result
}

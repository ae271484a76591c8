//! DeleteTopics (key 20): KIP-4, 516 (by id), 599.

use std::collections::BTreeMap;

use net::wire::delete_topics::{DeletableTopicResult, Request, Response};
use net::wire::{Str, Uuid};
use storage::types::TopicId;

use crate::cluster::command::{Answer as ControlAnswer, Command, DeletedTopic, TopicRef};
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, Handled, topics};

const NEITHER: &str = "Neither topic name nor id were specified.";
const BOTH: &str = "You may not specify both topic name and topic id.";
const NAME_TWICE: &str = "Duplicate topic name.";
const ID_TWICE: &str = "Duplicate topic id.";
const NAME_OF_ID: &str = "The provided topic name maps to an ID that was already supplied.";

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let (refused, wanted) = sort(cx, &request);
    if wanted.is_empty() {
        let response = Response {
            responses: refused,
            ..Default::default()
        };
        return to.reply(|w, version| response.encode(w, version));
    }
    let command = Command::DeleteTopics {
        topics: wanted.clone(),
    };
    let calls = vec![(0, Call::Control(Box::new(command)))];
    Handled::work(cx, calls, move |_, answers| {
        let mut response = Response {
            responses: refused,
            ..Default::default()
        };
        for answer in answers {
            let Answer::Control(answer) = answer else {
                continue;
            };
            match *answer {
                ControlAnswer::Deleted(deleted) => {
                    let results = wanted.iter().zip(deleted);
                    let results = results.map(|(asked, one)| result(asked, one));
                    response.responses.extend(results);
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
                    response.responses.extend(wanted.iter().map(failed));
                }
                _ => {}
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

/// Tells topics to delete from what is wrong with the request (`ControllerApis.deleteTopics`, 4.2):
/// what is named twice is left alone and answered once.
fn sort(cx: &Cx<'_>, request: &Request) -> (Vec<DeletableTopicResult>, Vec<TopicRef>) {
    let mut refused = Vec::new();
    let mut names = BTreeMap::<Str, usize>::new();
    let mut ids = BTreeMap::<TopicId, usize>::new();
    for topic in &request.topics {
        match (&topic.name, topic.topic_id == Uuid::default()) {
            (None, true) => refused.push(refuse(None, Uuid::default(), NEITHER)),
            (None, false) => *ids.entry(topics::topic_id(topic.topic_id)).or_default() += 1,
            (Some(name), true) => *names.entry(name.clone()).or_default() += 1,
            (Some(name), false) => refused.push(refuse(Some(name), topic.topic_id, BOTH)),
        }
    }
    for name in &request.topic_names {
        *names.entry(name.clone()).or_default() += 1;
    }
    let twice = names.iter().filter(|&(_, &times)| times > 1);
    refused.extend(twice.map(|(name, _)| refuse(Some(name), Uuid::default(), NAME_TWICE)));
    let twice = ids.iter().filter(|&(_, &times)| times > 1);
    refused.extend(twice.map(|(id, _)| refuse(None, topics::uuid(*id), ID_TWICE)));
    let mut wanted = Vec::new();
    for (name, _) in names.into_iter().filter(|&(_, times)| times == 1) {
        let id = cx.image.topic(&name).map(|topic| topic.id);
        match id.and_then(|id| ids.get_mut(&id).map(|times| (id, times))) {
            Some((id, times)) => {
                *times += 1;
                refused.push(refuse(Some(&name), topics::uuid(id), NAME_OF_ID));
            }
            None => wanted.push(TopicRef::Name(name.to_string())),
        }
    }
    let ids = ids.into_iter().filter(|&(_, times)| times == 1);
    wanted.extend(ids.map(|(id, _)| TopicRef::Id(id)));
    (refused, wanted)
}

fn refuse(name: Option<&Str>, topic_id: Uuid, why: &'static str) -> DeletableTopicResult {
    DeletableTopicResult {
        name: name.cloned(),
        topic_id,
        error_code: Code::INVALID_REQUEST.0,
        error_message: Some(Str::from_static(why)),
    }
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

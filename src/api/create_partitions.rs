//! CreatePartitions (key 37): KIP-195.

use net::wire::create_partitions::{CreatePartitionsTopicResult, Request, Response};

use crate::cluster::command::{Answer as ControlAnswer, Command, MorePartitions};
use crate::cluster::error::{Error, ErrorKind};
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, Handled, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let topics: Vec<MorePartitions> = request
        .topics
        .iter()
        .map(|topic| MorePartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|all| {
                all.iter()
                    .map(|one| topics::nodes(cx, &one.broker_ids))
                    .collect()
            }),
        })
        .collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let command = Command::CreatePartitions {
        topics,
        validate_only: request.validate_only,
    };
    let calls = vec![(0, Call::Control(Box::new(command)))];
    Handled::work(cx, calls, move |_, answers| {
        let mut response = Response::default();
        for answer in answers {
            let Answer::Control(answer) = answer else {
                continue;
            };
            let results = match *answer {
                ControlAnswer::PerTopic(results) => results,
                ControlAnswer::Failed(error) => names
                    .iter()
                    .map(|name| (name.clone(), Err(error.clone())))
                    .collect(),
                _ => Vec::new(),
            };
            response.results = results
                .into_iter()
                .map(|(name, one)| result(name, one))
                .collect();
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn result(name: String, result: Result<(), Error>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match result {
        Ok(()) => (0, None),
        // Kafka has no words for a topic that is not there.
        Err(error) if error.kind == ErrorKind::UnknownTopic => (Code::from(error.kind).0, None),
        Err(error) => (Code::from(error.kind).0, Some(error.message.into())),
    };
    CreatePartitionsTopicResult {
        name: name.into(),
        error_code,
        error_message,
    }
}

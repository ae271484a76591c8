//! Deletion of topics.

use super::command::{Answer, DeletedTopic, TopicRef};
use super::error::{Error, ErrorKind};
use super::image::Topic;
use super::plan::Plan;
use super::record::Record;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::types::TopicId;

pub(super) fn topics(plan: &mut Plan<'_>, topics: Vec<TopicRef>) -> Answer {
    let enabled = plan.settings().delete_topics;
    let mut meant = BTreeMap::<TopicId, usize>::new();
    for topic in topics.iter().filter_map(|topic| find(plan, topic)) {
        *meant.entry(topic.id).or_default() += 1;
    }
    let one = |topic: TopicRef| delete(plan, &topic, enabled, &meant);
    Answer::Deleted(topics.into_iter().map(one).collect())
}

fn find(plan: &Plan<'_>, topic: &TopicRef) -> Option<Arc<Topic>> {
    match topic {
        TopicRef::Name(name) => plan.draft.topic(name).cloned(),
        TopicRef::Id(id) => plan.draft.topic_by_id(*id).cloned(),
    }
}

fn delete(
    plan: &mut Plan<'_>,
    reference: &TopicRef,
    enabled: bool,
    meant: &BTreeMap<TopicId, usize>,
) -> DeletedTopic {
    let topic = find(plan, reference);
    let (name, id) = match (&topic, reference) {
        (Some(topic), _) => (Some(Arc::clone(&topic.name)), Some(topic.id)),
        (None, TopicRef::Name(name)) => (Some(Arc::from(name.as_str())), None),
        (None, TopicRef::Id(id)) => (None, Some(*id)),
    };
    let result = match topic {
        _ if !enabled => Err((
            ErrorKind::TopicDeletionDisabled,
            "Topic deletion is disabled.",
        )),
        // A topic that the request names twice is left alone, as in Kafka.
        Some(topic) if meant.get(&topic.id).is_some_and(|&times| times > 1) => {
            Err((ErrorKind::InvalidRequest, "Duplicate topic name."))
        }
        Some(topic) => {
            plan.record(Record::TopicDeleted { id: topic.id });
            Ok(())
        }
        None => Err(unknown(reference)),
    };
    DeletedTopic {
        name,
        id,
        result: result.map_err(|(kind, message)| Error::new(kind, message)),
    }
}

const fn unknown(reference: &TopicRef) -> (ErrorKind, &'static str) {
    match reference {
        TopicRef::Name(_) => (
            ErrorKind::UnknownTopic,
            "This server does not host this topic-partition.",
        ),
        TopicRef::Id(_) => (
            ErrorKind::UnknownTopicId,
            "This server does not host this topic ID.",
        ),
    }
}

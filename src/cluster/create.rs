//! Creation of topics and partitions (`ReplicationControlManager.java`, Kafka 4.2).

use super::command::{Answer, CreatedTopic, MorePartitions, NewTopic};
use super::error::{Error, ErrorKind};
use super::image::{Configs, Partition, Topic};
use super::name;
use super::plan::{Plan, duplicates};
use super::record::Record;
use crate::config::{BrokerSettings, check};
use crate::limits::RECORDS_PER_REQUEST_MAX;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::types::TopicId;

const METADATA_NAME: &str = "__cluster_metadata";

/// The topic of committed offsets, as the group coordinator needs it. Kafka compacts it; here the
/// coordinator itself keeps it bounded, so nothing may be dropped by age or size.
pub fn offsets_topic(settings: &BrokerSettings) -> NewTopic {
    let config = |name: &str, value: String| (name.to_owned(), Some(value));
    NewTopic {
        name: name::CONSUMER_OFFSETS.to_owned(),
        partitions: settings.offsets_partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", String::new()),
            config("compression.type", "producer".to_owned()),
            // A batch of a group's metadata is as large as its members make it.
            config("max.message.bytes", i32::MAX.to_string()),
            config(
                "internal.segment.bytes",
                settings.offsets_segment_bytes.to_string(),
            ),
        ],
    }
}

pub(super) fn topics(plan: &mut Plan<'_>, topics: Vec<NewTopic>, validate_only: bool) -> Answer {
    let settings = plan.settings();
    if let Err(error) = check_size(&topics, &settings) {
        let refused = |topic: NewTopic| (topic.name, Err(error.clone()));
        return Answer::Created(topics.into_iter().map(refused).collect());
    }
    let twice = duplicates(topics.iter().map(|topic| topic.name.clone()));
    let mut told = BTreeSet::new();
    let mut answers = Vec::with_capacity(topics.len());
    for topic in topics {
        if twice.contains(&topic.name) {
            if told.insert(topic.name.clone()) {
                let error = Error::new(ErrorKind::InvalidRequest, "Duplicate topic name.");
                answers.push((topic.name, Err(error)));
            }
            continue;
        }
        let result = create(plan, &topic, &settings, validate_only);
        answers.push((topic.name, result));
    }
    Answer::Created(answers)
}

fn check_size(topics: &[NewTopic], settings: &BrokerSettings) -> Result<(), Error> {
    let size = |topic: &NewTopic| match (topic.assignments.len(), topic.partitions) {
        (0, -1) => u64::try_from(settings.num_partitions).unwrap_or(0),
        (0, count) => u64::try_from(count).unwrap_or(0),
        (assigned, _) => assigned as u64,
    };
    let partitions: u64 = topics.iter().map(size).sum();
    let refuse = |message| Err(Error::new(ErrorKind::PolicyViolation, message));
    if partitions > RECORDS_PER_REQUEST_MAX {
        return refuse("Excessively large number of partitions per request.");
    }
    if partitions + topics.len() as u64 > RECORDS_PER_REQUEST_MAX {
        return refuse("Unable to perform excessively large batch operation.");
    }
    Ok(())
}

fn create(
    plan: &mut Plan<'_>,
    new: &NewTopic,
    settings: &BrokerSettings,
    validate_only: bool,
) -> Result<CreatedTopic, Error> {
    check_name(plan, &new.name)?;
    let configs = check_configs(new)?;
    let partitions = if new.assignments.is_empty() {
        placed(plan, new, settings)?
    } else {
        assigned(plan, new)?
    };
    let mut topic = Topic {
        id: TopicId::default(),
        name: Arc::from(new.name.as_str()),
        partitions,
        configs,
        created_ms: plan.wall_ms,
    };
    if !validate_only {
        topic.id = plan.ids.topic(&plan.draft);
    }
    let created = CreatedTopic {
        id: topic.id,
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topic.replication_factor(),
        configs: topic.configs.clone(),
    };
    if !validate_only {
        plan.record(Record::TopicCreated(topic));
    }
    Ok(created)
}

fn check_name(plan: &Plan<'_>, name: &str) -> Result<(), Error> {
    name::check(name)?;
    if name == METADATA_NAME {
        let message = format!("Creation of internal topic {METADATA_NAME} is prohibited.");
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    if plan.draft.topic(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Error::new(ErrorKind::TopicAlreadyExists, message));
    }
    if let Some(other) = plan.draft.colliding(name) {
        let message = format!(
            "Topic '{name}' collides with existing topic: {}",
            other.name
        );
        return Err(Error::new(ErrorKind::InvalidTopicName, message));
    }
    Ok(())
}

fn check_configs(new: &NewTopic) -> Result<Configs, Error> {
    let mut configs = Configs::new();
    let mut nulls = Vec::new();
    for (name, value) in &new.configs {
        match value {
            Some(value) => drop(configs.insert(name.clone(), value.clone())),
            None => nulls.push(name.as_str()),
        }
    }
    if !nulls.is_empty() {
        let names = nulls.join(",");
        let message = format!("Null value not supported for topic configs: {names}");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    check::topic(&configs).map_err(|why| Error::new(ErrorKind::InvalidConfig, why))?;
    Ok(configs)
}

fn placed(
    plan: &Plan<'_>,
    new: &NewTopic,
    settings: &BrokerSettings,
) -> Result<Vec<Partition>, Error> {
    if new.replication_factor == 0 || new.replication_factor < -1 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Error::new(ErrorKind::InvalidReplicationFactor, message));
    }
    if new.partitions == 0 || new.partitions < -1 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(Error::new(ErrorKind::InvalidPartitions, message));
    }
    let count = match new.partitions {
        -1 => settings.num_partitions,
        count => count,
    };
    // A default that the cluster cannot fulfil yet (Kafka's files often say 3) is cut to what there
    // is; a number that the request itself gives is not.
    let nodes = i16::try_from(plan.draft.nodes().len()).unwrap_or(i16::MAX);
    let replication = match new.replication_factor {
        -1 => settings.default_replication_factor.min(nodes),
        factor => factor,
    };
    plan.place(usize::try_from(count).unwrap_or(1), replication)
}

fn assigned(plan: &Plan<'_>, new: &NewTopic) -> Result<Vec<Partition>, Error> {
    let request = |what: &str| {
        let message = format!("A manual partition assignment was specified, but {what}");
        Err(Error::new(ErrorKind::InvalidRequest, message))
    };
    if new.replication_factor != -1 {
        return request("replication factor was not set to -1.");
    }
    if new.partitions != -1 {
        return request("numPartitions was not set to -1.");
    }
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidReplicaAssignment, message));
    let twice = duplicates(new.assignments.iter().map(|(index, _)| *index));
    if let Some(index) = twice.first() {
        return refuse(format!(
            "Found multiple manual partition assignments for partition {index}"
        ));
    }
    let expected = new.assignments.first().map_or(0, |(_, nodes)| nodes.len());
    for (_, replicas) in &new.assignments {
        plan.check_replicas(replicas, expected)?;
    }
    let mut sorted: Vec<_> = new.assignments.iter().collect();
    sorted.sort_by_key(|(index, _)| *index);
    let consecutive = (0..).zip(&sorted).all(|(at, (index, _))| at == *index);
    if !consecutive {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    let partition = |(_, replicas): &(i32, Vec<i32>)| Plan::partition(replicas.clone());
    Ok(sorted.into_iter().map(partition).collect())
}

pub(super) fn partitions(
    plan: &mut Plan<'_>,
    topics: Vec<MorePartitions>,
    validate_only: bool,
) -> Answer {
    let twice = duplicates(topics.iter().map(|topic| topic.name.clone()));
    let mut told = BTreeSet::new();
    let mut answers = Vec::with_capacity(topics.len());
    for more in topics {
        if twice.contains(&more.name) {
            if told.insert(more.name.clone()) {
                let error = Error::new(ErrorKind::InvalidRequest, "Duplicate topic name.");
                answers.push((more.name, Err(error)));
            }
            continue;
        }
        let result = grow(plan, &more, validate_only);
        answers.push((more.name, result));
    }
    Answer::PerTopic(answers)
}

fn grow(plan: &mut Plan<'_>, more: &MorePartitions, validate_only: bool) -> Result<(), Error> {
    let Some(topic) = plan.draft.topic(&more.name).map(Arc::clone) else {
        let message = "This server does not host this topic-partition.";
        return Err(Error::new(ErrorKind::UnknownTopic, message));
    };
    let have = topic.partitions.len();
    let first = i32::try_from(have).unwrap_or(i32::MAX);
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidPartitions, message));
    if more.count == first {
        return refuse(format!("Topic already has {have} partition(s)."));
    }
    if more.count < first {
        return refuse(format!(
            "The topic {} currently has {have} partition(s); {} would not be an increase.",
            more.name, more.count
        ));
    }
    let added = usize::try_from(more.count - first).unwrap_or(0);
    if plan.records.len() as u64 + added as u64 > RECORDS_PER_REQUEST_MAX {
        let message = "Unable to perform excessively large batch operation.";
        return Err(Error::new(ErrorKind::PolicyViolation, message));
    }
    let partitions = match &more.assignments {
        None => plan.place(added, topic.replication_factor())?,
        Some(assignments) => {
            check_added(plan, assignments, added, &topic)?;
            assignments.iter().cloned().map(Plan::partition).collect()
        }
    };
    if !validate_only {
        plan.record(Record::PartitionsAdded {
            id: topic.id,
            first,
            partitions,
        });
    }
    Ok(())
}

fn check_added(
    plan: &Plan<'_>,
    assignments: &[Vec<i32>],
    added: usize,
    topic: &Topic,
) -> Result<(), Error> {
    if assignments.len() != added {
        let message = format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were \
             specified.",
            assignments.len()
        );
        return Err(Error::new(ErrorKind::InvalidReplicaAssignment, message));
    }
    let expected = usize::try_from(topic.replication_factor()).unwrap_or(0);
    assignments
        .iter()
        .try_for_each(|replicas| plan.check_replicas(replicas, expected))
}

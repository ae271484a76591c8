//! Changes of settings (`ConfigurationControlManager.java` and `ConfigAdminManager.java`, 4.2).

use super::command::{Answer, Change, Op, Resource, ResourceChange, ResourceReplacement};
use super::error::{Error, ErrorKind};
use super::image::Configs;
use super::name;
use super::plan::{Plan, duplicates};
use super::record::Record;
use crate::config::{Kind, Setting, check, registry, value::items};
use std::collections::BTreeMap;
use storage::types::TopicId;

/// New values by name; `None`: back to what lies below.
type Delta = BTreeMap<String, Option<String>>;

/// Whose settings are changed, once it is known to exist.
#[derive(Clone, Copy, Debug)]
enum Target {
    Topic(TopicId),
    Node,
    AllNodes,
}

pub(super) fn incremental(
    plan: &mut Plan<'_>,
    resources: Vec<ResourceChange>,
    validate_only: bool,
) -> Answer {
    let twice = duplicates(resources.iter().map(|change| change.resource.clone()));
    let one = |ResourceChange { resource, changes }| {
        let result = refuse_twice(&twice, &resource)
            .and_then(|()| preprocess(&changes))
            .and_then(|()| target(plan, &resource))
            .and_then(|target| {
                let delta = delta(target, &current(plan, target), &changes)?;
                carry_out(plan, target, delta, validate_only)
            });
        (resource, result)
    };
    Answer::PerResource(resources.into_iter().map(one).collect())
}

pub(super) fn replace(
    plan: &mut Plan<'_>,
    resources: Vec<ResourceReplacement>,
    validate_only: bool,
) -> Answer {
    let twice = duplicates(resources.iter().map(|change| change.resource.clone()));
    let one = |ResourceReplacement { resource, configs }| {
        let result = refuse_twice(&twice, &resource)
            .and_then(|()| check_names_and_nulls(configs.iter().map(|(n, v)| (n, v, true))))
            .and_then(|()| target(plan, &resource))
            .and_then(|target| {
                let absent = current(plan, target).into_keys().map(|name| (name, None));
                let mut delta: Delta = absent.collect();
                delta.extend(configs);
                carry_out(plan, target, delta, validate_only)
            });
        (resource, result)
    };
    Answer::PerResource(resources.into_iter().map(one).collect())
}

fn refuse_twice(twice: &[Resource], resource: &Resource) -> Result<(), Error> {
    if !twice.contains(resource) {
        return Ok(());
    }
    let message = "Each resource must appear at most once.";
    Err(Error::new(ErrorKind::InvalidRequest, message))
}

fn preprocess(changes: &[Change]) -> Result<(), Error> {
    let entries = changes.iter();
    check_names_and_nulls(entries.map(|c| (&c.name, &c.value, c.op != Op::Delete)))
}

/// Names and values, and whether a value is needed.
fn check_names_and_nulls<'a>(
    entries: impl Iterator<Item = (&'a String, &'a Option<String>, bool)> + Clone,
) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
    if !duplicates(entries.clone().map(|(name, ..)| name)).is_empty() {
        return refuse("Error due to duplicate config keys".to_owned());
    }
    let nulls = entries.filter(|(_, value, needed)| *needed && value.is_none());
    let nulls: Vec<_> = nulls.map(|(name, ..)| name.as_str()).collect();
    if !nulls.is_empty() {
        return refuse(format!(
            "Null value not supported for : {}",
            nulls.join(",")
        ));
    }
    Ok(())
}

fn target(plan: &Plan<'_>, resource: &Resource) -> Result<Target, Error> {
    let request = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
    match resource {
        Resource::Topic(topic) if topic.is_empty() => {
            request("Default topic resources are not allowed.".to_owned())
        }
        Resource::Topic(topic) => {
            name::check(topic)?;
            let Some(topic) = plan.draft.topic(topic) else {
                let message = format!("The topic '{topic}' does not exist.");
                return Err(Error::new(ErrorKind::UnknownTopic, message));
            };
            Ok(Target::Topic(topic.id))
        }
        Resource::Broker(node) if node.is_empty() => Ok(Target::AllNodes),
        Resource::Broker(node) => match node.parse::<i32>() {
            Err(_) => request(format!("Node id must be an integer, but it is: {node}")),
            Ok(node) if node != plan.draft.node_id => {
                let expected = plan.draft.node_id;
                request(format!(
                    "Unexpected broker id, expected {expected}, but received {node}"
                ))
            }
            Ok(_) => Ok(Target::Node),
        },
    }
}

fn current(plan: &Plan<'_>, target: Target) -> Configs {
    match target {
        Target::Topic(id) => {
            let topic = plan.draft.topic_by_id(id);
            topic.map(|topic| topic.configs.clone()).unwrap_or_default()
        }
        Target::Node => Configs::clone(plan.draft.broker_configs()),
        Target::AllNodes => Configs::clone(plan.draft.broker_defaults()),
    }
}

fn setting(target: Target, name: &str) -> Option<&'static Setting> {
    match target {
        Target::Topic(_) => registry::of_topic(name),
        Target::Node | Target::AllNodes => registry::of_broker(name),
    }
}

fn delta(target: Target, current: &Configs, changes: &[Change]) -> Result<Delta, Error> {
    let mut delta = Delta::new();
    for Change { name, op, value } in changes {
        let value = value.as_deref().unwrap_or("");
        let new = match op {
            Op::Set => Some(value.to_owned()),
            Op::Delete => None,
            Op::Append | Op::Subtract => {
                Some(edited(setting(target, name), name, *op, current, value)?)
            }
        };
        delta.insert(name.clone(), new);
    }
    Ok(delta)
}

/// The list `name` with items added or taken away, from its own value or else its default.
fn edited(
    setting: Option<&Setting>,
    name: &str,
    op: Op,
    current: &Configs,
    value: &str,
) -> Result<String, Error> {
    let list = setting.filter(|setting| setting.kind == Kind::List);
    let Some(list) = list else {
        let op = if op == Op::Append {
            "APPEND"
        } else {
            "SUBTRACT"
        };
        let message = format!("Can't {op} to key {name} because its type is not LIST.");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    };
    let base = current.get(name).map(String::as_str).or(list.default);
    let mut result = items(base.unwrap_or(""));
    for item in items(value) {
        match op {
            Op::Append if !result.contains(&item) => result.push(item),
            Op::Subtract => result.retain(|one| *one != item),
            _ => {}
        }
    }
    Ok(result.join(","))
}

fn carry_out(
    plan: &mut Plan<'_>,
    target: Target,
    mut delta: Delta,
    validate_only: bool,
) -> Result<(), Error> {
    let before = current(plan, target);
    check(target, &before, &delta)?;
    delta.retain(|name, value| before.get(name) != value.as_ref());
    if validate_only {
        return Ok(());
    }
    for (name, value) in delta {
        plan.record(match target {
            Target::Topic(id) => Record::TopicConfigSet { id, name, value },
            Target::Node | Target::AllNodes => Record::BrokerConfigSet {
                all: matches!(target, Target::AllNodes),
                name,
                value,
            },
        });
    }
    Ok(())
}

fn check(target: Target, before: &Configs, delta: &Delta) -> Result<(), Error> {
    let all = match target {
        Target::Topic(_) => {
            let mut after = before.clone();
            for (name, value) in delta {
                match value {
                    Some(value) => drop(after.insert(name.clone(), value.clone())),
                    None => drop(after.remove(name)),
                }
            }
            return check::topic(&after).map_err(|why| Error::new(ErrorKind::InvalidConfig, why));
        }
        Target::Node => false,
        Target::AllNodes => true,
    };
    insync(all, delta)?;
    // Taking back what is not there is no change, also of a setting that cannot be changed.
    let changed = delta
        .iter()
        .filter(|(name, value)| before.get(*name) != value.as_ref());
    let changed = changed.map(|(name, value)| (name.as_str(), value.as_deref()));
    check::broker(all, changed).map_err(|why| Error::new(ErrorKind::InvalidRequest, why))
}

/// `min.insync.replicas` belongs to the cluster as a whole (KIP-966).
fn insync(all: bool, delta: &Delta) -> Result<(), Error> {
    let message = match delta.get("min.insync.replicas") {
        Some(Some(_)) if !all => {
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
        }
        Some(None) if all => {
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidConfig, message))
}

//! What an acknowledgement means, judged by what a broker says about itself.

use crate::model::Durability;
use std::collections::BTreeMap;

/// Settings by name, as DescribeConfigs tells them; none is one without a value.
pub(crate) type Settings = BTreeMap<String, Option<String>>;

/// What was asked of a broker before it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Of a topic made like those of the workload.
    pub(crate) topic: Settings,
    pub(crate) broker: Settings,
    /// Of each partition of that topic.
    pub(crate) replicas: usize,
}

/// Settings that are quoted, where they are known.
const TOPIC: [&str; 6] = [
    "durability",
    "flush.messages",
    "flush.ms",
    "min.insync.replicas",
    "write.caching",
    "redpanda.version",
];
const BROKER: [&str; 3] = [
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.durability",
];

fn value<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.get(name)?.as_deref()
}

pub(crate) fn judge(said: &Said, acks: i16) -> Durability {
    let meaning = match acks {
        0 => "nothing: with acks=0 no record is acknowledged".to_owned(),
        _ => meaning(said),
    };
    Durability {
        meaning,
        evidence: evidence(said, acks),
    }
}

fn meaning(said: &Said) -> String {
    match value(&said.topic, "durability") {
        Some("disk") => return "on disk before the acknowledgement".to_owned(),
        Some("memory") => return "in the broker's memory; written later".to_owned(),
        Some(other) => return format!("not known: durability={other} is not known here"),
        None => {}
    }
    // Kafka's broker tells this one, its likes do not.
    let kafka = said.broker.contains_key("log.flush.interval.messages");
    match value(&said.topic, "flush.messages") {
        Some("1") if kafka => "written and fsynced before the acknowledgement".to_owned(),
        Some(_) if kafka => "in the page cache; flushed later".to_owned(),
        _ => "not known: it says neither durability nor how Apache Kafka flushes".to_owned(),
    }
}

fn evidence(said: &Said, acks: i16) -> String {
    let quoted = |settings: &Settings, names: &[&str]| {
        let known = names.iter().filter_map(|name| {
            let value = settings.get(*name)?.as_deref().unwrap_or("unset");
            // The highest number there is stands for never.
            let value = if value == "9223372036854775807" {
                "never"
            } else {
                value
            };
            Some(format!("{name}={value}"))
        });
        known.collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    for (of, text) in [
        ("topic", quoted(&said.topic, &TOPIC)),
        ("broker", quoted(&said.broker, &BROKER)),
    ] {
        if !text.is_empty() {
            parts.push(format!("{of}: {text}"));
        }
    }
    if parts.is_empty() {
        parts.push("none of the settings that would tell are known to it".to_owned());
    }
    let replicas = match said.replicas {
        1 => "1 replica".to_owned(),
        many => format!("{many} replicas"),
    };
    let acks = if acks == -1 {
        "all".to_owned()
    } else {
        acks.to_string()
    };
    parts.push(format!("{replicas}, acks={acks}"));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: &[(&str, &str)]) -> Settings {
        let one = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        all.iter().map(one).collect()
    }

    /// As Apache Kafka 4.2.0 answers, shortened.
    fn kafka(flush_messages: &str) -> Said {
        Said {
            topic: settings(&[
                ("cleanup.policy", "delete"),
                ("flush.messages", flush_messages),
                ("flush.ms", "9223372036854775807"),
                ("min.insync.replicas", "1"),
            ]),
            broker: settings(&[
                ("log.flush.interval.messages", flush_messages),
                ("log.dirs", "/data"),
            ]),
            replicas: 1,
        }
    }

    fn ringlog(durability: &str) -> Said {
        let mut said = kafka("9223372036854775807");
        said.topic.extend(settings(&[("durability", durability)]));
        said
    }

    #[test]
    fn kafka_is_judged_by_when_it_flushes() {
        let default = judge(&kafka("9223372036854775807"), -1);
        assert_eq!(default.meaning, "in the page cache; flushed later");
        assert_eq!(
            default.evidence,
            "topic: flush.messages=never, flush.ms=never, min.insync.replicas=1; \
             broker: log.flush.interval.messages=never; 1 replica, acks=all"
        );
        let flushing = judge(&kafka("1"), 1);
        assert_eq!(
            flushing.meaning,
            "written and fsynced before the acknowledgement"
        );
    }

    #[test]
    fn a_broker_that_knows_durability_is_taken_at_its_word() {
        let on = |durability| judge(&ringlog(durability), -1).meaning;
        assert_eq!(on("disk"), "on disk before the acknowledgement");
        assert_eq!(on("memory"), "in the broker's memory; written later");
        assert!(on("tape").starts_with("not known"), "{}", on("tape"));
    }

    #[test]
    fn nothing_is_guessed_of_other_products() {
        let mut said = kafka("1");
        said.broker = settings(&[("log_segment_size", "1")]);
        let judged = judge(&said, -1);
        assert!(judged.meaning.starts_with("not known: "), "{judged:?}");
        assert!(judged.evidence.contains("flush.messages=1"), "{judged:?}");
        let silent = judge(&Said::default(), -1);
        assert!(silent.meaning.starts_with("not known: "), "{silent:?}");
    }

    #[test]
    fn without_an_acknowledgement_it_means_nothing() {
        let judged = judge(&ringlog("disk"), 0);
        assert!(judged.meaning.starts_with("nothing: "), "{judged:?}");
    }
}

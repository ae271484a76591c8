//! What DescribeConfigs tells: value, source and synonyms of each setting, as Kafka orders them.

use super::layers::{Layers, Source};
use super::registry::{self, INTERNAL_SEGMENT_BYTES};
use super::setting::{Kind, Scope, Setting};
use crate::cluster::image::{Configs, Topic};

/// One setting as it is told to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// `None`: no value, or a secret one.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    pub sensitive: bool,
    pub kind: Kind,
    pub doc: &'static str,
    /// Everything that gives this setting a value, the one in force first.
    pub synonyms: Vec<Synonym>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// The settings of a topic: all, or those of `names` that exist, in no particular order.
pub fn topic(layers: Layers<'_>, topic: &Topic, names: Option<&[String]>) -> Vec<Described> {
    let internal = topic
        .configs
        .contains_key(INTERNAL_SEGMENT_BYTES.name)
        .then_some(INTERNAL_SEGMENT_BYTES);
    registry::topic_settings()
        .chain(internal)
        .filter(|setting| wanted(setting.name, names))
        .map(|setting| topic_entry(layers, &topic.configs, setting))
        .collect()
}

fn topic_entry(layers: Layers<'_>, overrides: &Configs, setting: &'static Setting) -> Described {
    let value = layers.topic(overrides, setting.name);
    let mut synonyms = Vec::new();
    if overrides.contains_key(setting.name) {
        synonyms.push(Synonym {
            name: setting.name.to_owned(),
            value: value.clone(),
            source: Source::Topic,
        });
    }
    if let Some((origin, _)) = registry::origins(setting.name).first() {
        let all = layers.all(origin, registry::broker_synonyms(origin));
        synonyms.extend(all.into_iter().map(|found| synonym(found, false)));
    }
    Described {
        name: setting.name.to_owned(),
        value,
        source: synonyms
            .first()
            .map_or(Source::Default, |first| first.source),
        read_only: false,
        sensitive: false,
        kind: setting.kind,
        doc: setting.documentation(),
        synonyms,
    }
}

/// The settings of this broker, those included that it does not know but was given.
pub fn broker(layers: Layers<'_>, names: Option<&[String]>) -> Vec<Described> {
    let known = registry::broker_settings().map(|setting| broker_entry(layers, setting));
    known
        .chain(unknown(layers))
        .filter(|entry| wanted(&entry.name, names))
        .collect()
}

fn broker_entry(layers: Layers<'_>, setting: &'static Setting) -> Described {
    let sensitive = setting.is_sensitive();
    let all = layers.all(setting.name, registry::broker_synonyms(setting.name));
    let synonyms: Vec<_> = all
        .into_iter()
        .map(|found| synonym(found, sensitive))
        .collect();
    let value = layers.broker(setting.name).filter(|_| !sensitive);
    Described {
        name: setting.name.to_owned(),
        value: value.map(str::to_owned),
        source: synonyms
            .first()
            .map_or(Source::Default, |first| first.source),
        read_only: setting.scope == Scope::ReadOnly,
        sensitive,
        kind: setting.kind,
        doc: setting.documentation(),
        synonyms,
    }
}

/// Names in no registry: they may be secrets of some extension, so only the name is told.
fn unknown(layers: Layers<'_>) -> Vec<Described> {
    let image = layers.image;
    let node = image
        .broker_configs()
        .keys()
        .map(|k| (k.as_str(), Source::Broker));
    let all = image.broker_defaults().keys();
    let all = all.map(|k| (k.as_str(), Source::BrokerDefault));
    let fixed = layers.fixed.iter().map(|(name, _)| (name, Source::Static));
    let mut told: Vec<Described> = Vec::new();
    for (name, source) in node.chain(all).chain(fixed) {
        if registry::of_broker(name).is_some() {
            continue;
        }
        let synonym = Synonym {
            name: name.to_owned(),
            value: None,
            source,
        };
        if let Some(entry) = told.iter_mut().find(|entry| entry.name == name) {
            entry.synonyms.push(synonym);
            continue;
        }
        told.push(Described {
            name: name.to_owned(),
            value: None,
            source,
            read_only: true,
            sensitive: true,
            kind: Kind::Unknown,
            doc: "",
            synonyms: vec![synonym],
        });
    }
    told
}

/// What was set for all brokers while running; nothing else, as in Kafka.
pub fn all_brokers(layers: Layers<'_>, names: Option<&[String]>) -> Vec<Described> {
    let configs = layers.image.broker_defaults();
    configs
        .iter()
        .filter(|(name, _)| wanted(name, names))
        .map(|(name, value)| all_brokers_entry(name, value))
        .collect()
}

fn all_brokers_entry(name: &str, value: &str) -> Described {
    let setting = registry::of_broker(name);
    let sensitive = setting.is_none_or(Setting::is_sensitive);
    let value = (!sensitive).then(|| value.to_owned());
    let source = Source::BrokerDefault;
    Described {
        name: name.to_owned(),
        value: value.clone(),
        source,
        read_only: setting.is_none_or(|setting| setting.scope == Scope::ReadOnly),
        sensitive,
        kind: setting.map_or(Kind::Unknown, |setting| setting.kind),
        doc: setting.map_or("", Setting::documentation),
        synonyms: vec![Synonym {
            name: name.to_owned(),
            value,
            source,
        }],
    }
}

fn synonym((name, value, source): (&str, &str, Source), sensitive: bool) -> Synonym {
    Synonym {
        name: name.to_owned(),
        value: (!sensitive).then(|| value.to_owned()),
        source,
    }
}

fn wanted(name: &str, names: Option<&[String]>) -> bool {
    names.is_none_or(|names| names.iter().any(|wanted| wanted == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::image::Image;
    use crate::config::Static;

    /// Name, value, source and synonyms in one line.
    fn line(entry: &Described) -> String {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let synonym = |s: &Synonym| format!("{}={}@{:?}", s.name, value(&s.value), s.source);
        let synonyms: Vec<_> = entry.synonyms.iter().map(synonym).collect();
        let (name, shown) = (&entry.name, value(&entry.value));
        format!("{name}={shown}@{:?} [{}]", entry.source, synonyms.join(" "))
    }

    /// What Apache Kafka 4.2.0 told when it was started with these settings.
    #[test]
    fn values_sources_and_synonyms_are_kafkas() {
        let mut fixed = Static::default();
        for (name, value) in [
            ("log.retention.hours", "24"),
            ("log.retention.minutes", "77"),
            ("log.roll.hours", "3"),
            ("log.flush.interval.ms", "100000"),
            ("log.segment.bytes", "99999999"),
            ("unknown.key", "foo"),
            ("node.id", "1"),
        ] {
            fixed.set(name, value).unwrap();
        }
        let image = Image::default();
        let layers = Layers::new(&fixed, &image);
        let of_topic = Topic {
            id: storage::types::TopicId([1; 16]),
            name: "t".into(),
            partitions: Vec::new(),
            configs: Configs::new(),
            created_ms: 0,
        };
        let mut told: Vec<String> = topic(layers, &of_topic, None).iter().map(line).collect();
        told.extend(broker(layers, None).iter().map(line));
        for expected in [
            "retention.ms=4620000@Default []",
            "segment.ms=10800000@Default []",
            "segment.jitter.ms=0@Default []",
            "flush.ms=100000@Static [log.flush.interval.ms=100000@Static \
             log.flush.scheduler.interval.ms=9223372036854775807@Default]",
            "segment.bytes=99999999@Static [log.segment.bytes=99999999@Static \
             log.segment.bytes=1073741824@Default]",
            "retention.bytes=-1@Default [log.retention.bytes=-1@Default]",
            "log.retention.ms=null@Default []",
            "log.retention.minutes=77@Static [log.retention.minutes=77@Static \
             log.retention.hours=24@Static log.retention.hours=168@Default]",
            "log.retention.hours=24@Static [log.retention.hours=24@Static \
             log.retention.hours=168@Default]",
            "unknown.key=null@Static [unknown.key=null@Static]",
            "broker.id=1@Static [broker.id=1@Static broker.id=-1@Default]",
        ] {
            assert!(told.iter().any(|line| line == expected), "{expected}");
        }
    }

    #[test]
    fn secrets_are_never_told() {
        let mut fixed = Static::default();
        fixed.set("ssl.key.password", "hush").unwrap();
        let image = Image::default();
        let names = ["ssl.key.password".to_owned()];
        let told = broker(Layers::new(&fixed, &image), Some(&names));
        assert_eq!(told.len(), 1);
        assert!(told[0].sensitive && !format!("{told:?}").contains("hush"));
    }
}

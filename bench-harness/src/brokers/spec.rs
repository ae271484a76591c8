//! Which brokers somebody names on the command line.

use crate::failure::{Failure, Outcome};
use std::path::PathBuf;

/// One broker to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What reports call it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ringlog {
        program: Option<PathBuf>,
        settings: Vec<(String, String)>,
    },
    Kafka {
        settings: Vec<(String, String)>,
    },
    /// Runs already, wherever.
    Address {
        address: String,
        pid: Option<u32>,
    },
}

const FORMS: &str = "\
brokers are named by
    ringlog                                   the broker beside this program
    ringlog:NAME[=PATH][,SETTING=VALUE...]    another build of it, or other settings
    kafka                                     Apache Kafka 4.2.0 with its own settings
    kafka-flush                               the same with log.flush.interval.messages=1
    kafka:NAME[,SETTING=VALUE...]             the same with other settings
    address:NAME=HOST:PORT[,pid=PID]          one that runs already";

fn wrong(text: &str, why: &str) -> Failure {
    Failure::new(format!("{text:?} names no broker: {why}")).advise(FORMS)
}

/// A list with commas; what follows a broker as SETTING=VALUE belongs to it.
pub(crate) fn specs(list: &str) -> Outcome<Vec<Spec>> {
    let mut specs: Vec<Spec> = Vec::new();
    for part in list.split(',').map(str::trim) {
        let setting = part.split_once('=').filter(|(key, _)| !key.contains(':'));
        match (setting, specs.last_mut()) {
            (Some((key, value)), Some(spec)) => spec.set(part, key, value)?,
            (Some(_), None) => return Err(wrong(part, "a setting, but of what?")),
            (None, _) => specs.push(spec(part)?),
        }
    }
    for (at, spec) in specs.iter().enumerate() {
        if specs[..at].iter().any(|other| other.name == spec.name) {
            return Err(
                Failure::new(format!("two brokers are called {:?}", spec.name))
                    .advise("give each a name of its own, such as ringlog:NAME"),
            );
        }
    }
    Ok(specs)
}

impl Spec {
    fn set(&mut self, text: &str, key: &str, value: &str) -> Outcome<()> {
        match &mut self.kind {
            Kind::Ringlog { settings, .. } | Kind::Kafka { settings } => {
                settings.push((key.to_owned(), value.to_owned()));
            }
            Kind::Address { pid, .. } if key == "pid" => {
                let number = value.parse().ok().filter(|pid| *pid > 0);
                *pid = Some(number.ok_or_else(|| wrong(text, "a process id is a number"))?);
            }
            Kind::Address { .. } => {
                let why = "settings of a broker that runs already cannot be changed here";
                return Err(wrong(text, why));
            }
        }
        Ok(())
    }
}

fn spec(text: &str) -> Outcome<Spec> {
    let named = |name: &str, kind| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong(
                text,
                "a name has letters, digits, '-', '_' and '.' only",
            ));
        }
        Ok(Spec {
            name: name.to_owned(),
            kind,
        })
    };
    let ringlog = |program| Kind::Ringlog {
        program,
        settings: Vec::new(),
    };
    let kafka = |settings| Kind::Kafka { settings };
    match text.split_once(':') {
        None => match text {
            "ringlog" => named("ringlog", ringlog(None)),
            "kafka" => named("kafka", kafka(Vec::new())),
            "kafka-flush" => {
                let flush = ("log.flush.interval.messages".to_owned(), "1".to_owned());
                named("kafka-flush", kafka(vec![flush]))
            }
            _ => Err(wrong(text, "it is none of those known here")),
        },
        Some(("ringlog", rest)) => match rest.split_once('=') {
            Some((name, path)) => named(name, ringlog(Some(PathBuf::from(path)))),
            None => named(rest, ringlog(None)),
        },
        Some(("kafka", name)) => named(name, kafka(Vec::new())),
        Some(("address", rest)) => {
            let (name, address) = rest
                .split_once('=')
                .ok_or_else(|| wrong(text, "an address is missing"))?;
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(wrong(text, "an address is HOST:PORT"));
            }
            let address = address.to_owned();
            named(name, Kind::Address { address, pid: None })
        }
        Some(_) => Err(wrong(text, "it is none of those known here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn every_form_is_understood_and_settings_go_to_the_broker_before_them() {
        let list = "ringlog,ringlog:spin=/opt/ringlog,idle=spin,shards=1,kafka-flush,\
                    kafka:lz4,compression.type=lz4,address:other=10.0.0.1:9092,pid=77";
        let found = specs(list).expect("all are right");
        let names: Vec<_> = found.iter().map(|spec| &*spec.name).collect();
        assert_eq!(names, ["ringlog", "spin", "kafka-flush", "lz4", "other"]);
        let spin = Kind::Ringlog {
            program: Some("/opt/ringlog".into()),
            settings: vec![setting("idle", "spin"), setting("shards", "1")],
        };
        assert_eq!(found[1].kind, spin);
        let flush = vec![setting("log.flush.interval.messages", "1")];
        assert_eq!(found[2].kind, Kind::Kafka { settings: flush });
        let lz4 = vec![setting("compression.type", "lz4")];
        assert_eq!(found[3].kind, Kind::Kafka { settings: lz4 });
        let other = Kind::Address {
            address: "10.0.0.1:9092".to_owned(),
            pid: Some(77),
        };
        assert_eq!(found[4].kind, other);
    }

    #[test]
    fn what_names_no_broker_is_refused_with_what_would() {
        for (list, why) in [
            ("redpanda", "none of those known"),
            ("ringlog,,kafka", "none of those known"),
            ("a=b,kafka", "a setting, but of what?"),
            ("address:x=nowhere", "HOST:PORT"),
            ("address:x=host:0", "HOST:PORT"),
            ("address:x", "an address is missing"),
            ("address:x=h:9092,pid=me", "a number"),
            ("address:x=h:9092,flush.ms=1", "cannot be changed here"),
            ("ringlog:a b", "letters, digits"),
            ("docker:x", "none of those known"),
        ] {
            let failure = specs(list).expect_err(list).to_string();
            assert!(failure.contains(why), "{list}: {failure}");
            assert!(
                failure.contains("address:NAME=HOST:PORT"),
                "{list}: {failure}"
            );
        }
        let twice = specs("kafka,kafka").expect_err("twice").to_string();
        assert!(
            twice.contains("two brokers are called \"kafka\""),
            "{twice}"
        );
    }
}

//! From the text of a settings file and the command line to checked settings.
//!
//! Our own file is TOML under Kafka's names, as dotted keys or tables; `.properties` is Kafka's own
//! file. In ours and on the command line an unknown name is an error, since it can only be a typing
//! error; in a `.properties` file it is told once, so that an existing file starts the broker.

use super::layers::Static;
use super::{check, guard, listeners, properties, registry};
use toml::{Table, Value};

/// Settings that may be started with, and what the person who wrote them should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub fixed: Static,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Which syntax a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Toml,
    Properties,
}

/// Gathers settings from their sources, the weakest first, and checks them together at the end.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    fixed: Static,
    unknown: Vec<String>,
    inert: Vec<String>,
    problems: Vec<String>,
}

impl Loader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a file; `name` is what messages call it.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str, syntax: Syntax) -> Self {
        let pairs = match syntax {
            Syntax::Toml => toml_pairs(text),
            Syntax::Properties => properties::parse(text),
        };
        match pairs {
            Ok(pairs) => {
                for (key, value) in pairs {
                    self.put(name, &key, &value, syntax == Syntax::Properties);
                }
            }
            Err(why) => self.problems.push(format!("{name}: {}", why.trim_end())),
        }
        self
    }

    /// Takes what an option of the command line says; `origin` is what messages call it.
    #[must_use]
    pub fn option(mut self, origin: &str, key: &str, value: &str) -> Self {
        self.put(origin, key, value, false);
        self
    }

    /// Reads one `KEY=VALUE` of the command line.
    #[must_use]
    pub fn assignment(mut self, assignment: &str) -> Self {
        match assignment.split_once('=') {
            Some((key, value)) => self.put("--set", key.trim(), value, false),
            None => {
                let problem = format!("--set {assignment}: expected KEY=VALUE");
                self.problems.push(problem);
            }
        }
        self
    }

    fn put(&mut self, origin: &str, key: &str, value: &str, tolerant: bool) {
        match registry::of_broker(key) {
            Some(setting) => {
                let differs = setting.default != setting.parse(value).ok().as_deref();
                if !setting.acts() && differs {
                    self.inert.push(key.to_owned());
                }
            }
            None if tolerant => self.unknown.push(key.to_owned()),
            None => {
                let hint = registry::nearest(key);
                let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
                self.problems
                    .push(format!("{origin}: unknown setting {key}{hint}"));
                return;
            }
        }
        if let Err(why) = self.fixed.set(key, value) {
            self.problems.push(format!("{origin}: {why}"));
        }
    }

    /// Checks everything together.
    ///
    /// # Errors
    /// Everything that is wrong, one line each.
    pub fn finish(mut self) -> Result<Loaded, Vec<String>> {
        for (name, value) in self.fixed.iter() {
            let refused = guard::secured(name, value).err();
            let refused = refused.or_else(|| check::built(name, value).err());
            self.problems.extend(refused);
        }
        self.problems.extend(listeners::resolve(&self.fixed).err());
        self.problems.extend(together(&self.fixed));
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut warnings = Vec::new();
        let mut warn = |names: &mut Vec<String>, what: &str| {
            names.sort_unstable();
            names.dedup();
            if !names.is_empty() {
                warnings.push(format!("{what}: {}", names.join(", ")));
            }
        };
        warn(&mut self.unknown, "settings that have no meaning here");
        warn(
            &mut self.inert,
            "settings of Kafka that have no effect here",
        );
        Ok(Loaded {
            fixed: self.fixed,
            warnings,
        })
    }
}

/// What is wrong only because of another setting.
fn together(fixed: &Static) -> Option<String> {
    let number = |name: &str| -> Option<i64> {
        let default = registry::of_broker(name)?.default;
        fixed.get(name).or(default)?.parse().ok()
    };
    let (low, high) = (
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
    );
    if number(low) > number(high) {
        return Some(format!("{low} is larger than {high}"));
    }
    let roles = fixed.get("process.roles")?;
    let is_broker = super::value::items(roles).contains(&"broker");
    (!is_broker).then(|| {
        "process.roles: this process is always a broker (and its own controller); name broker \
         among the roles"
            .to_owned()
    })
}

/// The leaves of a TOML document under their dotted names.
fn toml_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let mut pairs = Vec::new();
    flatten("", &table, &mut pairs)?;
    Ok(pairs)
}

fn flatten(prefix: &str, table: &Table, out: &mut Vec<(String, String)>) -> Result<(), String> {
    for (key, value) in table {
        let name = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match value {
            Value::Table(table) => flatten(&name, table, out)?,
            Value::Array(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|one| scalar(&name, one)).collect();
                out.push((name, items?.join(",")));
            }
            value => out.push((name.clone(), scalar(&name, value)?)),
        }
    }
    Ok(())
}

fn scalar(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Err(format!(
            "{name}: a setting is a text, a number, true or false, or a list of those"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Result<Loaded, Vec<String>> {
        Loader::new().file("f", text, Syntax::Toml).finish()
    }

    fn properties(text: &str) -> Result<Loaded, Vec<String>> {
        Loader::new().file("f", text, Syntax::Properties).finish()
    }

    #[test]
    fn dotted_keys_tables_and_lists_are_one() {
        let a = toml("log.retention.ms = 5\nlog.dirs = ['/a', '/b']\n").unwrap();
        let b = toml("[log]\ndirs = '/a,/b'\nretention = { ms = '5' }\n").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.fixed.get("log.dirs"), Some("/a,/b"));
        assert_eq!(a.warnings, Vec::<String>::new());
    }

    #[test]
    fn unknown_names_are_errors_with_a_suggestion_or_a_warning() {
        let problems = toml("log.retenton.ms = 5").unwrap_err();
        let expected = "f: unknown setting log.retenton.ms; did you mean log.retention.ms?";
        assert_eq!(problems, [expected]);
        let problems = Loader::new().assignment("zzz=1").finish().unwrap_err();
        assert_eq!(problems, ["--set: unknown setting zzz"]);
        let loaded = properties("zzz=1\nyyy=2\nzzz=3\nlog.cleaner.threads=7").unwrap();
        let expected = [
            "settings that have no meaning here: yyy, zzz",
            "settings of Kafka that have no effect here: log.cleaner.threads",
        ];
        assert_eq!(loaded.warnings, expected);
    }

    #[test]
    fn an_lz4_level_is_told_to_have_no_effect() {
        let loaded = properties("compression.lz4.level=17\ncompression.zstd.level=7").unwrap();
        let expected = "settings of Kafka that have no effect here: compression.lz4.level";
        assert_eq!(loaded.warnings, [expected]);
        let setting = registry::topic_settings().find(|one| one.name == "compression.lz4.level");
        assert_eq!(setting.map(|setting| setting.acts()), Some(false));
    }

    #[test]
    fn the_command_line_wins_and_every_problem_is_told() {
        let loader = Loader::new().file("f", "num.partitions = 2", Syntax::Toml);
        let loaded = loader.assignment("num.partitions=3").finish().unwrap();
        assert_eq!(loaded.fixed.get("num.partitions"), Some("3"));
        let loader = Loader::new()
            .assignment("num.partitions=x")
            .assignment("shards=-1");
        let problems = loader.assignment("nonsense").finish().unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn what_would_open_the_broker_refuses_to_start() {
        for text in [
            "authorizer.class.name=org.example.Authorizer",
            "listeners=SASL_SSL://:9092",
            "sasl.enabled.mechanisms=PLAIN",
            "ssl.client.auth=required",
            "listener.name.client.ssl.keystore.location=/k",
            "security.inter.broker.protocol=SSL",
            "create.topic.policy.class.name=org.example.Policy",
            "log.cleanup.policy=compact",
        ] {
            assert!(properties(text).is_err(), "{text}");
        }
        for text in ["authorizer.class.name=", "ssl.client.auth=none"] {
            assert!(properties(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_file_that_kafka_ships_starts() {
        let text = "process.roles=broker,controller\nnode.id=1\n\
                    controller.quorum.bootstrap.servers=localhost:9093\n\
                    listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                    inter.broker.listener.name=PLAINTEXT\n\
                    advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
                    controller.listener.names=CONTROLLER\n\
                    listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
                    SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
                    num.network.threads=3\nnum.io.threads=8\nlog.dirs=/tmp/kraft-combined-logs\n\
                    num.partitions=1\noffsets.topic.replication.factor=1\n\
                    share.coordinator.state.topic.replication.factor=1\n\
                    transaction.state.log.min.isr=1\nlog.retention.hours=168\n\
                    log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n";
        let loaded = properties(text).unwrap();
        assert_eq!(loaded.fixed.get("broker.id"), Some("1"));
    }
}

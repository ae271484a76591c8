//! Whether a set of settings may stand: each by itself, and together.

use super::registry;
use super::setting::Scope;
use super::value::items;
use crate::cluster::image::Configs;

/// Checks all overrides of a topic.
///
/// # Errors
/// What is wrong, in the words that Kafka's tools print.
pub fn topic(overrides: &Configs) -> Result<(), String> {
    for (name, value) in overrides {
        let setting = registry::of_topic(name);
        let setting = setting.ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        let value = setting.parse(value)?;
        built(name, &value)?;
    }
    let lag = |name: &str| overrides.get(name)?.trim().parse::<i64>().ok();
    let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    match (lag(min), lag(max)) {
        (Some(low), Some(high)) if low > high => Err(format!(
            "conflict topic config setting {min} ({low}) > {max} ({high})"
        )),
        _ => Ok(()),
    }
}

/// Refuses what would be accepted and then not be done. `value` is in its plain form.
///
/// # Errors
/// What is not built, and what to use instead.
pub fn built(name: &str, value: &str) -> Result<(), String> {
    match name {
        "cleanup.policy" | "log.cleanup.policy" if items(value).contains(&"compact") => {
            Err(format!(
                "Invalid value {value} for configuration {name}: log compaction is not built yet; \
                 use delete, or an empty list to keep everything"
            ))
        }
        "remote.storage.enable" if value == "true" => Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage."
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Checks settings that are to be given to a broker (or all of them) while it runs.
///
/// # Errors
/// What is wrong, in the words that Kafka's tools print.
pub fn broker<'a>(
    all_brokers: bool,
    changed: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
) -> Result<(), String> {
    let names = |wrong: fn(Scope) -> bool| {
        let settings = changed
            .clone()
            .filter_map(|(name, _)| registry::of_broker(name));
        let wrong = settings.filter(|setting| wrong(setting.scope));
        wrong
            .map(|setting| setting.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fixed = names(|scope| scope == Scope::ReadOnly);
    if !fixed.is_empty() {
        return Err(format!(
            "Cannot update these configs dynamically: Set({fixed})"
        ));
    }
    let of_one = names(|scope| scope == Scope::PerBroker);
    if all_brokers && !of_one.is_empty() {
        return Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: \
             Set({of_one})"
        ));
    }
    // What Kafka lets one broker change are listeners and their security.
    if !of_one.is_empty() {
        return Err(format!(
            "Cannot update these configs dynamically: Set({of_one})"
        ));
    }
    for (name, value) in changed {
        if name.starts_with("listener.name.") {
            return Err(format!(
                "{name}: listeners with security of their own are not built yet"
            ));
        }
        if let (Some(setting), Some(value)) = (registry::of_broker(name), value) {
            built(name, &setting.parse(value)?)?;
        }
    }
    Ok(())
}

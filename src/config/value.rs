//! Values of settings: parsing, checking, and Kafka's words for what is wrong.

use super::setting::{Check, Kind, Setting};

pub(super) fn parse(setting: &Setting, text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    let parsed = match setting.kind {
        Kind::Boolean => boolean(setting, trimmed)?,
        Kind::Int => integer(setting, trimmed, i64::from(i32::MIN), i64::from(i32::MAX))?,
        Kind::Short => integer(setting, trimmed, i64::from(i16::MIN), i64::from(i16::MAX))?,
        Kind::Long => integer(setting, trimmed, i64::MIN, i64::MAX)?,
        Kind::Double => double(setting, trimmed)?,
        Kind::List => list(setting, trimmed)?,
        Kind::String | Kind::Class => {
            check_text(setting, trimmed)?;
            trimmed.to_owned()
        }
        Kind::Password | Kind::Unknown => text.to_owned(),
    };
    Ok(parsed)
}

/// Splits a list as Kafka does: at commas, white space around them dropped, nothing for "".
pub fn items(text: &str) -> Vec<&str> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(str::trim).collect()
}

fn invalid(setting: &Setting, text: &str, why: &str) -> String {
    format!(
        "Invalid value {text} for configuration {}: {why}",
        setting.name
    )
}

fn boolean(setting: &Setting, text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "true" || lower == "false" {
        return Ok(lower);
    }
    let why = "Expected value to be either true or false";
    Err(invalid(setting, text, why))
}

fn integer(setting: &Setting, text: &str, low: i64, high: i64) -> Result<String, String> {
    let not_a_number = || {
        let why = format!("Not a number of type {}", setting.kind.name());
        invalid(setting, text, &why)
    };
    let value: i64 = text.parse().map_err(|_| not_a_number())?;
    if value < low || value > high {
        return Err(not_a_number());
    }
    let why = match setting.check {
        Check::AtLeast(least) | Check::Between(least, _) if value < least => {
            format!("Value must be at least {least}")
        }
        Check::Between(_, most) if value > most => format!("Value must be no more than {most}"),
        Check::GzipLevel if value != -1 && !(1..=9).contains(&value) => {
            "Value must be between 1 and 9 or equal to -1".to_owned()
        }
        _ => return Ok(value.to_string()),
    };
    Err(invalid(setting, &value.to_string(), &why))
}

fn double(setting: &Setting, text: &str) -> Result<String, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| invalid(setting, text, "Not a number of type DOUBLE"))?;
    let shown = format!("{value:?}").replace('e', "E");
    if setting.check == Check::Fraction {
        if value.is_nan() || value < 0.0 {
            return Err(invalid(setting, &shown, "Value must be at least 0"));
        }
        if value > 1.0 {
            return Err(invalid(setting, &shown, "Value must be no more than 1"));
        }
    }
    Ok(shown)
}

fn list(setting: &Setting, text: &str) -> Result<String, String> {
    let items = items(text);
    match setting.check {
        Check::OneOf(_) => {
            if items.iter().any(|item| item.is_empty()) {
                return Err(format!(
                    "Configuration '{}' values must not be empty.",
                    setting.name
                ));
            }
            items
                .iter()
                .try_for_each(|item| check_text(setting, item))?;
        }
        Check::Replicas if items != ["*"] && !items.iter().all(|item| is_replica(item)) => {
            let why = format!(
                "{} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                setting.name
            );
            let shown = format!("[{}]", items.join(", "));
            return Err(invalid(setting, &shown, &why));
        }
        _ => {}
    }
    Ok(items.join(","))
}

fn is_replica(item: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    item.split_once(':')
        .is_some_and(|(partition, broker)| number(partition) && number(broker))
}

fn check_text(setting: &Setting, text: &str) -> Result<(), String> {
    let why = match setting.check {
        Check::OneOf(allowed) if !allowed.contains(&text) => {
            format!("String must be one of: {}", allowed.join(", "))
        }
        Check::OneOfAnyCase(allowed)
            if !allowed.iter().any(|one| one.eq_ignore_ascii_case(text)) =>
        {
            let names = allowed.join(", ");
            format!("String must be one of (case insensitive): {names}")
        }
        Check::NonEmpty if text.is_empty() => "String must be non-empty".to_owned(),
        _ => return Ok(()),
    };
    Err(invalid(setting, text, &why))
}

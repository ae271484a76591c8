//! Where the value of a setting comes from: four layers, of which the first that has it decides.

use super::registry;
use crate::cluster::image::{Configs, Image};
use std::collections::BTreeMap;

/// Settings fixed at the start: the file's and the command line's, checked and in plain form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Static {
    values: BTreeMap<String, String>,
}

impl Static {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Every setting that was given, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Gives a setting its value; `node.id` and its older name `broker.id` follow each other.
    ///
    /// # Errors
    /// The value is not one of those the setting may have, in Kafka's words.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = match registry::of_broker(name) {
            Some(setting) => setting.parse(value)?,
            None => value.to_owned(),
        };
        if name == "broker.id" {
            self.values.insert("node.id".to_owned(), value.clone());
        }
        if name == "node.id" {
            self.values.insert("broker.id".to_owned(), value.clone());
        }
        self.values.insert(name.to_owned(), value);
        Ok(())
    }
}

/// What DescribeConfigs calls a value's source (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// DYNAMIC_TOPIC_CONFIG.
    Topic,
    /// DYNAMIC_BROKER_CONFIG: of this node.
    Broker,
    /// DYNAMIC_DEFAULT_BROKER_CONFIG: of all brokers.
    BrokerDefault,
    /// STATIC_BROKER_CONFIG: from the file or the command line.
    Static,
    /// DEFAULT_CONFIG.
    Default,
}

/// The layers of broker settings, the strongest first.
const LAYERS: [Source; 4] = [
    Source::Broker,
    Source::BrokerDefault,
    Source::Static,
    Source::Default,
];

/// Everything that decides a broker setting.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    pub fixed: &'a Static,
    pub image: &'a Image,
}

impl<'a> Layers<'a> {
    pub const fn new(fixed: &'a Static, image: &'a Image) -> Self {
        Self { fixed, image }
    }

    fn at(&self, layer: Source, name: &str) -> Option<&'a str> {
        match layer {
            Source::Topic => None,
            Source::Broker => self.image.broker_configs().get(name).map(String::as_str),
            Source::BrokerDefault => self.image.broker_defaults().get(name).map(String::as_str),
            Source::Static => self.fixed.get(name),
            Source::Default => registry::of_broker(name)?.default,
        }
    }

    /// The value in force; `None` if nothing gives one.
    pub fn broker(&self, name: &str) -> Option<&'a str> {
        LAYERS.iter().find_map(|&layer| self.at(layer, name))
    }

    /// Every value that any layer has for any of `names`: layer by layer, and within a layer name
    /// by name, from the first that belongs to `first` on (`ConfigHelper.configSynonyms`, 4.2).
    pub fn all(&self, first: &str, names: &[&'static str]) -> Vec<(&'static str, &'a str, Source)> {
        let mut found = Vec::new();
        for layer in LAYERS {
            for &name in names {
                if let Some(value) = self.at(layer, name) {
                    found.push((name, value, layer));
                }
            }
        }
        let skip = found.iter().take_while(|(name, ..)| *name != first).count();
        found.split_off(skip)
    }

    /// The value in force of a topic's setting, in plain form. An override that this version does
    /// not accept counts as absent: it can only come from another version's metadata.
    pub fn topic(&self, overrides: &Configs, name: &str) -> Option<String> {
        let setting = registry::of_topic(name)?;
        let own = overrides
            .get(name)
            .and_then(|text| setting.parse(text).ok());
        own.or_else(|| {
            let origins = registry::origins(name).iter();
            let mut given = origins.filter_map(|&(origin, factor)| {
                let value = self.broker(origin)?;
                Some(in_unit(value, factor))
            });
            given.next()
        })
        .or_else(|| setting.default.map(str::to_owned))
    }
}

/// Turns hours or minutes into milliseconds; a negative number stays what it is (no limit).
fn in_unit(value: &str, factor: i64) -> String {
    match value.parse::<i64>() {
        Ok(number) if number >= 0 && factor != 1 => number.saturating_mul(factor).to_string(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(pairs: &[(&str, &str)]) -> Static {
        let mut fixed = Static::default();
        for (name, value) in pairs {
            fixed.set(name, value).unwrap();
        }
        fixed
    }

    #[test]
    fn milliseconds_beat_minutes_beat_hours() {
        let image = Image::default();
        let none = Configs::new();
        let retention = |pairs: &[(&str, &str)]| {
            Layers::new(&fixed(pairs), &image).topic(&none, "retention.ms")
        };
        assert_eq!(retention(&[]).as_deref(), Some("604800000"));
        let hours = ("log.retention.hours", "24");
        let minutes = ("log.retention.minutes", "77");
        let ms = ("log.retention.ms", "5");
        assert_eq!(retention(&[hours]).as_deref(), Some("86400000"));
        assert_eq!(retention(&[hours, minutes]).as_deref(), Some("4620000"));
        assert_eq!(retention(&[hours, minutes, ms]).as_deref(), Some("5"));
        let for_ever = retention(&[("log.retention.hours", "-1")]);
        assert_eq!(for_ever.as_deref(), Some("-1"));
    }

    #[test]
    fn layers_go_from_topic_to_default() {
        let fixed = fixed(&[("message.max.bytes", "1000")]);
        let mut image = Image::default();
        let mut overrides = Configs::new();
        let value = |image: &Image, overrides: &Configs| {
            let layers = Layers::new(&fixed, image);
            layers.topic(overrides, "max.message.bytes").unwrap()
        };
        assert_eq!(value(&image, &overrides), "1000");
        image.put_broker_config(true, "message.max.bytes", Some("2000"));
        assert_eq!(value(&image, &overrides), "2000");
        image.put_broker_config(false, "message.max.bytes", Some("3000"));
        assert_eq!(value(&image, &overrides), "3000");
        overrides.insert("max.message.bytes".to_owned(), "4000".to_owned());
        assert_eq!(value(&image, &overrides), "4000");
        overrides.insert("max.message.bytes".to_owned(), "rubbish".to_owned());
        assert_eq!(value(&image, &overrides), "3000");
    }
}

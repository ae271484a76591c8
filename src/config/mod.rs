//! Broker and topic settings: names, types, defaults, where a value came from.

pub mod check;
pub mod describe;
pub mod file;
pub mod guard;
pub mod layers;
pub mod listeners;
pub mod properties;
pub mod registry;
pub mod setting;
pub mod settings;
pub mod value;

pub use describe::{Described, Synonym};
pub use layers::{Layers, Source, Static};
pub use setting::{Kind, Scope, Setting};
pub use settings::{BrokerSettings, TopicSettings};

//! Metadata: command -> records -> image.
//!
//! A [`Command`](command::Command) is validated against the newest [`Image`](image::Image) and
//! becomes records; the records, once durable in the metadata log, make the next image and release
//! the answer. Everything here is pure: no clock, no file, no randomness but a seeded generator.

mod alter;
pub mod command;
pub mod controller;
mod create;
mod delete;
pub mod error;
pub mod ids;
pub mod image;
pub mod name;
pub mod placement;
mod plan;
pub mod queue;
pub mod record;
pub mod replay;
mod size;

pub use command::{Answer, Command};
pub use controller::{Controller, Fx};
pub use create::offsets_topic;
pub use error::{Error, ErrorKind};
pub use image::Image;
pub use replay::Replay;

//! Metadata: command -> records -> image.
//!
//! A [`Command`](command::Command) is validated against the newest [`Image`](image::Image) and
//! becomes records; the records, once durable in the metadata log, make the next image and release
//! the answer. Everything here is pure: no clock, no file, no randomness but a seeded generator.

pub mod command;
pub mod error;
pub mod image;
pub mod name;
pub mod placement;
pub mod record;
pub mod replay;

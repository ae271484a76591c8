//! The partition log: batches, segments, journal, indexes, recovery. No sockets, no Kafka API.
#![forbid(unsafe_code)]

pub mod batch;
pub mod canary;
pub mod checkpoint;
pub mod crc;
pub mod epochs;
mod format;
pub mod index;
pub mod inspect;
mod journal;
mod log;
pub mod producer;
pub mod store;
pub mod types;

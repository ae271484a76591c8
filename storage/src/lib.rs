//! The partition log: batches, segments, journal, indexes, recovery. No sockets, no Kafka API.
#![forbid(unsafe_code)]

pub mod batch;
pub mod checkpoint;
pub mod epochs;
pub mod index;
pub mod journal;
pub mod log;
pub mod producer;
pub mod store;
pub mod types;

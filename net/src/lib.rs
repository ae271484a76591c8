//! Kafka wire codec, framing, the connection state machine. No logs, no files.
#![forbid(unsafe_code)]

pub mod conn;
pub mod wire;

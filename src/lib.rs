//! The broker: pure state machines and a thin shell.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod coordinator;
pub mod limits;
pub mod partition;
pub mod shard;

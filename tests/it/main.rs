//! librdkafka, the C client that most languages build on, against the real broker: once with one
//! shard and once with three.

mod admin;
mod answers;
mod broker;
mod clients;
mod endpoints;
mod groups;
mod produce;
mod restart;
mod wire;

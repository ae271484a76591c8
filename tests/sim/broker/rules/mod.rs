//! Rules of Kafka's that only the whole broker can keep, one scene each: over the simulated kernel,
//! with restarts, several shards, and time that passes at once.

mod clock;
mod endpoints;
mod fetching;
mod groups;
mod metadata;
mod producing;
mod stand;
mod trouble;

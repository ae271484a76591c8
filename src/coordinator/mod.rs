//! Coordinators: a handler returns records and a reply; the reply waits for the commit.
pub mod group;

//! The connection machine: framing, ordered replies, pipelining, limits.

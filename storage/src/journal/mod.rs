//! The shard's commit journal.

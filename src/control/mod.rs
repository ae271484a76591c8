//! The ordinary thread beside the shards: signals, start and stop (SHELL).

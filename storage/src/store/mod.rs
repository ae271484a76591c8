//! One shard's logs in all log directories: append, commit rounds, read, recover.

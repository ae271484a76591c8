//! Broker and topic settings: names, types, defaults, where a value came from.

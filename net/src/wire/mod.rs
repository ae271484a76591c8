//! The codec: every message of the protocol, bounded by the bytes that are there.

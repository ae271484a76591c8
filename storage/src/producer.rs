//! Idempotent producers of one log (KIP-98).

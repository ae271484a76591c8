//! Leader epochs of one log (KIP-101, KIP-320).

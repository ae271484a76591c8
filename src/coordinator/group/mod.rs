//! Consumer groups, classic protocol (KIP-62, 134, 345, 394, 429).

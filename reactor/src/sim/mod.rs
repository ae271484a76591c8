//! The same operations over an in-memory kernel: virtual time, seeded completion order, disks
//! with a volatile cache, connections between machines and simulated clients.

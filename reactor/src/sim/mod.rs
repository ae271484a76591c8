//! The same operations over an in-memory kernel: virtual time, seeded completion order, disks
//! with a volatile cache, connections between machines and simulated clients.
//!
//! A [`World`] runs one process of any number of shards. The same seed and the same calls give the
//! same run, which [`World::trace_hash`] shows. What a disk may do at a power cut is in `block.rs`
//! and `names.rs`.

mod block;
mod disk;
mod files;
mod names;
mod net;
mod rng;
mod world;

pub use disk::{Disk, Fault, FaultOn};
pub use net::{ClientId, ClientState, Net};
pub use rng::Rng;
pub use world::{Settings, World};

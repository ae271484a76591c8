//! What the simulated kernel promises, and what it refuses to promise.

mod disk;
mod net;
mod script;
mod world;

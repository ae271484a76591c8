//! The only crate that talks to the kernel, and the only one with `unsafe`.
//!
//! Everything above this crate is a [`Machine`](op::Machine): a synchronous state machine that is
//! handed the time and what happened, and answers with what it wants done. Two interpreters run
//! a machine: one io_uring per core, started by [`runtime`], and [`sim`], an in-memory kernel with
//! virtual time.

pub mod arena;
pub mod buf;
pub mod cores;
mod mailbox;
pub mod op;
pub mod probe;
pub mod runtime;
pub mod sim;
mod touch;
mod uring;

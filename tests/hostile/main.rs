//! The real broker against clients that mean harm, or fail in the middle of what they do: it stays
//! up, its memory and descriptors stay bounded, and whoever behaves is served all the while.

mod batches;
mod broker;
mod churn;
mod client;
mod data;
mod frames;
mod slow;
mod stop;
mod witness;

//! One page that needs nothing but itself: drawings inline, no network.

mod axis;
mod curves;
mod page;
mod plot;
mod setup;
mod table;

pub(super) use page::page;

//! The protocol as a stranger speaks it.

mod control;
mod errors;
mod fast;
mod link;

pub(crate) use control::{
    Cluster, Control, create_topics, delete_topics, end_offsets, producer_id,
};
pub(crate) use errors::error_name;
pub(crate) use fast::{
    FetchPart, ProduceHead, fetch_parts, fetch_request, produce_head, produce_parts,
};
pub(crate) use link::{Link, Pool, Segment};

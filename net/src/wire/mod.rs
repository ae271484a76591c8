//! The codec: every message of the protocol, bounded by the bytes that are there.
//!
//! Messages are structs named as in Kafka's message definitions, one module per API, each with a
//! [`Request`](metadata::Request) and a [`Response`](metadata::Response) that decode and encode in
//! every version of [`api::TABLE`]. They are expanded at build time from the schema files of this
//! crate. No message is recursive, so the depth of nesting is bounded by its schema.
//!
//! Bytes that follow a complete message are ignored, as Kafka's broker does; [`Reader::remaining`]
//! tells of them.
//!
//! A value that a version cannot carry: Kafka drops a field marked ignorable and throws for any
//! other. [`Writer`] drops both and remembers the name of the latter in [`Writer::lost`], because a
//! reply to an old client must never bring a shard down; tests and debug builds look at it.

pub mod api;
mod codec;
mod error;
mod header;
mod reader;
mod records;
mod text;
mod uuid;
mod writer;

pub use error::DecodeError;
pub(crate) use header::response_header_bytes;
pub use header::{RequestHeader, encode_response_header};
pub use messages::*;
pub use reader::{DECODE_BYTES_MAX, DECODE_RATIO_MAX, DECODE_SLACK_MAX, Reader};
pub use records::Records;
pub use text::Str;
pub use uuid::Uuid;
pub use writer::Writer;

#[allow(clippy::all, reason = "generated: plain and uniform rather than short")]
mod messages {
    use super::{api, codec};
    use codec::api_table;

    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

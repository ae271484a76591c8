//! What the metadata log can take: a batch of it, and every record of a snapshot, fits into a
//! segment.

use super::error::{Error, ErrorKind};
use super::image::Image;
use super::record::Record;
use crate::limits::METADATA_WRITE_BYTES_MAX;
use bytes::Bytes;
use std::collections::BTreeSet;
use storage::types::TopicId;

/// What a batch adds to a record without a key, at most.
const RECORD_FRAME_BYTES: usize = 20;

/// Checks what one command writes: `values` are its encoded `records`, and `draft` the state after
/// them. A topic may grow over several commands, and a snapshot has it in one record.
pub(super) fn check(records: &[Record], values: &[Bytes], draft: &Image) -> Result<(), Error> {
    let framed = |value: &Bytes| value.len() + RECORD_FRAME_BYTES;
    let bytes: usize = values.iter().map(framed).sum();
    if bytes > METADATA_WRITE_BYTES_MAX {
        return refuse(format!(
            "The request would write {bytes} bytes to the metadata log, more than the \
             {METADATA_WRITE_BYTES_MAX} that one request may. Nothing was changed; ask for it in \
             several smaller requests."
        ));
    }
    for id in records.iter().filter_map(grown).collect::<BTreeSet<_>>() {
        let Some(topic) = draft.topic_by_id(id) else {
            continue;
        };
        let bytes = framed(&Record::TopicCreated((**topic).clone()).encode(true));
        if bytes > METADATA_WRITE_BYTES_MAX {
            return refuse(format!(
                "The partitions and settings of topic '{}' would take {bytes} bytes of the \
                 metadata log, more than the {METADATA_WRITE_BYTES_MAX} that one topic may. \
                 Nothing was changed; use shorter settings or several topics.",
                topic.name
            ));
        }
    }
    Ok(())
}

/// The topic that a record makes larger.
const fn grown(record: &Record) -> Option<TopicId> {
    match record {
        Record::PartitionsAdded { id, .. } | Record::TopicConfigSet { id, .. } => Some(*id),
        _ => None,
    }
}

fn refuse(message: String) -> Result<(), Error> {
    Err(Error::new(ErrorKind::PolicyViolation, message))
}

//! The only look into a member's opaque metadata: the topics of a consumer's subscription, so that
//! offsets of topics in use are neither deleted nor expired (KIP-496, KIP-211).

use super::records::Input;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The topics that the members subscribe to, or `None` if one's metadata cannot be read.
/// Later versions of the subscription only add fields behind the topics (`ConsumerProtocol`).
pub(super) fn subscribed_topics<'a>(
    metadata: impl Iterator<Item = &'a Bytes>,
) -> Option<BTreeSet<Arc<str>>> {
    let mut topics = BTreeSet::new();
    for bytes in metadata {
        let mut input = Input::new(bytes);
        if input.i16().ok()? < 0 {
            return None;
        }
        for _ in 0..input.count(2).ok()? {
            topics.insert(input.string().ok()?);
        }
    }
    Some(topics)
}

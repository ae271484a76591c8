//! The same messages through the crate `kafka-protocol`, as far as it goes: Kafka 4.1.

use super::*;
use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey as PeerKey, RequestKind, ResponseKind};

/// Versions it does not know, at least in one direction.
const BEYOND_PEER: &[(i16, i16)] = &[(2, 11), (8, 10), (9, 10)];

/// Decodes and encodes there; `None` when it refuses the version.
fn through_peer(api: &Api, plan: Plan, bytes: &[u8]) -> Option<Vec<u8>> {
    let key = PeerKey::try_from(api.key).expect("a known key");
    let version = plan.version;
    let mut frame = Bytes::copy_from_slice(bytes);
    let mut out = BytesMut::new();
    if plan.response {
        let message = ResponseKind::decode(key, &mut frame, version).ok()?;
        message.encode(&mut out, version).expect("encodable");
    } else {
        let message = RequestKind::decode(key, &mut frame, version).ok()?;
        message.encode(&mut out, version).expect("encodable");
    }
    assert!(frame.is_empty(), "{} {plan:?}: bytes left", api.name);
    Some(out.to_vec())
}

#[test]
fn agrees_with_another_codec_byte_for_byte() {
    let mut compared = 0;
    for_each_message(|api, version, response| {
        for plan in plans(version, response, 24) {
            let ours = again(api, plan, drawn(api, plan)).expect("legal");
            if BEYOND_PEER.contains(&(api.key, version)) {
                continue;
            }
            let theirs = through_peer(api, plan, &ours);
            assert_eq!(theirs.as_deref(), Some(&ours[..]), "{} {plan:?}", api.name);
            compared += 1;
        }
    });
    assert!(compared > 6_000, "only {compared} compared");
}

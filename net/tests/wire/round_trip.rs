//! Every API and version, both directions: what the schema says is what the codec does.

use super::*;
use crate::draw::Dice;
use net::wire::{Str, api_versions, fetch, metadata};

#[test]
fn every_message_survives() {
    let mut count = 0;
    for_each_message(|api, version, response| {
        for plan in plans(version, response, 80) {
            let bytes = drawn(api, plan);
            let same = again(api, plan, bytes.clone());
            assert_eq!(same.as_deref(), Ok(&bytes[..]), "{} {plan:?}", api.name);
            count += 1;
        }
    });
    assert!(count > 20_000, "only {count} messages");
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    for_each_message(|api, version, response| {
        for plan in plans(version, response, 12) {
            let noisy = Plan {
                unknown_tags: true,
                ..plan
            };
            let (bytes, with_noise) = (drawn(api, plan), drawn(api, noisy));
            assert_eq!(bytes != with_noise, version >= api.flexible_from);
            let same = again(api, noisy, with_noise);
            assert_eq!(same.as_deref(), Ok(&bytes[..]), "{} {plan:?}", api.name);
        }
    });
}

#[test]
fn null_is_an_error_where_the_version_forbids_it() {
    let mut count = 0;
    for_each_message(|api, version, response| {
        let plan = Plan::new(response, version, Fill::Full, 1);
        for position in 0..draw(api, plan).never_null {
            let illegal = Plan {
                illegal_null_at: Some(position),
                ..plan
            };
            let found = again(api, plan, drawn(api, illegal));
            let null = matches!(found, Err(DecodeError::Null { .. }));
            assert!(null, "{} {illegal:?}: {found:?}", api.name);
            count += 1;
        }
    });
    assert!(count > 1_000, "only {count} places");
}

/// Wherever a frame is cut into pieces, it is the same message, or the same is wrong with it.
#[test]
fn a_message_in_pieces_is_the_same_message() {
    let mut dice = Dice::new(3);
    for_each_message(|api, version, response| {
        for plan in plans(version, response, 10) {
            let mut bytes = Bytes::from(drawn(api, plan));
            if dice.below(4) == 0 {
                bytes.truncate(dice.below(bytes.len() + 1));
            }
            let read = |mut reader: Reader| {
                let mut writer = Writer::new();
                recode(
                    key_of(api),
                    version,
                    response,
                    &mut reader,
                    Some(&mut writer),
                )
                .map(|()| (writer.into_bytes(), reader.remaining()))
            };
            let whole = read(Reader::new(bytes.clone()));
            for piece_max in [1, 3, 40] {
                let (mut rest, mut pieces) = (bytes.clone(), Vec::new());
                while !rest.is_empty() {
                    let length = dice.below(piece_max + 1).min(rest.len());
                    pieces.push(rest.split_to(length));
                }
                let first = pieces.first().cloned().unwrap_or_default();
                let more = pieces.into_iter().skip(1).collect();
                let cut = read(Reader::of_pieces(first, more));
                assert_eq!(cut, whole, "{} {plan:?}", api.name);
            }
        }
    });
}

#[test]
fn no_proper_prefix_is_a_message() {
    for_each_message(|api, version, response| {
        let plan = Plan::new(response, version, Fill::Full, 2);
        let bytes = drawn(api, plan);
        for length in 0..bytes.len() {
            let cut = bytes[..length].to_vec();
            let mut reader = Reader::new(cut.into());
            let found = recode(key_of(api), version, response, &mut reader, None);
            assert!(found.is_err(), "{} {plan:?} cut to {length}", api.name);
        }
    });
}

#[test]
fn a_tagged_field_with_its_default_is_read_but_never_written() {
    // error_code, no api_keys, throttle_time_ms, then tag 3 (zk_migration_ready) = false.
    let sent = b"\0\x23\x01\0\0\0\x05\x01\x03\x01\0";
    let mut reader = Reader::new(Bytes::from_static(sent));
    let message = api_versions::Response::decode(&mut reader, 3).expect("legal");
    assert_eq!((message.error_code, message.throttle_time_ms), (35, 5));
    let mut writer = Writer::new();
    message.encode(&mut writer, 3);
    assert_eq!(&writer.into_bytes()[..], b"\0\x23\x01\0\0\0\x05\0");
}

#[test]
fn values_a_version_lacks_are_dropped_and_noticed_unless_ignorable() {
    let lost = |allow_auto_topic_creation, version| {
        let request = metadata::Request {
            allow_auto_topic_creation,
            ..metadata::Request::default()
        };
        let mut writer = Writer::new();
        request.encode(&mut writer, version);
        writer.lost()
    };
    assert_eq!(lost(true, 1), None, "the default");
    assert_eq!(lost(false, 4), None, "the first version that has the field");
    assert_eq!(lost(false, 3), Some("allow_auto_topic_creation"));
    let ignorable = fetch::Request {
        rack_id: Str::from("rack"),
        ..fetch::Request::default()
    };
    let mut writer = Writer::new();
    ignorable.encode(&mut writer, 4);
    assert_eq!(writer.lost(), None);
}

#[test]
fn an_illegal_null_is_written_empty_and_noticed() {
    let request = metadata::Request {
        topics: None,
        ..metadata::Request::default()
    };
    for (version, lost, bytes) in [(0, Some("topics"), [0; 4]), (1, None, [0xff; 4])] {
        let mut writer = Writer::new();
        request.encode(&mut writer, version);
        assert_eq!(writer.lost(), lost);
        assert_eq!(&writer.into_bytes()[..], bytes);
    }
}

#[test]
fn record_bytes_are_never_copied() {
    let records = Bytes::from(vec![7; 5_000]);
    let part = fetch::PartitionData {
        records: Some(vec![records.slice(..2_000), records.slice(2_000..)].into()),
        ..fetch::PartitionData::default()
    };
    let topic = fetch::FetchableTopicResponse {
        partitions: vec![part],
        ..fetch::FetchableTopicResponse::default()
    };
    let response = fetch::Response {
        responses: vec![topic],
        ..fetch::Response::default()
    };
    let mut writer = Writer::new();
    response.encode(&mut writer, 12);
    let parts = writer.into_parts();
    assert!(parts.iter().any(|part| part.as_ptr() == records.as_ptr()));
    let frame = Bytes::from(parts.concat());
    let range = frame.as_ptr_range();
    let decoded = fetch::Response::decode(&mut Reader::new(frame.clone()), 12).expect("legal");
    assert_eq!(decoded, response, "equal however the records are cut");
    let shared = decoded.responses[0].partitions[0]
        .records
        .clone()
        .expect("records")
        .into_bytes();
    assert!(range.contains(&shared.as_ptr()));
}

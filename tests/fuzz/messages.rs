//! What a client's connection carries, and the records that metadata is made of.

use crate::draw::{Fill, Plan, draw};
use crate::schema;
use bytes::Bytes;
use net::conn::{Conn, ConnLimits};
use net::wire::api::{TABLE, recode};
use net::wire::{Reader, Writer};
use reactor::op::Mono;
use ringlog::cluster::record::Record;
use ringlog::cluster::replay::{self, Replay};
use ringlog::config::file::{Loader, Syntax};
use std::path::Path;
use storage::types::TopicId;

/// In the second byte of a message: it is a response.
const RESPONSE: u8 = 0x80;

/// A body of any API and version, which the first two bytes choose: what is read can be written,
/// and is the same when it is read once more.
pub(crate) fn message(data: &[u8]) {
    let [api, version, body @ ..] = data else {
        return;
    };
    let info = &TABLE[usize::from(*api) % TABLE.len()];
    let versions = info.max - info.min + 1;
    let response = version & RESPONSE != 0;
    let version = info.min + i16::from(version & !RESPONSE) % versions;
    let again = |body: Bytes| {
        let (mut reader, mut writer) = (Reader::new(body), Writer::new());
        recode(info.key, version, response, &mut reader, Some(&mut writer))?;
        assert_eq!(writer.lost(), None, "what was read can be written");
        Ok::<_, net::wire::DecodeError>(writer.into_bytes())
    };
    if let Ok(written) = again(Bytes::copy_from_slice(body)) {
        assert_eq!(again(written.clone()), Ok(written));
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = here.ancestors().map(|folder| folder.join("net/schema"));
    let folder = folders.find(|folder| folder.is_dir());
    let files = std::fs::read_dir(folder.expect("the folder of schema files"));
    let mut seeds = Vec::new();
    for file in files.expect("a readable folder") {
        let path = file.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("a readable schema file");
        let api = schema::parse(&path.display().to_string(), &text);
        let at = TABLE.iter().position(|info| info.key.to_wire() == api.key);
        let at = u8::try_from(at.expect("an API of the table")).expect("few APIs");
        for (step, version) in (0u8..).zip(api.versions.clone()) {
            for (response, bit) in [(false, 0), (true, RESPONSE)] {
                for fill in [Fill::Full, Fill::Random] {
                    let body = draw(&api, Plan::new(response, version, fill, 5)).bytes;
                    seeds.push([&[at, step | bit], &body[..]].concat());
                }
            }
        }
    }
    seeds.sort();
    seeds
}

/// A stream in pieces, whose sizes the first byte chooses, to a connection that answers all it
/// understands: it holds no more than what came in.
pub(crate) fn connection(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let limits = ConnLimits {
        frame_bytes_max: 4096,
        in_bytes_max: 512,
        out_bytes_max: 1024,
        requests_max: 8,
        send_bytes_max: 512,
        idle_ms_max: 60_000,
    };
    let now = Mono::default();
    let mut conn = Conn::new(limits, now);
    for piece in stream.chunks(usize::from(*step) + 1) {
        conn.on_received(Bytes::copy_from_slice(piece), now);
        loop {
            match conn.next_request() {
                Ok(Some(frame)) => conn.reply(frame.seq, vec![Bytes::from_static(b"body")]),
                Ok(None) => break,
                Err(_) => return,
            }
            assert!(held(&conn) <= 2 * stream.len() + 4096);
        }
        while conn.take_send(now).is_some() {
            conn.on_sent(now);
        }
    }
    assert!(held(&conn) <= stream.len());
}

fn held(conn: &Conn) -> usize {
    conn.in_bytes() + conn.out_bytes()
}

pub(crate) fn connection_seeds() -> Vec<Vec<u8>> {
    let frame = |key: i16, version: i16, rest: &[u8]| {
        let head = [key.to_be_bytes(), version.to_be_bytes()].concat();
        let body = [&head[..], &[0, 0, 0, 7, 0, 1, b'c'], rest].concat();
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    };
    let stream = [
        frame(18, 0, b""),
        frame(3, 1, b"\0\0\0\0"),
        frame(0, 3, &[9; 300]),
        frame(12, 4, b"\0"),
    ]
    .concat();
    [0, 6, 255]
        .map(|step| [&[step], &stream[..]].concat())
        .to_vec()
}

/// Records of metadata, each behind its length: what is replayed can be written as a snapshot, and
/// that gives the same again.
pub(crate) fn metadata(data: &[u8]) {
    let mut replay = Replay::new();
    let mut rest = data;
    while let Some((length, tail)) = rest.split_first() {
        let (record, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        if let Ok(Some((read, in_snapshot))) = Record::decode(record) {
            let written = read.encode(in_snapshot);
            assert_eq!(Record::decode(&written), Ok(Some((read, in_snapshot))));
        }
        if replay.record(record).is_err() {
            return;
        }
    }
    let image = replay.finish();
    let mut again = Replay::new();
    for record in replay::snapshot(&image).into_iter().flatten() {
        assert_eq!(again.record(&record), Ok(()), "a snapshot can be read");
    }
    assert_eq!(again.finish(), image);
}

pub(crate) fn metadata_seeds() -> Vec<Vec<u8>> {
    let id = TopicId([3; 16]);
    let text = |text: &str| Some(text.to_owned());
    let records = [
        Record::Registered {
            cluster_id: "cluster".into(),
            node_id: 1,
        },
        Record::ProducerIds { next: 1000 },
        Record::BrokerConfigSet {
            all: true,
            name: "log.retention.ms".into(),
            value: text("5"),
        },
        Record::LeaderEpoch {
            id,
            index: 0,
            epoch: 1,
        },
        Record::TopicConfigSet {
            id,
            name: "retention.ms".into(),
            value: None,
        },
        Record::TopicDeleted { id },
        Record::SnapshotBegin,
        Record::SnapshotEnd,
    ];
    let framed = |record: &Record| {
        let bytes = record.encode(false);
        [&[bytes.len() as u8], &bytes[..]].concat()
    };
    let each = records.iter().map(framed);
    let all = each.clone().collect::<Vec<_>>().concat();
    each.chain([all]).collect()
}

/// A file of settings, either kind: refused or taken, in words.
pub(crate) fn settings_file(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let syntax = if kind & 1 == 0 {
        Syntax::Toml
    } else {
        Syntax::Properties
    };
    let text = String::from_utf8_lossy(text);
    if let Err(problems) = Loader::new().file("file", &text, syntax).finish() {
        assert!(!problems.is_empty() && problems.iter().all(|line| !line.is_empty()));
    }
}

pub(crate) fn settings_file_seeds() -> Vec<Vec<u8>> {
    let toml = "listeners = \"PLAINTEXT://127.0.0.1:9092\"\n[log]\nretention.ms = 5\nx = [1, 2]\n";
    let properties = "# a file\nlog.dirs=/a,\\\n  /b\nlog.retention.hours : 7\nk\\u00e9y = v\n";
    vec![
        [&[0], toml.as_bytes()].concat(),
        [&[1], properties.as_bytes()].concat(),
    ]
}

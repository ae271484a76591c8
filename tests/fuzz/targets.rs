//! What is fuzzed: each function takes any bytes at all and asserts what must hold for them.
//!
//! The first byte chooses settings, one of which makes the checksum of the rest right again:
//! without it nearly every mutation would end at the checksum.

use crate::messages;
use bytes::Bytes;
use reactor::op::Now;
use ringlog::coordinator::group::{GroupFx, GroupSettings, Groups};
use storage::batch::{self, Compression, Header, Origin, Rules};
use storage::epochs::Epochs;
use storage::index::Index;
use storage::inspect::{self, JournalPlace};
use storage::producer::Producers;
use storage::types::METADATA;

/// Most bytes that records inflate to here.
pub(crate) const INFLATED_BYTES_MAX: usize = 1 << 16;
const NOW_MS: i64 = 1_764_000_000_000;
/// In the settings byte: make the checksum right.
pub(crate) const RESEAL: u8 = 0x80;

/// One function to fuzz.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// Inputs to mutate, settings byte included.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "admit",
        run: admit,
        seeds: batch_seeds,
    },
    Target {
        name: "batches",
        run: batches,
        seeds: batch_seeds,
    },
    Target {
        name: "index",
        run: index,
        seeds: index_seeds,
    },
    Target {
        name: "producers",
        run: producers,
        seeds: producer_seeds,
    },
    Target {
        name: "epochs",
        run: epochs,
        seeds: epoch_seeds,
    },
    Target {
        name: "journal",
        run: journal,
        seeds: journal_seeds,
    },
    Target {
        name: "blocks",
        run: blocks,
        seeds: block_seeds,
    },
    Target {
        name: "group_records",
        run: group_records,
        seeds: group_record_seeds,
    },
    Target {
        name: "message",
        run: messages::message,
        seeds: messages::message_seeds,
    },
    Target {
        name: "connection",
        run: messages::connection,
        seeds: messages::connection_seeds,
    },
    Target {
        name: "metadata",
        run: messages::metadata,
        seeds: messages::metadata_seeds,
    },
    Target {
        name: "settings_file",
        run: messages::settings_file,
        seeds: messages::settings_file_seeds,
    },
];

/// Admission of a produced batch: what gets through can be read to its last record.
pub(crate) fn admit(data: &[u8]) {
    let Some((settings, records)) = data.split_first() else {
        return;
    };
    let rules = rules(*settings);
    let records = Bytes::from(if settings & RESEAL != 0 {
        with_crc(records.to_vec())
    } else {
        records.to_vec()
    });
    let claims_append_time =
        Header::of(&records).is_some_and(|header| header.summary().attributes.log_append_time());
    let step = 1 + usize::from(settings & 0x7f) * 3;
    let pieces: Vec<Bytes> = records.chunks(step).map(Bytes::copy_from_slice).collect();
    let told = |fate: &Result<batch::Admitted, batch::Rejection>| {
        let stored = |batch: &batch::Admitted| (batch.bytes(), batch.header);
        fate.as_ref().map(stored).map_err(Clone::clone)
    };
    let fate = batch::admit(records, &rules);
    assert_eq!(
        told(&batch::admit(pieces, &rules)),
        told(&fate),
        "pieces of {step} bytes meet another fate"
    );
    let Ok(admitted) = fate else {
        return;
    };
    assert!(
        batch::check_crc(&admitted.bytes()),
        "an admitted batch has a wrong CRC"
    );
    let read = batch::records(&admitted.bytes(), INFLATED_BYTES_MAX).expect("it inflates");
    let mut count = 0;
    for record in read {
        let record = record.expect("an admitted batch holds a broken record");
        assert_eq!(record.offset_delta, count);
        count += 1;
    }
    assert_eq!(count, admitted.header.count);
    let header = Header::of(&admitted.bytes())
        .expect("an admitted batch has a header")
        .summary();
    assert_eq!(header, admitted.header);
    assert!((0..count).contains(&admitted.max_ts_offset_delta));
    let again = Rules {
        compression: Compression::Producer,
        ..rules
    };
    // Of a batch that claims the broker's time, the latest time is the one it claims.
    if !again.log_append_time && !claims_append_time {
        let twice = batch::admit(admitted.bytes().clone(), &again).expect("admitted before");
        assert_eq!(
            twice.bytes(),
            admitted.bytes(),
            "admission changes its own result"
        );
    }
}

fn rules(settings: u8) -> Rules {
    Rules {
        now_ms: NOW_MS,
        log_append_time: settings & 1 != 0,
        before_max_ms: i64::MAX,
        after_max_ms: if settings & 2 != 0 { 0 } else { i64::MAX },
        batch_bytes_max: 1 << 16,
        segment_bytes: 1 << 16,
        compression: match settings >> 4 & 7 {
            1 => Compression::None,
            2 => Compression::Gzip { level: -1 },
            3 => Compression::Snappy,
            4 => Compression::Lz4 { level: 9 },
            5 => Compression::Zstd { level: 3 },
            _ => Compression::Producer,
        },
        key_required: settings & 4 != 0,
        zstd_allowed: settings & 8 == 0,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        origin: Origin::Client,
    }
}

/// A run of batches, as read from a segment.
pub(crate) fn batches(data: &[u8]) {
    let data = Bytes::copy_from_slice(data.get(1..).unwrap_or_default());
    let mut position = 0;
    for batch in batch::batches(&data).flatten() {
        assert_eq!(batch.position, position, "batches lie one after the other");
        position += batch.bytes.len();
        let _ = batch.summary().last_offset();
        if let Ok(read) = batch::records(&data.slice_ref(batch.bytes), INFLATED_BYTES_MAX) {
            let most = data.len().max(INFLATED_BYTES_MAX) / batch::RECORD_LEN_MIN + 1;
            assert!(read.count() <= most, "more records than bytes");
        }
    }
    assert!(position <= data.len());
}

/// An index checkpoint: what decodes answers any question and encodes to the same again.
pub(crate) fn index(data: &[u8]) {
    let Ok(index) = Index::decode(&checkpoint(data)) else {
        return;
    };
    for asked in [i64::MIN, -1, 0, 1, 1000, i64::MAX] {
        let (before, after) = (index.by_offset(asked), index.after_offset(asked));
        assert!(before.is_none_or(|entry| entry.offset <= asked));
        assert!(after.is_none_or(|entry| entry.offset > asked));
        let _ = index.by_time(asked);
    }
    assert_eq!(Index::decode(&index.encode()), Ok(index));
}

/// A checkpoint of producers.
pub(crate) fn producers(data: &[u8]) {
    let Ok(mut producers) = Producers::decode(&checkpoint(data)) else {
        return;
    };
    assert_eq!(
        Producers::decode(&producers.encode()).as_ref(),
        Ok(&producers)
    );
    let all: Vec<_> = producers.iter().collect();
    for view in all {
        let summary = producer_batch(view.producer_id, view.epoch, 0, i32::MAX);
        if producers.check(&summary).is_ok() {
            producers.apply(&summary, i64::MAX - 1, i64::MAX);
        }
    }
    producers.expire(i64::MAX, 0);
}

/// A checkpoint of leader epochs.
pub(crate) fn epochs(data: &[u8]) {
    let Ok(mut epochs) = Epochs::decode(&checkpoint(data)) else {
        return;
    };
    assert_eq!(Epochs::decode(&epochs.encode()).as_ref(), Ok(&epochs));
    for asked in [i32::MIN, -1, 0, 1, i32::MAX] {
        let _ = epochs.end_offset_for(asked, i64::MAX);
        let _ = epochs.epoch_at(i64::from(asked));
    }
    epochs.truncate_front(5);
    epochs.truncate_back(7);
    assert_eq!(Epochs::decode(&epochs.encode()), Ok(epochs));
}

/// A journal file, walked as `inspect` walks it.
pub(crate) fn journal(data: &[u8]) {
    let Some((settings, rest)) = data.split_first() else {
        return;
    };
    let mut file = rest.to_vec();
    if settings & RESEAL != 0 {
        seal_round(&mut file);
    }
    let file = Bytes::from(file);
    let mut at = 0;
    while at < file.len() {
        let rest = file.slice(at..);
        at += match inspect::journal_at(&rest, rest.len() as u64) {
            JournalPlace::Round(round) => {
                assert!(round.len > 0 && round.len <= rest.len() as u64);
                round.len as usize
            }
            // What it asks for lies in the file, so there is nothing longer to offer.
            JournalPlace::Longer(needed) => {
                assert!(needed <= rest.len() as u64);
                break;
            }
            JournalPlace::Nothing => inspect::JOURNAL_STEP as usize,
        };
    }
}

/// The other files, which are made of blocks that carry their own CRC.
pub(crate) fn blocks(data: &[u8]) {
    let Some((settings, rest)) = data.split_first() else {
        return;
    };
    let mut file = rest.to_vec();
    if settings & RESEAL != 0 {
        file.chunks_exact_mut(4096).for_each(seal_block);
    }
    let _ = inspect::segment_header(&file);
    let _ = inspect::meta(&file);
    let _ = inspect::checkpoint(&file);
    for count in [0, 1, 2000, usize::MAX] {
        if let Some(sums) = inspect::checksums(&file, &METADATA, 3, count) {
            assert_eq!(sums.len(), count);
        }
    }
}

fn seal_block(block: &mut [u8]) {
    let (content, crc) = block.split_at_mut(4092);
    crc.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
}

/// Makes the CRC of the round at the start of `file` right.
fn seal_round(file: &mut [u8]) {
    let payload = file
        .get(60..64)
        .map(|four| u32::from_le_bytes(four.try_into().expect("four")));
    if let Some(payload) = payload
        && let Some(payload) = file.get(68..).and_then(|rest| rest.get(..payload as usize))
    {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&file[..64]), payload);
        file[64..68].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The bytes behind the settings, the CRC of a checkpoint's frame made right on request.
fn checkpoint(data: &[u8]) -> Vec<u8> {
    let Some((settings, rest)) = data.split_first() else {
        return Vec::new();
    };
    let mut bytes = rest.to_vec();
    let length = bytes
        .get(8..12)
        .map(|four| u32::from_le_bytes(four.try_into().expect("four")));
    if let Some(length) = length
        && settings & RESEAL != 0
        && let Some(payload) = bytes.get(16..).and_then(|rest| rest.get(..length as usize))
    {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), payload);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

/// `batch` with a right CRC, if it is long enough to have one.
fn with_crc(mut batch: Vec<u8>) -> Vec<u8> {
    let length = batch
        .get(8..12)
        .map(|four| i32::from_be_bytes(four.try_into().expect("four")));
    let end = length
        .and_then(|length| usize::try_from(length).ok())
        .map_or(0, |len| len + 12);
    if let Some(covered) = batch.get(batch::CRC_COVERS_FROM..end.min(batch.len())) {
        let crc = crc32c::crc32c(covered);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch
}

fn batch_seeds() -> Vec<Vec<u8>> {
    let codecs = [
        Compression::None,
        Compression::Gzip { level: 6 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
    ];
    let mut seeds = Vec::new();
    for (codec, settings) in codecs.into_iter().zip([0x80u8, 0x90, 0xa0, 0xb1, 0xc0]) {
        let mut builder = batch::Builder::new(codec).producer(7, 0, i32::MAX - 1);
        for at in 0..5i64 {
            let name = Bytes::from_static(b"name");
            let headers = [(name.clone(), Some(name.clone())), (name, None)];
            let headers = &headers[..(at as usize) % 3];
            let value = [b'v'; 300];
            let key: Option<&[u8]> = (at % 2 == 0).then_some(b"key");
            let value = (at != 3).then_some(&value[..60 * at as usize]);
            builder
                .append(NOW_MS - at, key, value, headers)
                .expect("small");
        }
        let batch = builder.build().expect("five records");
        seeds.push([&[settings], &batch[..]].concat());
        seeds.push([&[settings | 0x70], &batch[..], &batch[..]].concat());
    }
    seeds
}

fn producer_batch(id: i64, epoch: i16, sequence: i32, last_delta: i32) -> batch::Summary {
    batch::Summary {
        base_offset: 0,
        leader_epoch: 0,
        attributes: batch::Attributes(0),
        last_offset_delta: last_delta,
        base_timestamp: NOW_MS,
        max_timestamp: NOW_MS,
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        count: last_delta.saturating_add(1),
    }
}

fn index_seeds() -> Vec<Vec<u8>> {
    let mut index = Index::new(1000);
    for at in 0..40 {
        let summary = batch::Summary {
            base_offset: 5 * at,
            ..producer_batch(-1, -1, -1, 4)
        };
        index.append(4096 + 700 * at as u64, 700, &summary, 2);
    }
    vec![seed(&Index::new(4096).encode()), seed(&index.encode())]
}

fn producer_seeds() -> Vec<Vec<u8>> {
    let mut producers = Producers::default();
    for at in 0..20 {
        let summary = producer_batch(i64::from(at % 3), (at / 12) as i16, at * 2, 1);
        producers.apply(&summary, i64::from(at) * 2, NOW_MS);
    }
    vec![
        seed(&Producers::default().encode()),
        seed(&producers.encode()),
    ]
}

fn epoch_seeds() -> Vec<Vec<u8>> {
    let mut epochs = Epochs::default();
    for at in 0..9 {
        epochs.assign(at * 2, i64::from(at) * 10);
    }
    vec![seed(&Epochs::default().encode()), seed(&epochs.encode())]
}

fn seed(bytes: &[u8]) -> Vec<u8> {
    [&[RESEAL], bytes].concat()
}

/// One round that holds an entry of each kind, twice, written as `docs/format.md` says.
fn journal_seeds() -> Vec<Vec<u8>> {
    let head = |kind: u8, base: i64| {
        let id = [&METADATA.topic.0[..], &METADATA.index.to_le_bytes()].concat();
        [&[kind], &id[..], &base.to_le_bytes()].concat()
    };
    let numbers = |numbers: &[u64]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    let data = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let ended = [&[1u8], &numbers(&[1, 8192, 5])[..]].concat();
    let short = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    let state = [
        head(1, 3),
        numbers(&[2]),
        ended.clone(),
        numbers(&[3 * 65536 + 4096, 9]),
        short(&[7, 1, 2, 5, 6]),
        data(b"tail"),
    ];
    let extent = [
        head(3, 3),
        numbers(&[8192, 4096]),
        short(&[1]),
        numbers(&[12]),
    ];
    let payload = [
        state.concat(),
        [head(2, 3), numbers(&[4100, 11]), data(b"crumb")].concat(),
        extent.concat(),
        [head(4, 20), ended].concat(),
        head(5, 4),
        [head(6, 0), data(b"why")].concat(),
    ]
    .concat();
    let mut round = [
        &b"RLJR"[..],
        &[1, 0, 3, 0, 0, 0, 0, 0],
        &numbers(&[77, 1, 1, 1, 5, 4]),
        &short(&[payload.len() as u32, 0]),
        &payload,
    ]
    .concat();
    seal_round(&mut round);
    round.resize(4096, 0);
    let whole = inspect::journal_at(&Bytes::from(round.clone()), 4096);
    assert!(matches!(whole, JournalPlace::Round(round) if round.entries.len() == 6));
    vec![
        [&[RESEAL], &round[..], &round[..]].concat(),
        [&[0], &round[..]].concat(),
    ]
}

fn block_seeds() -> Vec<Vec<u8>> {
    let id = [&METADATA.topic.0[..], &METADATA.index.to_le_bytes()].concat();
    let mut seeds = Vec::new();
    for magic in [b"RLSG", b"RLSU", b"RLDR", b"RLCP"] {
        let mut file = [&magic[..], &[1, 0], &id, &3i64.to_le_bytes(), &[1; 25]].concat();
        file.resize(3 * 4096, 0);
        file.chunks_exact_mut(4096).for_each(seal_block);
        seeds.push([&[RESEAL], &file[..]].concat());
    }
    assert!(inspect::segment_header(&seeds[0][1..]).is_some());
    seeds
}

/// A record of the offsets topic, its key's length first: what is taken over can be written again,
/// and is the same when it is read once more.
pub(crate) fn group_records(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let load = |records: &[(Bytes, Option<Bytes>)]| {
        let mut groups = Groups::new(GroupSettings::default(), 1);
        groups.load(0);
        let read =
            |(key, value): &(Bytes, Option<Bytes>)| groups.replay(0, key, value.as_deref()).is_ok();
        let all_read = records.iter().all(read);
        groups.loaded(0, Now::default(), &mut GroupFx::default());
        (all_read, groups.live_records(0))
    };
    let record = (
        Bytes::copy_from_slice(key),
        Some(Bytes::copy_from_slice(value)),
    );
    let (is_read, live) = load(&[record]);
    if is_read {
        assert_eq!(live.len(), 1);
        assert_eq!(load(&live), (true, live.clone()));
    }
}

fn group_record_seeds() -> Vec<Vec<u8>> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u16).to_be_bytes());
        out.extend(text.as_bytes());
    };
    let record = |key: Vec<u8>, value: Vec<u8>| [vec![key.len() as u8], key, value].concat();
    let mut group_key = vec![0, 2];
    text(&mut group_key, "group");
    let mut group = vec![0, 3];
    text(&mut group, "consumer");
    group.extend([0, 0, 0, 7]);
    text(&mut group, "range");
    text(&mut group, "member");
    group.extend(NOW_MS.to_be_bytes());
    group.extend([0, 0, 0, 1]);
    text(&mut group, "member");
    group.extend([0xff, 0xff]);
    text(&mut group, "client");
    text(&mut group, "/127.0.0.1");
    group.extend([
        0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 0, 0, 0, 1, 9, 0, 0, 0, 1, 9,
    ]);
    let mut offset_key = vec![0, 1];
    text(&mut offset_key, "group");
    text(&mut offset_key, "topic");
    offset_key.extend([0, 0, 0, 3]);
    let mut offset = vec![0, 4];
    offset.extend(77i64.to_be_bytes());
    offset.extend([0, 0, 0, 1, 5]);
    offset.extend(b"here");
    offset.extend(NOW_MS.to_be_bytes());
    offset.extend([1, 0, 16]);
    offset.extend([5; 16]);
    vec![record(group_key, group), record(offset_key, offset)]
}

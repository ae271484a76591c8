//! A small log directory, written by hand as `docs/format.md` says, and then damaged.

use super::*;
use storage::batch::{self, Builder, Compression};
use storage::types::METADATA;

const BLOCK: usize = 4096;

fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    block.resize(BLOCK - 4, 0);
    let crc = storage::crc::crc32c(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block
}

fn block(magic: &[u8; 4], base: i64) -> Vec<u8> {
    let id = [&METADATA.topic.0[..], &METADATA.index.to_le_bytes()].concat();
    sealed([&magic[..], &[1, 0], &id, &base.to_le_bytes(), &[0; 25]].concat())
}

/// A segment from offset 7 on: 40 batches of two records and 2,000 bytes, then zeros.
fn segment() -> Vec<u8> {
    let mut file = block(b"RLSG", 7);
    for at in 0..40 {
        let mut builder = Builder::new(Compression::None).producer(5, 1, 2 * at);
        builder
            .append(1000, Some(b"key"), Some(&[b'v'; 1900]), &[])
            .expect("small");
        builder.append(1001, None, None, &[]).expect("small");
        let mut batch = builder.build().expect("two records").to_vec();
        batch::patch(&mut batch, 7 + 2 * i64::from(at), 3);
        file.extend(batch);
    }
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

fn sidecar(segment: &[u8]) -> Vec<u8> {
    let sums = segment
        .chunks(64 * 1024)
        .flat_map(|piece| storage::crc::crc32c(piece).to_le_bytes());
    [block(b"RLSU", 7), sealed(sums.collect())].concat()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringlog-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).expect("a temporary file can be written");
    }

    /// What inspection prints, and the number of damaged files.
    fn inspect(&self, records: bool) -> (String, usize) {
        let arguments = Arguments {
            paths: vec![self.0.clone()],
            records,
            json: true,
        };
        let mut out = Vec::new();
        let damaged = inspect_all(&mut out, &arguments).expect("the folder can be read");
        (String::from_utf8(out).expect("text"), damaged)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn count(text: &str, item: &str) -> usize {
    text.matches(&format!("\"item\":\"{item}\"")).count()
}

#[test]
fn a_sound_segment_shows_its_batches_and_records() {
    let folder = Folder::new("inspect-sound");
    folder.write("00000000000000000007.log", &segment());
    folder.write("00000000000000000007.sum", &sidecar(&segment()));
    let (text, damaged) = folder.inspect(true);
    assert_eq!(
        (damaged, count(&text, "batch"), count(&text, "record")),
        (0, 40, 80),
        "{text}"
    );
    assert!(
        text.contains("\"base_offset\":85,\"last_offset\":86"),
        "{text}"
    );
    assert!(
        text.contains("\"next_offset\":87,\"then\":\"zeros\""),
        "{text}"
    );
    assert!(
        text.contains("\"pieces\":2,\"right\":2,\"wrong_at\":[]"),
        "{text}"
    );
}

/// The file of a segment may have been another's before, whose batches follow where it ends.
#[test]
fn a_segment_ends_where_the_next_one_says() {
    let folder = Folder::new("inspect-recycled");
    let file = segment();
    let len = &file[BLOCK + 8..BLOCK + 12];
    let len = 12 + u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
    folder.write("00000000000000000007.log", &file);
    let (base, end) = (7_i64, (BLOCK + 39 * len) as u64);
    let mut next = block(b"RLSG", 85)[..34].to_vec();
    next.push(1);
    next.extend([base.to_le_bytes(), end.to_le_bytes(), base.to_le_bytes()].concat());
    folder.write("00000000000000000085.log", &sealed(next));
    let (text, damaged) = folder.inspect(false);
    assert_eq!((damaged, count(&text, "batch")), (0, 39), "{text}");
    assert!(
        text.contains("\"next_offset\":85,\"then\":\"the next segment\""),
        "{text}"
    );
}

#[test]
fn every_damaged_byte_of_a_batch_is_found() {
    let folder = Folder::new("inspect-damaged");
    folder.write("00000000000000000007.sum", &sidecar(&segment()));
    // Of the fields outside of the CRC, the offset shows by itself and the epoch by the checksum.
    for at in [BLOCK + 13, BLOCK + 17, BLOCK + 60, BLOCK + 1000] {
        let mut damaged = segment();
        damaged[at] ^= 1;
        folder.write("00000000000000000007.log", &damaged);
        let (text, count) = folder.inspect(false);
        assert!(
            count == 1 && text.contains("\"wrong_at\":[0]"),
            "byte {at}: {text}"
        );
    }
    // Behind the checksums, what does not check may lie in the journal, unless the log goes on.
    let mut unfinished = segment();
    unfinished[70 * 1024] ^= 1;
    folder.write("00000000000000000007.log", &unfinished);
    fs::remove_file(folder.0.join("00000000000000000007.sum")).expect("it was just written");
    assert_eq!(folder.inspect(false).1, 0);
    folder.write("00000000000000000087.log", &segment());
    assert_eq!(folder.inspect(false).1, 1);
    fs::remove_file(folder.0.join("00000000000000000087.log")).expect("it was just written");
    let mut headless = segment();
    headless[5] ^= 1;
    folder.write("00000000000000000007.log", &headless);
    let (text, found) = folder.inspect(false);
    assert_eq!((found, count(&text, "damaged")), (1, 1), "{text}");
}

#[test]
fn a_name_that_says_nothing_is_refused_and_zeros_are_no_journal() {
    let folder = Folder::new("inspect-names");
    folder.write("0-0000000001.j", &[0; 3 * BLOCK]);
    let (text, damaged) = folder.inspect(false);
    assert_eq!(damaged, 0);
    assert!(
        text.contains("\"rounds\":0,\"places_without_round\":3"),
        "{text}"
    );
    folder.write("notes.txt", b"");
    let paths = vec![folder.0.join("notes.txt")];
    let refused = Arguments {
        paths,
        records: false,
        json: false,
    };
    assert!(inspect_all(&mut Vec::new(), &refused).is_err());
}

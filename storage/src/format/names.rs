//! Names of files and folders in a log directory, and back.

use crate::types::{PartitionId, TopicId};
use std::path::{Path, PathBuf};

/// The journal of the metadata log carries this number instead of a shard's.
pub(crate) const META_JOURNAL: u16 = u16::MAX;

/// The file whose lock says that a process uses the directory.
pub(crate) fn lock(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// The file that says what the directory is.
pub(crate) fn meta(dir: &Path) -> PathBuf {
    dir.join("meta")
}

pub(crate) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// What a partition's checkpoint is called.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// What a newer one is called that is not durable.
pub(crate) const RECENT: &str = "recent";

pub(crate) fn topics_dir(dir: &Path) -> PathBuf {
    dir.join("topics")
}

/// Where retired segment files wait to become others.
pub(crate) fn recycle_dir(dir: &Path) -> PathBuf {
    dir.join("recycle")
}

/// A retired segment file: no two of all lives have the same name.
pub(crate) fn spare(dir: &Path, shard: u16, start: u64, number: u64) -> PathBuf {
    recycle_dir(dir).join(format!("{shard}-{start:010}-{number:010}.spare"))
}

pub(crate) fn is_spare(name: &str) -> bool {
    let numbers = name
        .strip_suffix(".spare")
        .map(|numbers| numbers.split('-'));
    numbers.is_some_and(|mut numbers| numbers.all(|number| number.parse::<u64>().is_ok()))
}

pub(crate) fn journal(dir: &Path, shard: u16, number: u64) -> PathBuf {
    let name = if shard == META_JOURNAL {
        format!("meta-{number:010}.j")
    } else {
        format!("{shard}-{number:010}.j")
    };
    journal_dir(dir).join(name)
}

/// Shard and number of a journal file's name.
pub(crate) fn parse_journal(name: &str) -> Option<(u16, u64)> {
    let (shard, number) = name.strip_suffix(".j")?.split_once('-')?;
    let shard = if shard == "meta" {
        META_JOURNAL
    } else {
        shard.parse().ok()?
    };
    Some((shard, number.parse().ok()?))
}

pub(crate) fn topic(dir: &Path, topic: TopicId) -> PathBuf {
    let hex: String = topic.0.iter().map(|byte| format!("{byte:02x}")).collect();
    topics_dir(dir).join(hex)
}

/// The topic of a folder's name.
pub(crate) fn parse_topic(name: &str) -> Option<TopicId> {
    if name.len() != 32 || !name.is_ascii() {
        return None;
    }
    let mut id = [0; 16];
    for (i, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&name[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(TopicId(id))
}

pub(crate) fn partition(dir: &Path, id: &PartitionId) -> PathBuf {
    topic(dir, id.topic).join(id.index.to_string())
}

pub(crate) fn segment(dir: &Path, id: &PartitionId, base: i64) -> PathBuf {
    partition(dir, id).join(format!("{base:020}.log"))
}

pub(crate) fn sums(dir: &Path, id: &PartitionId, base: i64) -> PathBuf {
    partition(dir, id).join(format!("{base:020}.sum"))
}

pub(crate) fn index(dir: &Path, id: &PartitionId, base: i64) -> PathBuf {
    partition(dir, id).join(format!("{base:020}.idx"))
}

pub(crate) fn checkpoint(dir: &Path, id: &PartitionId) -> PathBuf {
    partition(dir, id).join(CHECKPOINT)
}

pub(crate) fn recent(dir: &Path, id: &PartitionId) -> PathBuf {
    partition(dir, id).join(RECENT)
}

/// A file that becomes `path` by a rename once it is complete.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// Base offset and extension of a file that belongs to a segment.
pub(crate) fn parse_segment(name: &str) -> Option<(i64, &str)> {
    let (base, extension) = name.split_once('.')?;
    let known = matches!(extension, "log" | "sum" | "idx" | "tmp");
    if base.len() != 20 || !known {
        return None;
    }
    Some((base.parse().ok()?, extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_back() {
        let dir = Path::new("d");
        let id = PartitionId {
            topic: TopicId([0xa7; 16]),
            index: 3,
        };
        let file = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        for shard in [0, 12, META_JOURNAL] {
            assert_eq!(
                parse_journal(&file(journal(dir, shard, 77))),
                Some((shard, 77))
            );
        }
        assert_eq!(parse_topic(&file(topic(dir, id.topic))), Some(id.topic));
        assert_eq!(
            parse_segment(&file(segment(dir, &id, 42))),
            Some((42, "log"))
        );
        let spare = file(spare(dir, 3, 12, 9));
        assert!(is_spare(&spare));
        assert_eq!((parse_journal(&spare), parse_segment(&spare)), (None, None));
        assert!(!is_spare("notes.spare") && !is_spare("1-2-3"));
        assert_eq!(parse_segment("checkpoint"), None);
        assert_eq!(parse_topic("ä"), None);
    }
}

//! `ringlog inspect`: what the files of a log directory say, while no broker uses them.

mod items;
mod journal;
mod segment;
#[cfg(test)]
mod tests;

use super::failure::{Failure, Outcome};
use super::json::Json;
use items::{Items, number, partition};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use storage::inspect::{self, Kind};

/// Longest index, checkpoint or meta file that is read, in bytes: they are read whole.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files of a log directory, or folders of it, which are walked.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the records of segments too.
    #[arg(long)]
    records: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints every file named, and says at the end whether any is damaged.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut out = super::output::open();
    match inspect_all(&mut out, arguments)? {
        0 => Ok(()),
        1 => Err(Failure::new("one file is damaged")),
        damaged => Err(Failure::new(format!("{damaged} files are damaged"))),
    }
}

/// Returns the number of damaged files.
fn inspect_all(out: &mut dyn Write, arguments: &Arguments) -> Outcome<usize> {
    let mut items = Items::new(out, arguments.json);
    let mut damaged = 0;
    for path in &arguments.paths {
        if let Some(dir) = in_use(path) {
            eprintln!(
                "ringlog: warning: a broker uses {}: what it is writing just now may look damaged",
                dir.display()
            );
        }
        for file in files_under(path)? {
            match kind_of(&file) {
                Some(kind) => damaged += usize::from(!print(&mut items, &file, kind, arguments)?),
                None if file == *path => {
                    return Err(
                        Failure::new(format!("{} has an unknown name", file.display())).advise(
                            "name a .log, .sum, .idx or .j file, a checkpoint, a meta file, or a \
                             folder that holds some",
                        ),
                    );
                }
                None => {}
            }
        }
    }
    items.flush()?;
    Ok(damaged)
}

/// The log directory that `path` lies in, if a process holds its lock.
fn in_use(path: &Path) -> Option<&Path> {
    let is_log_dir = |dir: &&Path| dir.join("meta").is_file() && dir.join("lock").is_file();
    let dir = path.ancestors().find(is_log_dir)?;
    let lock = fs::File::open(dir.join("lock")).ok()?;
    let is_held = matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    is_held.then_some(dir)
}

fn kind_of(path: &Path) -> Option<Kind> {
    inspect::kind_of(path.file_name()?.to_str()?)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// The files at or below `path`, in the order of their names.
fn files_under(path: &Path) -> Outcome<Vec<PathBuf>> {
    let about = fs::symlink_metadata(path).map_err(|error| cannot_read(path, &error))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| cannot_read(path, &error))? {
        entries.push(entry.map_err(|error| cannot_read(path, &error))?.path());
    }
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(files_under(&entry)?);
    }
    Ok(files)
}

/// Prints one file; `false` when it is damaged.
fn print(items: &mut Items<'_>, path: &Path, kind: Kind, arguments: &Arguments) -> Outcome<bool> {
    items.file(path);
    match kind {
        Kind::Segment(_) => segment::print(items, path, arguments.records),
        Kind::Journal(..) => journal::print(items, path),
        Kind::Checksums(_) => Ok(true),
        Kind::Index(_) => index(items, &whole(path)?),
        Kind::Checkpoint => checkpoint(items, &whole(path)?),
        Kind::Meta => meta(items, &whole(path)?),
    }
}

fn whole(path: &Path) -> Outcome<Vec<u8>> {
    let about = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    if about.len() > FILE_BYTES_MAX {
        let message = format!("{} is larger than any such file can be", path.display());
        return Err(Failure::new(message));
    }
    fs::read(path).map_err(|error| cannot_read(path, &error))
}

fn meta(items: &mut Items<'_>, file: &[u8]) -> Outcome<bool> {
    match inspect::meta(file) {
        Ok(meta) => {
            let id = |id: &u64| Json::text(format!("{id:016x}"));
            let together = meta.together.iter().map(id).collect();
            let fields = vec![
                ("id", id(&meta.id)),
                ("shards", Json::Number(i64::from(meta.shards))),
                ("together", Json::List(together)),
            ];
            items.put("directory", fields)?;
        }
        Err(why) => return items.damaged(&why),
    }
    Ok(true)
}

fn index(items: &mut Items<'_>, file: &[u8]) -> Outcome<bool> {
    match storage::index::Index::decode(file) {
        Ok(index) => put_index(items, &index)?,
        Err(error) => return items.damaged(&error.to_string()),
    }
    Ok(true)
}

fn put_index(items: &mut Items<'_>, index: &storage::index::Index) -> Outcome {
    let mut about = vec![("entries", number(index.entries().len()))];
    if let Some(max) = index.max_time() {
        about.push(("max_timestamp", Json::Number(max.timestamp)));
        about.push(("max_timestamp_offset", Json::Number(max.offset)));
        about.push(("max_timestamp_position", number(max.position)));
    }
    items.put("index", about)?;
    for entry in index.entries() {
        items.put(
            "index_entry",
            vec![
                ("offset", Json::Number(entry.offset)),
                ("position", number(entry.position)),
                ("max_timestamp_before", Json::Number(entry.max_before)),
            ],
        )?;
    }
    Ok(())
}

fn checkpoint(items: &mut Items<'_>, file: &[u8]) -> Outcome<bool> {
    let Some(found) = inspect::checkpoint(file) else {
        return items.damaged("it does not check or has another version");
    };
    items.put(
        "checkpoint",
        vec![
            ("segment", Json::Number(found.base)),
            ("position", number(found.position)),
            ("end_offset", Json::Number(found.end)),
        ],
    )?;
    put_index(items, &found.index)?;
    for producer in found.producers.iter() {
        items.put(
            "producer",
            vec![
                ("id", Json::Number(producer.producer_id)),
                ("epoch", Json::Number(producer.epoch.into())),
                ("last_sequence", Json::Number(producer.last_sequence.into())),
                ("last_timestamp", Json::Number(producer.last_timestamp)),
            ],
        )?;
    }
    for epoch in found.epochs.entries() {
        items.put(
            "epoch",
            vec![
                ("epoch", Json::Number(epoch.epoch.into())),
                ("start_offset", Json::Number(epoch.start_offset)),
            ],
        )?;
    }
    Ok(true)
}

/// What comes before a segment, as its header and the journal remember it.
fn before(view: Option<inspect::EndView>) -> Json {
    view.map_or(Json::Null, |end| {
        Json::Object(vec![
            ("base", Json::Number(end.base)),
            ("end_position", number(end.end)),
            ("max_timestamp", Json::Number(end.max_timestamp)),
        ])
    })
}

/// A partition's identity as two members.
fn identity(id: &storage::types::PartitionId) -> (&'static str, Json) {
    ("partition", Json::Text(partition(id)))
}

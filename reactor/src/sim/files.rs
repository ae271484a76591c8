//! File operations in flight: who has which file open, what was asked, and what it does when its
//! time comes. An operation takes effect at one instant between its submission and its completion;
//! only a power cut can show a write half done.

use super::disk::{Disk, FaultOn, Outcome, failure};
use super::names::Ino;
use super::rng::Rng;
use crate::buf::{Arena, BLOCK};
use crate::op::{Done, ErrorKind, FileId, Op, OpenMode, ShardId, Token};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An operation between submission and completion.
#[derive(Debug)]
pub(super) struct Flight {
    /// The process that asked, by generation.
    pub(super) life: u64,
    pub(super) shard: ShardId,
    pub(super) token: Token,
    pub(super) op: Op,
    file: Option<(Ino, bool)>,
    /// What had completed when it was submitted is what a sync covers.
    start: u64,
}

impl Flight {
    /// Whether it may still matter after its process is dead.
    pub(super) fn changes_disk(&self) -> bool {
        !matches!(
            self.op,
            Op::Open { .. }
                | Op::Close { .. }
                | Op::Read { .. }
                | Op::ListDir { .. }
                | Op::Space { .. }
                | Op::Lock { .. }
        )
    }
}

#[derive(Debug)]
struct Handle {
    ino: Ino,
    direct: bool,
    /// The last operation in flight on it ends then, in nanoseconds.
    busy_until: u64,
    closing: bool,
}

/// Locks and open files of the machine's processes.
#[derive(Debug)]
pub(super) struct Files {
    handles: BTreeMap<(ShardId, FileId), Handle>,
    next_file: u32,
    locks: BTreeMap<PathBuf, u64>,
    reads: Arena,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            handles: BTreeMap::new(),
            next_file: 0,
            locks: BTreeMap::new(),
            reads: Arena::heap(usize::MAX >> 1),
        }
    }
}

impl Files {
    /// Accepts an operation. Returns it, and the earliest time of its completion.
    ///
    /// Panics where the machine breaks a promise of the vocabulary: that is what a test is for.
    pub(super) fn submit(
        &mut self,
        disk: &mut Disk,
        (life, shard, token): (u64, ShardId, Token),
        op: Op,
        ends: u64,
    ) -> (Flight, u64) {
        let mut ends = ends;
        let file = file_of(&op).map(|id| {
            let handle = self
                .handles
                .get_mut(&(shard, id))
                .unwrap_or_else(|| panic!("{shard:?} uses {id:?}, which is not open: {op:?}"));
            assert!(
                !handle.closing,
                "{shard:?} uses {id:?} after closing it: {op:?}"
            );
            if let Op::Close { .. } = op {
                handle.closing = true;
                ends = ends.max(handle.busy_until + 1);
            }
            handle.busy_until = handle.busy_until.max(ends);
            if handle.direct {
                check_alignment(&op);
            }
            (handle.ino, handle.direct)
        });
        let start = disk.tick();
        (
            Flight {
                life,
                shard,
                token,
                op,
                file,
                start,
            },
            ends,
        )
    }

    /// Carries an operation out. `None` if it was left behind on a file that is no more.
    pub(super) fn complete(&mut self, disk: &mut Disk, flight: &Flight) -> Option<Done> {
        if flight.file.is_some_and(|(ino, _)| !disk.has(ino)) {
            return None;
        }
        let done = match flight.file {
            Some((ino, direct)) => self.on_file(disk, flight, ino, direct),
            None => self.on_path(disk, flight),
        };
        Some(done.unwrap_or_else(Done::Failed))
    }

    fn on_file(
        &mut self,
        disk: &mut Disk,
        flight: &Flight,
        ino: Ino,
        direct: bool,
    ) -> Outcome<Done> {
        match &flight.op {
            Op::Close { file } => {
                if self.handles.remove(&(flight.shard, *file)).is_some() {
                    disk.close(ino);
                }
            }
            Op::Read { pos, len, .. } => {
                disk.struck(FaultOn::Read, &disk.path_of(ino))?;
                return Ok(Done::Read(self.read(disk, ino, *pos, *len)));
            }
            Op::Write {
                pos, parts, sync, ..
            } => {
                disk.struck(FaultOn::Write, &disk.path_of(ino))?;
                write_parts(disk, ino, *pos, parts, !direct)?;
                if *sync {
                    let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
                    disk.sync_range(ino, *pos, *pos + len)?;
                }
            }
            Op::Sync { .. } => disk.sync(ino, flight.start)?,
            Op::Allocate { pos, len, .. } => disk.allocate(ino, *pos, *len)?,
            Op::Truncate { len, .. } => disk.truncate(ino, *len),
            _ => unreachable!("only operations on files have a file"),
        }
        Ok(Done::Ok)
    }

    fn read(&self, disk: &Disk, ino: Ino, pos: u64, len: u32) -> Bytes {
        let len = len as usize;
        let mut buf = self
            .reads
            .alloc(len)
            .expect("the address space has room for a read");
        let count = disk.read(ino, pos, &mut buf.spare()[..len]);
        buf.publish(count);
        buf.freeze()
    }

    fn on_path(&mut self, disk: &mut Disk, flight: &Flight) -> Outcome<Done> {
        match &flight.op {
            Op::Open { path, mode, direct } => {
                let (ino, len) = disk.open(path, *mode)?;
                let direct = *direct && disk.direct_allowed;
                let file = FileId(self.next_file);
                self.next_file += 1;
                let handle = Handle {
                    ino,
                    direct,
                    busy_until: 0,
                    closing: false,
                };
                self.handles.insert((flight.shard, file), handle);
                let in_place = direct.then(|| disk.in_place(ino));
                return Ok(Done::Opened {
                    file,
                    len,
                    direct,
                    in_place,
                });
            }
            Op::Rename { from, to } => disk.rename(from, to)?,
            Op::Unlink { path } => disk.unlink(path)?,
            Op::CreateDir { path } => disk.create_dir(path)?,
            Op::RemoveDir { path } => disk.remove_dir(path)?,
            Op::SyncDir { path } => disk.sync_dir(path, flight.start)?,
            Op::SyncParent { of } => {
                disk.sync_dir(of.parent().unwrap_or(of), flight.start)?;
            }
            Op::ListDir { path } => return Ok(Done::Listed(disk.list(path)?)),
            Op::Space { path } => return Ok(Done::Space(disk.space(path)?)),
            Op::Lock { path } => {
                // Shards of one process share its locks.
                match self.locks.get(path) {
                    Some(holder) if *holder == flight.life => return Ok(Done::Ok),
                    Some(_) => return Err(failure(ErrorKind::Locked)),
                    None => {}
                }
                let (ino, _) = disk.open(path, OpenMode::Create)?;
                disk.close(ino);
                self.locks.insert(path.clone(), flight.life);
            }
            _ => unreachable!("operations on sockets do not come here"),
        }
        Ok(Done::Ok)
    }

    /// The process has ended: its files are closed, its locks are held until [`Self::unlock`].
    pub(super) fn process_ended(&mut self, disk: &mut Disk) {
        let handles = std::mem::take(&mut self.handles);
        disk.close_all(handles.into_values().map(|handle| handle.ino));
    }

    /// The last write of process `life` is over.
    pub(super) fn unlock(&mut self, life: u64) {
        self.locks.retain(|_, holder| *holder != life);
    }

    /// Power is gone: nobody holds anything.
    pub(super) fn forget(&mut self) {
        self.handles.clear();
        self.locks.clear();
    }
}

fn file_of(op: &Op) -> Option<FileId> {
    match op {
        Op::Close { file }
        | Op::Read { file, .. }
        | Op::Write { file, .. }
        | Op::Sync { file }
        | Op::Allocate { file, .. }
        | Op::Truncate { file, .. } => Some(*file),
        _ => None,
    }
}

fn check_alignment(op: &Op) {
    let aligned = |number: u64| number.is_multiple_of(BLOCK as u64);
    match op {
        Op::Read { pos, len, .. } => {
            assert!(
                aligned(*pos) && aligned(u64::from(*len)),
                "unaligned direct read: {pos} {len}"
            );
        }
        Op::Write { pos, parts, .. } => {
            assert!(aligned(*pos), "unaligned direct write at {pos}");
            for part in parts {
                let address = part.as_ptr() as u64;
                assert!(
                    aligned(part.len() as u64),
                    "a direct part of {} bytes",
                    part.len()
                );
                assert!(
                    aligned(address),
                    "a direct part at the address {address:#x}"
                );
            }
        }
        _ => {}
    }
}

fn write_parts(
    disk: &mut Disk,
    ino: Ino,
    pos: u64,
    parts: &[Bytes],
    buffered: bool,
) -> Outcome<()> {
    let mut pos = pos;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        disk.write(ino, pos, part, buffered)?;
        pos += part.len() as u64;
    }
    Ok(())
}

/// What an operation in flight may have done when the power goes.
pub(super) fn tear(disk: &mut Disk, flight: &Flight, rng: &mut Rng) {
    let Op::Write { pos, parts, .. } = &flight.op else {
        if !matches!(flight.op, Op::Sync { .. } | Op::Close { .. }) && rng.chance(1, 2) {
            let _ = Files::default().complete(disk, flight);
        }
        return;
    };
    let Some((ino, direct)) = flight.file.filter(|(ino, _)| disk.has(*ino)) else {
        return;
    };
    let mut pos = *pos;
    for block in parts.iter().flat_map(|part| part.chunks(BLOCK)) {
        if rng.chance(1, 2) {
            let _ = disk.write(ino, pos, block, !direct);
        }
        pos += block.len() as u64;
    }
}

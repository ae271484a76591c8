//! What the disk takes and gives, past the page cache.

use super::sample::{Sample, Watch};
use crate::failure::{Failure, Outcome};
use rustix::fs::{FallocateFlags, OFlags, fallocate, statfs};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(super) const BLOCK: usize = 4096;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// Memory whose address and length suit O_DIRECT.
pub(super) struct Aligned {
    space: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let space = vec![0x5a; len + BLOCK];
        let start = space.as_ptr().align_offset(BLOCK);
        Self { space, start, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.space[self.start..self.start + self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.space[self.start..self.start + self.len]
    }
}

/// A file of pre-written space; removed when dropped.
pub(super) struct Scratch {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that cannot be removed is named after this process; there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Memory is no disk.
pub(super) fn refuse_memory(dir: &Path) -> Outcome<()> {
    let about = statfs(dir)
        .map_err(|error| Failure::new(format!("cannot look at {}: {error}", dir.display())))?;
    if [TMPFS, RAMFS].contains(&(about.f_type as u64)) {
        let what = format!(
            "{} is in memory (tmpfs): it says nothing of a disk",
            dir.display()
        );
        return Err(Failure::new(what).advise("Name a directory on a disk with --dir."));
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
}

impl Scratch {
    pub(super) fn new(dir: &Path, len: u64) -> Outcome<Self> {
        refuse_memory(dir)?;
        // Tests make several at once.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench-harness-floor-{}-{number}", std::process::id());
        let path = dir.join(name);
        let failed = |error: io::Error| {
            let what = format!("cannot write {} with O_DIRECT: {error}", path.display());
            Failure::new(what).advise("Name a directory on a file system that has it with --dir.")
        };
        let file = open(&path).map_err(failed)?;
        let scratch = Self {
            path: path.clone(),
            file,
            len,
        };
        scratch.prewrite().map_err(failed)?;
        Ok(scratch)
    }

    fn prewrite(&self) -> io::Result<()> {
        let piece = Aligned::new(1 << 20);
        fallocate(&self.file, FallocateFlags::empty(), 0, self.len)?;
        for pos in (0..self.len).step_by(1 << 20) {
            self.file.write_all_at(piece.bytes(), pos)?;
        }
        self.file.sync_data()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, pos)
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], pos: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, pos)
    }

    pub(super) fn write(&self, size: usize, time: Duration) -> io::Result<Sample> {
        let piece = Aligned::new(size);
        let mut watch = Watch::start(time).timed();
        let mut pos = 0;
        while watch.running() {
            self.file.write_all_at(piece.bytes(), pos)?;
            watch.count(1, size as u64);
            pos = (pos + size as u64) % self.len;
        }
        Ok(watch.end())
    }

    /// The same from `depth` threads, each in its own stripe. CPU is not told: threads differ.
    pub(super) fn write_deep(&self, size: usize, depth: u64, time: Duration) -> io::Result<Sample> {
        self.deep(size, depth, time, |piece, pos| {
            self.file.write_all_at(piece.bytes(), pos)
        })
    }

    /// Reads in the same way.
    pub(super) fn read_deep(&self, size: usize, depth: u64, time: Duration) -> io::Result<Sample> {
        self.deep(size, depth, time, |piece, pos| {
            self.file.read_exact_at(piece.bytes_mut(), pos)
        })
    }

    fn deep(
        &self,
        size: usize,
        depth: u64,
        time: Duration,
        transfer: impl Fn(&mut Aligned, u64) -> io::Result<()> + Sync,
    ) -> io::Result<Sample> {
        let stripe = self.len / depth;
        let began = std::time::Instant::now();
        let transfer = &transfer;
        let parts = std::thread::scope(|scope| {
            let one = |lane: u64| {
                let mut piece = Aligned::new(size);
                let mut watch = Watch::start(time);
                let mut pos = 0;
                while watch.running() {
                    transfer(&mut piece, lane * stripe + pos)?;
                    watch.count(1, size as u64);
                    pos = (pos + size as u64) % stripe;
                }
                io::Result::Ok(watch.end())
            };
            let lanes: Vec<_> = (0..depth).map(|n| scope.spawn(move || one(n))).collect();
            let joined = lanes.into_iter().map(|lane| lane.join());
            joined
                .map(|part| part.unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
                .collect::<io::Result<Vec<Sample>>>()
        })?;
        Ok(Sample {
            seconds: began.elapsed().as_secs_f64(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            operations: parts.iter().map(|part| part.operations).sum(),
            cpu_s: None,
            times: None,
            doubt: None,
        })
    }

    pub(super) fn read(&self, size: usize, time: Duration) -> io::Result<Sample> {
        let mut piece = Aligned::new(size);
        let mut watch = Watch::start(time).timed();
        let mut pos = 0;
        while watch.running() {
            self.file.read_exact_at(piece.bytes_mut(), pos)?;
            watch.count(1, size as u64);
            pos = (pos + size as u64) % self.len;
        }
        Ok(watch.end())
    }

    pub(super) fn write_flush(&self, size: usize, time: Duration) -> io::Result<Sample> {
        write_flush(&self.file, self.len, size, time)
    }

    /// In space that is reserved but was never written: ends early when that is used up.
    pub(super) fn write_flush_fresh(&self, size: usize, time: Duration) -> io::Result<Sample> {
        let path = self.path.with_extension("fresh");
        let file = open(&path)?;
        std::fs::remove_file(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.len)?;
        file.sync_all()?;
        let piece = Aligned::new(size);
        let mut watch = Watch::start(time).timed();
        for pos in (0..self.len).step_by(size) {
            if !watch.running() {
                break;
            }
            file.write_all_at(piece.bytes(), pos)?;
            file.sync_data()?;
            watch.count(1, size as u64);
        }
        Ok(watch.end())
    }

    pub(super) fn flush_nothing(&self, time: Duration) -> io::Result<Sample> {
        let mut watch = Watch::start(time).timed();
        while watch.running() {
            self.file.sync_data()?;
            watch.count(1, 0);
        }
        Ok(watch.end())
    }
}

fn write_flush(file: &File, len: u64, size: usize, time: Duration) -> io::Result<Sample> {
    let piece = Aligned::new(size);
    let mut watch = Watch::start(time).timed();
    let mut pos = 0;
    while watch.running() {
        file.write_all_at(piece.bytes(), pos)?;
        file.sync_data()?;
        watch.count(1, size as u64);
        pos = (pos + size as u64) % len;
    }
    Ok(watch.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_as_a_disk() {
        let refused = refuse_memory(Path::new("/dev/shm"));
        let said = refused.map_err(|failure| failure.to_string());
        assert!(said.is_err_and(|said| said.contains("tmpfs") && said.contains("--dir")));
        assert!(refuse_memory(Path::new(env!("CARGO_MANIFEST_DIR"))).is_ok());
    }

    #[test]
    fn flushed_writes_are_in_the_file_and_the_file_goes_away() -> io::Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = Scratch::new(dir, 1 << 20).map_err(|failure| {
            // Failing here means a checkout on a file system without O_DIRECT.
            io::Error::other(failure.to_string())
        })?;
        let mut zeros = Aligned::new(1 << 20);
        zeros.bytes_mut().fill(0);
        scratch.file.write_all_at(zeros.bytes(), 0)?;
        let sample = scratch.write_flush(BLOCK, Duration::from_millis(5))?;
        let mut found = Aligned::new(1 << 20);
        scratch.file.read_exact_at(found.bytes_mut(), 0)?;
        let written = found.bytes().iter().filter(|byte| **byte == 0x5a).count() as u64;
        assert!(sample.operations > 0);
        assert_eq!(sample.bytes, sample.operations * BLOCK as u64);
        assert_eq!(written, sample.bytes.min(1 << 20));
        let path = scratch.path.clone();
        assert!(path.exists());
        drop(scratch);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn buffers_begin_at_a_block() {
        for len in [BLOCK, 3 * BLOCK, 1 << 20] {
            let mut buffer = Aligned::new(len);
            assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK), 0);
            assert_eq!(buffer.bytes_mut().len(), len);
        }
    }
}

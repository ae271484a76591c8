//! The file systems of a simulated machine: devices with volatile caches, files, directories and
//! injected faults. Time does not pass here; [`super::files`] says when an operation happens.

use super::block::{BLOCK, Content, Mood};
use super::names::{Entry, Ino, Name, Names};
use super::rng::Rng;
use crate::op::{DirEntry, ErrorKind, InPlace, IoError, OpenMode, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

const ROOT: Ino = Ino(0);

/// Which operations a [`Fault`] strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOn {
    Open,
    Read,
    Write,
    Sync,
    Allocate,
    Rename,
    SyncDir,
}

/// Operations that will fail.
#[derive(Clone, Debug)]
pub struct Fault {
    pub on: FaultOn,
    /// Strikes paths that contain this.
    pub path_part: String,
    /// This many such operations succeed first.
    pub after: u32,
    /// Then this many fail.
    pub times: u32,
    pub kind: ErrorKind,
}

#[derive(Debug)]
struct Device {
    /// Bytes; `None` is without bound.
    capacity: Option<u64>,
    used: u64,
    /// Blocks with something in the cache.
    dirty: Vec<(Ino, u64)>,
}

#[derive(Debug)]
struct File {
    device: usize,
    path: PathBuf,
    content: Content,
    opens: u32,
    linked: bool,
    modified_ms: i64,
}

/// The disks of one machine. Paths are absolute; every directory above an operation's path exists.
#[derive(Debug)]
pub struct Disk {
    devices: Vec<Device>,
    names: Names,
    files: BTreeMap<Ino, File>,
    dir_devices: BTreeMap<Ino, usize>,
    next_ino: u64,
    stamp: u64,
    /// The wall clock of what happens now.
    pub(super) wall_ms: i64,
    faults: Vec<Fault>,
    /// False gives every open a buffered file, as a file system without O_DIRECT does.
    pub direct_allowed: bool,
}

const NOT_A_DIRECTORY: IoError = IoError {
    kind: ErrorKind::Other,
    errno: 20,
};

pub(super) type Outcome<T> = Result<T, IoError>;

pub(super) const fn failure(kind: ErrorKind) -> IoError {
    let errno = match kind {
        ErrorKind::NotFound => 2,
        ErrorKind::Medium => 5,
        ErrorKind::Locked => 11,
        ErrorKind::PermissionDenied => 13,
        ErrorKind::AlreadyExists => 17,
        ErrorKind::Other => 22,
        ErrorKind::TooManyFiles => 24,
        ErrorKind::NoSpace => 28,
        ErrorKind::AddressInUse => 98,
        ErrorKind::Disconnected => 104,
        ErrorKind::Cancelled => 125,
    };
    IoError { kind, errno }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            devices: vec![Device {
                capacity: None,
                used: 0,
                dirty: Vec::new(),
            }],
            names: Names::default(),
            files: BTreeMap::new(),
            dir_devices: BTreeMap::from([(ROOT, 0)]),
            next_ino: 1,
            stamp: 1,
            wall_ms: 0,
            faults: Vec::new(),
            direct_allowed: true,
        }
    }
}

impl Disk {
    /// Sets up a directory of its own device, durably. `capacity` in bytes; `None` is no bound.
    ///
    /// # Panics
    /// If the path exists already.
    pub fn add_device(&mut self, path: impl AsRef<Path>, capacity: Option<u64>) {
        self.make_dirs(path.as_ref().parent().unwrap_or_else(|| Path::new("/")));
        self.devices.push(Device {
            capacity,
            used: 0,
            dirty: Vec::new(),
        });
        self.create_dir(path.as_ref())
            .expect("the mount point is new");
        let dir = self.resolve_dir(path.as_ref()).expect("just created");
        self.dir_devices.insert(dir, self.devices.len() - 1);
        self.names.settle();
    }

    /// Sets up directories, durably. They belong to the device of their nearest parent.
    pub fn make_dirs(&mut self, path: impl AsRef<Path>) {
        for part in path
            .as_ref()
            .ancestors()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .skip(1)
        {
            let _ = self.create_dir(part);
        }
        self.names.settle();
    }

    /// Changes the space of the device that holds `path`, in bytes.
    ///
    /// # Panics
    /// If there is no such directory.
    pub fn set_capacity(&mut self, path: impl AsRef<Path>, capacity: Option<u64>) {
        let dir = self
            .resolve_dir(path.as_ref())
            .expect("the directory exists");
        self.devices[self.dir_devices[&dir]].capacity = capacity;
    }

    /// Bytes of space in use on the device that holds `path`; zero if there is no such directory.
    #[must_use]
    pub fn space_used(&self, path: impl AsRef<Path>) -> u64 {
        let device = self
            .resolve_dir(path.as_ref())
            .map(|dir| self.dir_devices[&dir]);
        device.map_or(0, |device| self.devices[device].used)
    }

    /// A device without a bound is as large as can be told.
    pub(super) fn space(&self, path: &Path) -> Outcome<Space> {
        let device = &self.devices[self.dir_devices[&self.resolve_dir(path)?]];
        let total = device.capacity.unwrap_or(u64::MAX);
        let usable = total.saturating_sub(device.used);
        Ok(Space { total, usable })
    }

    /// Lets operations fail from now on.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Ends all injected faults.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// What a read of the whole file would give now. `None` if there is no such file.
    #[must_use]
    pub fn content(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let file = &self.files[&self.resolve_file(path.as_ref()).ok()?].content;
        let mut bytes = vec![0; file.size() as usize];
        file.read(0, &mut bytes);
        Some(bytes)
    }

    /// Flips the bits of `mask` in one byte of a file, behind the back of everyone: media damage.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&mut self, path: impl AsRef<Path>, pos: u64, mask: u8) {
        let ino = self.resolve_file(path.as_ref()).expect("the file exists");
        let mut byte = [0];
        self.read(ino, pos, &mut byte);
        let _ = self.write(ino, pos, &[byte[0] ^ mask], false);
        self.sync(ino, self.stamp)
            .expect("no fault strikes a flush of the test's own");
    }

    /// The names in a directory, sorted; empty if there is none.
    #[must_use]
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let dir = self.resolve_dir(path.as_ref());
        dir.map_or_else(
            |_| Vec::new(),
            |dir| self.entries(dir).map(|(name, _)| name).collect(),
        )
    }

    fn entries(&self, dir: Ino) -> impl Iterator<Item = (String, Entry)> {
        self.names
            .list(dir)
            .map(|(name, entry)| (name.to_owned(), entry))
    }

    /// Marks an instant: what has completed is covered by a sync that begins now.
    pub(super) fn tick(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp - 1
    }

    /// Whether a fault strikes this operation.
    pub(super) fn struck(&mut self, on: FaultOn, path: &Path) -> Outcome<()> {
        for fault in &mut self.faults {
            if fault.on != on || !path.to_string_lossy().contains(&fault.path_part) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(failure(fault.kind));
            }
        }
        Ok(())
    }

    /// Whether `ino` still exists: a dead process may have been its last opener.
    pub(super) fn has(&self, ino: Ino) -> bool {
        self.files.contains_key(&ino)
    }

    /// Writes over written space stay where they are.
    pub(super) fn in_place(&self, ino: Ino) -> InPlace {
        let file = &self.files[&ino];
        InPlace {
            device: file.device as u64,
            written: file.content.first_hole(),
        }
    }

    pub(super) fn path_of(&self, ino: Ino) -> PathBuf {
        self.files[&ino].path.clone()
    }

    fn resolve(&self, path: &Path) -> Outcome<Entry> {
        let mut entry = Entry {
            ino: ROOT,
            is_dir: true,
        };
        for part in path.components() {
            if let Component::Normal(name) = part {
                if !entry.is_dir {
                    return Err(NOT_A_DIRECTORY);
                }
                let name = (entry.ino, name.to_string_lossy().into_owned());
                entry = self.names.get(&name).ok_or(failure(ErrorKind::NotFound))?;
            }
        }
        Ok(entry)
    }

    fn resolve_dir(&self, path: &Path) -> Outcome<Ino> {
        let entry = self.resolve(path)?;
        if entry.is_dir {
            Ok(entry.ino)
        } else {
            Err(NOT_A_DIRECTORY)
        }
    }

    fn resolve_file(&self, path: &Path) -> Outcome<Ino> {
        let entry = self.resolve(path)?;
        if entry.is_dir {
            Err(failure(ErrorKind::Other))
        } else {
            Ok(entry.ino)
        }
    }

    fn name(&self, path: &Path) -> Outcome<Name> {
        let dir = self.resolve_dir(path.parent().unwrap_or_else(|| Path::new("/")))?;
        let name = path.file_name().ok_or(failure(ErrorKind::Other))?;
        Ok((dir, name.to_string_lossy().into_owned()))
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> Outcome<(Ino, u64)> {
        self.struck(FaultOn::Open, path)?;
        let name = self.name(path)?;
        let ino = match (self.names.get(&name), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(failure(ErrorKind::AlreadyExists)),
            (Some(entry), _) if entry.is_dir => return Err(failure(ErrorKind::Other)),
            (Some(entry), _) => entry.ino,
            (None, OpenMode::Read | OpenMode::Write) => return Err(failure(ErrorKind::NotFound)),
            (None, OpenMode::Create | OpenMode::CreateNew) => self.create_file(path, name),
        };
        let file = self
            .files
            .get_mut(&ino)
            .expect("every file entry names a file");
        file.opens += 1;
        path.clone_into(&mut file.path);
        Ok((ino, file.content.size()))
    }

    fn create_file(&mut self, path: &Path, name: Name) -> Ino {
        let ino = self.new_ino();
        let device = self.dir_devices[&name.0];
        let file = File {
            device,
            path: path.to_owned(),
            content: Content::default(),
            opens: 0,
            linked: true,
            modified_ms: self.wall_ms,
        };
        self.files.insert(ino, file);
        let stamp = self.tick();
        self.names
            .change(stamp, Entry { ino, is_dir: false }, None, Some(name));
        ino
    }

    fn new_ino(&mut self) -> Ino {
        self.next_ino += 1;
        Ino(self.next_ino - 1)
    }

    pub(super) fn close(&mut self, ino: Ino) {
        let file = self.files.get_mut(&ino).expect("an open file is kept");
        file.opens -= 1;
        self.free_if_gone(ino);
    }

    /// Space of a file without name and opener is free. What a power cut may bring back is kept.
    fn free_if_gone(&mut self, ino: Ino) {
        let file = &self.files[&ino];
        if file.opens == 0 && !file.linked {
            let device = &mut self.devices[file.device];
            device.used = device.used.saturating_sub(file.content.space());
        }
    }

    pub(super) fn read(&self, ino: Ino, pos: u64, out: &mut [u8]) -> usize {
        self.files[&ino].content.read(pos, out)
    }

    fn reserve(&mut self, ino: Ino, pos: u64, end: u64) -> Outcome<()> {
        let file = &self.files[&ino];
        let device = &mut self.devices[file.device];
        let used = device.used + file.content.growth(pos, end);
        if device.capacity.is_some_and(|capacity| used > capacity) && used > device.used {
            return Err(failure(ErrorKind::NoSpace));
        }
        device.used = used;
        Ok(())
    }

    /// A write that has completed, not yet durable.
    pub(super) fn write(&mut self, ino: Ino, pos: u64, data: &[u8], buffered: bool) -> Outcome<()> {
        self.reserve(ino, pos, pos + data.len() as u64)?;
        let stamp = self.tick();
        let file = self.files.get_mut(&ino).expect("written while open");
        file.modified_ms = self.wall_ms;
        let dirtied = file.content.write(pos, data, stamp, buffered);
        let dirty = &mut self.devices[file.device].dirty;
        dirty.extend(dirtied.into_iter().map(|block| (ino, block)));
        Ok(())
    }

    pub(super) fn allocate(&mut self, ino: Ino, pos: u64, len: u64) -> Outcome<()> {
        self.struck(FaultOn::Allocate, &self.path_of(ino))?;
        self.reserve(ino, pos, pos + len)?;
        let stamp = self.tick();
        let file = self.files.get_mut(&ino).expect("allocated while open");
        file.modified_ms = self.wall_ms;
        file.content.allocate(pos + len, stamp);
        Ok(())
    }

    pub(super) fn truncate(&mut self, ino: Ino, len: u64) {
        let stamp = self.tick();
        let file = self.files.get_mut(&ino).expect("truncated while open");
        file.modified_ms = self.wall_ms;
        let before = file.content.space();
        let dirtied = file.content.truncate(len, stamp);
        let device = &mut self.devices[file.device];
        device.used = (device.used + file.content.space()).saturating_sub(before);
        device.dirty.extend(dirtied.map(|block| (ino, block)));
    }

    /// fdatasync that began at `start`: flushes the device, commits this file.
    pub(super) fn sync(&mut self, ino: Ino, start: u64) -> Outcome<()> {
        if let Err(error) = self.struck(FaultOn::Sync, &self.path_of(ino)) {
            self.files
                .get_mut(&ino)
                .expect("synced while open")
                .content
                .lose_cached();
            return Err(error);
        }
        let device = &mut self.devices[self.files[&ino].device];
        let files = &mut self.files;
        device.dirty.retain(|(of, block)| {
            files
                .get_mut(of)
                .is_some_and(|file| file.content.flush_block(*block, start, *of == ino))
        });
        self.files
            .get_mut(&ino)
            .expect("synced while open")
            .content
            .commit(start);
        Ok(())
    }

    /// The end of a write that is durable by itself: it flushes these bytes and nothing else, as on
    /// a device that writes through.
    pub(super) fn sync_range(&mut self, ino: Ino, pos: u64, end: u64) -> Outcome<()> {
        let failed = self.struck(FaultOn::Sync, &self.path_of(ino));
        let start = self.tick();
        let file = self.files.get_mut(&ino).expect("written while open");
        if let Err(error) = failed {
            file.content.lose_cached();
            return Err(error);
        }
        file.content.write_through(pos, end, start);
        let blocks = pos / BLOCK..end.div_ceil(BLOCK);
        self.devices[file.device]
            .dirty
            .retain(|(of, block)| *of != ino || !blocks.contains(block));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path, start: u64) -> Outcome<()> {
        self.struck(FaultOn::SyncDir, path)?;
        let dir = self.resolve_dir(path)?;
        self.names.sync(dir, start);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Outcome<()> {
        self.struck(FaultOn::Rename, from)?;
        let (clears, sets) = (self.name(from)?, self.name(to)?);
        let entry = self
            .names
            .get(&clears)
            .ok_or(failure(ErrorKind::NotFound))?;
        if entry.is_dir && to != from && to.starts_with(from) {
            return Err(failure(ErrorKind::Other));
        }
        if self.dir_devices[&clears.0] != self.dir_devices[&sets.0] {
            return Err(IoError {
                kind: ErrorKind::Other,
                errno: 18,
            });
        }
        if let Some(replaced) = self.names.get(&sets) {
            if replaced.ino == entry.ino {
                return Ok(());
            }
            self.check_replaced(entry, replaced)?;
            if !replaced.is_dir {
                self.unlinked(replaced.ino);
            }
        }
        let stamp = self.tick();
        self.names.change(stamp, entry, Some(clears), Some(sets));
        if let Some(file) = self.files.get_mut(&entry.ino) {
            file.path = to.to_owned();
        }
        Ok(())
    }

    /// rename(2): a directory replaces only an empty directory, a file only a file.
    fn check_replaced(&self, entry: Entry, replaced: Entry) -> Outcome<()> {
        let other = |errno| IoError {
            kind: ErrorKind::Other,
            errno,
        };
        match (entry.is_dir, replaced.is_dir) {
            (true, false) => Err(NOT_A_DIRECTORY),
            (false, true) => Err(other(21)),
            (true, true) if self.names.list(replaced.ino).next().is_some() => Err(other(39)),
            _ => Ok(()),
        }
    }

    fn unlinked(&mut self, ino: Ino) {
        self.files
            .get_mut(&ino)
            .expect("every file entry names a file")
            .linked = false;
        self.free_if_gone(ino);
    }

    pub(super) fn unlink(&mut self, path: &Path) -> Outcome<()> {
        let ino = self.resolve_file(path)?;
        let name = self.name(path)?;
        let stamp = self.tick();
        self.names
            .change(stamp, Entry { ino, is_dir: false }, Some(name), None);
        self.unlinked(ino);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Outcome<()> {
        let name = self.name(path)?;
        match self.names.get(&name) {
            Some(entry) if entry.is_dir => return Ok(()),
            Some(_) => return Err(failure(ErrorKind::AlreadyExists)),
            None => {}
        }
        let ino = self.new_ino();
        self.dir_devices.insert(ino, self.dir_devices[&name.0]);
        let stamp = self.tick();
        self.names
            .change(stamp, Entry { ino, is_dir: true }, None, Some(name));
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Outcome<()> {
        let ino = self.resolve_dir(path)?;
        if self.names.list(ino).next().is_some() {
            return Err(IoError {
                kind: ErrorKind::Other,
                errno: 39,
            });
        }
        let name = self.name(path)?;
        let stamp = self.tick();
        self.names
            .change(stamp, Entry { ino, is_dir: true }, Some(name), None);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> Outcome<Vec<DirEntry>> {
        let dir = self.resolve_dir(path)?;
        let listed = |(name, entry): (String, Entry)| {
            let file = self.files.get(&entry.ino);
            DirEntry {
                name,
                is_dir: entry.is_dir,
                len: file.map_or(0, |file| file.content.size()),
                modified_ms: file.map_or(0, |file| file.modified_ms),
            }
        };
        Ok(self.entries(dir).map(listed).collect())
    }

    /// The process that had files open has ended.
    pub(super) fn close_all(&mut self, open: impl Iterator<Item = Ino>) {
        for ino in open {
            self.close(ino);
        }
        self.collect_garbage();
    }

    /// Power is gone: volatile things are lost, kept or torn, each by itself.
    pub(super) fn cut(&mut self, rng: &mut Rng) {
        let mood = Mood::draw(rng);
        for device in &mut self.devices {
            device.dirty.clear();
            device.used = 0;
        }
        self.names.cut(rng, mood);
        for file in self.files.values_mut() {
            file.content.cut(rng, mood);
            file.opens = 0;
        }
        self.collect_garbage();
        for file in self.files.values_mut() {
            file.linked = true;
            self.devices[file.device].used += file.content.space();
        }
    }

    /// Forgets files that no entry leads to, not even after a power cut.
    fn collect_garbage(&mut self) {
        let kept: BTreeSet<Ino> = self.names.mentioned();
        self.files
            .retain(|ino, file| file.opens > 0 || kept.contains(ino));
    }

    /// The block size of every device, in bytes.
    pub const BLOCK: u64 = BLOCK;
}

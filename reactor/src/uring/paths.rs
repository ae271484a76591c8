//! Operations on names: rename, remove, create and sync directories, list.

use super::Io;
use super::files::c_path;
use super::slots::{InFlight, Target, Work};
use super::table::{failed, failed_io};
use crate::op::{DirEntry, Done, Space, Token};
use io_uring::{opcode, squeue, types};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);
/// Permissions of a new directory, less what the umask takes.
const DIR_MODE: libc::mode_t = 0o755;

impl Io {
    pub(super) fn rename(&mut self, token: Token, from: &Path, to: &Path) {
        match (c_path(from), c_path(to)) {
            (Ok(from), Ok(to)) => {
                let entry = opcode::RenameAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build();
                self.on_paths(token, entry, vec![from, to]);
            }
            (Err(error), _) | (_, Err(error)) => self.done(token, failed_io(&error)),
        }
    }

    pub(super) fn unlink(&mut self, token: Token, path: &Path, flags: i32) {
        match c_path(path) {
            Ok(path) => {
                let entry = opcode::UnlinkAt::new(HERE, path.as_ptr())
                    .flags(flags)
                    .build();
                self.on_paths(token, entry, vec![path]);
            }
            Err(error) => self.done(token, failed_io(&error)),
        }
    }

    fn on_paths(&mut self, token: Token, entry: squeue::Entry, paths: Vec<CString>) {
        let work = Work::OnPaths(Box::new(entry.clone()), paths);
        // SAFETY: the entry points to the text of the paths, which the work owns.
        unsafe { self.submit(without_target(token, work), entry) };
    }

    pub(super) fn create_dir(&mut self, token: Token, path: PathBuf) {
        match c_path(&path) {
            Ok(text) => {
                let entry = opcode::MkDirAt::new(HERE, text.as_ptr())
                    .mode(DIR_MODE)
                    .build();
                let work = Work::CreateDir(path, text);
                // SAFETY: the path's text is owned by the work.
                unsafe { self.submit(without_target(token, work), entry) };
            }
            Err(error) => self.done(token, failed_io(&error)),
        }
    }

    pub(super) fn sync_dir(&mut self, token: Token, path: &Path) {
        match File::open(path) {
            Ok(dir) => self.submit_sync_dir(token, OwnedFd::from(dir)),
            Err(error) => self.done(token, failed_io(&error)),
        }
    }

    pub(super) fn sync_parent(&mut self, token: Token, of: &Path) {
        let around = of.parent().unwrap_or(of);
        match File::open(around) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let done = sync_file_system(of).map_or_else(|e| failed_io(&e), |()| Done::Ok);
                self.done(token, done);
            }
            _ => self.sync_dir(token, around),
        }
    }

    fn submit_sync_dir(&mut self, token: Token, dir: OwnedFd) {
        let entry = opcode::Fsync::new(types::Fd(dir.as_raw_fd())).build();
        // SAFETY: the entry points to no memory; the work keeps the descriptor open.
        unsafe { self.submit(without_target(token, Work::SyncDir(dir)), entry) };
    }

    pub(super) fn list_dir(&mut self, token: Token, path: &Path) {
        let done = list(path).map_or_else(|error| failed_io(&error), Done::Listed);
        self.done(token, done);
    }

    pub(super) fn space(&mut self, token: Token, path: &Path) {
        let done = space(path).map_or_else(|error| failed_io(&error), Done::Space);
        self.done(token, done);
    }

    /// A completion of an operation that is on no open file or socket.
    pub(super) fn path_completed(&mut self, token: Token, work: Work, result: i32) {
        let again = matches!(-result, libc::EINTR | libc::EAGAIN) && !self.ending;
        match work {
            Work::Open(work) => self.opened(token, work, result),
            Work::OnPaths(entry, paths) if again => self.on_paths(token, *entry, paths),
            Work::CreateDir(path, _) if again => self.create_dir(token, path),
            Work::SyncDir(dir) if again => self.submit_sync_dir(token, dir),
            // A directory that is there already is not an error; a file of that name is.
            Work::CreateDir(path, _) if result == -libc::EEXIST && path.is_dir() => {
                self.done(token, Done::Ok);
            }
            _ if result < 0 => self.done(token, failed(-result)),
            _ => self.done(token, Done::Ok),
        }
    }
}

fn without_target(token: Token, work: Work) -> InFlight {
    InFlight {
        token,
        target: Target::None,
        work,
    }
}

fn space(path: &Path) -> io::Result<Space> {
    let path = c_path(path)?;
    // SAFETY: all-zero is a valid value of the structure; the kernel writes into a local one, and
    // the path is text that ends in zero and outlives the call.
    let (done, fs) = unsafe {
        let mut fs: libc::statvfs64 = std::mem::zeroed();
        (libc::statvfs64(path.as_ptr(), &raw mut fs), fs)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Space {
        total: fs.f_blocks.saturating_mul(fs.f_frsize),
        usable: fs.f_bavail.saturating_mul(fs.f_frsize),
    })
}

/// If `path` is a mount point, its own name is older than the mount, and nobody's to sync.
fn sync_file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: a plain call on a descriptor that is open.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // It was removed while the list was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        entries.push(DirEntry {
            name: entry.file_name().to_string_lossy().into_owned(),
            is_dir: meta.is_dir(),
            len: if meta.is_dir() { 0 } else { meta.len() },
            modified_ms: meta.mtime() * 1_000 + meta.mtime_nsec() / 1_000_000,
        });
    }
    Ok(entries)
}

//! Files: open, read, write, sync, allocate, truncate, close.

use super::Io;
use super::fixed::FixedBuffers;
use super::gather::Gather;
use super::ring::Ring;
use super::slots::{InFlight, Target, Work};
use super::table::{OpenFile, failed, failed_io};
use crate::buf::{Arena, BLOCK, Buf};
use crate::op::{Done, FileId, InPlace, OpenMode, Token};
use bytes::Bytes;
use io_uring::{opcode, squeue, types};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Permissions of a new file: the owner's; others may read if the umask lets them.
const FILE_MODE: libc::mode_t = 0o644;
const TMPFS_MAGIC: libc::__fsword_t = 0x0102_1994;
const EXT4_MAGIC: libc::__fsword_t = 0xef53;
/// Zeros handed to the kernel in one part, where the file system cannot reserve space.
const ZEROS_PART: usize = 1 << 20;
/// Larger reads are cut by the kernel anyway.
const READ_BYTES_MAX: u32 = 1 << 30;

/// An open under way.
pub(crate) struct OpenWork {
    path: CString,
    flags: i32,
}

/// A read under way: `buf` holds what has arrived.
pub(crate) struct ReadWork {
    buf: Buf,
    want: usize,
    pos: u64,
}

pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

impl Io {
    pub(super) fn open(&mut self, token: Token, path: &Path, mode: OpenMode, direct: bool) {
        let path = match c_path(path) {
            Ok(path) => path,
            Err(error) => return self.done(token, failed_io(&error)),
        };
        let mut flags = libc::O_CLOEXEC
            | match mode {
                OpenMode::Read => libc::O_RDONLY,
                OpenMode::Write => libc::O_RDWR,
                OpenMode::Create => libc::O_RDWR | libc::O_CREAT,
                OpenMode::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            };
        if direct {
            flags |= libc::O_DIRECT;
        }
        self.submit_open(token, Box::new(OpenWork { path, flags }));
    }

    fn submit_open(&mut self, token: Token, work: Box<OpenWork>) {
        let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), work.path.as_ptr())
            .flags(work.flags)
            .mode(FILE_MODE)
            .build();
        let flight = InFlight {
            token,
            target: Target::None,
            work: Work::Open(work),
        };
        // SAFETY: the path is owned by the work.
        unsafe { self.submit(flight, entry) };
    }

    pub(super) fn opened(&mut self, token: Token, mut work: Box<OpenWork>, result: i32) {
        if result >= 0 {
            // SAFETY: the kernel just gave this descriptor to this open.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            let done = self.adopt_file(fd, work.flags & libc::O_DIRECT != 0);
            return self.done(token, done.unwrap_or_else(|error| failed_io(&error)));
        }
        match -result {
            libc::EINTR | libc::EAGAIN if !self.ending => self.submit_open(token, work),
            libc::EINVAL if work.flags & libc::O_DIRECT != 0 => {
                // No O_DIRECT here (open(2)). The file is created before that is noticed, so this
                // attempt must not insist on a new one: had it existed, the answer was EEXIST.
                work.flags &= !(libc::O_DIRECT | libc::O_EXCL);
                self.submit_open(token, work);
            }
            errno => self.done(token, failed(errno)),
        }
    }

    /// Moves an open file into the ring's table.
    fn adopt_file(&mut self, fd: OwnedFd, wants_direct: bool) -> io::Result<Done> {
        let file = File::from(fd);
        let meta = file.metadata()?;
        if !meta.is_file() {
            let errno = if meta.is_dir() {
                libc::EISDIR
            } else {
                libc::EINVAL
            };
            return Err(io::Error::from_raw_os_error(errno));
        }
        let kind = file_system(&file);
        let direct = wants_direct && is_direct(&file, kind);
        if wants_direct && !direct {
            clear_direct(&file)?;
        }
        // Elsewhere a write may be moved: XFS does so with space that two files share.
        let in_place = (direct && kind == EXT4_MAGIC).then(|| InPlace {
            device: meta.dev(),
            written: first_hole(&file),
        });
        let fd = OwnedFd::from(file);
        let raw = fd.as_raw_fd();
        let open = OpenFile {
            direct,
            end: meta.len(),
            in_flight: 0,
            closing: None,
            fd: (!self.ring.has_ftruncate).then_some(fd.try_clone()?),
        };
        let place = self.table.put_file(open);
        let place = place.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        if let Err(error) = self.ring.submitter().register_files_update(place, &[raw]) {
            self.table.remove(place);
            return Err(error);
        }
        Ok(Done::Opened {
            file: FileId(place),
            len: meta.len(),
            direct,
            in_place,
        })
    }

    /// # Safety
    /// As for `submit`.
    unsafe fn submit_on_file(
        &mut self,
        token: Token,
        file: FileId,
        work: Work,
        entry: squeue::Entry,
    ) {
        if let Some(open) = self.table.file(file) {
            open.in_flight += 1;
        }
        let target = Target::File(file.0);
        let flight = InFlight {
            token,
            target,
            work,
        };
        // SAFETY: the caller's promise.
        unsafe { self.submit(flight, entry) };
    }

    /// Whether operations may begin on `file`; otherwise answers `token`.
    fn is_usable(&mut self, token: Token, file: FileId) -> bool {
        let usable = self
            .table
            .file(file)
            .is_some_and(|open| open.closing.is_none());
        if !usable {
            self.done(token, failed(libc::EBADF));
        }
        usable
    }

    pub(super) fn read(&mut self, token: Token, file: FileId, pos: u64, len: u32) {
        if !self.is_usable(token, file) {
            return;
        }
        let want = len.min(READ_BYTES_MAX) as usize;
        if want == 0 {
            return self.done(token, Done::Read(Bytes::new()));
        }
        // Reads leave half of the arena to whoever appends.
        let roomy = self.arena.bytes_used().saturating_add(want) <= self.arena.bytes_max() / 2;
        let buf = if roomy { self.arena.alloc(want) } else { None };
        let Some(buf) = buf.or_else(|| Buf::outside(want)) else {
            return self.done(token, failed(libc::ENOMEM));
        };
        let mut work = ReadWork { buf, want, pos };
        let entry = read_entry(file.0, &mut work, &mut self.fixed, &self.ring);
        // SAFETY: the entry points into the block of the buffer that the work owns.
        unsafe { self.submit_on_file(token, file, Work::Read(work), entry) };
    }

    pub(super) fn write(
        &mut self,
        token: Token,
        file: FileId,
        (pos, sync): (u64, bool),
        parts: Vec<Bytes>,
    ) {
        if !self.is_usable(token, file) {
            return;
        }
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let mut gather = Gather::new(parts);
        if gather.is_empty() {
            return self.done(token, Done::Ok);
        }
        self.reaches(file, pos.saturating_add(bytes));
        let entry = write_entry(
            file.0,
            &mut gather,
            (pos, sync),
            &mut self.fixed,
            &self.ring,
        );
        let work = Work::Write { gather, pos, sync };
        // SAFETY: the parts and their vector are owned by the boxed gather.
        unsafe { self.submit_on_file(token, file, work, entry) };
    }

    fn on_file(&mut self, token: Token, file: FileId, entry: squeue::Entry) {
        if self.is_usable(token, file) {
            let work = Work::OnFile(Box::new(entry.clone()));
            // SAFETY: these entries point to no memory.
            unsafe { self.submit_on_file(token, file, work, entry) };
        }
    }

    pub(super) fn sync(&mut self, token: Token, file: FileId) {
        let entry = opcode::Fsync::new(types::Fixed(file.0));
        self.on_file(
            token,
            file,
            entry.flags(types::FsyncFlags::DATASYNC).build(),
        );
    }

    pub(super) fn allocate(&mut self, token: Token, file: FileId, pos: u64, len: u64) {
        if !self.is_usable(token, file) {
            return;
        }
        let entry = opcode::Fallocate::new(types::Fixed(file.0), len).offset(pos);
        let entry = Box::new(entry.build());
        let work = Work::Allocate {
            entry: entry.clone(),
            pos,
            len,
        };
        // SAFETY: the entry points to no memory.
        unsafe { self.submit_on_file(token, file, work, *entry) };
    }

    /// The file goes up to `end` at least.
    fn reaches(&mut self, file: FileId, end: u64) {
        if let Some(open) = self.table.file(file) {
            open.end = open.end.max(end);
        }
    }

    /// What reserves space where the file system has no fallocate (NFS before 4.2, FUSE, FAT): the
    /// zeros that the new space would read as, behind what the file has already.
    fn zeros_instead(&mut self, place: u32, pos: u64, len: u64) -> Work {
        let end = pos.saturating_add(len);
        let open = self.table.file(FileId(place));
        let has = open.map_or(end, |open| open.end.next_multiple_of(BLOCK as u64));
        let pos = pos.max(has);
        let mut left = usize::try_from(end.saturating_sub(pos)).unwrap_or(0);
        let mut parts = Vec::new();
        if left > 0 {
            let part = zeros(left.min(ZEROS_PART));
            while left > 0 {
                let now = left.min(part.len());
                parts.push(part.slice(..now));
                left -= now;
            }
        }
        let gather = Gather::new(parts);
        let sync = false;
        Work::Write { gather, pos, sync }
    }

    pub(super) fn truncate(&mut self, token: Token, file: FileId, len: u64) {
        if let Some(open) = self.table.file(file) {
            open.end = len;
        }
        let kept = self
            .table
            .file(file)
            .and_then(|open| open.fd.as_ref()?.try_clone().ok());
        match kept {
            None => {
                let entry = opcode::Ftruncate::new(types::Fixed(file.0), len);
                self.on_file(token, file, entry.build());
            }
            Some(fd) => {
                if self.is_usable(token, file) {
                    let done = File::from(fd).set_len(len);
                    self.done(token, done.map_or_else(|e| failed_io(&e), |()| Done::Ok));
                }
            }
        }
    }

    pub(super) fn close_file(&mut self, token: Token, file: FileId) {
        if !self.is_usable(token, file) {
            return;
        }
        if let Some(open) = self.table.file(file) {
            open.closing = Some(token);
        }
        self.close_if_unused(file.0);
    }

    fn close_if_unused(&mut self, place: u32) {
        let Some(open) = self.table.file(FileId(place)) else {
            return;
        };
        if let (0, Some(token)) = (open.in_flight, open.closing) {
            open.in_flight = 1;
            let entry = opcode::Close::new(types::Fixed(place)).build();
            let flight = InFlight {
                token,
                target: Target::File(place),
                work: Work::CloseFile,
            };
            // SAFETY: the entry points to no memory.
            unsafe { self.submit(flight, entry) };
        }
    }

    /// A completion of an operation on a file: continues it, or answers it.
    pub(super) fn file_completed(&mut self, slot: u32, place: u32, result: i32) {
        let direct = self
            .table
            .file(FileId(place))
            .is_some_and(|open| open.direct);
        let mut again = matches!(-result, libc::EINTR | libc::EAGAIN) && !self.ending;
        let mut result = result;
        if let (libc::EOPNOTSUPP, Work::Allocate { pos, len, .. }) =
            (-result, &self.slots.get(slot).work)
        {
            let (pos, len) = (*pos, *len);
            self.slots.get(slot).work = self.zeros_instead(place, pos, len);
            (result, again) = (0, true);
        }
        let next = match &mut self.slots.get(slot).work {
            Work::Read(work) => (again || continue_read(work, result, direct))
                .then(|| read_entry(place, work, &mut self.fixed, &self.ring)),
            Work::Write { gather, pos, sync } => {
                let gone = usize::try_from(result).unwrap_or(0);
                gather.advance(gone);
                *pos += gone as u64;
                let more = (again || gone > 0) && !gather.is_empty();
                let at = (*pos, *sync);
                more.then(|| write_entry(place, gather, at, &mut self.fixed, &self.ring))
            }
            Work::OnFile(entry) | Work::Allocate { entry, .. } => again.then(|| (**entry).clone()),
            _ => None,
        };
        if let Some(entry) = next
            && !self.ending
        {
            // SAFETY: the entry points into what the slot's work owns.
            unsafe { self.resubmit(slot, entry) };
            return;
        }
        let flight = self.slots.take(slot);
        if let Work::CloseFile = flight.work {
            self.table.remove(place);
            return self.done(flight.token, Done::Ok);
        }
        if let Some(open) = self.table.file(FileId(place)) {
            open.in_flight -= 1;
        }
        let done = match flight.work {
            _ if result < 0 => failed(-result),
            Work::Read(work) => Done::Read(work.buf.freeze()),
            // A write of nothing without an error: the medium takes no more.
            Work::Write { gather, .. } if !gather.is_empty() => failed(libc::EIO),
            Work::Write { pos, .. } => {
                self.reaches(FileId(place), pos);
                Done::Ok
            }
            Work::Allocate { pos, len, .. } => {
                self.reaches(FileId(place), pos.saturating_add(len));
                Done::Ok
            }
            _ => Done::Ok,
        };
        self.done(flight.token, done);
        self.close_if_unused(place);
    }
}

/// At an address that direct I/O accepts.
fn zeros(len: usize) -> Bytes {
    let arena = Arena::heap(len.next_multiple_of(BLOCK));
    let mut buf = arena.alloc(len).expect("the arena holds exactly this");
    buf.pad_zero(len);
    buf.freeze()
}

fn read_entry(
    place: u32,
    work: &mut ReadWork,
    fixed: &mut FixedBuffers,
    ring: &Ring,
) -> squeue::Entry {
    let at = work.pos + work.buf.len() as u64;
    let left = work.want - work.buf.len();
    let to = work.buf.spare().as_mut_ptr();
    let file = types::Fixed(place);
    match fixed.index(ring, to, left) {
        Some(index) => opcode::ReadFixed::new(file, to, left as u32, index)
            .offset(at)
            .build(),
        None => opcode::Read::new(file, to, left as u32).offset(at).build(),
    }
}

fn write_entry(
    place: u32,
    gather: &mut Gather,
    (pos, sync): (u64, bool),
    fixed: &mut FixedBuffers,
    ring: &Ring,
) -> squeue::Entry {
    let file = types::Fixed(place);
    let flags = if sync { libc::RWF_DSYNC } else { 0 };
    let Some((from, len)) = gather.single() else {
        let (vector, count) = gather.vector();
        return opcode::Writev::new(file, vector, count)
            .offset(pos)
            .rw_flags(flags)
            .build();
    };
    match fixed.index(ring, from, len as usize) {
        Some(index) => opcode::WriteFixed::new(file, from, len, index)
            .offset(pos)
            .rw_flags(flags)
            .build(),
        None => opcode::Write::new(file, from, len)
            .offset(pos)
            .rw_flags(flags)
            .build(),
    }
}

/// Publishes what a read brought; whether there may be more.
fn continue_read(work: &mut ReadWork, result: i32, direct: bool) -> bool {
    let got = usize::try_from(result).unwrap_or(0);
    work.buf.publish(got);
    // A direct read that ends inside a block has met the end of the file.
    let at_end = got == 0 || work.buf.len() >= work.want || (direct && got % BLOCK != 0);
    !at_end
}

/// The magic number of the file system that holds `file`; 0 when it cannot be told.
fn file_system(file: &File) -> libc::__fsword_t {
    // SAFETY: all-zero is a valid value of the structure; the kernel writes into a local one.
    unsafe {
        let mut fs: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(file.as_raw_fd(), &raw mut fs) == 0 {
            fs.f_type
        } else {
            0
        }
    }
}

/// Where the first hole or space that is merely reserved begins; 0 when it cannot be told.
fn first_hole(file: &File) -> u64 {
    // SAFETY: a plain call on our own descriptor, whose offset nobody uses.
    let hole = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_HOLE) };
    u64::try_from(hole).unwrap_or(0)
}

/// Whether direct I/O in blocks of [`BLOCK`] works on `file`, opened with O_DIRECT. A tmpfs takes
/// the flag (since Linux 6.6) and goes through the page cache all the same.
fn is_direct(file: &File, kind: libc::__fsword_t) -> bool {
    if kind == TMPFS_MAGIC {
        return false;
    }
    let fd = file.as_raw_fd();
    // SAFETY: all-zero is a valid value of the structure; the kernel writes into a local one.
    unsafe {
        let mut stat: libc::statx = std::mem::zeroed();
        let flags = libc::AT_EMPTY_PATH;
        let done = libc::statx(fd, c"".as_ptr(), flags, libc::STATX_DIOALIGN, &raw mut stat);
        if done != 0 || stat.stx_mask & libc::STATX_DIOALIGN == 0 {
            // The file system took O_DIRECT and does not say more.
            return true;
        }
        let aligns = [stat.stx_dio_mem_align, stat.stx_dio_offset_align];
        aligns
            .iter()
            .all(|&align| align > 0 && align as usize <= BLOCK)
    }
}

fn clear_direct(file: &File) -> io::Result<()> {
    let fd = file.as_raw_fd();
    // SAFETY: plain calls on our own descriptor.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_DIRECT)
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

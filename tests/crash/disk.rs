//! A disk with a volatile cache, for a real kernel: a FUSE file system with one file, which a loop
//! device and an ext4 stand on.
//!
//! The loop device hands every write of ext4 to the file at once, and turns every flush of ext4
//! into an fsync of the file. This side keeps two images: one with everything that was written, to
//! read from, and one with what was flushed. Cutting the power copies the second and adds, block
//! by block and at random, some of what was written since the last flush.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use crate::chance::Chance;

const BLOCK: usize = 4096;
/// The largest write that the kernel may hand over, and room for its header.
const WRITE_BYTES_MAX: u32 = 1 << 20;
const REQUEST_BYTES_MAX: usize = (WRITE_BYTES_MAX as usize) + 4096;

/// The number of the only file; 1 is its folder.
const ROOT: u64 = 1;
const IMAGE: u64 = 2;
pub(crate) const NAME: &str = "image";

// Requests and errors of the FUSE protocol (linux/fuse.h).
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;
/// From an answer to INIT on: writes of more than a page, and more than 32 pages.
const BIG_WRITES: u32 = 1 << 5;
const LONG_WRITES: u32 = 1 << 22;
const IN_HEADER: usize = 40;

/// What was written and what was flushed.
struct Images {
    written: File,
    flushed: File,
    /// Blocks written since the last flush, the newest content of each.
    volatile: BTreeMap<u64, Vec<u8>>,
    flushes: u64,
}

impl Images {
    fn write(&mut self, at: u64, data: &[u8]) {
        self.written
            .write_all_at(data, at)
            .expect("the image can be written");
        let block = BLOCK as u64;
        let (first, end) = (at / block, (at + data.len() as u64).div_ceil(block));
        for number in first..end {
            let mut content = vec![0; BLOCK];
            self.written
                .read_exact_at(&mut content, number * block)
                .expect("the image can be read");
            self.volatile.insert(number, content);
        }
    }

    fn flush(&mut self) {
        for (number, content) in std::mem::take(&mut self.volatile) {
            self.flushed
                .write_all_at(&content, number * BLOCK as u64)
                .expect("the image can be written");
        }
        self.flushes += 1;
    }
}

#[derive(Clone)]
pub(crate) struct Disk {
    images: Arc<Mutex<Images>>,
    bytes: u64,
}

/// What a power cut did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Blocks that had been written and not flushed, and how many of them survived.
    pub(crate) unflushed: usize,
    pub(crate) kept: usize,
}

impl Disk {
    /// Mounts the file system with its one file of `bytes` at `at`.
    pub(crate) fn mount(at: &Path, work: &Path, bytes: u64) -> Result<Self, String> {
        let image = |name: &str| {
            let path = work.join(name);
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .and_then(|file| file.set_len(bytes).map(|()| file));
            opened.map_err(|error| format!("{}: {error}", path.display()))
        };
        let images = Images {
            written: image("written.img")?,
            flushed: image("flushed.img")?,
            volatile: BTreeMap::new(),
            flushes: 0,
        };
        let disk = Self {
            images: Arc::new(Mutex::new(images)),
            bytes,
        };
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(|error| format!("/dev/fuse: {error}"))?;
        // The kernel learns of the connection by the number of an open file: standard input.
        let input = device.try_clone().map_err(|error| error.to_string())?;
        let server = disk.clone();
        spawn(move || server.serve(&device));
        let mounted = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o"])
            .arg("fd=0,rootmode=40000,user_id=0,group_id=0")
            .arg("ringlog-crash")
            .arg(at)
            .stdin(Stdio::from(input))
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return Err("FUSE cannot be mounted".to_owned());
        }
        Ok(disk)
    }

    /// What the disk would hold if the power went now.
    pub(crate) fn cut(&self, work: &Path, to: &Path, chance: &mut Chance) -> Result<Cut, String> {
        let images = self.images.lock().expect("no holder fails");
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(work.join("flushed.img"))
            .arg(to)
            .status();
        if !copied.is_ok_and(|status| status.success()) {
            return Err("the image cannot be copied".to_owned());
        }
        let file = OpenOptions::new()
            .write(true)
            .open(to)
            .map_err(|error| error.to_string())?;
        // From nothing to everything: each is a way to lose power.
        let (keep, of) = *chance.pick(&[(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]);
        let mut kept = 0;
        for (number, content) in &images.volatile {
            if chance.within(0, of) < keep {
                file.write_all_at(content, number * BLOCK as u64)
                    .map_err(|error| error.to_string())?;
                kept += 1;
            }
        }
        Ok(Cut {
            unflushed: images.volatile.len(),
            kept,
        })
    }

    pub(crate) fn flushes(&self) -> u64 {
        self.images.lock().expect("no holder fails").flushes
    }

    /// Answers the kernel until the file system is unmounted.
    fn serve(&self, mut device: &File) {
        let mut request = vec![0; REQUEST_BYTES_MAX];
        loop {
            let read = match device.read(&mut request) {
                Ok(read) if read >= IN_HEADER => read,
                Err(error) if error.raw_os_error() == Some(ENOENT) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    // Not mounted yet.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    continue;
                }
                Ok(_) | Err(_) => return,
            };
            let request = &request[..read];
            let (operation, unique) = (number(request, 4) as u32, number(request, 8));
            let answer = match operation {
                FORGET | BATCH_FORGET | INTERRUPT => continue,
                _ => self.answer(operation, number(request, 16), &request[IN_HEADER..]),
            };
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(error) => (-error, Vec::new()),
            };
            let mut reply = Vec::with_capacity(16 + body.len());
            reply.extend((16 + body.len() as u32).to_ne_bytes());
            reply.extend(error.to_ne_bytes());
            reply.extend(unique.to_ne_bytes());
            reply.extend(body);
            // A request that was interrupted takes no answer.
            let _ = device.write(&reply);
        }
    }

    fn answer(&self, operation: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        let mut images = self.images.lock().expect("no holder fails");
        match operation {
            INIT => Ok(words(&[
                7,
                31,
                WRITE_BYTES_MAX,
                BIG_WRITES | LONG_WRITES,
                16 | 16 << 16,
                WRITE_BYTES_MAX,
                1,
                WRITE_BYTES_MAX / 4096,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ])),
            LOOKUP if body.strip_suffix(&[0]) == Some(NAME.as_bytes()) => {
                let mut entry = longs(&[IMAGE, 0, 3600, 3600]);
                entry.extend(words(&[0, 0]));
                entry.extend(self.attributes(IMAGE));
                Ok(entry)
            }
            LOOKUP => Err(ENOENT),
            GETATTR | SETATTR => {
                let mut attributes = longs(&[3600]);
                attributes.extend(words(&[0, 0]));
                attributes.extend(self.attributes(node));
                Ok(attributes)
            }
            OPEN => Ok(longs(&[0, 0])),
            READ => {
                let (at, wanted) = (number(body, 8), number(body, 16) as u32);
                let len = u64::from(wanted).min(self.bytes.saturating_sub(at));
                let mut data = vec![0; usize::try_from(len).expect("it was asked for")];
                images
                    .written
                    .read_exact_at(&mut data, at)
                    .expect("the image can be read");
                Ok(data)
            }
            WRITE => {
                let (at, len) = (number(body, 8), number(body, 16) as u32);
                images.write(at, &body[40..40 + len as usize]);
                Ok(words(&[len, 0]))
            }
            FSYNC => {
                images.flush();
                Ok(Vec::new())
            }
            STATFS => Ok(vec![0; 80]),
            RELEASE | FLUSH => Ok(Vec::new()),
            _ => Err(ENOSYS),
        }
    }

    /// `struct fuse_attr`.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = if node == ROOT {
            (0o40_700, 0)
        } else {
            (0o100_600, self.bytes)
        };
        let mut attributes = longs(&[node, size, size / 512, 0, 0, 0]);
        attributes.extend(words(&[0, 0, 0, mode, 1, 0, 0, 0, BLOCK as u32, 0]));
        attributes
    }
}

/// The number of 8 bytes at a place of a request; zero past its end.
fn number(request: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    let there = request.get(at..).unwrap_or_default();
    let len = there.len().min(8);
    bytes[..len].copy_from_slice(&there[..len]);
    u64::from_ne_bytes(bytes)
}

fn words(of: &[u32]) -> Vec<u8> {
    of.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs(of: &[u64]) -> Vec<u8> {
    of.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

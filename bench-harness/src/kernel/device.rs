//! The block device under a folder, and what it wrote.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Sectors in /sys are of this size, whatever the device's own is.
const SECTOR_BYTES: u64 = 512;

#[derive(Debug)]
pub(super) struct Device {
    /// In /sys; the whole disk, because flushes are counted there only.
    folder: PathBuf,
}

/// Since the machine started, by everybody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    pub(super) written_bytes: u64,
    pub(super) flushes: u64,
}

impl Device {
    pub(super) fn under(path: &Path) -> io::Result<Self> {
        let number = fs::metadata(path)?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let found = Self::numbered(major, minor);
        // Some file systems invent a number; their mount still names the device.
        found.or_else(|_| {
            let (_, source) = mount_of(path)?;
            let metadata = fs::metadata(&source)?;
            if !metadata.file_type().is_block_device() {
                return Err(io::Error::other(format!("{source} is no block device")));
            }
            let number = metadata.rdev();
            Self::numbered(rustix::fs::major(number), rustix::fs::minor(number))
        })
    }

    fn numbered(major: u32, minor: u32) -> io::Result<Self> {
        let mut folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))?;
        if folder.join("partition").exists() {
            folder.pop();
        }
        Ok(Self { folder })
    }

    pub(super) fn traffic(&self) -> io::Result<Traffic> {
        let text = fs::read_to_string(self.folder.join("stat"))?;
        traffic(&text).ok_or_else(|| io::Error::other(format!("{}: {text}", self.folder.display())))
    }

    /// Such as "vda (virtio), write cache: write back".
    pub(super) fn describe(&self) -> String {
        let name = self
            .folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let driver = fs::canonicalize(self.folder.join("device/driver"))
            .or_else(|_| fs::canonicalize(self.folder.join("device/device/driver")));
        let driver = driver.ok().and_then(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some(format!(" ({name})"))
        });
        let cache = match fs::read_to_string(self.folder.join("queue/write_cache")) {
            Ok(text) if text.trim() == "write back" => "volatile write cache",
            Ok(_) => "no volatile write cache",
            Err(_) => "write cache not known",
        };
        format!("{name}{}, {cache}", driver.unwrap_or_default())
    }
}

fn traffic(text: &str) -> Option<Traffic> {
    let mut fields = text
        .split_whitespace()
        .map(|field| field.parse::<u64>().ok());
    let sectors = fields.nth(6)??;
    Some(Traffic {
        written_bytes: sectors * SECTOR_BYTES,
        // Fields 7 to 14 are between them.
        flushes: fields.nth(8)??,
    })
}

/// File system and source of the mount that `path` lies on.
pub(super) fn mount_of(path: &Path) -> io::Result<(String, String)> {
    let path = fs::canonicalize(path)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    mount_among(&mounts, &path)
        .ok_or_else(|| io::Error::other(format!("no mount holds {}", path.display())))
}

fn mount_among(mounts: &str, path: &Path) -> Option<(String, String)> {
    let fitting = mounts.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let mut rest = rest.split(' ');
        let kind = rest.next()?.to_owned();
        let source = rest.next()?.to_owned();
        path.starts_with(&point)
            .then_some((point.len(), kind, source))
    });
    // Of mounts at one point the last one counts.
    let (_, kind, source) = fitting.max_by_key(|(length, ..)| *length)?;
    Some((kind, source))
}

/// Whether the ext4 at `path` has a journal; `None` where that cannot be told. Without one an fsync
/// writes only what belongs to its own file, and costs something else.
pub(super) fn has_journal(path: &Path) -> Option<bool> {
    let number = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let folder = Path::new("/sys/fs/ext4").join(device.file_name()?);
    let task = fs::read_to_string(folder.join("journal_task")).ok()?;
    Some(names_a_task(&task))
}

/// What ext4 says in `journal_task`: the thread that commits, by number, if there is one.
fn names_a_task(text: &str) -> bool {
    text.trim() != "<none>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_sectors_and_flushes_are_found_in_the_statistics() {
        let text = " 4373320 130177 1426536194 11276262 26465272 966199 2967993320 35217946 0 \
                    4089588 49208939 1539013 38781 2599373080 869203 8183116 1845526\n";
        let expected = Traffic {
            written_bytes: 2_967_993_320 * 512,
            flushes: 8_183_116,
        };
        assert_eq!(traffic(text), Some(expected));
        assert_eq!(traffic("1 2 3"), None, "older kernels have no flushes");
    }

    #[test]
    fn an_ext4_without_a_journal_has_no_task_for_it() {
        assert!(names_a_task("262\n"));
        assert!(!names_a_task("<none>\n"));
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      23 22 0:5 / /data rw shared:1 - tmpfs none rw\n\
                      24 22 8:1 / /data/big\\040disk rw - xfs /dev/sda1 rw\n";
        let of = |path: &str| mount_among(mounts, Path::new(path)).expect("a mount");
        assert_eq!(of("/database"), ("ext4".to_owned(), "/dev/vda".to_owned()));
        assert_eq!(of("/data/x").0, "tmpfs");
        assert_eq!(of("/data/big disk/x").1, "/dev/sda1");
    }
}

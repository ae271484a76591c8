//! One mapping per shard, cut into regions of 2 MiB, each cut into blocks of one size.
//!
//! Blocks are usually taken by the owning shard and given back by whoever drops the last view, on
//! any thread. Nothing here takes a lock: a region's state is one word (block size and number of
//! blocks in use) and a bitmap. A taker first reserves a block by raising the count, then finds a
//! clear bit; a giver clears the bit first and lowers the count after, so the bits set and the
//! reservations under way never exceed the count, and a region whose count is zero is clean and may
//! change its block size.

use crate::touch;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

/// Size and alignment of a region in bytes: one huge page.
pub const REGION: usize = 2 << 20;

/// The smallest page there is, in bytes.
const PAGE: usize = 4096;

/// Block sizes in KiB. The steps between powers of two keep the waste low; above 1 MiB a region
/// holds one block anyway.
const CLASSES_KIB: [usize; 17] = [
    4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 680, 1024, 2048,
];
const CLASS_LARGE: u64 = 255;
const WORDS: usize = REGION / 4096 / 64;
const _: () = assert!(CLASSES_KIB[CLASSES_KIB.len() - 1] * 1024 == REGION);

/// What kind of memory an arena stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Blocks from the heap: simulator and tests.
    Heap,
    /// A memfd of reserved huge pages (`vm.nr_hugepages`).
    HugeTlb,
    /// A memfd with transparent huge pages.
    MemfdHuge,
    /// Private memory with transparent huge pages: where those are off for shared memory.
    PrivateHuge,
    /// A memfd of ordinary pages.
    MemfdSmall,
}

#[derive(Debug, Default)]
struct Region {
    /// Block class in the high half, blocks in use in the low half.
    state: AtomicU64,
    bits: [AtomicU64; WORDS],
}

/// The mapping and its allocator.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    regions: Box<[Region]>,
    /// The region each class was last served from.
    hints: [AtomicU32; CLASSES_KIB.len()],
    /// Regions below the end of the highest one ever used.
    used: AtomicUsize,
    /// Regions, from the first on, whose memory is there.
    touched: AtomicUsize,
    /// Who touches memory ahead, if anybody does.
    toucher: OnceLock<Thread>,
    backing: Backing,
    _memfd: Option<OwnedFd>,
}

// SAFETY: the mapping is plain memory owned by this value until `Drop`; everything mutable in the
// struct is atomic, and who may touch a block is decided by `Buf`.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

fn class_bytes(class: usize) -> usize {
    CLASSES_KIB[class] * 1024
}

const fn pack(class: u64, used: u64) -> u64 {
    class << 32 | used
}

const fn used(state: u64) -> u64 {
    state & 0xffff_ffff
}

impl Region {
    /// Reserves one block of `class`, if the region serves it, or is clean and `convert` is set.
    fn reserve(&self, class: usize, convert: bool) -> bool {
        let room = (REGION / class_bytes(class)) as u64;
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let mine = state >> 32 == class as u64;
            let next = match used(state) {
                0 if mine || convert => pack(class as u64, 1),
                count if mine && count > 0 && count < room => state + 1,
                _ => return false,
            };
            let swap =
                self.state
                    .compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed);
            match swap {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
    }

    /// The block a reservation stands for.
    fn pick(&self, class: usize) -> usize {
        let room = REGION / class_bytes(class);
        loop {
            for (word, bits) in self.bits.iter().enumerate().take(room.div_ceil(64)) {
                let mut seen = bits.load(Ordering::Relaxed);
                loop {
                    let index = word * 64 + (!seen).trailing_zeros() as usize;
                    if seen == u64::MAX || index >= room {
                        break;
                    }
                    let bit = 1 << (index % 64);
                    seen = bits.fetch_or(bit, Ordering::AcqRel);
                    if seen & bit == 0 {
                        return index;
                    }
                }
            }
        }
    }

    fn claim_whole(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let whole = pack(CLASS_LARGE, 1);
        used(state) == 0
            && self
                .state
                .compare_exchange(state, whole, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    fn release_whole(&self) {
        self.state.store(pack(CLASS_LARGE, 0), Ordering::Release);
    }
}

impl Map {
    /// Maps at least `bytes` bytes of address space; pages are committed when first touched.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let count = bytes.div_ceil(REGION).max(1);
        let (start, backing, memfd) = map_best(count * REGION)?;
        Ok(Self {
            start,
            regions: std::iter::repeat_with(Region::default)
                .take(count)
                .collect(),
            hints: Default::default(),
            used: AtomicUsize::new(0),
            touched: AtomicUsize::new(0),
            toucher: OnceLock::new(),
            backing,
            _memfd: memfd,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.regions.len() * REGION
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn backing(&self) -> Backing {
        self.backing
    }

    /// A block of at least `len` bytes and its true size.
    pub(crate) fn take(&self, len: usize) -> Option<(NonNull<u8>, usize)> {
        if len > REGION {
            return self.take_large(len.div_ceil(REGION));
        }
        let class = CLASSES_KIB.iter().position(|kib| kib * 1024 >= len)?;
        let hint = self.hints[class].load(Ordering::Relaxed) as usize;
        let region = if self.regions[hint].reserve(class, false) {
            hint
        } else {
            self.find(class)?
        };
        let block = self.regions[region].pick(class);
        let size = class_bytes(class);
        Some((self.at(region * REGION + block * size), size))
    }

    /// A region with a block of `class` to spare: one that serves the class already, else the
    /// lowest clean one, so that memory once touched is used again first.
    fn find(&self, class: usize) -> Option<usize> {
        let serving = self.regions.iter().position(|r| r.reserve(class, false));
        let found = serving.or_else(|| self.regions.iter().position(|r| r.reserve(class, true)))?;
        self.hints[class].store(found as u32, Ordering::Relaxed);
        self.uses_up_to(found + 1);
        Some(found)
    }

    fn take_large(&self, count: usize) -> Option<(NonNull<u8>, usize)> {
        let mut first = 0;
        while first + count <= self.regions.len() {
            let run = &self.regions[first..first + count];
            let claimed = run.iter().take_while(|r| r.claim_whole()).count();
            if claimed == count {
                self.uses_up_to(first + count);
                return Some((self.at(first * REGION), count * REGION));
            }
            run[..claimed].iter().for_each(Region::release_whole);
            first += claimed + 1;
        }
        None
    }

    /// The block in use that `at` lies in, as offsets in the mapping: of more than one region where
    /// it begins is not known, and it counts from the region that `at` lies in.
    pub(crate) fn block_of(&self, at: *const u8) -> Option<Range<usize>> {
        let offset = (at as usize).checked_sub(self.start.as_ptr() as usize)?;
        let region = self.regions.get(offset / REGION)?;
        let class = region.state.load(Ordering::Relaxed) >> 32;
        let size = CLASSES_KIB
            .get(class as usize)
            .map_or(REGION, |kib| kib * 1024);
        let start = offset - offset % REGION % size;
        Some(start..start + size)
    }

    fn uses_up_to(&self, end: usize) {
        if self.used.fetch_max(end, Ordering::Relaxed) < end
            && let Some(toucher) = self.toucher.get()
        {
            toucher.unpark();
        }
    }

    /// From now on this thread is woken when more is to be touched, and when the arena ends.
    pub(crate) fn tell(&self, toucher: Thread) {
        let toucher = self.toucher.get_or_init(|| toucher);
        toucher.unpark();
    }

    /// Touches the next region whose memory is wanted ahead; `false` when there is none. To be
    /// called by one thread only.
    pub(crate) fn touch_next(&self) -> bool {
        let next = self.touched.load(Ordering::Relaxed);
        let wanted = touch::wanted(self.used.load(Ordering::Relaxed));
        // The last ones are left to who needs them: memory that is being touched is out of reach.
        if next >= wanted || wanted >= self.regions.len() {
            return false;
        }
        let region = &self.regions[next];
        // One that is in use is touched by its user.
        if region.claim_whole() {
            for page in (0..REGION).step_by(PAGE) {
                // SAFETY: the region is claimed: nobody else has any part of it.
                unsafe { self.at(next * REGION + page).write_volatile(0) };
            }
            region.release_whole();
        }
        self.touched.store(next + 1, Ordering::Relaxed);
        true
    }

    /// Regions that the toucher is done with.
    #[cfg(test)]
    pub(crate) fn touched(&self) -> usize {
        self.touched.load(Ordering::Relaxed)
    }

    /// Takes back a block handed out by [`take`](Self::take).
    pub(crate) fn give(&self, block: NonNull<u8>, size: usize) {
        let offset = block.as_ptr() as usize - self.start.as_ptr() as usize;
        let first = offset / REGION;
        if size > REGION {
            let run = &self.regions[first..first + size / REGION];
            run.iter().for_each(Region::release_whole);
            return;
        }
        let region = &self.regions[first];
        let index = offset % REGION / size;
        let bit = 1_u64 << (index % 64);
        let before = region.bits[index / 64].fetch_and(!bit, Ordering::AcqRel);
        assert!(before & bit != 0, "a block was given back twice");
        region.state.fetch_sub(1, Ordering::AcqRel);
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.len());
        // SAFETY: the offset lies inside the mapping that this value owns.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if let Some(toucher) = self.toucher.get() {
            toucher.unpark();
        }
        let len = self.len();
        // SAFETY: mapped in `map_best`; every block holds a reference to the arena: none is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), len) };
    }
}

type Mapped = (NonNull<u8>, Backing, Option<OwnedFd>);

/// Huge pages where the machine has them: reserved ones, then transparent ones for a memfd, then
/// transparent ones for private memory; ordinary pages at last.
///
/// Each attempt has an address range of its own. A mapping that fails over a reserved range may
/// have removed the reservation already, and then another thread may have mapped something there:
/// to map or unmap that range once more would take the other's memory.
fn map_best(len: usize) -> io::Result<Mapped> {
    let shared_huge = thp_allows(
        "shmem_enabled",
        &["always", "within_size", "advise", "force"],
    );
    let private_huge = thp_allows("enabled", &["always", "madvise"]);
    let tries = [
        (true, Backing::HugeTlb),
        (shared_huge, Backing::MemfdHuge),
        (private_huge, Backing::PrivateHuge),
        (true, Backing::MemfdSmall),
    ];
    let mut last = io::Error::from_raw_os_error(libc::ENOMEM);
    for (wanted, backing) in tries {
        if !wanted {
            continue;
        }
        let mapped = if backing == Backing::HugeTlb {
            map_reserved_pages(len)
        } else {
            map_over_reservation(len, backing)
        };
        match mapped {
            Ok((start, memfd)) => return Ok((start, backing, memfd)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn thp_allows(knob: &str, values: &[&str]) -> bool {
    let path = format!("/sys/kernel/mm/transparent_hugepage/{knob}");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    values.iter().any(|v| text.contains(&format!("[{v}]")))
}

/// Address space of `len` bytes, aligned to a region, with no access yet.
fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping, no existing memory is touched.
    let raw = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len + REGION,
            libc::PROT_NONE,
            flags,
            -1,
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let skip = (raw as usize).next_multiple_of(REGION) - raw as usize;
    // SAFETY: both ranges lie in the mapping just made, before and behind the part that is kept.
    unsafe {
        if skip > 0 {
            libc::munmap(raw, skip);
        }
        libc::munmap(raw.byte_add(skip + len), REGION - skip);
        NonNull::new(raw.byte_add(skip).cast())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
    }
}

/// Pages that the machine has set aside (`vm.nr_hugepages`). The kernel chooses the place, aligned
/// to such a page: where there are none, which is the usual case, nothing has been touched.
fn map_reserved_pages(len: usize) -> io::Result<(NonNull<u8>, Option<OwnedFd>)> {
    let memfd = memfd(len, libc::MFD_CLOEXEC | libc::MFD_HUGETLB)?;
    // SAFETY: a fresh mapping at a place that the kernel chooses.
    let raw = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Without MAP_NORESERVE: all pages must be there now, to touch a missing one later is a
        // SIGBUS.
        libc::mmap(
            std::ptr::null_mut(),
            len,
            access,
            libc::MAP_SHARED,
            memfd.as_raw_fd(),
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    match NonNull::new(raw.cast::<u8>()) {
        Some(start) if (raw as usize).is_multiple_of(REGION) => Ok((start, Some(memfd))),
        _ => {
            // SAFETY: just mapped, nothing refers to it yet.
            unsafe { libc::munmap(raw, len) };
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }
}

/// A mapping in an aligned range that is reserved for it. If it fails, the range is left alone: it
/// may be anyone's by then, and at worst some addresses without memory are lost.
fn map_over_reservation(
    len: usize,
    backing: Backing,
) -> io::Result<(NonNull<u8>, Option<OwnedFd>)> {
    let memfd = match backing {
        Backing::PrivateHuge | Backing::Heap => None,
        Backing::HugeTlb | Backing::MemfdHuge | Backing::MemfdSmall => {
            Some(memfd(len, libc::MFD_CLOEXEC)?)
        }
    };
    let start = reserve(len)?;
    let (kind, fd) = match &memfd {
        Some(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: MAP_FIXED replaces only address space that `reserve` set aside for this mapping.
    let raw = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(
            start.as_ptr().cast(),
            len,
            access,
            kind | libc::MAP_NORESERVE | libc::MAP_FIXED,
            fd,
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if matches!(backing, Backing::MemfdHuge | Backing::PrivateHuge) {
        // SAFETY: advice on our own mapping; a refusal only costs speed.
        unsafe { libc::madvise(raw, len, libc::MADV_HUGEPAGE) };
    }
    Ok((start, memfd))
}

fn memfd(len: usize, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string; the call touches no other memory.
    let raw = unsafe { libc::memfd_create(c"ringlog-arena".as_ptr(), flags) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: an ordinary call on our own descriptor.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    /// Shards map their arenas at the same time, while everybody allocates.
    #[test]
    fn arenas_mapped_at_once_share_no_memory() {
        const THREADS: usize = 8;
        const ROUNDS: usize = 200;
        let barrier = Arc::new(Barrier::new(THREADS));
        let work = |barrier: Arc<Barrier>| {
            let mut maps = Vec::new();
            for _ in 0..ROUNDS {
                barrier.wait();
                maps.push(Map::new(4 * REGION).expect("address space"));
            }
            maps
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|_| Arc::clone(&barrier))
            .map(|barrier| std::thread::spawn(move || work(barrier)))
            .collect();
        let join = |thread: std::thread::JoinHandle<Vec<Map>>| thread.join().expect("it ends");
        let maps: Vec<Map> = threads.into_iter().flat_map(join).collect();
        let mut ranges: Vec<(usize, usize)> = maps
            .iter()
            .map(|map| (map.start().as_ptr() as usize, map.len()))
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            let ((start, len), (next, _)) = (pair[0], pair[1]);
            assert!(start + len <= next, "two arenas lie at {next:#x}");
        }
        assert!(ranges.iter().all(|(start, _)| start.is_multiple_of(REGION)));
    }
}

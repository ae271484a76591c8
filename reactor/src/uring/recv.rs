//! The provided buffer ring: the kernel fills its buffers in turn; a buffer returns when the last
//! view of it is dropped, on any thread.

use bytes::Bytes;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The only buffer group.
pub(crate) const GROUP: u16 = 0;

/// An anonymous mapping.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory owned by this value; who may touch which part is decided by its users.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(len: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping; no existing memory is touched.
        let raw = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(raw.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { start, len })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and its owner is going away.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The buffers, shared by the driver and all views.
#[derive(Debug)]
struct Buffers {
    pages: Pages,
    buffer_bytes: usize,
    /// One bit a buffer: set by whoever dropped its view, taken by the driver.
    returned: Box<[AtomicU64]>,
}

/// A received piece that keeps its buffer.
struct View {
    buffers: Arc<Buffers>,
    id: u16,
    len: usize,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the kernel filled these bytes and gave the buffer to this view; it is not handed
        // to the kernel again before the view is dropped, and the pages live as long as `buffers`.
        unsafe { self.buffers.bytes(self.id, self.len) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let bit = 1 << (self.id % 64);
        self.buffers.returned[usize::from(self.id) / 64].fetch_or(bit, Ordering::AcqRel);
    }
}

impl Buffers {
    /// # Safety
    /// The buffer belongs to the caller, not to the kernel, as long as the bytes are used.
    unsafe fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(
            len <= self.buffer_bytes,
            "the kernel filled more than a buffer"
        );
        let offset = usize::from(id) * self.buffer_bytes;
        assert!(
            offset + len <= self.pages.len,
            "the kernel named a buffer that is not there"
        );
        // SAFETY: inside the mapping by the assertions; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.pages.start.as_ptr().add(offset), len) }
    }
}

/// The driver's end. Must outlive the ring it is registered with.
#[derive(Debug)]
pub(crate) struct RecvPool {
    ring: Pages,
    buffers: Arc<Buffers>,
    count: u16,
    tail: u16,
    /// Buffers behind views.
    lent: u16,
}

impl RecvPool {
    /// Registers `count` (a power of two) buffers with the ring.
    pub(crate) fn new(
        submitter: &Submitter<'_>,
        count: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        if !count.is_power_of_two() || count > 1 << 15 || buffer_bytes == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let ring = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let pages = Pages::new(usize::from(count) * buffer_bytes)?;
        let words = usize::from(count).div_ceil(64);
        let buffers = Arc::new(Buffers {
            pages,
            buffer_bytes,
            returned: std::iter::repeat_with(AtomicU64::default)
                .take(words)
                .collect(),
        });
        // SAFETY: the ring's memory outlives the registration: the pool outlives the ring.
        unsafe {
            let start = ring.start.as_ptr() as u64;
            submitter.register_buf_ring_with_flags(start, count, GROUP, 0)?;
        }
        let mut pool = Self {
            ring,
            buffers,
            count,
            tail: 0,
            lent: 0,
        };
        for id in 0..count {
            pool.offer(id);
        }
        pool.publish();
        Ok(pool)
    }

    /// Writes the entry that gives buffer `id` to the kernel, not yet visible to it.
    fn offer(&mut self, id: u16) {
        let place = usize::from(self.tail & (self.count - 1));
        let start = self.buffers.pages.start.as_ptr() as u64;
        // SAFETY: the place lies inside the ring's memory, which only this thread writes; the
        // kernel does not read the entry before the tail moves past it. The last field of the first
        // entry is the tail itself, which none of these setters touches.
        unsafe {
            let entry = &mut *self.ring.start.as_ptr().cast::<BufRingEntry>().add(place);
            entry.set_addr(start + u64::from(id) * self.buffers.buffer_bytes as u64);
            entry.set_len(self.buffers.buffer_bytes as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the tail lies in the ring's memory, aligned, and only this thread writes it.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.start.as_ptr().cast());
            (*tail.cast::<AtomicU16>()).store(self.tail, Ordering::Release);
        }
    }

    /// Gives buffers whose views are gone back to the kernel.
    pub(crate) fn refill(&mut self) {
        if self.lent == 0 {
            return;
        }
        let buffers = Arc::clone(&self.buffers);
        let before = self.tail;
        for (word, bits) in buffers.returned.iter().enumerate() {
            if bits.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut set = bits.swap(0, Ordering::AcqRel);
            while set != 0 {
                self.offer((word * 64) as u16 + set.trailing_zeros() as u16);
                self.lent -= 1;
                set &= set - 1;
            }
        }
        if self.tail != before {
            self.publish();
        }
    }

    /// The piece that the kernel put into buffer `id`. Small pieces are copied out, so that they
    /// do not keep a whole buffer; and when three quarters of the buffers are behind views, large
    /// ones too, so that whoever keeps pieces for long never starves another socket.
    pub(crate) fn piece(&mut self, id: u16, len: usize) -> Bytes {
        let scarce = self.lent >= self.count - self.count / 4;
        if len > self.buffers.buffer_bytes / 4 && !scarce {
            self.lent += 1;
            return Bytes::from_owner(View {
                buffers: Arc::clone(&self.buffers),
                id,
                len,
            });
        }
        // SAFETY: the completion gave the buffer to this thread; it is offered again only below.
        let copy = Bytes::copy_from_slice(unsafe { self.buffers.bytes(id, len) });
        self.give_back(id);
        copy
    }

    /// Returns a buffer that nobody looks at.
    pub(crate) fn give_back(&mut self, id: u16) {
        self.offer(id);
        self.publish();
    }
}

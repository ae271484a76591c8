//! Arena memory and its ownership: a [`Buf`] is written by one owner, its published prefix is
//! shared as [`Bytes`] that keep the block alive until the last reader and the kernel are done.

use crate::arena::{Backing, Map};
use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::Thread;

/// Alignment of every buffer's address and the unit of direct I/O, in bytes.
pub const BLOCK: usize = 4096;

/// Memory of one shard, handed out in block-aligned pieces up to a fixed total.
#[derive(Clone, Debug)]
pub struct Arena(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    bytes_max: usize,
    bytes_used: AtomicUsize,
    /// Bytes of the buffers beside the arena: see [`Arena::alloc_apart`].
    bytes_apart: AtomicUsize,
    /// `None`: every block comes from the heap.
    map: Option<Map>,
}

impl Arena {
    /// An arena of at most `bytes_max` bytes taken from the heap, for the simulator and tests.
    #[must_use]
    pub fn heap(bytes_max: usize) -> Self {
        Self(Arc::new(Pool {
            bytes_max,
            bytes_used: AtomicUsize::new(0),
            bytes_apart: AtomicUsize::new(0),
            map: None,
        }))
    }

    /// An arena of `bytes_max` bytes (rounded up to 2 MiB) mapped in one piece, with huge pages
    /// where the machine allows them. Only address space is taken now; pages are committed when
    /// they are first touched.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn mapped(bytes_max: usize) -> io::Result<Self> {
        let map = Map::new(bytes_max)?;
        Ok(Self(Arc::new(Pool {
            bytes_max: map.len(),
            bytes_used: AtomicUsize::new(0),
            bytes_apart: AtomicUsize::new(0),
            map: Some(map),
        })))
    }

    /// A buffer with room for at least `len` bytes, or `None` when the arena is used up. Its
    /// unpublished bytes are initialised but may hold anything that the arena held before.
    #[must_use]
    pub fn alloc(&self, len: usize) -> Option<Buf> {
        let block = match &self.0.map {
            Some(map) => {
                let (start, capacity) = map.take(len.max(1))?;
                self.0.bytes_used.fetch_add(capacity, Ordering::Relaxed);
                Block {
                    start,
                    capacity,
                    home: Home::Arena(Arc::clone(&self.0)),
                }
            }
            None => {
                let capacity = len.max(1).checked_next_multiple_of(BLOCK)?;
                let used = self.0.bytes_used.fetch_add(capacity, Ordering::Relaxed);
                if used.saturating_add(capacity) > self.0.bytes_max {
                    self.0.bytes_used.fetch_sub(capacity, Ordering::Relaxed);
                    return None;
                }
                Block::from_heap(capacity, Home::Arena(Arc::clone(&self.0)))?
            }
        };
        Some(Buf {
            block: Arc::new(block),
            len: 0,
        })
    }

    /// A zeroed buffer beside the arena, for what is too large for it. `None` while the buffers of
    /// this kind and this one would together exceed the arena's own size; one alone is allowed
    /// whatever its length.
    #[must_use]
    pub fn alloc_apart(&self, len: usize) -> Option<Buf> {
        let capacity = len.max(1).checked_next_multiple_of(BLOCK)?;
        let before = self.0.bytes_apart.fetch_add(capacity, Ordering::Relaxed);
        let home = Home::Apart(Arc::clone(&self.0));
        if before > 0 && before.saturating_add(capacity) > self.0.bytes_max {
            self.0.bytes_apart.fetch_sub(capacity, Ordering::Relaxed);
            return None;
        }
        let Some(block) = Block::from_heap(capacity, home) else {
            self.0.bytes_apart.fetch_sub(capacity, Ordering::Relaxed);
            return None;
        };
        Some(Buf {
            block: Arc::new(block),
            len: 0,
        })
    }

    /// Bytes handed out and not yet returned.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.0.bytes_used.load(Ordering::Relaxed)
    }

    /// The most that can be handed out at once, in bytes.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Where the arena is mapped, and its length in bytes.
    pub(crate) fn mapping(&self) -> Option<(NonNull<u8>, usize)> {
        self.0.map.as_ref().map(|map| (map.start(), map.len()))
    }

    /// Which bytes of the arena are kept from others by a part of a buffer that begins at `at`.
    pub(crate) fn block_of(&self, at: *const u8) -> Option<Range<usize>> {
        self.0.map.as_ref()?.block_of(at)
    }

    /// A handle that does not keep the arena.
    pub(crate) fn downgrade(&self) -> WeakArena {
        WeakArena(Arc::downgrade(&self.0))
    }

    /// The thread that calls [`touch_next`](Self::touch_next), woken when there is something to do.
    pub(crate) fn tell_touched_by(&self, toucher: Thread) {
        if let Some(map) = &self.0.map {
            map.tell(toucher);
        }
    }

    /// Touches some memory ahead of need; `false` when enough is ready. For one thread.
    pub(crate) fn touch_next(&self) -> bool {
        self.0.map.as_ref().is_some_and(Map::touch_next)
    }

    #[cfg(test)]
    pub(crate) fn touched_regions(&self) -> usize {
        self.0.map.as_ref().map_or(0, Map::touched)
    }

    /// What kind of memory this arena stands on.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.0.map.as_ref().map_or(Backing::Heap, Map::backing)
    }
}

/// An arena that ends with its last user.
pub(crate) struct WeakArena(Weak<Pool>);

impl WeakArena {
    pub(crate) fn upgrade(&self) -> Option<Arena> {
        self.0.upgrade().map(Arena)
    }
}

#[derive(Debug)]
struct Block {
    start: NonNull<u8>,
    capacity: usize,
    home: Home,
}

/// Whose budget a block belongs to.
#[derive(Debug)]
enum Home {
    /// The arena's, and its mapping if it has one.
    Arena(Arc<Pool>),
    /// The budget for what is too large for the arena.
    Apart(Arc<Pool>),
    Nobody,
}

// SAFETY: the block is plain memory. Its unpublished part is reached only through `&mut Buf`, its
// published part is never written again; both may move between threads.
unsafe impl Send for Block {}
// SAFETY: as above: shared access only ever reads bytes that nobody writes.
unsafe impl Sync for Block {}

impl Block {
    fn from_heap(capacity: usize, home: Home) -> Option<Self> {
        let layout = Layout::from_size_align(capacity, BLOCK).ok()?;
        // SAFETY: the layout's size is not zero; the block owns the memory until `Drop`.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self {
            start,
            capacity,
            home,
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        match &self.home {
            Home::Arena(pool) => {
                pool.bytes_used.fetch_sub(self.capacity, Ordering::Relaxed);
                if let Some(map) = &pool.map {
                    map.give(self.start, self.capacity);
                    return;
                }
            }
            Home::Apart(pool) => {
                pool.bytes_apart.fetch_sub(self.capacity, Ordering::Relaxed);
            }
            Home::Nobody => {}
        }
        let layout = Layout::from_size_align(self.capacity, BLOCK)
            .expect("the block was allocated with this layout");
        // SAFETY: allocated with this layout in `from_heap`; the last owner is going away.
        unsafe { dealloc(self.start.as_ptr(), layout) };
    }
}

/// An append-only buffer with one writer. What lies below [`len`](Self::len) never changes again
/// and may be shared; what lies above is reached only through this value.
#[derive(Debug)]
pub struct Buf {
    block: Arc<Block>,
    len: usize,
}

impl Buf {
    /// A zeroed buffer outside any arena, for reads that must not take memory from the tails.
    pub(crate) fn outside(len: usize) -> Option<Self> {
        let capacity = len.max(1).checked_next_multiple_of(BLOCK)?;
        let block = Arc::new(Block::from_heap(capacity, Home::Nobody)?);
        Some(Self { block, len: 0 })
    }

    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.capacity
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes not yet published. Write here, then [`publish`](Self::publish). They may hold what
    /// an earlier owner left: publish nothing that was not written first.
    pub fn spare(&mut self) -> &mut [u8] {
        // SAFETY: `len <= capacity`; slices of this block cover only bytes below `len`, so this is
        // the only path to these bytes while `self` is borrowed. The memory is initialised: zeroed
        // by the allocator or by the kernel, or written by an earlier owner.
        unsafe {
            let start = self.block.start.as_ptr().add(self.len);
            std::slice::from_raw_parts_mut(start, self.capacity() - self.len)
        }
    }

    /// Makes the first `count` bytes of [`spare`](Self::spare) part of the published prefix.
    pub fn publish(&mut self, count: usize) {
        assert!(
            count <= self.capacity() - self.len,
            "published more than the buffer holds"
        );
        self.len += count;
    }

    /// Copies `data` behind the published prefix and publishes it. Panics if it does not fit.
    pub fn append(&mut self, data: &[u8]) {
        self.spare()[..data.len()].copy_from_slice(data);
        self.publish(data.len());
    }

    /// Publishes `count` zero bytes: the padding up to a block boundary. Panics if they do not fit.
    pub fn pad_zero(&mut self, count: usize) {
        self.spare()[..count].fill(0);
        self.publish(count);
    }

    /// The published bytes in `range`, shared: no copy. Panics if `range` ends above `len`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "slice of unpublished bytes"
        );
        Bytes::from_owner(Piece {
            block: Arc::clone(&self.block),
            range,
        })
    }

    /// The published prefix.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: bytes below `len` are never written again.
        unsafe { std::slice::from_raw_parts(self.block.start.as_ptr(), self.len) }
    }

    /// Everything published, as shared bytes.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        self.slice(0..self.len)
    }
}

struct Piece {
    block: Arc<Block>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was published when the piece was made; published bytes never change and
        // the block lives as long as this piece.
        unsafe {
            let start = self.block.start.as_ptr().add(self.range.start);
            std::slice::from_raw_parts(start, self.range.len())
        }
    }
}

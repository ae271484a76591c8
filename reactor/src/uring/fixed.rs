//! The arena as registered buffers: the kernel then need not look up and pin the pages of every
//! direct read and write. Each region of the arena is registered when it is first used, so that a
//! broker with little to do pins little.

use super::ring::Ring;
use crate::arena::REGION;
use crate::buf::Arena;

/// Buffers a ring can have (IORING_MAX_REG_BUFFERS); what lies above goes out unregistered.
const REGIONS_MAX: usize = 1 << 14;

/// Which regions of an arena a ring has registered.
#[derive(Debug, Default)]
pub(crate) struct FixedBuffers {
    start: usize,
    /// One flag a region; empty when nothing may be registered.
    registered: Vec<bool>,
}

impl FixedBuffers {
    /// `wanted`: the limit on locked memory has room for the whole arena.
    pub(crate) fn new(ring: &Ring, arena: &Arena, wanted: bool) -> Self {
        let Some((start, len)) = arena.mapping().filter(|_| wanted) else {
            return Self::default();
        };
        let regions = (len / REGION).min(REGIONS_MAX);
        match ring.submitter().register_buffers_sparse(regions as u32) {
            Ok(()) => Self {
                start: start.as_ptr() as usize,
                registered: vec![false; regions],
            },
            // Costs speed only.
            Err(_) => Self::default(),
        }
    }

    /// The registered buffer that holds all `len` bytes from `at` on, if there is one.
    pub(crate) fn index(&mut self, ring: &Ring, at: *const u8, len: usize) -> Option<u16> {
        let offset = (at as usize).checked_sub(self.start)?;
        let region = offset / REGION;
        let registered = *self.registered.get(region)?;
        if offset % REGION + len > REGION {
            return None;
        }
        if !registered {
            let whole = libc::iovec {
                iov_base: (self.start + region * REGION) as *mut libc::c_void,
                iov_len: REGION,
            };
            // SAFETY: the region is part of the arena's mapping, which the ring's owner holds until
            // the ring is gone.
            let done = unsafe {
                ring.submitter()
                    .register_buffers_update(region as u32, &[whole], None)
            };
            if done.is_err() {
                // The limit was lowered, or memory is short: what is registered stays in use.
                self.registered.truncate(region);
                return None;
            }
            self.registered[region] = true;
        }
        u16::try_from(region).ok()
    }
}

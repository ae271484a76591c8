//! Touches an arena's memory ahead of its shard: the first touch of a huge page has to find and
//! clear it, which takes a tenth of a millisecond, or ten and more where a hypervisor has to find
//! it as well. A thread of its own does that, with the least claim to a core.

use crate::arena::REGION;
use crate::buf::{Arena, WeakArena};
use crate::cores;
use std::io;

/// Regions that are made ready ahead, once anything is used: at 100 MB/s they last for 80 ms.
const AHEAD_REGIONS: usize = (8 << 20) / REGION;

/// Regions to have been touched when the highest one ever used is number `used - 1`.
pub(crate) const fn wanted(used: usize) -> usize {
    if used == 0 { 0 } else { used + AHEAD_REGIONS }
}

/// Starts the thread, which runs on `cores` and ends with the arena.
pub(crate) fn start(arena: &Arena, name: String, cores: Vec<usize>) -> io::Result<()> {
    let weak = arena.downgrade();
    let thread = std::thread::Builder::new().name(name);
    let thread = thread.spawn(move || {
        // Where either is refused it is only less considerate.
        let _ = cores.is_empty() || cores::bind_to(&cores);
        let _ = cores::be_least();
        run(&weak);
    })?;
    arena.tell_touched_by(thread.thread().clone());
    Ok(())
}

fn run(weak: &WeakArena) {
    while let Some(arena) = weak.upgrade() {
        let more = arena.touch_next();
        drop(arena);
        if !more {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_touched_ahead_follows_what_is_used() {
        let cases = [(0, 0), (1, 5), (5, 9), (1000, 1004)];
        for (used, touched) in cases {
            assert_eq!(wanted(used), touched, "{used} regions used");
        }
    }

    #[test]
    fn memory_is_touched_ahead_and_bytes_in_use_are_left_alone() {
        let arena = Arena::mapped(64 * REGION).expect("address space is cheap");
        let cores = cores::available_cores();
        start(&arena, "touch-test".into(), cores).expect("a thread can be started");
        let mut held = Vec::new();
        for used in 1..=20_u8 {
            let mut buf = arena.alloc(REGION).expect("there is room");
            buf.append(&[used; 5000]);
            held.push(buf);
        }
        let begin = Instant::now();
        while arena.touched_regions() < wanted(20) {
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody touches");
            std::thread::yield_now();
        }
        for (buf, used) in held.iter().zip(1_u8..) {
            assert!(buf.slice(0..5000).iter().all(|byte| *byte == used));
        }
        // One at a time is out of reach while it is being touched.
        while held.len() < 64 {
            assert!(begin.elapsed() < Duration::from_secs(60), "memory is lost");
            held.extend(arena.alloc(REGION));
        }
    }
}

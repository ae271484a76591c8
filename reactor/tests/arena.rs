//! The mapped arena under many threads.

use bytes::Bytes;
use reactor::buf::{Arena, BLOCK};
use std::sync::mpsc::channel;

/// A small generator (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn filled(arena: &Arena, random: &mut Random) -> Option<(u8, Bytes)> {
    let len = 1 + match random.below(8) {
        0 => random.below(5 << 20),
        1..=3 => random.below(300_000),
        _ => random.below(2 * BLOCK),
    };
    let mark = random.below(256) as u8;
    let mut buf = arena.alloc(len)?;
    assert!(buf.capacity() >= len);
    assert_eq!(buf.spare().as_ptr() as usize % BLOCK, 0);
    buf.spare()[..len].fill(mark);
    buf.publish(len);
    Some((mark, buf.freeze()))
}

#[test]
fn blocks_never_overlap_whichever_thread_frees_them() {
    let arena = Arena::mapped(48 << 20).expect("a mapping");
    std::thread::scope(|scope| {
        let (sender, receiver) = channel::<(u8, Bytes)>();
        for seed in 1..=3 {
            let (arena, sender) = (arena.clone(), sender.clone());
            scope.spawn(move || {
                let mut random = Random(seed * 0x9e37_79b9);
                let mut mine: Vec<(u8, Bytes)> = Vec::new();
                for _ in 0..1000 {
                    if let Some(block) = filled(&arena, &mut random) {
                        mine.push(block);
                    }
                    while mine.len() > 12 {
                        let (mark, bytes) = mine.swap_remove(random.below(mine.len()));
                        assert!(bytes.iter().all(|&byte| byte == mark));
                        if random.below(2) == 0 {
                            let _ = sender.send((mark, bytes));
                        }
                    }
                }
            });
        }
        drop(sender);
        for (mark, bytes) in receiver {
            assert!(bytes.iter().all(|&byte| byte == mark));
        }
    });
    assert_eq!(arena.bytes_used(), 0);
    let whole = arena
        .alloc(arena.bytes_max())
        .expect("all of it is free again");
    assert_eq!(whole.capacity(), arena.bytes_max());
}

#[test]
fn an_arena_that_is_used_up_says_so_and_recovers() {
    let arena = Arena::mapped(4 << 20).expect("a mapping");
    let mut held = Vec::new();
    while let Some(buf) = arena.alloc(BLOCK) {
        held.push(buf);
    }
    assert_eq!(held.len(), (4 << 20) / BLOCK);
    assert!(arena.alloc(1).is_none());
    assert!(arena.alloc(usize::MAX / 2).is_none());
    held.pop();
    assert!(arena.alloc(1).is_some());
    assert!(
        arena.alloc(2 * BLOCK).is_none(),
        "no room for two blocks in a row"
    );
    held.clear();
    assert!(arena.alloc(2 * BLOCK).is_some());
}

#[test]
fn a_region_is_cut_into_as_many_blocks_as_fit_whatever_their_size() {
    const REGION: usize = 2 << 20;
    let arena = Arena::mapped(REGION).expect("a mapping");
    for len in (1..=REGION).step_by(3 * BLOCK - 1) {
        let blocks: Vec<_> = std::iter::from_fn(|| arena.alloc(len)).collect();
        let size = blocks[0].capacity();
        assert!(size >= len && size % BLOCK == 0, "{size} for {len}");
        assert_eq!(blocks.len(), REGION / size, "blocks of {size}");
        assert!(len <= 1 << 20 || blocks.len() == 1);
        assert_eq!(arena.bytes_used(), blocks.len() * size);
    }
    assert_eq!(arena.bytes_used(), 0);
}

#[test]
fn old_bytes_are_not_published_by_padding() {
    let arena = Arena::mapped(2 << 20).expect("a mapping");
    for _ in 0..4 {
        let mut secret = arena.alloc(2 << 20).expect("room");
        let len = secret.capacity();
        secret.spare().fill(0xaa);
        secret.publish(len);
        drop(secret);
        let mut next = arena.alloc(BLOCK).expect("room");
        next.append(b"mine");
        next.pad_zero(BLOCK - 4);
        let bytes = next.freeze();
        assert_eq!(&bytes[..4], b"mine");
        assert!(bytes[4..].iter().all(|&byte| byte == 0));
    }
}

#[test]
#[should_panic(expected = "slice of unpublished bytes")]
fn unpublished_bytes_cannot_be_shared() {
    let arena = Arena::mapped(2 << 20).expect("a mapping");
    let mut buf = arena.alloc(100).expect("room");
    buf.append(b"published");
    let _ = buf.slice(0..10);
}

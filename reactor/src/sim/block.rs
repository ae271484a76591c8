//! The content of one file on a device with a volatile write cache.
//!
//! A 4 KiB block has what the medium surely holds, and the completed writes since, any of which may
//! have reached the medium at a power cut, sector by sector. A first write into space that was not
//! written before converts it; until that conversion is durable the block may read as zeros again.

use super::rng::Rng;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The unit of space, in bytes.
pub(super) const BLOCK: u64 = crate::buf::BLOCK as u64;
/// The unit that a device writes atomically, in bytes.
const SECTOR: usize = 512;

/// The bytes of a block; `None` stands for zeros.
type Page = Option<Rc<[u8; BLOCK as usize]>>;

/// Of a write that a failed flush has lost: readable from the cache, never durable (fsyncgate).
const LOST: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Version {
    /// When the write completed, in stamps of the disk.
    stamp: u64,
    page: Page,
    /// In the page cache, where only a sync of this very file finds it.
    buffered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Written at this stamp; the file system has not committed it.
    Converting(u64),
    /// Written, and durable as such.
    Written,
}

#[derive(Clone, Debug)]
struct Block {
    extent: Extent,
    media: Page,
    /// Whether any write to this block has been flushed to the medium.
    flushed: bool,
    /// Completed writes that no flush has covered, oldest first.
    cached: Vec<Version>,
}

impl Block {
    fn current(&self) -> &Page {
        self.cached.last().map_or(&self.media, |last| &last.page)
    }

    /// Moves versions up to `start` to the medium. True if some remain volatile.
    fn flush(&mut self, start: u64, own: bool) -> bool {
        let covered = |v: &Version| v.stamp <= start && (own || !v.buffered);
        if let Some(last) = self.cached.iter().rposition(covered) {
            self.media = self.cached[last].page.clone();
            self.flushed = true;
            self.cached.drain(..=last);
        }
        !self.cached.is_empty()
    }

    /// What a power cut leaves: `None` if the space reads as zeros again.
    fn cut(mut self, rng: &mut Rng, mood: Mood) -> Option<Self> {
        self.cached.retain(|version| version.stamp != LOST);
        if self.extent != Extent::Written {
            if !mood.keeps(rng) || (!self.flushed && self.cached.is_empty()) {
                return None;
            }
            // A commit of the conversion is preceded by a flush of the data that caused it.
            if !self.flushed {
                self.media = self.cached.remove(0).page;
            }
            self.extent = Extent::Written;
            self.flushed = true;
        }
        if !self.cached.is_empty() {
            self.media = survivor(&self.media, &self.cached, rng, mood);
            self.cached.clear();
        }
        Some(self)
    }
}

/// One outcome of the writes in `cached` over `media`: whole versions, or a mix of their sectors.
fn survivor(media: &Page, cached: &[Version], rng: &mut Rng, mood: Mood) -> Page {
    let newest = &cached[cached.len() - 1].page;
    match mood {
        Mood::Everything => return newest.clone(),
        Mood::Nothing => return media.clone(),
        Mood::Mixed(_) => {}
    }
    match rng.below(8) {
        0..=2 => newest.clone(),
        3..=4 => media.clone(),
        5 => cached[rng.index(cached.len())].page.clone(),
        _ => {
            let mut mixed = [0_u8; BLOCK as usize];
            for (at, sector) in mixed.chunks_exact_mut(SECTOR).enumerate() {
                let pick = rng.index(cached.len() + 1);
                let from = if pick == 0 {
                    media
                } else {
                    &cached[pick - 1].page
                };
                if let Some(page) = from {
                    sector.copy_from_slice(&page[at * SECTOR..(at + 1) * SECTOR]);
                }
            }
            Some(Rc::new(mixed))
        }
    }
}

/// How kind one power cut is to what was not durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Everything,
    Nothing,
    /// Each thing survives this many times out of sixteen.
    Mixed(u64),
}

impl Mood {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::Everything,
            1 => Self::Nothing,
            _ => Self::Mixed(rng.between(1, 15)),
        }
    }

    pub(super) fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::Mixed(part) => rng.chance(part, 16),
        }
    }
}

/// One file: content, length, reserved space, and how much of each is durable.
#[derive(Debug, Default)]
pub(super) struct Content {
    size: u64,
    /// Space is reserved up to here, in bytes.
    reserved: u64,
    blocks: BTreeMap<u64, Block>,
    /// Blocks whose conversion is not durable.
    converting: Vec<u64>,
    durable_size: u64,
    /// Lengths since the durable one, with the stamp of the change.
    sizes: Vec<(u64, u64)>,
    /// Blocks a truncation took away that is not durable, and the stamp of the newest such.
    ghosts: BTreeMap<u64, Block>,
    truncated: Option<u64>,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of space this file holds on its device.
    pub(super) fn space(&self) -> u64 {
        let above = self.blocks.range(self.reserved / BLOCK..).count() as u64;
        self.reserved + above * BLOCK
    }

    /// Where space begins that was never written.
    pub(super) fn first_hole(&self) -> u64 {
        let written = self.blocks.keys().zip(0..);
        let count = written.take_while(|(number, at)| *number == at).count() as u64;
        (count * BLOCK).min(self.size)
    }

    /// Bytes of space that writing or reserving up to `end` would add.
    pub(super) fn growth(&self, pos: u64, end: u64) -> u64 {
        let from = pos.max(self.reserved) / BLOCK;
        let upto = end.div_ceil(BLOCK);
        if from >= upto {
            return 0;
        }
        let present = self.blocks.range(from..upto).count() as u64;
        (upto - from - present) * BLOCK
    }

    /// The bytes from `pos` on, at most `len`, fewer at the end of the file, into `out`.
    pub(super) fn read(&self, pos: u64, out: &mut [u8]) -> usize {
        let len = self.size.saturating_sub(pos).min(out.len() as u64) as usize;
        let out = &mut out[..len];
        out.fill(0);
        let end = pos + len as u64;
        for (number, block) in self.blocks.range(pos / BLOCK..end.div_ceil(BLOCK)) {
            if let Some(page) = block.current() {
                let low = (number * BLOCK).max(pos);
                let high = ((number + 1) * BLOCK).min(end);
                let inside = (low % BLOCK) as usize;
                let count = (high - low) as usize;
                let at = (low - pos) as usize;
                out[at..at + count].copy_from_slice(&page[inside..inside + count]);
            }
        }
        len
    }

    /// A completed write. Returns the blocks that had nothing volatile before.
    pub(super) fn write(&mut self, pos: u64, data: &[u8], stamp: u64, buffered: bool) -> Vec<u64> {
        let mut dirtied = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let place = pos + at as u64;
            let inside = (place % BLOCK) as usize;
            let count = (BLOCK as usize - inside).min(data.len() - at);
            if self.write_block(
                place / BLOCK,
                inside,
                &data[at..at + count],
                stamp,
                buffered,
            ) {
                dirtied.push(place / BLOCK);
            }
            at += count;
        }
        self.grow(pos + data.len() as u64, stamp);
        dirtied
    }

    fn write_block(
        &mut self,
        number: u64,
        inside: usize,
        data: &[u8],
        stamp: u64,
        buffered: bool,
    ) -> bool {
        let block = self.blocks.entry(number).or_insert_with(|| {
            self.converting.push(number);
            Block {
                extent: Extent::Converting(stamp),
                media: None,
                flushed: false,
                cached: Vec::new(),
            }
        });
        let page = if data.len() == BLOCK as usize && data.iter().all(|&byte| byte == 0) {
            None
        } else {
            let mut page = block
                .current()
                .as_deref()
                .copied()
                .unwrap_or([0; BLOCK as usize]);
            page[inside..inside + data.len()].copy_from_slice(data);
            Some(Rc::new(page))
        };
        let version = Version {
            stamp,
            page,
            buffered,
        };
        block.cached.push(version);
        block.cached.len() == 1
    }

    fn grow(&mut self, size: u64, stamp: u64) {
        if size > self.size {
            self.size = size;
            self.sizes.push((stamp, size));
        }
    }

    /// fallocate mode 0: reserved, unwritten, at least this long.
    pub(super) fn allocate(&mut self, end: u64, stamp: u64) {
        self.reserved = self.reserved.max(end.next_multiple_of(BLOCK));
        self.grow(end, stamp);
    }

    /// ftruncate. Returns the block that had to be zeroed in part, if it was not volatile before.
    pub(super) fn truncate(&mut self, len: u64, stamp: u64) -> Option<u64> {
        if len >= self.size {
            self.grow(len, stamp);
            return None;
        }
        let gone = self.blocks.split_off(&len.div_ceil(BLOCK));
        for (number, block) in gone {
            self.ghosts.entry(number).or_insert(block);
        }
        self.converting
            .retain(|number| self.blocks.contains_key(number));
        self.reserved = self.reserved.min(len.next_multiple_of(BLOCK));
        self.truncated = Some(stamp);
        self.size = len;
        self.sizes.push((stamp, len));
        let (number, inside) = (len / BLOCK, (len % BLOCK) as usize);
        let zeroes = inside > 0 && self.blocks.contains_key(&number);
        let zeros = [0; BLOCK as usize];
        (zeroes && self.write_block(number, inside, &zeros[inside..], stamp, true))
            .then_some(number)
    }

    /// The part of a flush that reaches block `number`. True if it is still volatile.
    pub(super) fn flush_block(&mut self, number: u64, start: u64, own: bool) -> bool {
        self.blocks
            .get_mut(&number)
            .is_some_and(|block| block.flush(start, own))
    }

    /// What was written between `pos` and `end` up to `start` reaches the medium, as does the
    /// conversion of these blocks and the length.
    pub(super) fn write_through(&mut self, pos: u64, end: u64, start: u64) {
        let range = pos / BLOCK..end.div_ceil(BLOCK);
        for (_, block) in self.blocks.range_mut(range.clone()) {
            block.flush(start, true);
            block.extent = Extent::Written;
        }
        self.converting.retain(|number| !range.contains(number));
        self.commit_size(start);
    }

    fn commit_size(&mut self, start: u64) {
        if let Some(last) = self.sizes.iter().rposition(|(stamp, _)| *stamp <= start) {
            self.durable_size = self.sizes[last].1;
            self.sizes.drain(..=last);
        }
        if self.truncated.is_some_and(|stamp| stamp <= start) {
            self.truncated = None;
            self.ghosts.clear();
        }
    }

    /// fdatasync's commit of this file's metadata, begun at `start`. The flush is the device's.
    pub(super) fn commit(&mut self, start: u64) {
        let blocks = &mut self.blocks;
        self.converting.retain(|number| {
            let Some(block) = blocks.get_mut(number) else {
                return false;
            };
            if matches!(block.extent, Extent::Converting(stamp) if stamp <= start) {
                block.extent = Extent::Written;
            }
            block.extent != Extent::Written
        });
        self.commit_size(start);
    }

    /// A flush failed: what this file had in the cache is readable until the power goes, and no
    /// later flush saves it.
    pub(super) fn lose_cached(&mut self) {
        for block in self.blocks.values_mut() {
            for version in &mut block.cached {
                version.stamp = LOST;
            }
        }
    }

    /// A power cut.
    pub(super) fn cut(&mut self, rng: &mut Rng, mood: Mood) {
        let picked = match mood {
            Mood::Everything => self.sizes.len(),
            Mood::Nothing => 0,
            Mood::Mixed(_) => rng.index(self.sizes.len() + 1),
        };
        let stamp = picked.checked_sub(1).map(|at| self.sizes[at].0);
        self.size = picked
            .checked_sub(1)
            .map_or(self.durable_size, |at| self.sizes[at].1);
        if self.truncated > stamp {
            self.blocks.append(&mut self.ghosts);
        }
        self.ghosts.clear();
        self.truncated = None;
        let kept_blocks = self.size.div_ceil(BLOCK);
        let blocks = std::mem::take(&mut self.blocks);
        for (number, block) in blocks
            .into_iter()
            .take_while(|(number, _)| *number < kept_blocks)
        {
            if let Some(block) = block.cut(rng, mood) {
                self.blocks.insert(number, block);
            }
        }
        self.zero_behind_end();
        self.converting.clear();
        self.sizes.clear();
        self.durable_size = self.size;
        self.reserved = self.reserved.min(kept_blocks * BLOCK);
    }

    /// A file that grows again shows zeros behind its former end.
    fn zero_behind_end(&mut self) {
        let inside = (self.size % BLOCK) as usize;
        if inside > 0
            && let Some(block) = self.blocks.get_mut(&(self.size / BLOCK))
            && let Some(page) = &mut block.media
        {
            Rc::make_mut(page)[inside..].fill(0);
        }
    }
}

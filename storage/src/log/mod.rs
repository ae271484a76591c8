//! One partition: tail, segments, read plan, roll, retention.

pub(crate) mod checkpoint;
pub(crate) mod revive;
pub(crate) mod rope;
pub(crate) mod segment;
pub(crate) mod select;
pub(crate) mod tail;

use crate::batch::{Admitted, HEADER_LEN, Summary, patch};
use crate::epochs::Epochs;
use crate::format::{BLOCK_U64, DATA_START, block_floor};
use crate::log::checkpoint::Lag;
use crate::producer::Producers;
use crate::types::{LogConfig, PartitionId, mix};
use reactor::buf::Arena;
use reactor::op::Now;
use segment::Segment;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// The partition's log as its shard sees it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) id: PartitionId,
    pub(crate) config: LogConfig,
    /// The journal, and with it the directory, that the partition belongs to.
    pub(crate) vol: usize,
    /// Ordered by base offset; the last one takes the appends.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) log_start: i64,
    pub(crate) log_start_durable: i64,
    /// The log start that the newest round names, durable or in flight.
    pub(crate) log_start_named: i64,
    /// A risen log start waits for a round.
    pub(crate) start_pending: bool,
    pub(crate) end: i64,
    /// The end that the newest round names, durable or in flight.
    pub(crate) journaled_end: i64,
    /// The end that the last durable round names.
    pub(crate) committed_end: i64,
    /// The segment and position of that end.
    pub(crate) committed_at: (i64, u64),
    /// The end that was reported as durable, by the partition's own meaning of it.
    pub(crate) durable_end: i64,
    /// The round with the newest full state; 0 when the journal holds none.
    pub(crate) state_round: u64,
    /// Bulk bytes that rounds named since that state.
    pub(crate) bulk_since_state: u64,
    /// Waits in its journal's list of partitions with something to say.
    pub(crate) dirty: bool,
    /// Everything possible is to go to the segment, not only long runs.
    pub(crate) urgent: bool,
    /// Takes no more appends until a restart, and why.
    pub(crate) fenced: Option<String>,
    /// An extent that a round names is bad: nothing that rounds named since then counts.
    pub(crate) extent_failed: bool,
    /// What recovery found cannot be trusted, and why: nothing is served.
    pub(crate) damaged: Option<String>,
    /// Waits for its segment file before it can have a place in a round.
    pub(crate) blocked: bool,
    pub(crate) deleted: bool,
    /// Operations of this partition in flight.
    pub(crate) busy: u32,
    /// Tail memory was used since the last look.
    pub(crate) warm: bool,
    pub(crate) lag: Lag,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
}

impl Log {
    pub(crate) fn new(id: PartitionId, config: LogConfig, vol: usize) -> Self {
        let segment = Segment::new(0, None, config.index_interval_bytes);
        Self {
            id,
            config,
            vol,
            segments: VecDeque::from([segment]),
            log_start: 0,
            log_start_durable: 0,
            log_start_named: 0,
            start_pending: false,
            end: 0,
            journaled_end: 0,
            committed_end: 0,
            committed_at: (0, DATA_START),
            durable_end: 0,
            state_round: 0,
            bulk_since_state: 0,
            dirty: false,
            urgent: false,
            fenced: None,
            extent_failed: false,
            damaged: None,
            blocked: false,
            deleted: false,
            busy: 0,
            warm: false,
            lag: Lag::default(),
            epochs: Epochs::default(),
            producers: Producers::default(),
        }
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments
            .back()
            .expect("a log always has an active segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("a log always has an active segment")
    }

    pub(crate) fn segment_mut(&mut self, base: i64) -> Option<&mut Segment> {
        let at = self
            .segments
            .binary_search_by_key(&base, |segment| segment.base)
            .ok()?;
        self.segments.get_mut(at)
    }

    /// Bytes of batches in all segments.
    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// The segment that holds `offset`, as a place in `segments`.
    pub(crate) fn segment_of(&self, offset: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.base <= offset)
            .saturating_sub(1)
    }

    /// Whether the active segment is too full or too old for a batch of `len` bytes, as Kafka
    /// decides it (`LogSegment.shouldRoll`, 4.2).
    pub(crate) fn must_roll(&self, summary: &Summary, len: usize, now: Now) -> bool {
        let active = self.active();
        let Some((first_timestamp, since)) = active.rolls_from else {
            return false;
        };
        let waited = if first_timestamp >= 0 && summary.max_timestamp >= 0 {
            summary.max_timestamp.saturating_sub(first_timestamp)
        } else {
            now.wall_ms.saturating_sub(since)
        };
        let limit = self.config.segment_ms - self.roll_jitter_ms();
        let last = self
            .end
            .saturating_add(i64::from(summary.last_offset_delta));
        active.size() + len as u64 > self.config.segment_bytes
            || waited > i64::try_from(limit).unwrap_or(i64::MAX)
            || last.saturating_sub(active.base) > i64::from(i32::MAX)
    }

    /// How much earlier than by `segment.ms` the active segment ends (`LogConfig`, 4.2): each has
    /// a draw of its own, so that segments that began together do not end together. It is drawn
    /// from what the segment is, and with that is the same after a restart.
    fn roll_jitter_ms(&self) -> u64 {
        let bound = self.config.segment_jitter_ms.min(self.config.segment_ms);
        let (high, low) = self.id.topic.0.split_at(8);
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let names = [word(high), word(low), self.id.index as u64];
        let names = names.into_iter().chain([self.active().base as u64]);
        names
            .fold(0, |state, word| mix(state ^ word))
            .checked_rem(bound)
            .unwrap_or(0)
    }

    /// Starts a new segment at the end of the log.
    pub(crate) fn roll(&mut self) {
        let base = self.end;
        let active = self.active_mut();
        active.rolled = true;
        let before = Some(active.ended());
        active.pad();
        let interval = self.config.index_interval_bytes;
        self.segments
            .push_back(Segment::new(base, before, interval));
    }

    /// Copies the batch into the tail, placed at the end of the log: the one copy of the produce
    /// path. `false` when memory is used up; nothing has changed then.
    pub(crate) fn place(&mut self, batch: &Admitted, epoch: i32, arena: &Arena, now: Now) -> bool {
        let (base, summary) = (self.end, &batch.header);
        let active = self.active_mut();
        let len = batch.pieces.len();
        if !active.tail.reserve(arena, len) {
            return false;
        }
        let pos = active.end;
        let (mut placed, _) = batch.pieces.window::<HEADER_LEN>(0);
        patch(&mut placed, base, epoch);
        active.tail.append(&placed);
        for piece in batch.pieces.slices(HEADER_LEN) {
            active.tail.append(piece);
        }
        active.end += len as u64;
        let placed = Summary {
            base_offset: base,
            leader_epoch: epoch,
            ..*summary
        };
        active.note(pos, len, &placed, batch.max_ts_offset_delta, now.wall_ms);
        self.epochs.assign(epoch, base);
        self.producers.apply(summary, base, now.wall_ms);
        self.end = base + i64::from(summary.last_offset_delta) + 1;
        self.warm = true;
        self.lag.durable += len as u64;
        self.lag.recent += len as u64;
        true
    }

    /// Where in `segments` the next round continues.
    pub(crate) fn journaled_segment(&self) -> usize {
        let unnamed = |segment: &Segment| !segment.roll_journaled;
        self.segments
            .iter()
            .position(unnamed)
            .unwrap_or(self.segments.len() - 1)
    }

    /// Bytes that a destage could move to segments right now.
    pub(crate) fn destageable(&self) -> u64 {
        let open = (0..self.segments.len()).filter(|at| !self.segments[*at].sealed);
        open.map(|at| {
            self.writable(at)
                .saturating_sub(self.segments[at].written())
        })
        .sum()
    }

    /// How far blocks of a segment may go to its file now. What a round in flight names waits for
    /// it: if the round fails, the partition is restated as it was before, and nothing that is
    /// durable may lie behind that.
    pub(crate) fn writable(&self, at: usize) -> u64 {
        let segment = &self.segments[at];
        let (base, pos) = self.committed_at;
        match segment.base.cmp(&base) {
            Ordering::Less => segment.writable(),
            Ordering::Equal => segment.writable().min(block_floor(pos)),
            Ordering::Greater => DATA_START,
        }
    }

    /// Whether the active segment has reserved space for so many bytes more.
    pub(crate) fn has_place_for(&self, len: usize) -> bool {
        let active = self.active();
        active.end + len as u64 <= active.allocated
    }

    /// Whether a full state can be written: everything before the tail block is durable.
    pub(crate) fn is_settled(&self) -> bool {
        let at = self.journaled_segment();
        let older = self.segments.iter().take(at).all(|segment| segment.sealed);
        let current = &self.segments[at];
        older && current.journaled - current.durable().pos < BLOCK_U64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Compression, Header};
    use crate::types::TopicId;
    use bytes::Bytes;

    const SEGMENT_MS: u64 = 1_000;

    fn summary(max_timestamp: i64) -> Summary {
        let header = Header::of(&[0; HEADER_LEN]).expect("it is long enough");
        Summary {
            max_timestamp,
            ..header.summary()
        }
    }

    /// What lies in the tail is the batch in its place, however it came in: in one piece or in
    /// many, over the end of a chunk of the tail too.
    #[test]
    fn a_batch_in_pieces_is_placed_as_a_whole() {
        let arena = Arena::heap(8 << 20);
        let id = PartitionId {
            topic: TopicId([9; 16]),
            index: 0,
        };
        let value: Vec<u8> = (0..70_000_u32)
            .map(|at| (at.wrapping_mul(at) >> 7) as u8)
            .collect();
        let mut builder = Builder::new(Compression::None);
        builder
            .append(5, Some(b"key"), Some(&value), &[])
            .expect("small");
        let whole = builder.build().expect("a record");
        let rules = crate::batch::tests::rules();
        let mut log = Log::new(id, LogConfig::default(), 0);
        let mut expected = Vec::new();
        for (step, base) in [1, 60, 61, 62, 700, 4_096, 65_536, 1 << 20]
            .into_iter()
            .zip(0..)
        {
            let pieces: Vec<Bytes> = whole.chunks(step).map(Bytes::copy_from_slice).collect();
            let batch = crate::batch::admit(pieces, &rules).expect("a good batch");
            assert!(log.place(&batch, 3, &arena, Now::default()));
            let mut placed = whole.to_vec();
            patch(&mut placed, base, 3);
            expected.extend(placed);
        }
        let tail = &log.active().tail;
        assert_eq!(tail.slice(DATA_START, tail.end()).concat(), expected);
        assert_eq!(log.end, 8);
    }

    /// After how long the first segment of a log ends, when `jitter_ms` is set.
    fn rolls_after(index: i32, jitter_ms: u64) -> u64 {
        let id = PartitionId {
            topic: TopicId([9; 16]),
            index,
        };
        let config = LogConfig {
            segment_ms: SEGMENT_MS,
            segment_jitter_ms: jitter_ms,
            ..LogConfig::default()
        };
        let mut log = Log::new(id, config, 0);
        log.active_mut().note(DATA_START, 100, &summary(0), 0, 0);
        let ends = |after: &u64| log.must_roll(&summary(*after as i64), 100, Now::default());
        (0..=SEGMENT_MS + 1).find(ends).expect("it ends by time")
    }

    #[test]
    fn each_segment_draws_its_own_jitter_below_the_smaller_of_jitter_and_segment_ms() {
        assert_eq!(rolls_after(0, 0), SEGMENT_MS + 1);
        for (jitter_ms, bound) in [(300, 300), (SEGMENT_MS, SEGMENT_MS), (1 << 40, SEGMENT_MS)] {
            let draws: Vec<u64> = (0..100)
                .map(|index| SEGMENT_MS + 1 - rolls_after(index, jitter_ms))
                .collect();
            let mean = draws.iter().sum::<u64>() / 100;
            assert!(draws.iter().all(|draw| *draw < bound), "{draws:?}");
            assert!((bound / 3..bound * 2 / 3).contains(&mean), "{draws:?}");
            let again = (0..100).map(|index| SEGMENT_MS + 1 - rolls_after(index, jitter_ms));
            assert!(draws.iter().copied().eq(again));
        }
    }
}

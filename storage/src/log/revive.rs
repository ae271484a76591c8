//! What the journals know of a partition after a start.

use crate::canary::{Canary, armed};
use crate::format::block_ceil;
use crate::format::round::{Entry, State};
use crate::format::segment::Ended;
use crate::journal::scan::Chain;
use crate::types::{PartitionId, TopicId};
use bytes::Bytes;
use std::collections::HashMap;

/// A stretch of a segment that the journal names.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Crumb { pos: u64, data: Bytes },
    Extent { pos: u64, len: u64, crc: u32 },
}

/// One segment as the journal knows it.
#[derive(Clone, Debug)]
pub(crate) struct RevivedSegment {
    pub(crate) base: i64,
    pub(crate) before: Option<Ended>,
    /// Everything before is durable in the file.
    pub(crate) pos: u64,
    pub(crate) piece_crc: u32,
    pub(crate) sums_from: usize,
    pub(crate) sums: Vec<u32>,
    pub(crate) pieces: Vec<Piece>,
    /// Where the last batch ends.
    pub(crate) end: u64,
    pub(crate) rolled: bool,
}

/// One partition as the journals know it.
#[derive(Clone, Debug)]
pub(crate) struct Revived {
    pub(crate) id: PartitionId,
    /// Place of the directory in the configuration.
    pub(crate) dir: usize,
    /// The shard whose journal this was read from.
    pub(crate) shard: u16,
    pub(crate) log_start: i64,
    pub(crate) end: i64,
    pub(crate) segments: Vec<RevivedSegment>,
    /// Why nothing of it can be trusted.
    pub(crate) damaged: Option<String>,
    /// The journal, start and round of the newest full state.
    from: (usize, u64, u64),
}

/// Replays the journals: each partition from its newest full state on, in that journal only.
pub(crate) fn replay(chains: &[Chain]) -> HashMap<PartitionId, Revived> {
    let mut found: HashMap<PartitionId, Revived> = HashMap::new();
    for (number, chain) in chains.iter().enumerate() {
        for round in &chain.rounds {
            let (start, sequence) = (round.header.start, round.header.sequence);
            let place = (number, start, sequence);
            for entry in &round.entries {
                let id = known_as(entry.id());
                let known = found.get_mut(&id);
                match (entry, known) {
                    (Entry::State(_) | Entry::Fence { .. }, Some(known))
                        if !known.is_older_than(place) => {}
                    (Entry::State(state), _) => {
                        found.insert(id, Revived::new(id, chain, place, state));
                    }
                    (Entry::Fence { why, .. }, _) => {
                        let why = String::from_utf8_lossy(why).into_owned();
                        found.insert(id, Revived::fenced(id, chain, place, why));
                    }
                    (entry, Some(known)) if known.from.0 == number => known.apply(entry),
                    _ => {}
                }
            }
        }
    }
    for revived in found.values_mut() {
        let (number, _, sequence) = revived.from;
        if sequence < chains[number].damaged_below && revived.damaged.is_none() {
            revived.damaged = Some("a part of the journal that it needs is damaged".to_owned());
        }
    }
    found
}

/// Takes the last rounds out of these chains: they were never complete. What they begin goes on,
/// empty: else no opening would restate it, and the next start, for which such a round is not the
/// last one any more, would believe the round.
pub(crate) fn drop_last_rounds(chains: &mut [Chain], dropped: impl Iterator<Item = usize>) {
    let mut rounds = Vec::new();
    for chain in dropped {
        let round = chains[chain].rounds.pop();
        rounds.extend(round.map(|round| (chain, round)));
    }
    if rounds.is_empty() {
        return;
    }
    let known = replay(chains);
    for (chain, mut round) in rounds {
        round.entries.retain(|entry| {
            let begins = matches!(entry, Entry::State(state) if state.end_offset == 0);
            begins && !known.contains_key(&known_as(entry.id()))
        });
        if !round.entries.is_empty() {
            chains[chain].rounds.push(round);
        }
    }
}

fn known_as(mut id: PartitionId) -> PartitionId {
    if armed(Canary::NoTopicId) {
        id.topic = TopicId::default();
    }
    id
}

impl Revived {
    fn new(id: PartitionId, chain: &Chain, from: (usize, u64, u64), state: &State) -> Self {
        let mut pieces = Vec::new();
        if !state.tail.is_empty() {
            pieces.push(Piece::Crumb {
                pos: state.pos,
                data: state.tail.clone(),
            });
        }
        let segment = RevivedSegment {
            base: state.base,
            before: state.before,
            pos: state.pos,
            piece_crc: state.piece_crc,
            sums_from: state.sums_from as usize,
            sums: state.sums.clone(),
            pieces,
            end: state.pos + state.tail.len() as u64,
            rolled: false,
        };
        Self {
            id,
            dir: chain.dir,
            shard: chain.shard,
            log_start: state.log_start,
            end: state.end_offset,
            segments: vec![segment],
            damaged: None,
            from,
        }
    }

    fn fenced(id: PartitionId, chain: &Chain, from: (usize, u64, u64), why: String) -> Self {
        Self {
            id,
            dir: chain.dir,
            shard: chain.shard,
            log_start: 0,
            end: 0,
            segments: Vec::new(),
            damaged: Some(why),
            from,
        }
    }

    /// Records that were only in memory may be gone up to behind the log start, which is durable:
    /// then the log begins anew there, empty, as Kafka's does. Says whether it did.
    pub(crate) fn begin_anew_if_gone(&mut self) -> bool {
        let gone = self.end < self.log_start;
        if gone {
            self.end = self.log_start;
            self.segments = vec![RevivedSegment::new(self.log_start, None)];
        }
        gone
    }

    /// Whether the segment from `base` on may hold anything at or above the log start. The last one
    /// counts also if it does not: it is never retired, and where memory is durable enough, one
    /// round may have brought its records and a log start behind them.
    pub(crate) fn needs(&self, base: i64) -> bool {
        let at = self.segments.iter().position(|known| known.base == base);
        let next = at.map(|at| self.segments.get(at + 1));
        next.is_some_and(|next| next.is_none_or(|next| next.base > self.log_start))
    }

    fn is_older_than(&self, place: (usize, u64, u64)) -> bool {
        let (_, start, sequence) = place;
        if armed(Canary::IgnoreStartNumber) {
            return self.from.2 <= sequence;
        }
        (self.from.1, self.from.2) <= (start, sequence)
    }

    /// The journal that this was read from, as a place among those replayed.
    pub(crate) const fn chain(&self) -> usize {
        self.from.0
    }

    fn apply(&mut self, entry: &Entry) {
        if self.damaged.is_some() {
            return;
        }
        let Some(last) = self.segments.last_mut() else {
            return;
        };
        match entry {
            Entry::Crumb {
                base,
                pos,
                end_offset,
                data,
                ..
            } if *base == last.base => {
                last.pieces.push(Piece::Crumb {
                    pos: *pos,
                    data: data.clone(),
                });
                last.end = last.end.max(pos.saturating_add(data.len() as u64));
                self.end = *end_offset;
            }
            Entry::Extent {
                base,
                pos,
                len,
                crc,
                end_offset,
                ..
            } if *base == last.base => {
                last.pieces.push(Piece::Extent {
                    pos: *pos,
                    len: *len,
                    crc: *crc,
                });
                last.end = last.end.max(pos.saturating_add(*len));
                self.end = *end_offset;
            }
            Entry::Roll { ended, base, .. } if ended.base == last.base => {
                last.rolled = true;
                if last.pieces.is_empty() && last.pos == block_ceil(ended.end) {
                    // All of it, padding included, is in its file.
                    last.end = ended.end;
                }
                if last.end != ended.end {
                    self.damaged = Some("the journal contradicts itself".to_owned());
                    return;
                }
                self.segments.push(RevivedSegment::new(*base, Some(*ended)));
            }
            Entry::Start { log_start, .. } => self.log_start = self.log_start.max(*log_start),
            _ => self.damaged = Some("the journal contradicts itself".to_owned()),
        }
    }
}

impl RevivedSegment {
    fn new(base: i64, before: Option<Ended>) -> Self {
        Self {
            base,
            before,
            pos: crate::format::DATA_START,
            piece_crc: 0,
            sums_from: 0,
            sums: Vec::new(),
            pieces: Vec::new(),
            end: crate::format::DATA_START,
            rolled: false,
        }
    }

    /// Whether anything of it must be in its file.
    pub(crate) fn needs_file(&self) -> bool {
        let extents = self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Extent { .. }));
        self.pos > crate::format::DATA_START || extents
    }

    /// The bytes from `pos` to the end, given those of the extents in order. `None` when they do
    /// not check or leave a gap.
    pub(crate) fn content(&self, mut extents: impl Iterator<Item = Bytes>) -> Option<Vec<u8>> {
        let len = usize::try_from(self.end.max(self.pos) - self.pos).ok()?;
        let mut content: Vec<u8> = Vec::new();
        for piece in &self.pieces {
            let (pos, data) = match piece {
                Piece::Crumb { pos, data } => (*pos, data.clone()),
                Piece::Extent { pos, len, crc } => {
                    let data = extents.next()?;
                    if data.len() as u64 != *len || crate::crc::crc32c(&data) != *crc {
                        return None;
                    }
                    (*pos, data)
                }
            };
            // An extent begins with bytes that crumbs brought before; nothing may be left out.
            let at = usize::try_from(pos.checked_sub(self.pos)?).ok()?;
            if at > content.len() {
                return None;
            }
            content.truncate(at);
            content.extend_from_slice(&data);
        }
        (content.len() == len).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::DATA_START;
    use crate::format::round::RoundHeader;
    use crate::journal::scan::FoundRound;

    const fn id(index: i32) -> PartitionId {
        PartitionId {
            topic: TopicId([7; 16]),
            index,
        }
    }

    fn state(index: i32, end_offset: i64) -> Entry {
        Entry::State(State {
            id: id(index),
            log_start: 0,
            before: None,
            base: 0,
            pos: DATA_START,
            end_offset,
            piece_crc: 0,
            sums_from: 0,
            sums: Vec::new(),
            tail: Bytes::new(),
        })
    }

    fn crumb(index: i32, end_offset: i64) -> Entry {
        Entry::Crumb {
            id: id(index),
            base: 0,
            pos: DATA_START,
            end_offset,
            data: Bytes::from_static(b"batch"),
        }
    }

    fn round(sequence: u64, entries: Vec<Entry>) -> FoundRound {
        let header = RoundHeader {
            flags: 0,
            shard: 0,
            dir_id: 0,
            sequence,
            start: 1,
            low: 1,
            salt: 1,
            salt_before: 0,
        };
        FoundRound { header, entries }
    }

    #[test]
    fn what_a_dropped_round_begins_goes_on_empty_and_the_rest_of_it_is_gone() {
        let first = round(1, vec![state(1, 0), crumb(1, 3)]);
        let last = round(2, vec![state(2, 0), crumb(2, 4), crumb(1, 5), state(3, 9)]);
        let mut chains = [Chain {
            dir: 0,
            shard: 0,
            rounds: vec![first, last],
            damaged_below: 0,
            clean: false,
        }];
        drop_last_rounds(&mut chains, std::iter::once(0));
        let found = replay(&chains);
        let end = |index| found.get(&id(index)).map(|known| known.end);
        assert_eq!([end(1), end(2), end(3)], [Some(3), Some(0), None]);
    }
}

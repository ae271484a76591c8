//! Incremental fetch sessions (KIP-227): what a client fetches, remembered between requests.

use std::collections::{BTreeMap, BTreeSet};

use net::wire::{Str, Uuid};
use reactor::op::Mono;

use crate::limits::SESSIONS_PARTITIONS_MAX;

/// A session may be evicted when it has been idle, or existed, this long (Kafka's two minutes).
const EVICTION_MS: u64 = 120_000;

/// Epoch of a request that wants a session, and of one that wants none.
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// A partition as fetch requests name it: by topic name up to version 12, by id from 13 on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    Name(Str),
    Id(Uuid),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartKey {
    pub topic: TopicKey,
    pub partition: i32,
}

/// What a client asks of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub key: PartKey,
    pub offset: i64,
    pub bytes_max: i32,
    pub leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// What was answered for one partition, as far as the session needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub high_watermark: i64,
    pub log_start: i64,
    pub has_records: bool,
    /// An error or a diverging epoch: always sent.
    pub is_special: bool,
    pub is_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    NotFound,
    InvalidEpoch,
    /// Names in a session of ids, or the other way round.
    TopicIdMismatch,
}

/// How this request relates to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Answer everything, with session id 0.
    Sessionless,
    /// Answer everything, with this new session's id.
    Full(i32),
    /// Answer what has changed.
    Incremental(i32),
}

impl Context {
    /// The session id of the response.
    #[must_use]
    pub const fn id(self) -> i32 {
        match self {
            Self::Sessionless => 0,
            Self::Full(id) | Self::Incremental(id) => id,
        }
    }
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start: i64,
}

#[derive(Debug)]
struct Session {
    uses_ids: bool,
    epoch: i32,
    created: Mono,
    used: Mono,
    /// In the order in which they are read: those that returned records move to the end.
    parts: Vec<Cached>,
}

/// The sessions of the connections of one shard. A client that comes back on another shard is told
/// that its session is unknown and starts a new one.
#[derive(Debug)]
pub struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
    /// This shard's share of `max.incremental.fetch.session.cache.slots`.
    sessions_max: usize,
    /// What all of them together may remember.
    partitions_max: usize,
    seed: u64,
}

impl FetchSessions {
    #[must_use]
    pub fn new(sessions_max: usize, seed: u64) -> Self {
        Self {
            sessions: BTreeMap::new(),
            sessions_max,
            partitions_max: SESSIONS_PARTITIONS_MAX,
            seed,
        }
    }

    fn partitions(&self) -> usize {
        self.sessions
            .values()
            .map(|session| session.parts.len())
            .sum()
    }

    /// Finds or makes the session of a request and says what to read, in order.
    ///
    /// # Errors
    /// The whole request is refused, without any partition.
    pub fn begin(
        &mut self,
        (id, epoch): (i32, i32),
        uses_ids: bool,
        wanted: Vec<Wanted>,
        forgotten: &[PartKey],
        now: Mono,
    ) -> Result<(Context, Vec<Wanted>), SessionError> {
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            self.sessions.remove(&id);
            if epoch == FINAL_EPOCH {
                return Ok((Context::Sessionless, wanted));
            }
            let context = self.create(uses_ids, &wanted, now);
            return Ok((context, wanted));
        }
        let session = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.uses_ids != uses_ids {
            return Err(SessionError::TopicIdMismatch);
        }
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        session.epoch = next_epoch(epoch);
        session.used = now;
        let before = session.parts.len();
        session.update(wanted, forgotten);
        if session.parts.len() > before && self.partitions() > self.partitions_max {
            // The client begins anew, with all that it wants in one request.
            self.sessions.remove(&id);
            return Err(SessionError::NotFound);
        }
        let session = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.parts.is_empty() {
            self.sessions.remove(&id);
            return Ok((Context::Sessionless, Vec::new()));
        }
        let parts = session
            .parts
            .iter()
            .map(|part| part.wanted.clone())
            .collect();
        Ok((Context::Incremental(id), parts))
    }

    /// Notes what is about to be sent and says, for each part in order, whether to send it.
    pub fn end(&mut self, context: Context, sent: &[(PartKey, Sent)]) -> Vec<bool> {
        let incremental = matches!(context, Context::Incremental(_));
        let Some(session) = self.sessions.get_mut(&context.id()) else {
            return vec![true; sent.len()];
        };
        let places: BTreeMap<PartKey, usize> = session
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| (part.wanted.key.clone(), at))
            .collect();
        let mut with_records = vec![false; session.parts.len()];
        let mut send = Vec::with_capacity(sent.len());
        for (key, what) in sent {
            let Some(at) = places.get(key).copied() else {
                send.push(true);
                continue;
            };
            let changed = session.parts[at].note(*what);
            send.push(changed || !incremental);
            with_records[at] = what.has_records;
        }
        if incremental {
            session.rotate(&with_records);
        }
        send
    }

    fn create(&mut self, uses_ids: bool, wanted: &[Wanted], now: Mono) -> Context {
        if self.sessions.len() >= self.sessions_max && !self.evict(wanted.len(), now) {
            return Context::Sessionless;
        }
        while self.partitions() + wanted.len() > self.partitions_max {
            if !self.evict(wanted.len(), now) {
                return Context::Sessionless;
            }
        }
        let id = self.unused_id();
        let cached = |wanted: &Wanted| Cached {
            wanted: wanted.clone(),
            high_watermark: -1,
            log_start: -1,
        };
        let mut parts: Vec<Cached> = Vec::with_capacity(wanted.len());
        let mut seen = BTreeMap::new();
        for part in wanted {
            match seen.insert(part.key.clone(), parts.len()) {
                None => parts.push(cached(part)),
                Some(at) => {
                    parts[at] = cached(part);
                    seen.insert(part.key.clone(), at);
                }
            }
        }
        let session = Session {
            uses_ids,
            epoch: 1,
            created: now,
            used: now,
            parts,
        };
        self.sessions.insert(id, session);
        Context::Full(id)
    }

    /// Makes room: an idle session goes, or an old one that is smaller than the newcomer.
    fn evict(&mut self, size: usize, now: Mono) -> bool {
        let idle = self
            .sessions
            .iter()
            .min_by_key(|(id, session)| (session.used, **id));
        let idle = idle.filter(|(_, session)| now.ms_since(session.used) > EVICTION_MS);
        let old = self.sessions.iter().filter(|(_, session)| {
            now.ms_since(session.created) > EVICTION_MS && session.parts.len() < size
        });
        let smallest = old.min_by_key(|(id, session)| (session.parts.len(), **id));
        let victim = idle.or(smallest).map(|(id, _)| *id);
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }

    fn unused_id(&mut self) -> i32 {
        loop {
            // SplitMix64 (Steele, Lea, Flood 2014).
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = i32::try_from((z ^ (z >> 31)) >> 33).unwrap_or(0);
            if id > 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    fn update(&mut self, wanted: Vec<Wanted>, forgotten: &[PartKey]) {
        if !forgotten.is_empty() {
            let forgotten: BTreeSet<&PartKey> = forgotten.iter().collect();
            self.parts
                .retain(|part| !forgotten.contains(&part.wanted.key));
        }
        if wanted.is_empty() {
            return;
        }
        let mut places: BTreeMap<PartKey, usize> = self
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| (part.wanted.key.clone(), at))
            .collect();
        for wanted in wanted {
            match places.get(&wanted.key) {
                Some(at) => self.parts[*at].wanted = wanted,
                None => {
                    places.insert(wanted.key.clone(), self.parts.len());
                    self.parts.push(Cached {
                        wanted,
                        high_watermark: -1,
                        log_start: -1,
                    });
                }
            }
        }
    }

    /// Parts that returned records go to the end, so that the others are read first next time.
    fn rotate(&mut self, with_records: &[bool]) {
        if !with_records.contains(&true) {
            return;
        }
        let parts = std::mem::take(&mut self.parts);
        let (full, empty): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .zip(with_records)
            .partition(|(_, has)| **has);
        self.parts = empty
            .into_iter()
            .chain(full)
            .map(|(part, _)| part)
            .collect();
    }
}

impl Cached {
    /// True if the client has to be told.
    fn note(&mut self, sent: Sent) -> bool {
        let changed = sent.has_records
            || sent.is_special
            || sent.high_watermark != self.high_watermark
            || sent.log_start != self.log_start;
        // After an error the recovery itself is news.
        self.high_watermark = if sent.is_error {
            -1
        } else {
            sent.high_watermark
        };
        self.log_start = sent.log_start;
        changed
    }
}

const fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS_MAX: usize = 100;

    fn wanted(partition: i32, offset: i64) -> Wanted {
        let key = PartKey {
            topic: TopicKey::Id(Uuid([7; 16])),
            partition,
        };
        Wanted {
            key,
            offset,
            bytes_max: 1 << 20,
            leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn sent(high_watermark: i64, has_records: bool) -> Sent {
        Sent {
            high_watermark,
            log_start: 0,
            has_records,
            is_special: false,
            is_error: false,
        }
    }

    fn begun(sessions: &mut FetchSessions) -> i32 {
        let parts = vec![wanted(0, 0), wanted(1, 0)];
        let (context, read) = sessions.begin((0, 0), true, parts, &[], Mono(0)).unwrap();
        assert_eq!(read.len(), 2);
        let answers = [
            (wanted(0, 0).key, sent(5, true)),
            (wanted(1, 0).key, sent(0, false)),
        ];
        assert_eq!(sessions.end(context, &answers), [true, true]);
        context.id()
    }

    #[test]
    fn an_incremental_answer_holds_only_what_changed() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        let id = begun(&mut sessions);
        let (context, read) = sessions
            .begin((id, 1), true, vec![wanted(0, 5)], &[], Mono(1))
            .unwrap();
        assert_eq!(context, Context::Incremental(id));
        assert_eq!(
            read.iter().map(|part| part.offset).collect::<Vec<_>>(),
            [5, 0]
        );
        let answers = [
            (wanted(0, 5).key, sent(5, false)),
            (wanted(1, 0).key, sent(3, true)),
        ];
        assert_eq!(sessions.end(context, &answers), [false, true]);
        // Partition 1 returned records, so partition 0 is read first again, then 1.
        let (_, read) = sessions.begin((id, 2), true, vec![], &[], Mono(2)).unwrap();
        assert_eq!(
            read.iter()
                .map(|part| part.key.partition)
                .collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn recovery_from_an_error_is_sent_even_if_nothing_else_changed() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        let id = begun(&mut sessions);
        let error = Sent {
            is_special: true,
            is_error: true,
            ..sent(5, false)
        };
        let (context, _) = sessions.begin((id, 1), true, vec![], &[], Mono(1)).unwrap();
        assert_eq!(sessions.end(context, &[(wanted(0, 0).key, error)]), [true]);
        let (context, _) = sessions.begin((id, 2), true, vec![], &[], Mono(1)).unwrap();
        assert_eq!(
            sessions.end(context, &[(wanted(0, 0).key, sent(5, false))]),
            [true]
        );
        let (context, _) = sessions.begin((id, 3), true, vec![], &[], Mono(1)).unwrap();
        assert_eq!(
            sessions.end(context, &[(wanted(0, 0).key, sent(5, false))]),
            [false]
        );
    }

    #[test]
    fn wrong_epochs_unknown_sessions_and_mixed_keys_are_refused() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        let id = begun(&mut sessions);
        let mut begin = |session, ids| sessions.begin(session, ids, vec![], &[], Mono(1));
        assert_eq!(begin((id, 2), true), Err(SessionError::InvalidEpoch));
        assert_eq!(begin((id ^ 1, 1), true), Err(SessionError::NotFound));
        assert_eq!(begin((id, 1), false), Err(SessionError::TopicIdMismatch));
    }

    #[test]
    fn a_final_epoch_closes_the_session() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        let id = begun(&mut sessions);
        let (context, read) = sessions
            .begin((id, -1), true, vec![wanted(0, 9)], &[], Mono(1))
            .unwrap();
        assert_eq!((context, read.len()), (Context::Sessionless, 1));
        assert_eq!(
            sessions.begin((id, 1), true, vec![], &[], Mono(1)),
            Err(SessionError::NotFound)
        );
    }

    #[test]
    fn a_session_that_forgets_everything_ends() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        let id = begun(&mut sessions);
        let all = [wanted(0, 0).key, wanted(1, 0).key];
        let (context, read) = sessions
            .begin((id, 1), true, vec![], &all, Mono(1))
            .unwrap();
        assert_eq!((context, read.len()), (Context::Sessionless, 0));
    }

    #[test]
    fn a_full_cache_evicts_only_idle_or_smaller_old_sessions() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        for _ in 0..SESSIONS_MAX {
            begun(&mut sessions);
        }
        let parts = || vec![wanted(0, 0), wanted(1, 0)];
        let young = sessions
            .begin((0, 0), true, parts(), &[], Mono(0).after_ms(1))
            .unwrap();
        assert_eq!(young.0, Context::Sessionless);
        let later = Mono(0).after_ms(EVICTION_MS + 1);
        let (context, _) = sessions.begin((0, 0), true, parts(), &[], later).unwrap();
        assert!(matches!(context, Context::Full(_)));
        assert_eq!(sessions.sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn sessions_do_not_grow_without_bound() {
        let mut sessions = FetchSessions::new(SESSIONS_MAX, 1);
        sessions.partitions_max = 5;
        let (first, second) = (begun(&mut sessions), begun(&mut sessions));
        let more = |from: i32| vec![wanted(from, 0)];
        let mut begin = |id, epoch, parts| sessions.begin((id, epoch), true, parts, &[], Mono(1));
        assert!(begin(first, 1, more(2)).is_ok());
        assert_eq!(begin(0, 0, more(0)).unwrap().0, Context::Sessionless);
        // What it has already takes no more room.
        assert!(begin(second, 1, more(1)).is_ok());
        assert_eq!(begin(second, 2, more(2)), Err(SessionError::NotFound));
        assert!(matches!(begin(0, 0, more(0)).unwrap().0, Context::Full(_)));
    }

    #[test]
    fn without_slots_there_are_no_sessions() {
        let mut sessions = FetchSessions::new(0, 1);
        let parts = vec![wanted(0, 0)];
        let (context, _) = sessions.begin((0, 0), true, parts, &[], Mono(0)).unwrap();
        assert_eq!(context, Context::Sessionless);
    }
}

//! Requests whose answer needs other rooms or other shards: what was asked, what has come back.

use std::collections::BTreeMap;

use crate::api::Finish;
use crate::partition::answers::FetchedPart;
use crate::shard::connections::ConnId;
use crate::shard::mail::{Answer, ReplyTo};

/// Which request of which connection is answered.
#[derive(Clone, Debug)]
pub struct Asker {
    pub conn: ConnId,
    /// The connection's number of the request: replies leave in this order.
    pub seq: u64,
}

/// A request between its dispatch and its reply.
pub struct PendingRequest {
    pub asker: Asker,
    pub finish: Finish,
    answers: Vec<Option<Answer>>,
    shards: Vec<u16>,
    missing: usize,
    /// For a fetch: once this many bytes have come in, the other shards need not wait longer.
    fetch_bytes_min: Option<u64>,
    /// By part of a fetch: the bytes that it has brought, or could bring.
    fetch_bytes: Vec<u64>,
}

/// All pending requests of one shard.
pub struct Pending {
    shard: u16,
    next: u64,
    requests: BTreeMap<u64, PendingRequest>,
}

/// What an answer led to.
pub enum Gathered {
    /// Still waiting; the parts in the list should be hurried.
    Waiting(Vec<ReplyTo>),
    /// All answers are in, in the order of the calls.
    Complete(PendingRequest, Vec<Answer>),
}

impl Pending {
    #[must_use]
    pub fn new(shard: u16) -> Self {
        Self {
            shard,
            next: 0,
            requests: BTreeMap::new(),
        }
    }

    /// Remembers a request that waits for one answer from each of `shards`.
    pub fn add(
        &mut self,
        asker: Asker,
        finish: Finish,
        shards: Vec<u16>,
        fetch_bytes_min: Option<u64>,
    ) -> u64 {
        self.next += 1;
        let missing = shards.len();
        let answers = std::iter::repeat_with(|| None).take(missing).collect();
        let request = PendingRequest {
            asker,
            finish,
            answers,
            shards,
            missing,
            fetch_bytes_min,
            fetch_bytes: vec![0; fetch_bytes_min.map_or(0, |_| missing)],
        };
        self.requests.insert(self.next, request);
        self.next
    }

    /// Takes in one answer; `None` if the request is gone (its connection has closed).
    pub fn gather(&mut self, from: ReplyTo, answer: Answer) -> Option<Gathered> {
        let request = self.requests.get_mut(&from.request)?;
        let urgent = match &answer {
            Answer::Fetched(parts) => request.count_fetched(from, parts),
            _ => false,
        };
        let place = request.answers.get_mut(from.part as usize)?;
        if place.replace(answer).is_none() {
            request.missing -= 1;
        }
        if request.missing == 0 {
            let mut request = self.requests.remove(&from.request)?;
            let answers = std::mem::take(&mut request.answers)
                .into_iter()
                .flatten()
                .collect();
            return Some(Gathered::Complete(request, answers));
        }
        let hurried = if urgent {
            request.unanswered(from)
        } else {
            Vec::new()
        };
        Some(Gathered::Waiting(hurried))
    }

    /// A shard could read so many bytes for a fetch; once that is enough, the parts to hurry.
    pub fn readable(&mut self, from: ReplyTo, bytes: u64) -> Vec<ReplyTo> {
        let Some(request) = self.requests.get_mut(&from.request) else {
            return Vec::new();
        };
        if request.count(from, bytes) {
            request.unanswered(from)
        } else {
            Vec::new()
        }
    }

    /// Forgets the requests of a closed connection; their late answers are dropped. The parts to
    /// hurry are returned, so that parked fetches of a dead connection do not linger.
    pub fn forget(&mut self, conn: ConnId) -> Vec<(u16, ReplyTo)> {
        let hurried = self.fetches_of(conn);
        self.requests
            .retain(|_, request| request.asker.conn != conn);
        hurried
    }

    /// The parts that fetches of a connection still wait for, and the shards they are on.
    #[must_use]
    pub fn fetches_of(&self, conn: ConnId) -> Vec<(u16, ReplyTo)> {
        let mut found = Vec::new();
        for (id, request) in &self.requests {
            if request.asker.conn == conn && request.fetch_bytes_min.is_some() {
                let own = ReplyTo {
                    shard: self.shard,
                    request: *id,
                    part: 0,
                };
                let parts = request.unanswered(own).into_iter();
                found.extend(parts.map(|to| (request.shards[to.part as usize], to)));
            }
        }
        found
    }

    /// The shard that was asked for this part.
    #[must_use]
    pub fn shard_of(&self, to: ReplyTo) -> Option<u16> {
        self.requests
            .get(&to.request)?
            .shards
            .get(to.part as usize)
            .copied()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

impl PendingRequest {
    fn count_fetched(&mut self, from: ReplyTo, parts: &[FetchedPart]) -> bool {
        let mut urgent = false;
        let mut bytes = 0;
        for part in parts {
            match &part.result {
                Ok(fetched) => {
                    bytes += fetched.bytes() as u64;
                    urgent |= fetched.diverging.is_some();
                }
                Err(_) => urgent = true,
            }
        }
        self.count(from, bytes) || urgent
    }

    /// Notes the bytes of one part; true if all parts together have enough.
    fn count(&mut self, from: ReplyTo, bytes: u64) -> bool {
        if let Some(known) = self.fetch_bytes.get_mut(from.part as usize) {
            *known = bytes;
        }
        let total = self.fetch_bytes.iter().sum::<u64>();
        self.fetch_bytes_min.is_some_and(|min| total >= min)
    }

    fn unanswered(&self, any: ReplyTo) -> Vec<ReplyTo> {
        let open = self
            .answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| answer.is_none());
        let to = |(part, _)| ReplyTo {
            part: u32::try_from(part).unwrap_or(u32::MAX),
            ..any
        };
        open.map(to).collect()
    }
}

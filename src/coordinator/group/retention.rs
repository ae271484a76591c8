//! Expiry of offsets and of the groups they leave empty (KIP-211, KIP-496).
//!
//! The age of an offset is a matter of the wall clock, because it must outlive a restart; but a
//! wall clock can be stepped. So an offset goes only if three things agree:
//!
//! - the wall clock, so that setting it back keeps everything for longer;
//! - the wall clock of the moment the log was loaded, plus the monotonic time since, so that
//!   setting it forward expires nothing that would not have expired anyway;
//! - the monotonic clock, for whatever was committed or became empty in this process, so that a
//!   timestamp taken while the clock was wrong never makes something look old.

use super::effects::{After, Cx};
use super::partition::{Partition, StoredOffset};
use super::state::{Group, State};
use reactor::op::{Mono, Now};
use std::sync::Arc;

/// The clocks of one look.
struct Clock {
    now: Mono,
    /// The more cautious of the two wall clocks.
    wall_ms: i64,
    retention_ms: i64,
}

impl Clock {
    fn new(loaded: Now, now: Now, retention_ms: i64) -> Self {
        let elapsed = i64::try_from(now.mono.ms_since(loaded.mono)).unwrap_or(i64::MAX);
        let steady_ms = loaded.wall_ms.saturating_add(elapsed);
        Self {
            now: now.mono,
            wall_ms: now.wall_ms.min(steady_ms),
            retention_ms,
        }
    }

    /// Whether what happened at `since` is `age_ms` ago.
    fn is_past(&self, since_ms: i64, seen: Option<Mono>, age_ms: i64) -> bool {
        let age = u64::try_from(age_ms).unwrap_or(0);
        self.wall_ms.saturating_sub(since_ms) >= age_ms
            && seen.is_none_or(|seen| self.now.ms_since(seen) >= age)
    }
}

impl Partition {
    /// Looks through everything once; writes tombstones for what is over.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let Some(loaded) = self.loaded else {
            return;
        };
        let clock = Clock::new(loaded, cx.now, cx.settings.offsets_retention_ms);
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.expire_group(cx, &id, &clock);
        }
    }

    fn expire_group(&mut self, cx: &mut Cx<'_>, id: &Arc<str>, clock: &Clock) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let (mut gone, mut kept) = (Vec::new(), false);
        for (topic, offsets) in self.offsets.get(id).into_iter().flatten() {
            let is_used = group.is_subscribed(topic);
            for (index, versions) in offsets {
                // An offset with a write under way is anything but old.
                let settled = versions.committed().filter(|_| versions.is_settled());
                match settled {
                    Some(stored) if !is_used && is_over(group, stored, clock) => {
                        gone.push((topic.clone(), *index));
                    }
                    _ => kept = true,
                }
            }
        }
        if !kept && group.state() == State::Empty && group.pending_joins.is_empty() {
            self.delete_empty(cx, id, None);
        } else if !gone.is_empty() {
            let (records, touched) = self.tombstones(cx.next_write(), id, gone);
            cx.write(
                records,
                After::Offsets {
                    group: id.clone(),
                    touched,
                    reply: None,
                },
            );
        }
    }
}

fn is_over(group: &Group, stored: &StoredOffset, clock: &Clock) -> bool {
    let commit = &stored.commit;
    let by_commit = |age_ms| clock.is_past(commit.committed_at_ms, stored.seen, age_ms);
    let is_expirable = group.protocol_type.is_none()
        || group.state() == State::Empty
        || (group.is_consumer() && group.knows_subscriptions() && group.state() == State::Stable);
    if !is_expirable {
        return false;
    }
    if let Some(expires_at_ms) = commit.expires_at_ms {
        return by_commit(expires_at_ms.saturating_sub(commit.committed_at_ms));
    }
    match group.state_since_ms {
        // Members were there and have gone: the time counts from then.
        Some(since_ms) if group.protocol_type.is_some() && group.state() == State::Empty => {
            clock.is_past(since_ms, group.state_since, clock.retention_ms)
        }
        _ => by_commit(clock.retention_ms),
    }
}

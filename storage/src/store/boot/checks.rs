//! The last round of a journal may never have been acknowledged, and then what it names need not be
//! there: it is checked, and dropped if it is not whole.

use super::*;
use crate::store::restore::{read_header, unreadable};

/// Extents that are checked at once.
const CHECKS_MAX: usize = 64;

/// Bytes of an extent read at once while it is checked.
const EXTENT_STRIDE: u64 = 4 << 20;

impl Store {
    /// Reads the extents that the last rounds of some chains name (rules 19 and 20).
    pub(super) fn check_last_rounds(&mut self, chains: &[usize], fx: &mut Fx) {
        if armed(Canary::LastRoundUnchecked) {
            return;
        }
        let revived = replay(&self.boot.chains);
        let alive: Option<HashSet<PartitionId>> = self
            .boot
            .alive
            .as_ref()
            .map(|alive| alive.iter().map(|partition| partition.id).collect());
        for &chain in chains {
            let Some(last) = self.boot.chains[chain].rounds.last() else {
                continue;
            };
            for entry in &last.entries {
                let Entry::Extent {
                    id,
                    base,
                    pos,
                    len,
                    crc,
                    ..
                } = entry
                else {
                    continue;
                };
                let lives = *id == METADATA || alive.as_ref().is_some_and(|all| all.contains(id));
                let known = revived.get(id).filter(|known| known.chain() == chain);
                let needed = known.is_some_and(|known| known.needs(*base));
                if !((lives && needed) || armed(Canary::DeadExtentsChecked)) {
                    continue;
                }
                let dir = &self.config.dirs[self.boot.chains[chain].dir];
                let path = names::segment(dir, id, *base);
                let script = read_extent(path, *pos, *len);
                let extent = (*pos, *len, *crc);
                self.boot.to_check.push_back((
                    script,
                    BootStep::Checked {
                        chain,
                        extent,
                        id: *id,
                        base: *base,
                    },
                ));
            }
        }
        self.check_more(fx);
    }

    /// Each check holds a file open, so there are not many at a time.
    fn check_more(&mut self, fx: &mut Fx) {
        while self.boot.checks < CHECKS_MAX
            && let Some((script, step)) = self.boot.to_check.pop_front()
        {
            self.boot.checks += 1;
            self.run(script, Then::Boot(step), fx);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one step and what every step takes"
    )]
    pub(super) fn checked(
        &mut self,
        chain: usize,
        extent: (u64, u64, u32),
        id: PartitionId,
        base: i64,
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        if let Some(opened) = outcome.opened {
            let close = Script::new().then(vec![Op::Close { file: opened.file }]);
            self.run(close, Then::Nothing, fx);
        }
        if let Some(failure) = outcome.failure().filter(|_| !outcome.not_found()) {
            return self.fail(&unreadable(failure), fx);
        }
        let (_, len, crc) = extent;
        let mut reads = outcome.reads.iter();
        let header = reads.next().and_then(|block| SegmentHeader::decode(block));
        let own = header.is_some_and(|header| header.id == id && header.base == base);
        let own = own || armed(Canary::NoSegmentHeader);
        let (mut sum, mut seen) = (0, 0);
        for bytes in reads {
            sum = crate::crc::crc32c_append(sum, bytes);
            seen += bytes.len() as u64;
        }
        if outcome.not_found() || !own || seen != len || sum != crc {
            self.boot.bad_rounds.insert(chain);
        }
        self.boot.checks -= 1;
        self.check_more(fx);
        if self.boot.checks == 0 {
            self.last_rounds_known(now, fx);
        }
    }
}

fn read_extent(path: PathBuf, pos: u64, len: u64) -> Script {
    let mut script = read_header(path);
    let mut at = pos;
    while at < pos + len {
        let now = (pos + len - at).min(EXTENT_STRIDE);
        script = script.then(vec![Op::Read {
            file: OPENED,
            pos: at,
            len: now as u32,
        }]);
        at += now;
    }
    script
}

//! How much room there is in the log directories: what the kernel is asked for DescribeLogDirs.

use std::collections::BTreeMap;

use reactor::op::{Done, Op, Space, Token};

use super::mail::{Answer, ReplyTo};

/// The top byte of the tokens of this room.
pub(super) const ROOM: u8 = 0x03;

/// Questions that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    next: u64,
    asked: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Asked {
    reply_to: ReplyTo,
    /// One for each log directory, in the order of the setting.
    spaces: Vec<Option<Space>>,
    waiting: usize,
}

impl Spaces {
    /// Asks for the file system of each of `dirs`, of which there is one at least.
    pub(super) fn ask(&mut self, reply_to: ReplyTo, dirs: &[String], ops: &mut Vec<(Token, Op)>) {
        let number = self.next & 0xffff_ffff;
        self.next += 1;
        for (at, dir) in dirs.iter().enumerate() {
            let token = Token(u64::from(ROOM) << 56 | number << 16 | at as u64);
            ops.push((token, Op::Space { path: dir.into() }));
        }
        let asked = Asked {
            reply_to,
            spaces: vec![None; dirs.len()],
            waiting: dirs.len(),
        };
        self.asked.insert(number, asked);
    }

    /// The answer that is complete with this completion.
    pub(super) fn on_done(&mut self, token: Token, done: &Done) -> Option<(ReplyTo, Answer)> {
        let (number, at) = (token.0 >> 16 & 0xffff_ffff, token.0 & 0xffff);
        let asked = self.asked.get_mut(&number)?;
        if let (Done::Space(space), Some(place)) = (done, asked.spaces.get_mut(at as usize)) {
            *place = Some(*space);
        }
        asked.waiting -= 1;
        if asked.waiting > 0 {
            return None;
        }
        let asked = self.asked.remove(&number)?;
        Some((asked.reply_to, Answer::Spaces(asked.spaces)))
    }
}

//! Someone who reads a partition from its start to its end, a little at a time.

use reactor::op::{Mono, Now};
use storage::batch::batches;
use storage::store::{Event, Fx, ReadRequest, Reading, Store};
use storage::types::{Slot, Ticket};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) next: i64,
    pub(crate) end: i64,
    waiting: bool,
    again: Mono,
    /// Answers that were there at once, and those that had to be waited for.
    pub(crate) at_once: usize,
    pub(crate) waited: usize,
}

impl Reader {
    /// Asks for what comes next, a millisecond after the last answer. When it wants to be stepped.
    pub(crate) fn step(&mut self, slot: Slot, store: &mut Store, now: Now, fx: &mut Fx) -> Mono {
        if self.waiting || self.next >= self.end || now.mono < self.again {
            return self.again.max(now.mono.after_ms(1));
        }
        let request = ReadRequest {
            offset: self.next,
            bytes_max: 200 << 10,
            first_batch_whole: true,
            upto: self.end,
        };
        match store.read(slot, &request, Ticket(7), now, fx) {
            Ok(Reading::Ready(parts)) => {
                self.at_once += 1;
                self.take(&parts.concat(), now);
            }
            Ok(Reading::Pending) => self.waiting = true,
            Err(why) => panic!("offset {}: {why:?}", self.next),
        }
        now.mono.after_ms(1)
    }

    pub(crate) fn on_event(&mut self, event: &Event, now: Now) {
        if let Event::Read { result, .. } = event {
            self.waiting = false;
            self.waited += 1;
            let parts = result.as_ref().expect("what is there can be read");
            self.take(&parts.concat(), now);
        }
    }

    fn take(&mut self, bytes: &[u8], now: Now) {
        let before = self.next;
        for batch in batches(bytes) {
            let summary = batch.expect("whole batches").summary();
            assert_eq!(summary.base_offset, self.next);
            self.next = summary.last_offset() + 1;
        }
        assert!(self.next > before, "nothing at offset {before}");
        self.again = now.mono.after_ms(1);
    }
}

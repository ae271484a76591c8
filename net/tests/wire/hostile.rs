//! Damaged and lying messages: an error or a message, never a panic, never much memory.

use super::*;
use crate::draw::Dice;
use crate::memory::allocated;

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let length = bytes.len().max(1);
        let at = dice.below(length);
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend((0..dice.below(9)).map(|_| 0xff)),
            2 => bytes.insert(at.min(bytes.len()), dice.next() as u8),
            3 => drop(bytes.drain(at.min(bytes.len())..(at + 2).min(bytes.len()))),
            choice => {
                let run = if choice == 4 { 1 } else { 5 };
                let value = [0, 1, 0x7f, 0x80, 0xff, dice.next() as u8][dice.below(6)];
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(run)
                    .for_each(|byte| *byte = value);
            }
        }
    }
}

#[test]
fn damaged_messages_are_errors_or_messages() {
    let (mut refused, mut accepted) = (0, 0);
    for_each_message(|api, version, response| {
        for (round, plan) in plans(version, response, 150).enumerate() {
            let mut bytes = drawn(api, plan);
            damage(&mut bytes, &mut Dice::new(round as u64 + 7));
            let length = bytes.len();
            let frame = Bytes::from(bytes);
            let (outcome, _) = allocated(length, || {
                let mut reader = Reader::new(frame.clone());
                recode(key_of(api), version, response, &mut reader, None)
            });
            if outcome.is_err() {
                refused += 1;
                continue;
            }
            accepted += 1;
            let mut writer = Writer::new();
            let mut reader = Reader::new(frame);
            recode(
                key_of(api),
                version,
                response,
                &mut reader,
                Some(&mut writer),
            )
            .expect("again");
            assert_eq!(writer.lost(), None, "what was read can be written");
        }
    });
    assert!(
        refused > 10_000 && accepted > 1_000,
        "{refused} refused, {accepted} accepted"
    );
}

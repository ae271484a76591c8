use super::*;

const NOBODY: Sender = Sender {
    id: -1,
    epoch: -1,
    sequence: -1,
};

fn mark(index: u32) -> Mark {
    Mark {
        time: 1_000 + u64::from(index),
        producer: 9,
        sequence: index,
    }
}

fn built(template: &Template, count: u32) -> Vec<u8> {
    let mut buffer = Vec::new();
    for index in 0..count {
        template.put_record(&mut buffer, index, mark(index), index);
    }
    template.seal(&mut buffer, count, 5, NOBODY);
    buffer.truncate(template.bytes_of(count));
    buffer
}

#[test]
fn a_batch_has_the_bytes_of_the_format() {
    let template = Template::new(16, false, 100, 1);
    let batch = built(&template, 1);
    let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 72, 255, 255, 255, 255, 2];
    let crc = crc32c::crc32c(&batch[21..]);
    expected.extend_from_slice(&crc.to_be_bytes());
    expected.extend_from_slice(&[0; 6]);
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5]);
    expected.extend_from_slice(&[255; 14]);
    expected.extend_from_slice(&[0, 0, 0, 1]);
    // Length 22, no attributes, deltas 0, no key, value of 16 bytes.
    expected.extend_from_slice(&[44, 0, 0, 0, 1, 32]);
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 9, 0, 0, 0, 0, 0]);
    assert_eq!(batch, expected);
}

#[test]
fn what_was_built_is_read_back_at_every_length() {
    for (bytes, keyed) in [
        (16, false),
        (63, true),
        (64, true),
        (100, false),
        (9_000, true),
    ] {
        let template = Template::new(bytes, keyed, 20_000, 1);
        for count in 1..=template.records_max() {
            let batch = built(&template, count);
            let all: Vec<View<'_>> = views(&batch).collect();
            assert_eq!(all.len(), 1);
            assert!(all[0].sound());
            assert_eq!(all[0].count(), count);
            let marks: Vec<Mark> = all[0].marks().collect();
            assert_eq!(marks, (0..count).map(mark).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_key_stands_where_it_belongs() {
    let template = Template::new(64, true, 1_000, 1);
    let batch = built(&template, 3);
    let found = batch.windows(8).filter(|part| *part == b"00000002").count();
    assert_eq!(found, 1);
}

#[test]
fn damage_and_cuts_are_noticed() {
    let template = Template::new(100, false, 1_000, 1);
    let mut batch = built(&template, 4);
    assert_eq!(views(&batch[..batch.len() - 1]).count(), 0);
    batch[200] ^= 1;
    assert!(!views(&batch).next().is_some_and(View::sound));
}

use super::*;
use crate::floor::disk::Aligned;
use crate::kernel::usable_cores;
use std::path::Path;

const SIZES: [Shape; 4] = [
    shape(12, 1, 1),
    shape(215, 9, 8),
    shape(70_000, 3, 4),
    shape(3 << 20, 2, 2),
];
const EACH: u64 = 11;
const FILE_BYTES: usize = 112 << 20;

fn here() -> Pair {
    let here = usable_cores().first().copied().unwrap_or_default();
    Pair {
        server: here,
        load: here,
    }
}

fn scratch(len: u64) -> Scratch {
    // Failing here means a checkout on a file system without O_DIRECT.
    Scratch::new(Path::new(env!("CARGO_MANIFEST_DIR")), len).expect("a disk")
}

fn answered_once(sample: &Sample, shape: Shape) {
    let requests = EACH * shape.connections as u64;
    assert_eq!(sample.operations, requests, "{shape:?}");
    assert_eq!(sample.bytes, requests * shape.bytes as u64);
    let timed = sample.times.as_ref().map(|times| times.len());
    assert_eq!(timed, Some(requests));
    assert!(sample.cpu_s > Some(0.0));
}

/// All that a connection sends.
fn stream(connection: usize, shape: Shape) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 0..EACH {
        let filling = (0..shape.bytes).map(|at| load::filling(connection, at));
        let mut frame: Vec<u8> = filling.collect();
        frames::write_head(&mut frame, number);
        all.extend(frame);
    }
    all
}

#[test]
fn every_request_is_answered_once() {
    for shape in SIZES {
        let sample = plainly(
            here(),
            shape,
            Duty::Nothing,
            None,
            Until::Sent(EACH),
            &mut |_, _, _| panic!("nothing is written"),
        );
        answered_once(&sample.expect("it serves"), shape);
        let nothing = Box::new(|_, _, _| panic!("nothing is written"));
        let sample = on_reactor(
            here(),
            shape,
            Duty::Nothing,
            None,
            Until::Sent(EACH),
            nothing,
        );
        answered_once(&sample.expect("it serves"), shape);
    }
}

type Pieces = Vec<(usize, u64, usize)>;

/// The server numbers connections in the order in which it accepts them, which is theirs.
fn holds(disk: &Scratch, pieces: &Pieces, shape: Shape) {
    let mut found = Aligned::new(FILE_BYTES);
    disk.read_at(found.bytes_mut(), 0).expect("it was written");
    let mut streams = vec![Vec::new(); shape.connections];
    for (connection, pos, len) in pieces {
        let pos = *pos as usize;
        streams[*connection].extend_from_slice(&found.bytes()[pos..pos + len]);
    }
    for (connection, found) in streams.iter().enumerate() {
        let sent = stream(connection, shape);
        assert!(*found == sent, "{shape:?}, connection {connection}");
    }
}

#[test]
fn what_was_sent_is_in_the_file_before_it_is_answered() {
    for shape in SIZES {
        for duty in [Duty::Flush, Duty::CheckAndFlush] {
            let disk = scratch(FILE_BYTES as u64);
            let mut pieces = Vec::new();
            let sample = plainly(
                here(),
                shape,
                duty,
                Some(&disk),
                Until::Sent(EACH),
                &mut |connection, pos, len| pieces.push((connection, pos, len)),
            );
            answered_once(&sample.expect("it serves"), shape);
            holds(&disk, &pieces, shape);
        }
    }
}

#[test]
fn what_was_sent_to_the_reactor_is_in_the_file_before_it_is_answered() {
    for shape in SIZES {
        let disk = scratch(FILE_BYTES as u64);
        let (note, noted) = std::sync::mpsc::channel();
        let note = move |connection, pos, len| {
            note.send((connection, pos, len)).expect("the test listens");
        };
        let sample = on_reactor(
            here(),
            shape,
            Duty::CheckAndFlush,
            Some(&disk),
            Until::Sent(EACH),
            Box::new(note),
        );
        answered_once(&sample.expect("it serves"), shape);
        holds(&disk, &noted.try_iter().collect(), shape);
    }
}

#[test]
fn a_load_that_cannot_keep_up_puts_the_figure_in_doubt() {
    assert!(doubt(0.5, 0.95).is_some_and(|why| why.contains("95 %")));
    assert_eq!(doubt(0.95, 0.95), None);
    assert_eq!(doubt(0.5, 0.85), None);
}

#[test]
fn the_yardstick_is_the_cost_of_a_byte_times_the_bytes_of_a_record() {
    let mut floor = Floor::default();
    yardstick(&mut floor);
    assert!(floor.figures.is_empty(), "it was not measured");
    floor.figures.push(FloorFigure {
        group: "server".to_owned(),
        name: name(Duty::CheckAndFlush, YARD),
        bytes_per_s: Some(1.1e9),
        cpu_s_per_gb: Some(0.5),
        doubt: Some("why not".to_owned()),
        ..FloorFigure::default()
    });
    yardstick(&mut floor);
    let of = |name: &str| floor.figures.iter().find(|one| one.name.ends_with(name));
    let small = of("100 B").expect("derived");
    assert_eq!(small.cpu_ns_per_operation, Some(55.0));
    assert_eq!(small.operations_per_s, Some(1e7));
    assert_eq!(small.doubt.as_deref(), Some("why not"));
    let large = of("1 KiB").expect("derived");
    assert_eq!(large.cpu_ns_per_operation, Some(517.0));
}

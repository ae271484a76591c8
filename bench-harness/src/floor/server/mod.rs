//! The least that a server does: what it costs to receive, make durable and answer.

mod frames;
mod load;
mod plain;
mod ring;

use super::disk::Scratch;
use super::sample::Sample;
use super::{Pair, Probe, probe, size_name};
use crate::model::{Floor, FloorFigure};
use load::{Load, Until};
use std::io;
use std::sync::Mutex;
use std::time::Duration;

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Of a request, with its length.
    bytes: usize,
    connections: usize,
    /// Requests on their way on each connection.
    in_flight: usize,
}

/// What a server does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    Nothing,
    Flush,
    CheckAndFlush,
}

const SHAPES: [Shape; 4] = [
    shape(1 << 10, 1, 1),
    shape(215, 64, 8),
    YARD,
    shape(1 << 20, 4, 2),
];
/// The shape that the yardstick is taken from.
const YARD: Shape = shape(64 << 10, 8, 4);
/// A record's share of a batch: its value and what frames it.
const RECORDS: [(&str, f64); 2] = [("100 B", 110.0), ("1 KiB", 1034.0)];

const fn shape(bytes: usize, connections: usize, in_flight: usize) -> Shape {
    Shape {
        bytes,
        connections,
        in_flight,
    }
}

fn name(duty: Duty, shape: Shape) -> String {
    let duty = match duty {
        Duty::Nothing => "ack only",
        Duty::Flush => "flush, ack",
        Duty::CheckAndFlush => "CRC, flush, ack",
    };
    let size = size_name(shape.bytes);
    format!(
        "{duty}, {size} x {} x {}",
        shape.connections, shape.in_flight
    )
}

fn how(duty: Duty) -> &'static str {
    match duty {
        Duty::Nothing => {
            "epoll_wait, recv, send of 36 bytes a request; request x connections x in flight"
        }
        Duty::Flush => {
            "epoll_wait, recv of all connections, one O_DIRECT pwrite, one fdatasync, sends"
        }
        Duty::CheckAndFlush => "the same, with a CRC-32C of every request",
    }
}

/// Needs the disk for all but the first kind.
pub(super) fn probes<'a>(pair: Pair, disk: Option<&'a Scratch>, probes: &mut Vec<Probe<'a>>) {
    for shape in SHAPES {
        for duty in [Duty::Nothing, Duty::Flush, Duty::CheckAndFlush] {
            if duty != Duty::Nothing && disk.is_none() {
                continue;
            }
            probes.push(probe("server", name(duty, shape), how(duty), move |time| {
                plainly(
                    pair,
                    shape,
                    duty,
                    disk,
                    Until::Elapsed(time),
                    &mut |_, _, _| (),
                )
            }));
        }
    }
}

fn plainly(
    pair: Pair,
    shape: Shape,
    duty: Duty,
    disk: Option<&Scratch>,
    until: Until,
    written: plain::Written<'_>,
) -> io::Result<Sample> {
    let listener = load::listener()?;
    let streams = load::connect(listener.local_addr()?, shape)?;
    let serve = move || match (duty, disk) {
        (Duty::Nothing, _) => plain::ack_only(&listener, shape.connections),
        (_, Some(disk)) => {
            let check = duty == Duty::CheckAndFlush;
            plain::flush_then_ack(&listener, shape.connections, check, disk, written)
        }
        (_, None) => Err(io::Error::other("there is no disk to write to")),
    };
    together(pair, shape, serve, move || {
        load::drive(streams, shape, until)
    })
}

/// The same servers as machines of `reactor`.
pub(super) fn reactor_probes<'a>(
    pair: Pair,
    disk: Option<&'a Scratch>,
    probes: &mut Vec<Probe<'a>>,
) {
    for shape in SHAPES {
        for duty in [Duty::Nothing, Duty::Flush, Duty::CheckAndFlush] {
            if duty != Duty::Nothing && disk.is_none() {
                continue;
            }
            let how = match duty {
                Duty::Nothing => "the server \"ack only\" on the broker's own reactor",
                _ => "the same on the broker's own reactor: one copy, Op::Write, Op::Sync, sends",
            };
            probes.push(probe("reactor", name(duty, shape), how, move |time| {
                on_reactor(
                    pair,
                    shape,
                    duty,
                    disk,
                    Until::Elapsed(time),
                    Box::new(|_, _, _| ()),
                )
            }));
        }
    }
}

fn on_reactor(
    pair: Pair,
    shape: Shape,
    duty: Duty,
    disk: Option<&Scratch>,
    until: Until,
    written: Box<dyn FnMut(usize, u64, usize) + Send>,
) -> io::Result<Sample> {
    let store = disk
        .filter(|_| duty != Duty::Nothing)
        .map(|disk| ring::Store {
            path: disk.path().to_owned(),
            len: disk.len(),
            check: duty == Duty::CheckAndFlush,
            written,
        });
    let server = ring::serve(pair.server, store)?;
    let streams = match load::connect(server.addr, shape) {
        Ok(streams) => streams,
        Err(error) => {
            server.stop();
            return Err(error);
        }
    };
    let serve = move || server.wait();
    together(pair, shape, serve, move || {
        load::drive(streams, shape, until)
    })
}

/// Server and load at once.
fn together(
    pair: Pair,
    shape: Shape,
    serve: impl FnOnce() -> io::Result<()> + Send,
    drive: impl FnOnce() -> io::Result<Load> + Send,
) -> io::Result<Sample> {
    let driven = Mutex::new(None);
    pair.run(serve, || {
        let load = drive()?;
        if let Ok(mut driven) = driven.lock() {
            *driven = Some(load);
        }
        Ok(())
    })?;
    let driven = driven.into_inner().ok().flatten();
    let load = driven.ok_or_else(|| io::Error::other("the load said nothing"))?;
    Ok(Sample {
        seconds: load.seconds,
        bytes: load.requests * shape.bytes as u64,
        operations: load.requests,
        cpu_s: Some(load.server_cpu_s),
        doubt: doubt(load.server_cpu_s / load.seconds, load.cpu_s / load.seconds),
        times: load.times,
    })
}

/// Both as shares of a core.
fn doubt(server: f64, load: f64) -> Option<String> {
    (load > 0.9 && server < 0.9).then(|| {
        format!(
            "the load was the bottleneck: busy for {:.0} % of the time, the server for {:.0} %",
            load * 100.0,
            server * 100.0
        )
    })
}

/// What a durable record costs a server that does nothing but receive, check, write and answer.
pub(super) fn yardstick(floor: &mut Floor) {
    let source = name(Duty::CheckAndFlush, YARD);
    let found = floor
        .figures
        .iter()
        .find(|one| one.group == "server" && one.name == source);
    let Some(source) = found.cloned() else {
        return;
    };
    for (record, bytes) in RECORDS {
        floor.figures.push(FloorFigure {
            group: "yardstick".to_owned(),
            name: format!("CPU of a durable record, {record}"),
            how: format!(
                "CPU a byte of \"server, {}\" (requests of 64 KiB) times {bytes} bytes of a batch",
                source.name
            ),
            operations_per_s: source.bytes_per_s.map(|rate| rate / bytes),
            cpu_s_per_gb: source.cpu_s_per_gb,
            cpu_ns_per_operation: source.cpu_s_per_gb.map(|cpu| cpu * bytes),
            rounds: source.rounds,
            spread: source.spread.map(|(low, high)| (low / bytes, high / bytes)),
            doubt: source.doubt.clone(),
            bytes_per_s: None,
            latency: None,
        });
    }
}

#[cfg(test)]
mod tests;

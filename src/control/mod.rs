//! The ordinary thread beside the shards: signals, start and stop (SHELL).

mod signals;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reactor::op::ShardId;
use reactor::runtime::{self, Config, Handle, Lend, StartError};

use crate::shard::mail::Mail;
use crate::shard::settings::ShardSettings;
use crate::shard::{Level, Report, Shard};

/// Memory that a shard has at least, however many share what the setting gives: a recovery and a
/// few large batches fit.
const SHARD_ARENA_BYTES: usize = 16 << 20;

/// How the broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything is durable and marked as clean.
    Cleanly,
    /// It could not start or go on; the reason has been printed.
    Failed,
}

/// Starts the shards and runs until they have stopped.
///
/// # Errors
/// When this machine cannot run the shards; nothing has been started then.
pub fn run(settings: ShardSettings, arena_bytes_max: usize) -> Result<Ended, StartError> {
    let settings = Arc::new(settings);
    let mut config = Config::for_shards(settings.shards);
    if arena_bytes_max > 0 {
        let share = arena_bytes_max / usize::from(settings.shards);
        config.arena_bytes_max = share.max(SHARD_ARENA_BYTES);
    }
    config.busy_poll_ns = settings.broker.busy_poll_us * 1_000;
    config.lend = match settings.broker.zero_copy_sends {
        None => Lend::Remote,
        Some(true) => Lend::Everybody,
        Some(false) => Lend::Nobody,
    };
    let make = |_| {
        let settings = Arc::clone(&settings);
        move |shard: ShardId, arena| Shard::new(settings, shard, arena)
    };
    let makers: Vec<_> = (0..settings.shards).map(make).collect();
    let handle = runtime::start::<Shard, _>(&config, makers)?;
    for warning in handle.warnings() {
        log(Level::Warning, warning);
    }
    signals::forward(handle.outside(), settings.shards);
    let ended = watch(&handle, &settings);
    if ended == Ended::Cleanly {
        handle.join();
    }
    Ok(ended)
}

/// Prints what the shards report until all have stopped or one has failed.
fn watch(handle: &Handle<Mail>, settings: &ShardSettings) -> Ended {
    let shards = usize::from(settings.shards);
    let (mut listening, mut stopped) = (0, 0);
    while let Ok((shard, mail)) = handle.inbox().recv() {
        let Mail::Report(report) = mail else { continue };
        match report {
            Report::Line(level, line) => log(level, &format!("shard {}: {line}", shard.0)),
            Report::Recovered(line) => {
                log(Level::Info, &format!("shard {}: {line}", shard.0));
            }
            Report::Listening(_) => {
                listening += 1;
                let expected = (0..settings.shards).map(|shard| settings.listen_of(shard).count());
                if listening == expected.sum::<usize>() {
                    welcome(settings);
                }
            }
            Report::Failed(why) => {
                log(Level::Error, &why);
                return Ended::Failed;
            }
            Report::Stopped => {
                stopped += 1;
                if stopped == shards {
                    log(Level::Info, "stopped cleanly");
                    return Ended::Cleanly;
                }
            }
        }
    }
    Ended::Failed
}

/// Where it listens, where its data is, what an acknowledgement means, what to try next.
fn welcome(settings: &ShardSettings) {
    let mut out = std::io::stdout().lock();
    let mut lines = String::new();
    for addr in &settings.listen {
        lines.push_str(&format!("listening on {addr}\n"));
    }
    if let Some(ports) = &settings.shard_ports {
        let (first, shards) = (ports.first(), settings.shards);
        let last = first + (shards - 1);
        lines.push_str(&format!(
            "each shard is a broker to clients, on the ports {first} to {last}\n"
        ));
    }
    let whole = |dir: &String| {
        let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.into());
        whole.display().to_string()
    };
    let dirs: Vec<_> = settings.broker.log_dirs.iter().map(whole).collect();
    let program = std::env::args().next();
    lines.push_str(&format!(
        "data in {}, {} shard(s), durability = {}\n{}",
        dirs.join(", "),
        settings.shards,
        match settings.broker.durability {
            storage::types::Durability::Disk => "disk (an acknowledged record is on disk)",
            storage::types::Durability::Memory => "memory (an acknowledged record is in memory)",
        },
        to_try(program.as_deref().unwrap_or("ringlog"), &settings.listen)
    ));
    // A closed standard output is no reason to stop a broker.
    let _ = out.write_all(lines.as_bytes());
    let _ = out.flush();
}

/// Three commands that work in the shell from which `program` was started.
fn to_try(program: &str, listen: &[SocketAddr]) -> String {
    let reached = listen.first().map(|address| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => *address,
    });
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
    let broker = reached.filter(|reached| *reached != usual);
    let broker = broker.map_or(String::new(), |reached| format!(" --bootstrap {reached}"));
    format!(
        "try: {program} topic create first{broker}\n\
         \x20    echo hello | {program} produce first{broker}\n\
         \x20    {program} consume first --follow{broker}\n"
    )
}

/// One line on standard error.
pub fn log(level: Level, line: &str) {
    let word = match level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let _ = writeln!(std::io::stderr().lock(), "ringlog: {word}: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_to_try_reach_the_broker() {
        let of = |address: &str| {
            let listen = [address.parse().unwrap(), "[::1]:7".parse().unwrap()];
            let lines = to_try("target/release/ringlog", &listen);
            lines.lines().last().unwrap().trim().to_owned()
        };
        let usual = "target/release/ringlog consume first --follow";
        assert_eq!(of("127.0.0.1:9092"), usual);
        for (address, reached) in [
            ("127.0.0.1:9093", "127.0.0.1:9093"),
            ("0.0.0.0:5", "127.0.0.1:5"),
            ("[::]:5", "[::1]:5"),
            ("192.0.2.1:9092", "192.0.2.1:9092"),
        ] {
            assert_eq!(of(address), format!("{usual} --bootstrap {reached}"));
        }
        assert_eq!(of("0.0.0.0:9092"), usual);
    }
}

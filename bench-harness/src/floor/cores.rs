//! How fast two threads on two cores reach each other.

use super::Pair;
use super::sample::{Sample, Watch};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::hint::spin_loop;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Round trips between two checks of the clock, so that it does not count.
const SPINS: u64 = 256;
const STOP: u64 = u64::MAX;

/// Both threads keep asking one word each.
pub(super) fn spin(pair: Pair, time: Duration) -> io::Result<Sample> {
    let (ping, pong) = (AtomicU64::new(0), AtomicU64::new(0));
    pair.run(
        || {
            let mut watch = Watch::start(time);
            let mut turn = 0;
            while watch.running() {
                for _ in 0..SPINS {
                    turn += 1;
                    ping.store(turn, Ordering::Release);
                    while pong.load(Ordering::Acquire) != turn {
                        spin_loop();
                    }
                }
                watch.count(SPINS, 0);
            }
            ping.store(STOP, Ordering::Release);
            Ok(watch.end())
        },
        || {
            let mut seen = 0;
            loop {
                let turn = ping.load(Ordering::Acquire);
                if turn == STOP {
                    return Ok(());
                }
                if turn == seen {
                    spin_loop();
                    continue;
                }
                seen = turn;
                pong.store(turn, Ordering::Release);
            }
        },
    )
}

/// Both threads sleep in a read of an eventfd.
pub(super) fn wake_by_eventfd(pair: Pair, time: Duration) -> io::Result<Sample> {
    let (ping, pong) = (
        eventfd(0, EventfdFlags::empty())?,
        eventfd(0, EventfdFlags::empty())?,
    );
    let stop = AtomicBool::new(false);
    pair.run(
        || {
            let mut watch = Watch::start(time).timed();
            let mut word = [0; 8];
            while watch.running() {
                write(&ping, &1_u64.to_ne_bytes())?;
                read(&pong, &mut word)?;
                watch.count(1, 0);
            }
            stop.store(true, Ordering::Release);
            write(&ping, &1_u64.to_ne_bytes())?;
            Ok(watch.end())
        },
        || {
            let mut word = [0; 8];
            loop {
                read(&ping, &mut word)?;
                if stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                write(&pong, &1_u64.to_ne_bytes())?;
            }
        },
    )
}

/// Both threads sleep on a futex under a channel of the standard library.
pub(super) fn wake_by_futex(pair: Pair, time: Duration) -> io::Result<Sample> {
    let (ping, pings) = std::sync::mpsc::sync_channel::<()>(1);
    let (pong, pongs) = std::sync::mpsc::sync_channel::<()>(1);
    let gone = || io::Error::other("the other thread ended");
    pair.run(
        move || {
            let mut watch = Watch::start(time).timed();
            while watch.running() {
                ping.send(()).map_err(|_| gone())?;
                pongs.recv().map_err(|_| gone())?;
                watch.count(1, 0);
            }
            drop(ping);
            Ok(watch.end())
        },
        move || {
            while pings.recv().is_ok() {
                pong.send(()).map_err(|_| gone())?;
            }
            Ok(())
        },
    )
}

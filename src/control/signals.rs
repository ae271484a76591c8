//! SIGTERM and SIGINT: the first drains and stops cleanly, the second ends at once.

use reactor::op::ShardId;
use reactor::runtime::Outside;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shard::Level;
use crate::shard::mail::Mail;

use super::log;

/// Forwards signals to the shards from a thread of its own.
pub(super) fn forward(shards: Outside<Mail>, count: u16) {
    let mut signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => {
            log(
                Level::Warning,
                &format!("signals cannot be handled: {error}"),
            );
            return;
        }
    };
    std::thread::spawn(move || {
        let mut asked = false;
        for _ in signals.forever() {
            if asked {
                log(
                    Level::Warning,
                    "second signal: ending at once, without a clean mark",
                );
                std::process::exit(130);
            }
            asked = true;
            log(
                Level::Info,
                "stopping: answering what is parked, then making all durable",
            );
            for shard in 0..count {
                // A shard that has ended needs no order to stop.
                let _ = shards.send(ShardId(shard), Mail::Drain);
            }
        }
    });
}

//! What the stores of the shards tell each other during recovery. Opaque to everyone else.

use crate::journal::scan::Chain;
use crate::log::revive::Revived;

/// See the module.
#[derive(Debug)]
pub struct StoreMail(pub(crate) Letter);

#[derive(Debug)]
pub(crate) enum Letter {
    /// From shard 0: the directories are locked; read your journals.
    Begin { dir_ids: Vec<u64> },
    /// To shard 0: what they hold, and the highest start number in them.
    Scanned { chains: Vec<Chain>, start: u64 },
    /// From shard 0: this start's number, and the partitions that are yours.
    Assign {
        start: u64,
        unclean: bool,
        /// Directory and shard of the journals whose last round was dropped.
        dropped: Vec<(usize, u16)>,
        revived: Vec<Revived>,
    },
    /// To shard 0: the openings of all my journals are durable. Whether a partition that came from
    /// another journal is not restated in them.
    Opened { lacks: bool },
    /// From shard 0: so are everyone's. Whether every journal must keep what it has, since one of
    /// them lacks a partition.
    Release { keep: bool },
    /// This log directory is full: free the retired segments that are kept in it.
    GiveBack { dir: usize },
}

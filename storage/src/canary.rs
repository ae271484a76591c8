//! Deliberate mistakes, each at the line where a person could make it, so that the simulator can
//! prove that it would notice. Compiled in only with `--cfg canary`; otherwise every question is a
//! constant `false` and leaves no code.

/// One deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Canary {
    /// A round is acknowledged when its writes are done, before any flush.
    AckBeforeFlush = 1,
    /// A round flushes the journal but not the segments it wrote.
    FlushJournalOnly,
    /// The next round is written before the one in flight is durable.
    NextRoundEarly,
    /// Space that this process wrote but never synced counts as written.
    TrustUnsyncedSpace,
    /// The journal's directory is not synced after a rename into it.
    JournalDirNotSynced,
    /// A partition's directory is not synced after a segment was created in it.
    SegmentDirNotSynced,
    /// A carry leaves out partitions whose tail is empty.
    CarryOnlyNonEmptyTails,
    /// The low mark rises with the first round of a carry instead of the last.
    LowWithFirstOfCarry,
    /// The low mark rises in a round that writes extents, which recovery may drop.
    LowWithExtents,
    /// Old journal files are reused before the carry is durable.
    ReuseBeforeCarryDurable,
    /// Crumbs count as destaged when written to the segment, before they are synced.
    FreeBeforeDestageSynced,
    /// A destage into unconverted space flushes the device through the journal only.
    DestageFlushesDeviceOnly,
    /// A full state is written while blocks before its tail are still only in the journal.
    RestateWithoutDestage,
    /// Recovery does not prefer the higher start number.
    IgnoreStartNumber,
    /// A start does not raise the start number.
    KeepStartNumber,
    /// Sequence numbers begin anew at every start.
    RestartSequence,
    /// A segment gets no header, and nobody looks at one.
    NoSegmentHeader,
    /// The header of a new segment does not record where the one before it ended.
    SealedEndOnlyInJournal,
    /// Partitions are told apart by number only, not by the topic's UUID.
    NoTopicId,
    /// Recovered segments are served before they are synced.
    NoSyncBeforeServing,
    /// A start writes no opening round.
    NoOpeningRound,
    /// The extents of the last round are taken as complete without a look.
    LastRoundUnchecked,
    /// Extents of dead topics and retired segments are checked too.
    DeadExtentsChecked,
    /// What is alive is judged without the last round of the metadata.
    LivenessBeforeLastRound,
    /// Only the journals of this shard count are read.
    OnlyOwnJournals,
    /// Partitions that moved here from another shard are not restated in the opening.
    MovedNotRestated,
    /// The low mark may rise before every opening is durable.
    LowBeforeOpenings,
    /// Segments are retired before the risen log start is durable.
    RetireBeforeLogStart,
    /// All space of a retired file counts as written, whether this process synced it or not.
    RecycledSpaceTrusted,
    /// A file is recycled while it is written or read.
    RecycleInFlight,
    /// What is derived from batches is saved before they are durable.
    SaveBeforeCommit,
}

impl Canary {
    /// Every deliberate mistake.
    pub const ALL: [Self; 31] = [
        Self::AckBeforeFlush,
        Self::FlushJournalOnly,
        Self::NextRoundEarly,
        Self::TrustUnsyncedSpace,
        Self::JournalDirNotSynced,
        Self::SegmentDirNotSynced,
        Self::CarryOnlyNonEmptyTails,
        Self::LowWithFirstOfCarry,
        Self::LowWithExtents,
        Self::ReuseBeforeCarryDurable,
        Self::FreeBeforeDestageSynced,
        Self::DestageFlushesDeviceOnly,
        Self::RestateWithoutDestage,
        Self::IgnoreStartNumber,
        Self::KeepStartNumber,
        Self::RestartSequence,
        Self::NoSegmentHeader,
        Self::SealedEndOnlyInJournal,
        Self::NoTopicId,
        Self::NoSyncBeforeServing,
        Self::NoOpeningRound,
        Self::LastRoundUnchecked,
        Self::DeadExtentsChecked,
        Self::LivenessBeforeLastRound,
        Self::OnlyOwnJournals,
        Self::MovedNotRestated,
        Self::LowBeforeOpenings,
        Self::RetireBeforeLogStart,
        Self::RecycledSpaceTrusted,
        Self::RecycleInFlight,
        Self::SaveBeforeCommit,
    ];
}

#[cfg(not(canary))]
pub(crate) const fn armed(_canary: Canary) -> bool {
    false
}

#[cfg(canary)]
static ARMED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[cfg(canary)]
pub(crate) fn armed(canary: Canary) -> bool {
    ARMED.load(std::sync::atomic::Ordering::Relaxed) == canary as u32
}

/// Makes the whole process commit one mistake, or none.
#[cfg(canary)]
pub fn arm(canary: Option<Canary>) {
    let number = canary.map_or(0, |canary| canary as u32);
    ARMED.store(number, std::sync::atomic::Ordering::Relaxed);
}

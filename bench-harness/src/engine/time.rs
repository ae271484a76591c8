//! The harness's clock.

use std::sync::LazyLock;
use std::time::Instant;

static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Monotonic, in ns after the first call.
pub(crate) fn now() -> u64 {
    BASE.elapsed().as_nanos() as u64
}

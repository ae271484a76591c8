//! Where commands write: standard output, buffered, its end never a surprise.

use super::failure::Outcome;
use super::json::Json;
use std::io::{BufWriter, StdoutLock, Write, stdout};

pub(super) type Output = BufWriter<StdoutLock<'static>>;

pub(super) fn open() -> Output {
    BufWriter::new(stdout().lock())
}

/// Writes everything and makes sure it went.
pub(super) fn write(bytes: &[u8]) -> Outcome {
    let mut out = open();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes one line.
pub(super) fn line(line: &str) -> Outcome {
    write(format!("{line}\n").as_bytes())
}

/// Writes one JSON value as a line.
pub(super) fn json(value: &Json) -> Outcome {
    line(&value.to_string())
}

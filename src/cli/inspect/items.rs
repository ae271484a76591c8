//! What inspection prints: named values, as a line for a person or as a JSON object.

use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use std::io::Write;
use std::path::Path;
use storage::types::PartitionId;

pub(super) struct Items<'a> {
    out: &'a mut dyn Write,
    json: bool,
    file: String,
}

impl<'a> Items<'a> {
    pub(super) const fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self {
            out,
            json,
            file: String::new(),
        }
    }

    /// The items that follow are of this file.
    pub(super) fn file(&mut self, path: &Path) {
        self.file = path.display().to_string();
    }

    /// Prints one item.
    pub(super) fn put(
        &mut self,
        what: &'static str,
        members: Vec<(&'static str, Json)>,
    ) -> Outcome {
        if self.json {
            let head = [
                ("file", Json::text(self.file.as_str())),
                ("item", Json::text(what)),
            ];
            let object = Json::Object(head.into_iter().chain(members).collect());
            writeln!(self.out, "{object}")?;
            return Ok(());
        }
        write!(self.out, "{}: {what}", self.file)?;
        for (name, value) in members {
            write!(self.out, " {name}={value}")?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    /// Prints what is wrong with the file; always `false`, as the answer of a file that is damaged.
    pub(super) fn damaged(&mut self, why: &str) -> Outcome<bool> {
        self.put("damaged", vec![("why", Json::text(why))])?;
        Ok(false)
    }

    pub(super) fn flush(&mut self) -> Outcome {
        self.out.flush()?;
        Ok(())
    }
}

/// A length or position, none of which exceeds what a file can have.
pub(super) fn number(number: impl TryInto<i64>) -> Json {
    Json::Number(number.try_into().unwrap_or(i64::MAX))
}

/// A partition as `topic id-index`.
pub(super) fn partition(id: &PartitionId) -> String {
    let hex: String = id
        .topic
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{hex}-{}", id.index)
}

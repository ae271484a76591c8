//! Where brokers keep their data while they are measured, and what is kept for the next time.

use super::interrupt;
use crate::failure::{Failure, Outcome};
use crate::kernel::file_system_of;
use std::fs;
use std::path::{Path, PathBuf};

const RUN: &str = "run-";

/// A folder for this process, removed with the value; and one that stays.
pub(crate) struct Work {
    run: PathBuf,
    cache: PathBuf,
}

impl Work {
    /// In `chosen`, or where the caches of this user lie.
    pub(crate) fn new(chosen: Option<&Path>) -> Outcome<Self> {
        let base = match chosen {
            Some(path) => path.to_owned(),
            None => usual().ok_or_else(|| {
                Failure::new("there is no home folder to put the brokers' data in")
                    .advise("name a folder with --work DIR")
            })?,
        };
        let failed = |error| {
            Failure::new(format!("cannot use {} for data: {error}", base.display()))
                .advise("name another folder with --work DIR")
        };
        fs::create_dir_all(&base).map_err(failed)?;
        let base = fs::canonicalize(&base).map_err(failed)?;
        let kind = file_system_of(&base).map_err(failed)?;
        if ["tmpfs", "ramfs"].contains(&&*kind) {
            return Err(Failure::new(format!(
                "{} lies in memory ({kind}): a broker that writes there touches no disk",
                base.display()
            ))
            .advise("name a folder on a disk with --work DIR"));
        }
        remove_stale(&base);
        let run = base.join(format!("{RUN}{}", std::process::id()));
        fs::create_dir_all(&run).map_err(failed)?;
        interrupt::remove_too(run.clone());
        interrupt::watch();
        Ok(Self { run, cache: base })
    }

    /// An own folder for something of this run.
    pub(super) fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.run.join(name);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(error) => Err(Failure::new(format!(
                "cannot make {}: {error}",
                path.display()
            ))),
        }
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.run) {
            eprintln!("{} could not be removed: {error}", self.run.display());
        }
    }
}

fn usual() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(cache.or_else(home)?.join("bench-harness"))
}

/// What a harness left that was killed.
fn remove_stale(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN));
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // It is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_removed_and_what_is_in_use_stays() {
        let base = std::env::temp_dir().join(format!("bench-work-{}", std::process::id()));
        let own = base.join(format!("{RUN}{}", std::process::id()));
        let stale = base.join(format!("{RUN}4194305"));
        let other = base.join("kafka-4.2.0");
        for folder in [&own, &stale, &other] {
            fs::create_dir_all(folder).expect("the temporary folder can be written");
        }
        remove_stale(&base);
        assert!(own.exists() && other.exists() && !stale.exists());
        fs::remove_dir_all(base).expect("it was made");
    }

    #[test]
    fn data_in_memory_is_refused() {
        let memory = Path::new("/dev/shm");
        if !file_system_of(memory).is_ok_and(|kind| kind == "tmpfs") {
            return;
        }
        let failure = Work::new(Some(memory)).err().expect("no disk").to_string();
        assert!(failure.contains("lies in memory (tmpfs)"), "{failure}");
        assert!(failure.contains("--work DIR"), "{failure}");
    }
}

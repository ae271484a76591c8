//! The files of the project.

use crate::lexer;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Source {
    /// From the root of the project, with '/' between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked; lines and columns are the same.
    pub(crate) code: String,
    /// As `code`, without the modules of unit tests.
    pub(crate) shipped: String,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = lexer::blank(&text);
        let shipped = if is_test(&path) {
            code.chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' })
                .collect()
        } else {
            lexer::without_tests(&code)
        };
        Self {
            path,
            text,
            code,
            shipped,
        }
    }
}

/// Whether the whole file is test code.
fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file.
pub(crate) fn rust() -> Vec<Source> {
    with_ending(".rs")
}

/// Every document.
pub(crate) fn markdown() -> Vec<Source> {
    with_ending(".md")
}

fn with_ending(ending: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    walk(&root(), ending, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(folder: &Path, ending: &str, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("a folder of the project is readable");
    for entry in entries {
        let entry = entry.expect("an entry of a folder is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            walk(&path, ending, sources);
        } else if name.ends_with(ending) {
            let text = fs::read_to_string(&path).expect("a source is readable text");
            let inside = path
                .strip_prefix(root())
                .expect("the walk began at the root");
            sources.push(Source::new(inside.to_string_lossy().into_owned(), text));
        }
    }
}

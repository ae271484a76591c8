//! Links in documents.

use crate::source::Source;
use std::path::{Path, PathBuf};

/// Links that lead to no file. `exists` is asked for paths from the root of the project.
pub(crate) fn dead(documents: &[Source], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for Source { path, text, .. } in documents {
        for target in targets(text) {
            let elsewhere = ["http://", "https://", "mailto:", "#"];
            if elsewhere.iter().any(|start| target.starts_with(start)) {
                continue;
            }
            let file = target.split('#').next().unwrap_or(target);
            let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
            if !normal(&folder.join(file)).is_some_and(|file| exists(&file)) {
                problems.push(format!("{path}: {target}"));
            }
        }
    }
    problems
}

/// What stands in the round brackets of `[text](target)`, outside of code.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let code = line[..at].matches('`').count() % 2 == 1;
            let rest = &line[at + 2..];
            if let (false, Some(end)) = (code, rest.find(')')) {
                found.push(&rest[..end]);
            }
        }
    }
    found
}

/// Without `.` and `..`; `None` above the root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path {
        match part.to_str() {
            Some(".") => {}
            Some("..") => {
                if !out.pop() {
                    return None;
                }
            }
            _ => out.push(part),
        }
    }
    Some(out)
}

#[test]
fn dead_links_are_found() {
    let exists = |path: &Path| path == Path::new("README.md") || path == Path::new("docs/a.md");
    let problems = |text: &str| dead(&crate::sample("docs/a.md", text), exists).len();
    assert_eq!(
        problems("[x](../README.md#part) [y](a.md) [z](https://example.org)"),
        0
    );
    assert_eq!(problems("[x](README.md)"), 1);
    assert_eq!(problems("[x](../../README.md)"), 1);
    assert_eq!(problems("`a[0](gone)`\n```\n[x](gone)\n```\n"), 0);
}

//! Who may know whom. Think hard before you widen this table: it is what keeps the house livable.

use crate::lexer::{line, words};
use crate::source::Source;

/// Where a file lies, and the modules it may name besides those of its own module: those of its
/// crate as `crate::module`, other crates as `name` or, for parts of one, `name::module`. The first
/// line that fits a file counts.
const TABLE: &[(&str, &[&str])] = &[
    // `net` is a module of the simulator here; cargo itself rules out the crate.
    ("reactor/src/", &["crate", "net"]),
    ("storage/src/", &["crate", "reactor::op", "reactor::buf"]),
    ("net/src/", &["crate", "reactor::op"]),
    // A stranger to the broker: only the floor runs our reactor, beside plain system calls.
    ("bench-harness/src/floor/", &["crate", "net", "reactor"]),
    ("bench-harness/src/", &["crate", "net"]),
    ("src/limits.rs", &[]),
    ("src/lib.rs", &["crate"]),
    ("src/main.rs", &["ringlog"]),
    (
        "src/cluster/",
        &[
            "crate::config",
            "crate::limits",
            "storage::types",
            "storage::batch",
            "reactor::op",
        ],
    ),
    (
        "src/config/",
        &[
            "crate::cluster",
            "crate::limits",
            "storage::types",
            "storage::batch",
        ],
    ),
    (
        "src/coordinator/",
        &[
            "crate::cluster",
            "crate::limits",
            "storage::types",
            "storage::batch",
            "reactor::op",
        ],
    ),
    (
        "src/partition/",
        &[
            "crate::cluster",
            "crate::config",
            "crate::limits",
            // What shards ask of partitions and are told: the words of `shard::mail`.
            "crate::shard",
            "storage",
            "reactor::op",
        ],
    ),
    (
        "src/api/",
        &[
            "crate::cluster",
            "crate::config",
            "crate::coordinator",
            "crate::limits",
            "crate::partition",
            "crate::shard",
            "net",
            "storage",
            "reactor::op",
        ],
    ),
    (
        "src/shard/",
        &[
            "crate::api",
            "crate::cluster",
            "crate::config",
            "crate::coordinator",
            "crate::limits",
            "crate::partition",
            "net",
            "storage",
            "reactor::op",
            "reactor::buf",
        ],
    ),
    ("src/control/", &["crate", "net", "storage", "reactor"]),
    ("src/cli/", &["crate", "net", "storage", "reactor"]),
];

const CRATES: [&str; 5] = ["crate", "reactor", "storage", "net", "ringlog"];

pub(crate) fn crossings(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for Source { path, shipped, .. } in sources {
        let inside = path.starts_with("src/") || path.split('/').nth(1) == Some("src");
        let row = TABLE.iter().find(|(place, _)| path.starts_with(place));
        let Some((place, allowed)) = row else {
            if inside {
                problems.push(format!("{path}: has no line in the table of layers"));
            }
            continue;
        };
        for (at, named) in named(shipped) {
            if !fits(&named, place, allowed) {
                let line = line(shipped, at);
                problems.push(format!("{path}:{line}: {named} is not for {place}"));
            }
        }
    }
    problems
}

fn fits(named: &str, place: &str, allowed: &[&str]) -> bool {
    let (root, _) = named.split_once("::").unwrap_or((named, ""));
    let own = place
        .strip_prefix("src/")
        .and_then(|rest| rest.strip_suffix('/'))
        .is_some_and(|module| named == format!("crate::{module}"));
    own || allowed.iter().any(|one| *one == named || *one == root)
}

/// Every `crate::module` and `other::module` that is named, groups in braces taken apart.
fn named(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in CRATES {
        for at in words(code, root) {
            let Some(rest) = code[at + root.len()..].strip_prefix("::") else {
                continue;
            };
            // `self::net::x` and `super::net::x` are modules of ours that have a crate's name.
            if code[..at].ends_with("::") {
                continue;
            }
            for module in heads(rest) {
                found.push((at, format!("{root}::{module}")));
            }
        }
    }
    found
}

/// The first names of a path's rest: one, or each of a group.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let part = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(part).collect()
    };
    if !rest.starts_with('{') {
        return vec![name(rest)];
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == '{' || c == ',') {
            heads.push(name(&rest[at + 1..]));
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn crossings_are_found() {
        let problems = |path: &str, text: &str| crossings(&sample(path, text)).len();
        assert_eq!(problems("storage/src/a.rs", "use net::wire::Str;"), 1);
        assert_eq!(
            problems("storage/src/a.rs", "use reactor::{op::Now, uring};"),
            1
        );
        assert_eq!(
            problems("storage/src/a.rs", "use reactor::{buf, op::{Now, Op}};"),
            0
        );
        assert_eq!(
            problems("net/src/a.rs", "let x = storage::types::Slot(1);"),
            1
        );
        assert_eq!(
            problems("src/cluster/a.rs", "use crate::{limits, shard::Shard};"),
            1
        );
        assert_eq!(
            problems("src/cluster/a.rs", "use crate::cluster::image::Image;"),
            0
        );
        assert_eq!(
            problems("src/coordinator/a.rs", "fn f(x: net::wire::Str) {}"),
            1
        );
        assert_eq!(
            problems("src/cluster/a.rs", "// net::wire\nuse super::net::X;"),
            0
        );
        assert_eq!(problems("src/newcomer/a.rs", ""), 1);
        assert_eq!(problems("tests/a.rs", "use ringlog::cli;"), 0);
    }
}

//! The rules of the house that a compiler does not check, read from the source itself.
//!
//! Each check is a function from sources to problems, so that its own test can hand it a source
//! that breaks the rule: a check that cannot fail checks nothing.

mod calls;
mod layers;
mod lexer;
mod links;
mod shape;
mod source;

use source::{Source, markdown, rust};

fn none(what: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{what}:\n{}\n", problems.join("\n"));
}

#[test]
fn the_walk_finds_the_house() {
    let paths: Vec<_> = rust().into_iter().map(|source| source.path).collect();
    for path in [
        "src/lib.rs",
        "reactor/src/op.rs",
        "storage/src/types.rs",
        "tests/tidy/main.rs",
    ] {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} was not read"
        );
    }
    assert!(!paths.iter().any(|path| path.starts_with("target")));
}

#[test]
fn files_lines_and_functions_are_short() {
    none("too long", shape::too_long(&rust()));
}

#[test]
fn names_say_what_things_are() {
    none("names", shape::names(&rust()));
}

#[test]
fn unsafe_stays_in_the_reactor_and_says_why() {
    none("unsafe", shape::unsafe_code(&rust()));
    none("forbid(unsafe_code)", shape::forbidden(&rust()));
}

#[test]
fn nothing_is_left_for_later() {
    none("unfinished", calls::unfinished(&rust()));
}

#[test]
fn pure_code_asks_no_one() {
    none("impure", calls::impure(&rust()));
}

#[test]
fn every_module_looks_only_downwards() {
    none("layers", layers::crossings(&rust()));
}

#[test]
fn links_of_documents_lead_somewhere() {
    let exists = |path: &std::path::Path| source::root().join(path).exists();
    none("links", links::dead(&markdown(), exists));
}

/// A source as if it lay at `path`.
fn sample(path: &str, text: &str) -> Vec<Source> {
    vec![Source::new(path.to_owned(), text.to_owned())]
}

//! `docs/protocol.md` says what the API table says. `RINGLOG_WRITE_DOCS=1` writes it anew.

use ringlog::api::support;

#[test]
fn the_support_table_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let page = support::page();
    if std::env::var_os("RINGLOG_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).expect("docs/protocol.md can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/protocol.md is out of date: RINGLOG_WRITE_DOCS=1 cargo test --test protocol"
    );
}

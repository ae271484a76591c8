//! `docs/settings.md` says what the registry says. `UPDATE=1 cargo test --test settings_table`
//! writes it anew.

use ringlog::config::{Scope, Setting, registry};
use std::fmt::Write;
use std::path::Path;

fn rows(out: &mut String, settings: impl Iterator<Item = &'static Setting>, of_topics: bool) {
    for setting in settings.filter(|setting| setting.acts()) {
        let default = match setting.default {
            None => String::new(),
            Some("") => "(empty)".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let change = match setting.scope {
            Scope::ClusterWide => "yes",
            Scope::ReadOnly | Scope::PerBroker => "no",
        };
        let (name, doc) = (setting.name, setting.documentation());
        let change = if of_topics {
            String::new()
        } else {
            format!(" {change} |")
        };
        writeln!(out, "| `{name}` | {default} |{change} {doc} |").expect("writing to a string");
    }
}

fn page() -> String {
    let mut out = String::from(
        "# Settings\n\nThe settings that have an effect. Every other setting of Apache Kafka 4.2 \
         is accepted and listed\nby DescribeConfigs, and does nothing here; \
         [0009](decisions/0009-settings.md) says why.\n\n## Of topics\n\nTheir defaults are the \
         broker's settings below, mostly under the same name with `log.` before it.\n\n\
         | name | default | what it does |\n|---|---|---|\n",
    );
    rows(&mut out, registry::topic_settings(), true);
    out.push_str("\n## Of the broker\n\n| name | default | while running | what it does |\n");
    out.push_str("|---|---|---|---|\n");
    rows(&mut out, registry::broker_settings(), false);
    out
}

#[test]
fn the_document_is_the_registry() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page()).expect("the document can be written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/settings.md is there");
    assert!(
        written == page(),
        "docs/settings.md is old: UPDATE=1 cargo test --test settings_table"
    );
}

//! `ringlog config`

use super::failure::{Failure, Outcome};
use super::json::Json;
use super::output;
use super::serve;
use super::table::Table;
use crate::cluster::image::Image;
use crate::config::file::Loaded;
use crate::config::{Described, Layers, Source, describe, registry};
use clap::Subcommand;
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check settings without starting anything.
    Check(serve::Arguments),
    /// Show the settings that the broker would start with.
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    sources: serve::Arguments,
    /// Only these settings.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Defaults, too, and not only what was given.
    #[arg(long, short)]
    all: bool,
    /// What each setting does.
    #[arg(long, short)]
    docs: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Check(sources) => check(sources),
        Command::Show(arguments) => show(arguments),
    }
}

fn load(sources: &serve::Arguments) -> Outcome<Loaded> {
    sources
        .load()
        .map_err(|problems| Failure::new(problems.join("\n")))
}

fn check(sources: &serve::Arguments) -> Outcome {
    let loaded = load(sources)?;
    for warning in &loaded.warnings {
        eprintln!("ringlog: warning: {warning}");
    }
    let count = loaded.fixed.iter().count();
    output::line(&format!(
        "the settings are fine: {count} given, the others have their defaults"
    ))
}

fn show(arguments: &Show) -> Outcome {
    let loaded = load(&arguments.sources)?;
    let is_known =
        |name: &&String| registry::of_broker(name).is_some() || loaded.fixed.get(name).is_some();
    if let Some(unknown) = arguments.names.iter().find(|name| !is_known(name)) {
        let failure = Failure::new(format!("there is no setting named {unknown}"));
        return Err(match registry::nearest(unknown) {
            Some(near) => failure.advise(format!("did you mean {near}?")),
            None => failure.advise("ringlog config show --all lists them"),
        });
    }
    let image = Image::default();
    let layers = Layers::new(&loaded.fixed, &image);
    let names = (!arguments.names.is_empty()).then_some(arguments.names.as_slice());
    let mut settings = describe::broker(layers, names);
    let is_wanted =
        |setting: &Described| arguments.all || names.is_some() || setting.source != Source::Default;
    settings.retain(is_wanted);
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = output::open();
    let mut table = Table::new(&["name", "value", "from"]);
    for setting in &settings {
        if arguments.json {
            writeln!(out, "{}", to_json(setting))?;
        } else if arguments.docs {
            writeln!(
                out,
                "{} = {} ({})",
                setting.name,
                value(setting),
                origin(setting.source)
            )?;
            writeln!(out, "    {}", setting.doc)?;
        } else {
            table.row([
                setting.name.clone(),
                value(setting),
                origin(setting.source).to_owned(),
            ]);
        }
    }
    if !arguments.json && !arguments.docs {
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn value(setting: &Described) -> String {
    match &setting.value {
        Some(value) => value.clone(),
        None if setting.sensitive => "(hidden)".to_owned(),
        None => "(none)".to_owned(),
    }
}

const fn origin(source: Source) -> &'static str {
    match source {
        Source::Static => "given",
        Source::Default => "default",
        Source::Topic | Source::Broker | Source::BrokerDefault => "dynamic",
    }
}

fn to_json(setting: &Described) -> Json {
    let value = setting.value.as_deref();
    Json::Object(vec![
        ("name", Json::text(&setting.name)),
        ("value", value.map_or(Json::Null, Json::text)),
        ("from", Json::text(origin(setting.source))),
        ("read_only", Json::Bool(setting.read_only)),
        ("doc", Json::text(setting.doc)),
    ])
}

//! Starts ringlog.

use super::child::Child;
use super::launch::launched;
use super::work::Work;
use super::{Running, Site, free_port, output_of};
use crate::failure::{Failure, Outcome};
use crate::model::{Broker, Durability};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const START_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn start(
    name: &str,
    program: Option<&Path>,
    settings: &[(String, String)],
    site: &Site<'_>,
) -> Outcome<Running> {
    let program = match program.or(site.ringlog) {
        Some(path) => path.to_owned(),
        None => beside_us()?,
    };
    if !program.exists() {
        return Err(absent(&program));
    }
    let version = output_of(&program, &["--version"]).map_err(|why| {
        Failure::new(format!("{} is not ringlog: {why}", program.display()))
            .advise("name its program with --ringlog PATH")
    })?;
    let work: &Work = site.work;
    let data = work.folder(name)?;
    let port = free_port()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut arguments: Vec<String> = vec!["serve".to_owned(), "--data-dir".to_owned()];
    arguments.push(data.to_string_lossy().into_owned());
    arguments.extend(["--listen".to_owned(), address.to_string()]);
    for (key, value) in settings {
        if key == "shards" {
            arguments.extend(["--shards".to_owned(), value.clone()]);
        } else {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
    }
    let mut command = launched(&program, site.cores)?;
    command.args(&arguments);
    let mut child = Child::start(name, command, &work.run().join(format!("{name}.log")))?;
    child.wait_for(address, START_PATIENCE)?;
    Ok(Running {
        broker: Broker {
            name: name.to_owned(),
            version,
            address: address.to_string(),
            started: shown(&arguments, settings),
            durability: Durability {
                meaning: "not known".to_owned(),
                evidence: "not asked yet".to_owned(),
            },
            warmed: "not needed: compiled ahead of time".to_owned(),
        },
        pid: Some(child.pid()),
        data: Some(data),
        warms: false,
        child: Some(child),
    })
}

/// Without folders and ports, which say nothing to others.
fn shown(arguments: &[String], settings: &[(String, String)]) -> String {
    let mut text = format!("ringlog {}", arguments[0]);
    for (key, value) in settings {
        text += &match &**key {
            "shards" => format!(" --shards {value}"),
            _ => format!(" --set {key}={value}"),
        };
    }
    text
}

fn beside_us() -> Outcome<PathBuf> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find our own program: {error}")))?;
    let path = own.with_file_name("ringlog");
    if path.exists() {
        Ok(path)
    } else {
        Err(absent(&path))
    }
}

fn absent(path: &Path) -> Failure {
    Failure::new(format!("there is no ringlog at {}", path.display()))
        .advise("build it with `cargo build --release`, or name its program with --ringlog PATH")
}

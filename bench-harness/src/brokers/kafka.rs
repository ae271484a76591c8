//! Starts Apache Kafka from its Maven artifacts, as its own start script would.

use super::child::Child;
use super::launch::launched;
use super::work::Work;
use super::{Running, Site, free_port, output_of};
use crate::failure::{Failure, Outcome};
use crate::model::{Broker, Durability};
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const VERSION: &str = "4.2.0";
const POM: &str = include_str!("kafka-pom.xml");
const START_PATIENCE: Duration = Duration::from_secs(180);
const JAVA_MIN: u32 = 17;
/// Heap and collector that Kafka's own scripts choose.
const JAVA_OPTIONS: [&str; 7] = [
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];
/// Of a single node; everything else is as Kafka has it.
const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
";

pub(super) fn start(
    name: &str,
    settings: &[(String, String)],
    site: &Site<'_>,
) -> Outcome<Running> {
    let java = java()?;
    let work: &Work = site.work;
    let jars = jars(work)?;
    let folder = work.folder(name)?;
    let (port, controller) = (free_port()?, free_port()?);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = folder.join("server.properties");
    let mut text = SETTINGS.to_owned();
    text += &format!(
        "controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://{address}\nlog.dirs={}\n",
        folder.join("log").display()
    );
    for (key, value) in settings {
        text += &format!("{key}={value}\n");
    }
    fs::write(&file, text)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    let class_path = jars.join("*").into_os_string();
    format_storage(&class_path, &file, site)?;
    let mut command = launched(Path::new("java"), site.cores)?;
    command.args(JAVA_OPTIONS).arg("-cp").arg(&class_path);
    command.arg("kafka.Kafka").arg(&file);
    let mut child = Child::start(name, command, &work.run().join(format!("{name}.log")))?;
    child.wait_for(address, START_PATIENCE)?;
    let settings = settings
        .iter()
        .map(|(key, value)| format!(", {key}={value}"));
    Ok(Running {
        broker: Broker {
            name: name.to_owned(),
            version: format!("Apache Kafka {VERSION} on Java {java}"),
            address: address.to_string(),
            started: format!(
                "java {} kafka.Kafka, one node in KRaft mode{}",
                JAVA_OPTIONS.join(" "),
                settings.collect::<String>()
            ),
            durability: Durability {
                meaning: "not known".to_owned(),
                evidence: "not asked yet".to_owned(),
            },
            warmed: "no".to_owned(),
        },
        pid: Some(child.pid()),
        data: Some(folder),
        warms: true,
        child: Some(child),
    })
}

/// The version of Java, if it is new enough.
fn java() -> Outcome<String> {
    let needed = |what: String| {
        Failure::new(what).advise(format!(
            "install Java {JAVA_MIN} or newer, on Debian and Ubuntu: \
             apt-get install openjdk-17-jre-headless"
        ))
    };
    let text = output_of(Path::new("java"), &["-version"]).map_err(|why| {
        needed(format!(
            "Apache Kafka needs Java, and java does not run: {why}"
        ))
    })?;
    let version = java_version(&text);
    let version =
        version.ok_or_else(|| needed(format!("java does not tell its version: {text}")))?;
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    match major {
        Some(JAVA_MIN..) => Ok(version.to_owned()),
        _ => Err(needed(format!(
            "Apache Kafka {VERSION} needs Java {JAVA_MIN}, and java is {version}"
        ))),
    }
}

/// Between quotation marks, in whatever language the rest is.
fn java_version(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// The folder of the jars, fetched the first time.
fn jars(work: &Work) -> Outcome<PathBuf> {
    let folder = work.cache().join(format!("kafka-{VERSION}"));
    let complete = folder.join(".complete");
    if complete.exists() {
        return Ok(folder);
    }
    output_of(Path::new("mvn"), &["-version"]).map_err(|why| {
        Failure::new(format!(
            "Apache Kafka is fetched by Maven, and mvn does not run: {why}"
        ))
        .advise("install it, on Debian and Ubuntu: apt-get install maven")
    })?;
    eprintln!("fetching Apache Kafka {VERSION} by Maven: once, about 90 jars");
    let failed = |error| {
        Failure::new(format!(
            "cannot keep Kafka in {}: {error}",
            folder.display()
        ))
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM).map_err(failed)?;
    let mut target = OsString::from("-DoutputDirectory=");
    target.push(&folder);
    let mut command = Command::new("mvn");
    command
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies");
    command.arg("-DincludeScope=runtime").arg(target);
    Child::start("mvn", command, &work.run().join("mvn.log"))?.finish()?;
    fs::write(complete, "").map_err(failed)?;
    Ok(folder)
}

/// Gives the empty folder a cluster id.
fn format_storage(class_path: &OsString, file: &Path, site: &Site<'_>) -> Outcome<()> {
    let tool = || {
        let mut command = Command::new("java");
        command
            .arg("-cp")
            .arg(class_path)
            .arg("kafka.tools.StorageTool");
        command
    };
    let mut command = tool();
    // Any 16 bytes do, in the alphabet of Kafka's ids.
    command
        .args(["format", "-t", "YmVuY2gtaGFybmVzcy0xMg", "-c"])
        .arg(file);
    let log = site.work.run().join("kafka-format.log");
    Child::start("Kafka's storage tool", command, &log)?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_stands_between_quotation_marks() {
        let text = "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment\n";
        assert_eq!(java_version(text), Some("17.0.15"));
        assert_eq!(java_version("java: command not found"), None);
    }

    #[test]
    fn the_pom_is_well_formed_and_names_this_version() {
        let pom = roxmltree::Document::parse(POM).expect("it is XML");
        let versions = pom.descendants().filter(|node| {
            node.has_tag_name(("http://maven.apache.org/POM/4.0.0", "version"))
                && node.text() == Some(VERSION)
        });
        assert_eq!(versions.count(), 2);
    }
}

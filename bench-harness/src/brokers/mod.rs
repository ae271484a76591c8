//! The brokers that are measured: started here and ended with us, or running already.

mod ask;
mod child;
mod durability;
mod interrupt;
mod kafka;
mod launch;
mod ours;
mod spec;
mod work;

pub(crate) use ask::ask;
pub(crate) use durability::judge;
pub(crate) use launch::{LaunchOptions, command as launch};
pub(crate) use spec::{Kind, Spec, specs};
pub(crate) use work::Work;

use crate::failure::{Failure, Outcome};
use crate::kernel;
use crate::model::{Broker, Durability};
use child::Child;
use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What brokers get that are started here.
pub(crate) struct Site<'a> {
    pub(crate) work: &'a Work,
    pub(crate) cores: &'a [usize],
    /// The program of ringlog, where it is not the one beside us.
    pub(crate) ringlog: Option<&'a Path>,
}

/// A broker that can be measured now. Ends with this value if it was started here.
pub(crate) struct Running {
    pub(crate) broker: Broker,
    /// Its process, if that is on this machine.
    pub(crate) pid: Option<u32>,
    /// Where it keeps its data, if that is known.
    pub(crate) data: Option<PathBuf>,
    /// Gets faster while it runs, because it is compiled meanwhile.
    pub(crate) warms: bool,
    child: Option<Child>,
}

impl Running {
    /// Fails if a process that was started here has ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        let ended = self.child.as_mut().and_then(Child::ended);
        match ended {
            None => Ok(()),
            Some(status) => Err(Failure::new(format!(
                "{} has ended by itself ({status}) while it was measured",
                self.broker.name
            ))),
        }
    }

    pub(crate) fn stop(mut self) {
        if let Some(child) = self.child.take() {
            child.stop();
        }
    }
}

pub(crate) fn start(spec: &Spec, site: &Site<'_>) -> Outcome<Running> {
    match &spec.kind {
        Kind::Ringlog { program, settings } => {
            ours::start(&spec.name, program.as_deref(), settings, site)
        }
        Kind::Kafka { settings } => kafka::start(&spec.name, settings, site),
        Kind::Address { address, pid } => at_address(&spec.name, address, *pid),
    }
}

/// Its cost is known if its process is on this machine, named or found by its port.
pub(crate) fn at_address(name: &str, address: &str, pid: Option<u32>) -> Outcome<Running> {
    let resolved = address
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next());
    let resolved = resolved.ok_or_else(|| {
        Failure::new(format!(
            "{address} of {name} is no address that can be resolved"
        ))
    })?;
    let own = || TcpListener::bind((resolved.ip(), 0)).is_ok();
    let pid = match pid {
        Some(pid) if kernel::glance(pid).is_err() => {
            return Err(Failure::new(format!(
                "there is no process {pid} to be {name}"
            )));
        }
        Some(pid) => Some(pid),
        // An address that can be bound is one of this machine.
        None => own()
            .then(|| kernel::listener_on(resolved.port()))
            .flatten(),
    };
    Ok(Running {
        broker: Broker {
            name: name.to_owned(),
            version: "not known".to_owned(),
            address: address.to_owned(),
            started: match pid {
                Some(_) => "already running, on this machine".to_owned(),
                None => {
                    "already running; no process was found to listen there, name it with pid=PID"
                        .to_owned()
                }
            },
            durability: Durability {
                meaning: "not known".to_owned(),
                evidence: "not asked yet".to_owned(),
            },
            warmed: "not known: it ran before".to_owned(),
        },
        pid,
        data: None,
        warms: false,
        child: None,
    })
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = listener.and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(|error| Failure::new(format!("no port of the loopback is free: {error}")))
}

/// What a program says, on either output; why not, if it fails.
fn output_of(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both).trim().to_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{}: {text}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_of_this_machine_is_found_by_its_port_and_others_are_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let running = at_address("here", &address, None).expect("an address");
        assert_eq!(running.pid, Some(std::process::id()));
        let away = at_address("away", "192.0.2.1:9092", None).expect("an address");
        assert_eq!(away.pid, None);
        assert!(away.broker.started.contains("no process was found"));
        assert!(at_address("gone", &address, Some(4_194_305)).is_err());
    }

    #[test]
    fn programs_that_are_absent_or_fail_say_why() {
        let absent = output_of(Path::new("/nonexistent/java"), &["-version"]);
        assert!(
            absent
                .expect_err("no such program")
                .contains("No such file")
        );
        let failing = output_of(Path::new("sh"), &["-c", "echo no room >&2; exit 4"]);
        assert!(failing.expect_err("it fails").contains("no room"));
    }
}

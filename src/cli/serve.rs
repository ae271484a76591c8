//! `ringlog serve`: the broker itself; also what `ringlog` without a command does.

use std::fmt::Display;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cluster::image::Image;
use crate::config::Static;
use crate::config::file::{Loaded, Loader, Syntax};
use crate::config::listeners::{self, Bind, Listener};
use crate::config::properties;
use crate::config::settings::BrokerSettings;
use crate::control::{self, Ended, log};
use crate::limits::SHARDS_MAX;
use crate::shard::Level;
use crate::shard::endpoints::{Endpoint, ShardPorts};
use crate::shard::settings::ShardSettings;

/// Where settings come from.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "serve")]
pub struct Arguments {
    /// Settings file: TOML, or Kafka's own server.properties by its ending.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the data lies (the setting log.dirs).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen (the setting listeners).
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    listen: Option<String>,
    /// What clients are told to connect to (the setting advertised.listeners).
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<String>,
    /// Number of shards; one per core that this process may use if not given.
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    shards: Option<u16>,
    /// A setting by its Kafka name; may be given any number of times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Arguments {
    /// The settings of all sources together, the command line strongest.
    ///
    /// # Errors
    /// Everything that is wrong with them, one line each.
    pub fn load(&self) -> Result<Loaded, Vec<String>> {
        let mut loader = Loader::new();
        if let Some(path) = &self.config {
            let name = path.display().to_string();
            let wrong = |why: &dyn Display| vec![format!("cannot read {name}: {why}")];
            let bytes = fs::read(path).map_err(|error| wrong(&error))?;
            let syntax = syntax(path);
            let text = match syntax {
                Syntax::Toml => String::from_utf8(bytes)
                    .map_err(|error| wrong(&format_args!("TOML must be UTF-8: {error}")))?,
                Syntax::Properties => properties::decode(bytes),
            };
            loader = loader.file(&name, &text, syntax);
        }
        if let Some(dir) = &self.data_dir {
            loader = loader.option("--data-dir", "log.dirs", &dir.display().to_string());
        }
        let listeners = [
            ("--listen", "listeners", &self.listen),
            ("--advertise", "advertised.listeners", &self.advertise),
        ];
        for (option, name, given) in listeners {
            if let Some(at) = given {
                loader = loader.option(option, name, &format!("PLAINTEXT://{at}"));
            }
        }
        if let Some(shards) = self.shards {
            loader = loader.option("--shards", "shards", &shards.to_string());
        }
        self.set
            .iter()
            .fold(loader, |loader, one| loader.assignment(one))
            .finish()
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) => Err("the port is a number up to 65535".to_owned()),
        None => Err("a host and a port are needed, such as localhost:9092".to_owned()),
    }
}

fn syntax(path: &Path) -> Syntax {
    match path.extension() {
        Some(ending) if ending == "properties" => Syntax::Properties,
        _ => Syntax::Toml,
    }
}

/// Runs the broker until it is told to stop.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let settings = arguments.load().and_then(|loaded| {
        loaded
            .warnings
            .iter()
            .for_each(|warning| log(Level::Warning, warning));
        settings(loaded.fixed).map_err(|problem| vec![problem])
    });
    match settings {
        Ok(settings) => serve(settings),
        Err(problems) => {
            problems
                .iter()
                .for_each(|problem| log(Level::Error, problem));
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: ShardSettings) -> ExitCode {
    let arena_bytes = usize::try_from(settings.broker.arena_bytes).unwrap_or(usize::MAX);
    match control::run(settings, arena_bytes) {
        Ok(Ended::Cleanly) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Err(error) => {
            log(Level::Error, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn settings(fixed: Static) -> Result<ShardSettings, String> {
    let broker = BrokerSettings::resolve(&fixed, &Image::default());
    let (mut listen, mut advertise, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for listener in listeners::resolve(&fixed)? {
        let addresses = addresses(&listener)?;
        addresses.iter().try_for_each(can_be_had)?;
        if let (Some(told), Some(first)) = (&listener.advertised, addresses.first()) {
            // A port left to the system is known only now.
            let port = if told.port == 0 {
                first.port()
            } else {
                told.port
            };
            let endpoint = Endpoint {
                host: told.host.as_str().into(),
                port: i32::from(port),
            };
            let each = addresses.iter();
            advertise.extend(each.map(|address| (*address, endpoint.clone())));
        }
        if first.is_empty() {
            first.clone_from(&addresses);
        }
        listen.extend(addresses);
    }
    let shards = shards(&broker)?;
    let shard_ports = shard_ports(&broker, shards, first, &listen)?;
    if let Some(why) = shard_ports.as_ref().and_then(|_| {
        let node = fixed.get("node.id").and_then(|id| id.parse().ok());
        ShardPorts::refuses(node.unwrap_or(0))
    }) {
        return Err(why);
    }
    for dir in &broker.log_dirs {
        fs::create_dir_all(dir).map_err(|error| {
            format!("cannot make the data directory {dir}: {error}. Choose one with --data-dir.")
        })?;
    }
    // The standard library's hasher keys are randomness enough: no secret is made of them.
    let seed = RandomState::new().hash_one(std::process::id());
    Ok(ShardSettings {
        shards,
        seed,
        fixed,
        listen,
        advertise,
        shard_ports,
        synced_writes: broker.synced_writes.unwrap_or_else(|| {
            let mut dirs = broker.log_dirs.iter();
            dirs.all(|dir| reactor::probe::synced_writes_pay(Path::new(dir)))
        }),
        broker,
    })
}

/// How many shards there are.
fn shards(broker: &BrokerSettings) -> Result<u16, String> {
    let shards = match broker.shards {
        0 => u16::try_from(reactor::cores::available_cores().len())
            .unwrap_or(1)
            .max(1),
        shards => shards,
    };
    if shards > SHARDS_MAX {
        return Err(format!(
            "shards: {shards} are more than the most there may be, {SHARDS_MAX}"
        ));
    }
    Ok(shards)
}

/// The ports of the shards beside the first listener, if they are to have some.
fn shard_ports(
    broker: &BrokerSettings,
    shards: u16,
    first: Vec<SocketAddr>,
    taken: &[SocketAddr],
) -> Result<Option<ShardPorts>, String> {
    if broker.shard_port == 0 {
        return Ok(None);
    }
    let ports = ShardPorts::new(broker.shard_port, shards, first, taken)?;
    (0..shards)
        .flat_map(|shard| ports.of(shard))
        .try_for_each(|at| can_be_had(&at))?;
    Ok(Some(ports))
}

/// The addresses of a listener, with a free port where the system is to choose it.
fn addresses(listener: &Listener) -> Result<Vec<SocketAddr>, String> {
    let mut addresses: Vec<SocketAddr> = match &listener.bind {
        Bind::Addresses(ips) => ips
            .iter()
            .map(|ip| SocketAddr::new(*ip, listener.port))
            .collect(),
        Bind::Name(name) => (name.as_str(), listener.port)
            .to_socket_addrs()
            .map_err(|error| format!("listeners: the host {name} cannot be found: {error}"))?
            .collect(),
    };
    addresses.sort_unstable();
    addresses.dedup();
    addresses.retain(|address| !address.is_ipv6() || has_ipv6());
    if addresses.is_empty() {
        return Err(format!(
            "listeners: {} has no address on this machine",
            listener.name
        ));
    }
    if listener.port == 0 {
        let port = free_port(addresses[0])
            .map_err(|error| format!("listeners: no free port on {}: {error}", addresses[0]))?;
        addresses
            .iter_mut()
            .for_each(|address| address.set_port(port));
    }
    Ok(addresses)
}

/// Told before anything is touched. A port in use is not: a broker that was killed a moment ago may
/// still hold it, and the shards wait for that.
fn can_be_had(address: &SocketAddr) -> Result<(), String> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let advice = match error.kind() {
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one that it has with --listen, and name \
             others that lead to it with --advertise"
        }
        ErrorKind::PermissionDenied => "this user may not use that port: choose one above 1023",
        _ => return Ok(()),
    };
    Err(format!("cannot listen on {address}: {error}; {advice}"))
}

fn free_port(address: SocketAddr) -> std::io::Result<u16> {
    Ok(TcpListener::bind(address)?.local_addr()?.port())
}

/// A machine may be without IPv6; a default that names both families still works there.
fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

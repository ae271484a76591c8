//! `listeners` and `advertised.listeners`: where the broker listens and what it tells clients.

use super::layers::{Layers, Static};
use super::value::items;
use crate::cluster::image::Image;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and a port, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Addresses(Vec<IpAddr>),
    /// A name that the shell has to look up.
    Name(String),
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// As in `NAME://host:port`, in upper case.
    pub name: String,
    pub bind: Bind,
    /// 0: any free port.
    pub port: u16,
    /// `None`: clients are told the address that they reached.
    pub advertised: Option<HostPort>,
}

/// The listeners that are in force.
///
/// # Errors
/// What is wrong with which setting: a message for the person who wrote it.
pub fn resolve(fixed: &Static) -> Result<Vec<Listener>, String> {
    let image = Image::default();
    let layers = Layers::new(fixed, &image);
    let text = |name| layers.broker(name).unwrap_or("");
    let controllers = items(text("controller.listener.names"));
    let is_controller = |name: &str| controllers.iter().any(|c| c.eq_ignore_ascii_case(name));
    let protocols = protocols(text("listener.security.protocol.map"))?;
    let mut listeners: Vec<Listener> = Vec::new();
    for item in items(text("listeners")) {
        let (name, host, port) = parse("listeners", item)?;
        if is_controller(&name) {
            continue;
        }
        check_protocol(&protocols, &name)?;
        let bind = bind(&host);
        check_unique(&listeners, &name, &bind, port)?;
        listeners.push(Listener {
            bind,
            advertised: (!is_any(&host)).then_some(HostPort { host, port }),
            name,
            port,
        });
    }
    if listeners.is_empty() {
        return Err("listeners: there must be one at least that clients can use".to_owned());
    }
    for item in items(text("advertised.listeners")) {
        let (name, host, port) = parse("advertised.listeners", item)?;
        if is_controller(&name) {
            continue;
        }
        if is_any(&host) {
            return Err(format!(
                "advertised.listeners: {item} names no host that a client could connect to"
            ));
        }
        let Some(listener) = listeners.iter_mut().find(|listener| listener.name == name) else {
            return Err(format!(
                "advertised.listeners: {name} is not one of the listeners"
            ));
        };
        listener.advertised = Some(HostPort { host, port });
    }
    Ok(listeners)
}

/// Two listeners never share a name, nor a port unless the system chooses it, or one has an IPv4
/// address and the other an IPv6 address (KIP-797).
fn check_unique(listeners: &[Listener], name: &str, to: &Bind, port: u16) -> Result<(), String> {
    if listeners.iter().any(|other| other.name == name) {
        return Err(format!("listeners: the name {name} is used twice"));
    }
    let mut others = listeners
        .iter()
        .filter(|other| port != 0 && other.port == port);
    match (others.next(), others.next()) {
        (None, _) => Ok(()),
        (Some(other), None) if are_of_two_families(&other.bind, to) => Ok(()),
        _ => Err(format!(
            "listeners: the port {port} is used twice; only one IPv4 address and one IPv6 address \
             may share a port"
        )),
    }
}

fn are_of_two_families(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Addresses(one), Bind::Addresses(other)) => match (&one[..], &other[..]) {
            ([one], [other]) => one.is_ipv4() != other.is_ipv4(),
            _ => false,
        },
        _ => false,
    }
}

/// Takes `NAME://host:port` apart; the host of an IPv6 address comes without its brackets.
fn parse(setting: &str, item: &str) -> Result<(String, String, u16), String> {
    let wrong = || format!("{setting}: {item} is not of the form NAME://host:port");
    let (name, rest) = item.split_once("://").ok_or_else(wrong)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(wrong());
    }
    match bracketed {
        Some(address) if address.parse::<Ipv6Addr>().is_err() => return Err(wrong()),
        None if !host.chars().all(is_name) => return Err(wrong()),
        _ => {}
    }
    let port = port.parse().map_err(|_| wrong())?;
    let host = bracketed.unwrap_or(host).to_owned();
    Ok((name.to_ascii_uppercase(), host, port))
}

fn is_any(host: &str) -> bool {
    let any = host
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified());
    host.is_empty() || any
}

fn bind(host: &str) -> Bind {
    let (v4, v6) = (IpAddr::V4, IpAddr::V6);
    match host {
        "" => Bind::Addresses(vec![v4(Ipv4Addr::UNSPECIFIED), v6(Ipv6Addr::UNSPECIFIED)]),
        "localhost" => Bind::Addresses(vec![v4(Ipv4Addr::LOCALHOST), v6(Ipv6Addr::LOCALHOST)]),
        host => match host.parse() {
            Ok(address) => Bind::Addresses(vec![address]),
            Err(_) => Bind::Name(host.to_owned()),
        },
    }
}

/// `NAME:PROTOCOL` pairs.
pub(super) fn protocols(map: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |item: &str| {
        let pair = item.split_once(':');
        let pair = pair.map(|(name, protocol)| {
            let upper = |text: &str| text.trim().to_ascii_uppercase();
            (upper(name), upper(protocol))
        });
        pair.ok_or_else(|| {
            format!("listener.security.protocol.map: {item} is not of the form NAME:PROTOCOL")
        })
    };
    items(map).into_iter().map(pair).collect()
}

fn check_protocol(protocols: &[(String, String)], name: &str) -> Result<(), String> {
    let found = protocols.iter().find(|(listener, _)| listener == name);
    // A name that the map does not have is its own protocol, as in the map's default.
    let protocol = found.map_or(name, |(_, protocol)| protocol);
    match protocol {
        "PLAINTEXT" => Ok(()),
        "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => Err(format!(
            "listeners: {name} needs {protocol}, which is not built yet; without it everyone who \
             reaches the port could read and write. Use PLAINTEXT on an address that only trusted \
             clients reach"
        )),
        _ => Err(format!(
            "listeners: no protocol is known for {name}; name it in listener.security.protocol.map"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<Listener>, String> {
        let mut fixed = Static::default();
        for (name, value) in pairs {
            fixed.set(name, value).unwrap();
        }
        resolve(&fixed)
    }

    #[test]
    fn the_default_is_loopback_on_both_families() {
        let listeners = of(&[]).unwrap();
        let loopback = vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        assert_eq!(listeners.len(), 1);
        assert_eq!(
            (&*listeners[0].name, listeners[0].port),
            ("PLAINTEXT", 9092)
        );
        assert_eq!(listeners[0].bind, Bind::Addresses(loopback));
    }

    #[test]
    fn kafkas_own_file_is_understood() {
        let listeners = of(&[
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            (
                "advertised.listeners",
                "PLAINTEXT://h:9092,CONTROLLER://h:9093",
            ),
            ("controller.listener.names", "CONTROLLER"),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL",
            ),
        ]);
        let listeners = listeners.unwrap();
        assert_eq!(listeners.len(), 1);
        let advertised = listeners[0].advertised.as_ref().map(HostPort::to_string);
        assert_eq!(advertised.as_deref(), Some("h:9092"));
    }

    #[test]
    fn wildcards_are_never_advertised() {
        for any in [
            "PLAINTEXT://:1",
            "PLAINTEXT://0.0.0.0:1",
            "PLAINTEXT://[::]:1",
        ] {
            assert_eq!(of(&[("listeners", any)]).unwrap()[0].advertised, None);
            let pairs = [
                ("listeners", "PLAINTEXT://:1"),
                ("advertised.listeners", any),
            ];
            assert!(of(&pairs).is_err());
        }
        let v6 = of(&[("listeners", "PLAINTEXT://[::1]:1")]).unwrap();
        assert_eq!(
            v6[0].advertised.as_ref().map(|h| h.host.as_str()),
            Some("::1")
        );
    }

    #[test]
    fn an_ipv4_and_an_ipv6_address_may_share_a_port() {
        let map = ("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT");
        let with = |listeners| of(&[("listeners", listeners), map]);
        let both = with("A://127.0.0.1:9092,B://[::1]:9092").unwrap();
        assert_eq!((both[0].port, both[1].port), (9092, 9092));
        for refused in [
            "A://127.0.0.1:1,B://127.0.0.2:1",
            "A://[::1]:1,B://[::2]:1",
            "A://h:1,B://[::1]:1",
            "A://127.0.0.1:1,B://:1",
            "A://127.0.0.1:1,B://localhost:1",
            "A://127.0.0.1:1,B://[::1]:1,PLAINTEXT://127.0.0.2:1",
        ] {
            assert!(with(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_would_be_open_or_senseless_is_refused() {
        let secret = ("listener.security.protocol.map", "A:SASL_SSL,B:PLAINTEXT");
        for pairs in [
            &[("listeners", "SSL://:1")][..],
            &[("listeners", "SASL_PLAINTEXT://:1")],
            &[("listeners", "A://:1"), secret],
            &[("listeners", "UNKNOWN://:1")],
            &[("listeners", "localhost:9092")],
            &[("listeners", "PLAINTEXT://h:99999")],
            &[("listeners", "PLAINTEXT://h:1,PLAINTEXT://h:2")],
            &[("listeners", "B://h:1,PLAINTEXT://h:1"), secret],
            &[
                ("listeners", "CONTROLLER://h:1"),
                ("controller.listener.names", "CONTROLLER"),
            ],
            &[("advertised.listeners", "OTHER://h:1")],
        ] {
            assert!(of(pairs).is_err(), "{pairs:?}");
        }
        assert!(of(&[("listeners", "B://h:1"), secret]).is_ok());
    }
}

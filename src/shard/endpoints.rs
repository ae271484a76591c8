//! What clients are told to connect to: the node as one broker, or each shard as one of its own.
//!
//! With ports of their own (`shard.listener.port`) the shards look like brokers, and clients send
//! each request to the one that owns what it names. That is advice and no duty: every endpoint
//! serves everything, and nobody is ever sent away.

use std::net::SocketAddr;
use std::ops::Range;

use net::wire::Str;

use crate::limits::{NODE_ID_WITH_SHARDS_MAX, SHARDS_MAX};

/// From one shard's broker id to the next one's. Shard 0 has the node's own number, which is below
/// it: so no two shards of a cluster share an id, and people can read shard and node from it.
const ID_STEP: i32 = NODE_ID_WITH_SHARDS_MAX + 1;

const _: () = assert!((SHARDS_MAX as i32) < i32::MAX / ID_STEP);

/// Where clients are told to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Str,
    pub port: i32,
}

/// The ports of the shards, one after the other, beside those of the first listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPorts {
    /// The addresses of the first listener; all have its port.
    listener: Vec<SocketAddr>,
    /// The port of shard 0.
    first: u16,
    shards: u16,
}

impl ShardPorts {
    /// Ports from `first` on for the hosts of `listener`, the first of the listeners.
    ///
    /// # Errors
    /// There are not so many ports, or one of `taken` lies among them: a message for people.
    pub fn new(
        first: u16,
        shards: u16,
        listener: Vec<SocketAddr>,
        taken: &[SocketAddr],
    ) -> Result<Self, String> {
        let last = u32::from(first) + u32::from(shards.max(1)) - 1;
        if last > u32::from(u16::MAX) {
            return Err(format!(
                "shard.listener.port: {shards} shards need the ports {first} to {last}, and there \
                 are none above 65535; begin lower, or have fewer shards with --shards"
            ));
        }
        let ports = Self {
            listener,
            first,
            shards,
        };
        match taken.iter().find(|at| ports.shard_of(at.port()).is_some()) {
            None => Ok(ports),
            Some(at) => Err(format!(
                "shard.listener.port: {shards} shards need the ports {first} to {last}, and \
                 {at} is one of the listeners; choose a range without it"
            )),
        }
    }

    fn shard_of(&self, port: u16) -> Option<u16> {
        let shard = port.checked_sub(self.first)?;
        (shard < self.shards).then_some(shard)
    }

    /// The addresses on which a shard listens alone.
    #[must_use]
    pub fn of(&self, shard: u16) -> Vec<SocketAddr> {
        let at = |host: &SocketAddr| SocketAddr::new(host.ip(), self.first.saturating_add(shard));
        self.listener.iter().map(at).collect()
    }

    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// Whether `addr` is one of these, and not a listener of all shards.
    #[must_use]
    pub fn contains(&self, addr: SocketAddr) -> bool {
        self.shard_of(addr.port()).is_some()
    }

    /// The first listener as one sees it who came to `local`, and the shard that `local` belongs
    /// to. `None` for other listeners, where nobody is told of shards: what leads there need not
    /// lead to them.
    pub(super) fn seen_from(&self, local: SocketAddr) -> Option<(SocketAddr, Option<u16>)> {
        let ip = local.ip().to_canonical();
        let mut hosts = self.listener.iter();
        let listener = hosts.find(|host| host.is_ipv4() == ip.is_ipv4() || host.ip() == local.ip());
        let port = listener?.port();
        match self.shard_of(local.port()) {
            None if local.port() != port => None,
            shard => Some((SocketAddr::new(local.ip(), port), shard)),
        }
    }

    /// Why a node of this number cannot show its shards as brokers.
    #[must_use]
    pub fn refuses(node_id: i32) -> Option<String> {
        (node_id > NODE_ID_WITH_SHARDS_MAX).then(|| {
            format!(
                "shard.listener.port: shards get broker ids of their own, which would collide \
                 with others if node.id were above {NODE_ID_WITH_SHARDS_MAX}; it is {node_id}. \
                 Choose a lower node.id (with a new data directory), or leave the shards without \
                 ports of their own"
            )
        })
    }

    /// Whether `id` is one of the broker ids of the node of this number.
    #[must_use]
    pub fn is_of_node(&self, id: i32, node_id: i32) -> bool {
        let apart = i64::from(id) - i64::from(node_id);
        let shard = apart / i64::from(ID_STEP);
        apart % i64::from(ID_STEP) == 0 && (0..i64::from(self.shards)).contains(&shard)
    }
}

fn id_of(node_id: i32, shard: u16) -> i32 {
    node_id + i32::from(shard) * ID_STEP
}

/// The brokers that a client is told of, which depend on where it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers {
    node_id: i32,
    /// Of the listener that all shards serve.
    common: Endpoint,
    /// The port of shard 0 where each shard has one.
    first_port: Option<u16>,
    shards: u16,
    /// The shard that was asked, if it was asked as a broker of its own.
    asked: Option<u16>,
}

impl Brokers {
    pub(super) fn new(
        node_id: i32,
        common: Endpoint,
        shards: u16,
        ports: Option<(&ShardPorts, Option<u16>)>,
    ) -> Self {
        Self {
            node_id,
            common,
            first_port: ports.map(|(ports, _)| ports.first),
            shards,
            asked: ports.and_then(|(_, asked)| asked),
        }
    }

    /// The broker that clients go to for what `shard` owns.
    #[must_use]
    pub fn of(&self, shard: u16) -> (i32, Endpoint) {
        let Some(first) = self.first_port else {
            return (self.node_id, self.common.clone());
        };
        let endpoint = Endpoint {
            host: self.common.host.clone(),
            port: i32::from(first) + i32::from(shard),
        };
        (id_of(self.node_id, shard), endpoint)
    }

    /// The broker that changes go to, and its endpoint.
    #[must_use]
    pub fn controller(&self) -> (i32, Endpoint) {
        self.of(0)
    }

    /// All of them, once each.
    pub fn all(&self) -> impl Iterator<Item = (i32, Endpoint)> {
        let last = self.first_port.map_or(1, |_| self.shards);
        (0..last).map(|shard| self.of(shard))
    }

    /// The id by which the node is told to hold a partition that `shard` owns.
    #[must_use]
    pub fn holder(&self, node_id: i32, shard: u16) -> i32 {
        if self.first_port.is_some() && node_id == self.node_id {
            id_of(node_id, shard)
        } else {
            node_id
        }
    }

    /// [`Self::holder`] of each.
    #[must_use]
    pub fn holders(&self, nodes: &[i32], shard: u16) -> Vec<i32> {
        let holder = |node: &i32| self.holder(*node, shard);
        nodes.iter().map(holder).collect()
    }

    /// The shards whose groups and logs the broker that was asked has: whoever asks all brokers
    /// and adds up is told each of them once.
    #[must_use]
    pub fn listed(&self) -> Range<u16> {
        self.asked.map_or(0..self.shards, |shard| shard..shard + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn ports(first: u16, shards: u16) -> Result<ShardPorts, String> {
        let listener = vec![at("127.0.0.1:9092"), at("[::1]:9092")];
        ShardPorts::new(first, shards, listener.clone(), &listener)
    }

    #[test]
    fn ranges_without_room_or_with_a_listener_in_them_are_refused() {
        assert!(ports(65_535, 1).is_ok());
        assert!(ports(65_535, 2).is_err_and(|why| why.contains("above 65535")));
        assert!(ports(9093, 4).is_ok() && ports(9088, 4).is_ok());
        for first in [9089, 9092] {
            let why = ports(first, 4).expect_err("the listener is in it");
            assert!(
                why.contains("127.0.0.1:9092 is one of the listeners"),
                "{why}"
            );
        }
    }

    #[test]
    fn each_shard_has_its_port_on_every_address() {
        let of = ports(9200, 2).expect("room").of(1);
        assert_eq!(of, [at("127.0.0.1:9201"), at("[::1]:9201")]);
    }

    #[test]
    fn only_the_first_listener_and_the_shards_know_of_shards() {
        let ports = ports(9200, 2).expect("room");
        let seen = |local| ports.seen_from(at(local));
        assert_eq!(seen("127.0.0.1:9092"), Some((at("127.0.0.1:9092"), None)));
        assert_eq!(seen("[::1]:9201"), Some((at("[::1]:9092"), Some(1))));
        assert_eq!(seen("127.0.0.1:9202"), None);
        assert_eq!(seen("127.0.0.1:9099"), None);
    }

    #[test]
    fn ids_are_those_of_one_node_and_shard_only() {
        let ports = ports(9200, 2).expect("room");
        assert!(ports.is_of_node(7, 7) && ports.is_of_node(1_000_007, 7));
        for other in [-1, 0, 8, 1_000_008, 2_000_007] {
            assert!(!ports.is_of_node(other, 7), "{other}");
        }
        assert_eq!(ShardPorts::refuses(999_999), None);
        assert!(ShardPorts::refuses(1_000_000).is_some());
        let highest = id_of(NODE_ID_WITH_SHARDS_MAX, SHARDS_MAX - 1);
        assert_eq!(highest, 1_023_999_999);
    }

    #[test]
    fn without_ports_there_is_one_broker_that_has_everything() {
        let common = Endpoint {
            host: "h".into(),
            port: 9092,
        };
        let one = Brokers::new(7, common.clone(), 3, None);
        assert_eq!(one.all().collect::<Vec<_>>(), [(7, common.clone())]);
        assert_eq!(one.of(2), (7, common.clone()));
        assert_eq!(one.holders(&[7, 8], 2), [7, 8]);
        assert_eq!(one.listed(), 0..3);

        let ports = ports(9200, 3).expect("room");
        let each = Brokers::new(7, common.clone(), 3, Some((&ports, None)));
        let told: Vec<_> = each.all().map(|(id, at)| (id, at.port)).collect();
        assert_eq!(told, [(7, 9200), (1_000_007, 9201), (2_000_007, 9202)]);
        assert_eq!(each.holders(&[7, 8], 2), [2_000_007, 8]);
        assert_eq!(each.listed(), 0..3, "the listener of all has all");
        let asked = Brokers::new(7, common, 3, Some((&ports, Some(1))));
        assert_eq!(asked.listed(), 1..2);
    }
}

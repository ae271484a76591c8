//! How many connections there are on all shards: the kernel spreads them as it likes, so that no
//! shard alone can tell when a limit is reached. Shard 0 counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The connections of all shards, by the address they come from.
#[derive(Debug, Default)]
pub(super) struct Census {
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
}

impl Census {
    /// Counts one more.
    ///
    /// # Errors
    /// Which limit is reached; it is not counted then.
    pub(super) fn enter(
        &mut self,
        peer: IpAddr,
        most: usize,
        most_per_ip: usize,
    ) -> Result<(), &'static str> {
        let from_ip = self.per_ip.get(&peer).copied().unwrap_or(0);
        if self.total >= most {
            return Err("the limit max.connections is reached");
        }
        if from_ip >= most_per_ip {
            return Err("the limit max.connections.per.ip is reached");
        }
        self.total += 1;
        self.per_ip.insert(peer, from_ip + 1);
        Ok(())
    }

    /// One that was counted is gone.
    pub(super) fn leave(&mut self, peer: IpAddr) {
        let Some(from_ip) = self.per_ip.get_mut(&peer) else {
            return;
        };
        self.total -= 1;
        *from_ip -= 1;
        if *from_ip == 0 {
            self.per_ip.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn both_limits_hold_and_room_comes_back() {
        let mut census = Census::default();
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        assert_eq!(census.enter(ip(1), 3, 2), Ok(()));
        assert_eq!(census.enter(ip(1), 3, 2), Ok(()));
        assert!(
            census
                .enter(ip(1), 3, 2)
                .is_err_and(|why| why.contains("per.ip"))
        );
        assert_eq!(census.enter(ip(2), 3, 2), Ok(()));
        assert!(
            census
                .enter(ip(3), 3, 2)
                .is_err_and(|why| !why.contains("per.ip"))
        );
        census.leave(ip(1));
        assert_eq!(census.enter(ip(3), 3, 2), Ok(()));
        census.leave(ip(9));
        assert_eq!(census.total, 3);
    }
}

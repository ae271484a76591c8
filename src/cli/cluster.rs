//! A cluster as commands see it: any broker for questions, leaders and coordinators for work.

use super::exchange::Exchange;
use super::failure::{Failure, Outcome};
use super::link::Link;
use super::refusal;
use net::wire::{Str, find_coordinator, list_offsets, metadata};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two attempts at something that passes.
const PAUSE: Duration = Duration::from_millis(100);

/// Stands for whichever bootstrap broker answered first.
const ANY: i32 = -1;

pub(crate) struct Cluster {
    bootstrap: Vec<String>,
    timeout: Duration,
    links: BTreeMap<i32, Link>,
    addresses: BTreeMap<i32, String>,
}

/// Special timestamps of ListOffsets.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;

impl Cluster {
    pub(crate) const fn new(bootstrap: Vec<String>, timeout: Duration) -> Self {
        Self {
            bootstrap,
            timeout,
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// As requests carry it, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Asks whichever broker answers.
    pub(crate) fn ask<R: Exchange>(&mut self, request: &R) -> Outcome<R::Response> {
        self.ask_node(ANY, request)
    }

    /// Asks one broker; a connection that breaks is not used again.
    pub(crate) fn ask_node<R: Exchange>(&mut self, node: i32, request: &R) -> Outcome<R::Response> {
        self.ask_node_waiting(node, request, Duration::ZERO)
    }

    pub(crate) fn ask_node_waiting<R: Exchange>(
        &mut self,
        node: i32,
        request: &R,
        wait: Duration,
    ) -> Outcome<R::Response> {
        let link = match self.links.remove(&node) {
            Some(link) => link,
            None => self.connect(node)?,
        };
        let link = self.links.entry(node).or_insert(link);
        let result = link.call_waiting(request, wait);
        if result.is_err() {
            self.links.remove(&node);
        }
        result
    }

    fn connect(&self, node: i32) -> Outcome<Link> {
        if let Some(address) = self.addresses.get(&node) {
            return Link::open(address, self.timeout);
        }
        let mut last = Failure::new(format!("the metadata names no broker {node}"));
        if node == ANY {
            for address in &self.bootstrap {
                match Link::open(address, self.timeout) {
                    Ok(link) => return Ok(link),
                    Err(failure) => last = failure,
                }
            }
        }
        Err(last)
    }

    /// Metadata of the named topics, or of all; never creates one.
    pub(crate) fn metadata(&mut self, topics: Option<&[String]>) -> Outcome<metadata::Response> {
        let named = |name: &String| metadata::MetadataRequestTopic {
            name: Some(Str::from(name.as_str())),
            ..Default::default()
        };
        let request = metadata::Request {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.ask(&request)?;
        self.addresses.clear();
        for broker in &response.brokers {
            let address = format!("{}:{}", bracketed(&broker.host), broker.port);
            self.addresses.insert(broker.node_id, address);
        }
        Ok(response)
    }

    /// Metadata of one topic that must be there.
    pub(crate) fn topic(&mut self, name: &str) -> Outcome<metadata::MetadataResponseTopic> {
        let response = self.metadata(Some(&[name.to_owned()]))?;
        let topic = response.topics.into_iter().next();
        let topic = topic.ok_or_else(|| Failure::new(format!("no answer about topic {name}")))?;
        if topic.error_code == 3 {
            return Err(Failure::new(format!("there is no topic named {name}"))
                .advise("see `ringlog topic list`, or make it with `ringlog topic create`"));
        }
        refusal::check(&format!("topic {name}"), topic.error_code, None)?;
        Ok(topic)
    }

    /// The broker that creates and alters topics.
    pub(crate) fn controller(&mut self) -> Outcome<i32> {
        Ok(self.metadata(Some(&[]))?.controller_id)
    }

    /// The broker that coordinates a group; waits while there is none.
    pub(crate) fn coordinator(&mut self, group: &str) -> Outcome<i32> {
        let request = find_coordinator::Request {
            key: Str::from(group),
            key_type: 0,
            coordinator_keys: vec![Str::from(group)],
        };
        let deadline = Instant::now() + self.timeout;
        loop {
            let response = self.ask(&request)?;
            let found = response.coordinators.into_iter().next();
            let (code, said, node, host, port) = match found {
                Some(c) => (c.error_code, c.error_message, c.node_id, c.host, c.port),
                None => (
                    response.error_code,
                    response.error_message,
                    response.node_id,
                    response.host,
                    response.port,
                ),
            };
            if code == 0 {
                self.addresses
                    .insert(node, format!("{}:{port}", bracketed(&host)));
                return Ok(node);
            }
            if !refusal::is_passing(code) || Instant::now() >= deadline {
                refusal::check(&format!("group {group}"), code, said.as_ref())?;
            }
            sleep(PAUSE);
        }
    }

    /// Asks the coordinator of `group`, again while it moves or loads.
    pub(crate) fn ask_coordinator<R: Exchange>(
        &mut self,
        group: &str,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Outcome<R::Response> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let node = self.coordinator(group)?;
            let response = self.ask_node(node, request)?;
            if !refusal::is_passing(code(&response)) || Instant::now() >= deadline {
                return Ok(response);
            }
            sleep(PAUSE);
        }
    }

    /// Offsets of partitions at a timestamp (or [`EARLIEST`], [`LATEST`]), asked of their leaders;
    /// -1 where no record is that late.
    pub(crate) fn offsets_at(
        &mut self,
        topic: &str,
        partitions: &[(i32, i64)],
    ) -> Outcome<BTreeMap<i32, i64>> {
        let deadline = Instant::now() + self.timeout;
        let mut offsets = BTreeMap::new();
        let mut wanted: BTreeMap<i32, i64> = partitions.iter().copied().collect();
        while !wanted.is_empty() {
            let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
            for partition in self.topic(topic)?.partitions {
                if let Some(timestamp) = wanted.get(&partition.partition_index) {
                    let ask = (partition.partition_index, *timestamp);
                    by_leader.entry(partition.leader_id).or_default().push(ask);
                }
            }
            let mut refused = None;
            for (leader, asked) in by_leader {
                let response = self.ask_node(leader, &list_offsets_of(topic, &asked))?;
                for found in response
                    .topics
                    .into_iter()
                    .flat_map(|topic| topic.partitions)
                {
                    if found.error_code == 0 {
                        wanted.remove(&found.partition_index);
                        offsets.insert(found.partition_index, found.offset);
                    } else {
                        refused = Some((found.partition_index, found.error_code));
                    }
                }
            }
            if let Some((partition, code)) = refused
                && (!refusal::is_passing(code) || Instant::now() >= deadline)
            {
                refusal::check(&format!("{topic}-{partition}"), code, None)?;
            }
            if let (None, Some(partition)) = (refused, wanted.keys().next()) {
                return Err(Failure::new(format!(
                    "{topic} has no partition {partition}"
                )));
            }
            if refused.is_some() {
                sleep(PAUSE);
            }
        }
        Ok(offsets)
    }
}

fn list_offsets_of(topic: &str, partitions: &[(i32, i64)]) -> list_offsets::Request {
    let partition = |(index, timestamp): &(i32, i64)| list_offsets::ListOffsetsPartition {
        partition_index: *index,
        timestamp: *timestamp,
        ..Default::default()
    };
    list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::ListOffsetsTopic {
            name: Str::from(topic),
            partitions: partitions.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

/// An IPv6 address in the brackets that a port after it needs.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

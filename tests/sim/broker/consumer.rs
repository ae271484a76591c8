//! A group member that commits offsets, and a reader that checks a whole partition.

use std::net::SocketAddr;

use net::wire::api::ApiKey;
use net::wire::{
    Str, Uuid, fetch, find_coordinator, heartbeat, join_group, offset_commit, offset_fetch,
    sync_group,
};
use storage::batch;

use crate::client::{Client, Net};

/// A member of a group that commits ever larger offsets.
pub(crate) struct Member {
    pub(crate) group: &'static str,
    topic: &'static str,
    member: Str,
    pub(crate) generation: i32,
    /// The largest offset whose commit was acknowledged; -1: none.
    pub(crate) committed: i64,
    /// The largest offset that was sent, acknowledged or not.
    pub(crate) tried: i64,
}

const REBALANCE_IN_PROGRESS: i16 = 27;
const UNKNOWN_MEMBER: i16 = 25;
const MEMBER_ID_REQUIRED: i16 = 79;

impl Member {
    pub(crate) fn new(group: &'static str, topic: &'static str) -> Self {
        let member = Str::default();
        Self {
            group,
            topic,
            member,
            generation: -1,
            committed: -1,
            tried: -1,
        }
    }

    /// Joins, takes the assignment, commits once. Gives up when the connection goes.
    pub(crate) fn visit(&mut self, world: &mut Net, addr: SocketAddr) -> Option<()> {
        let mut client = Client::connect(world, addr);
        self.find(&mut client, world)?;
        self.join(&mut client, world)?;
        self.sync(&mut client, world)?;
        self.commit(&mut client, world)
    }

    fn find(&self, client: &mut Client, world: &mut Net) -> Option<()> {
        let request = find_coordinator::Request {
            coordinator_keys: vec![Str::from_static(self.group)],
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::FindCoordinator, 4), |w, v| {
            request.encode(w, v)
        })?;
        let response = find_coordinator::Response::decode(&mut reply.body, 4).expect("a response");
        assert_eq!(response.coordinators[0].error_code, 0);
        Some(())
    }

    fn join(&mut self, client: &mut Client, world: &mut Net) -> Option<()> {
        for _ in 0..8 {
            let request = join_group::Request {
                group_id: Str::from_static(self.group),
                session_timeout_ms: 30_000,
                rebalance_timeout_ms: 30_000,
                member_id: self.member.clone(),
                protocol_type: Str::from_static("consumer"),
                protocols: vec![join_group::JoinGroupRequestProtocol {
                    name: Str::from_static("range"),
                    metadata: bytes::Bytes::from_static(b"subscription"),
                }],
                ..Default::default()
            };
            let mut reply =
                client.ask(world, (ApiKey::JoinGroup, 7), |w, v| request.encode(w, v))?;
            let response = join_group::Response::decode(&mut reply.body, 7).expect("a response");
            match response.error_code {
                0 => {
                    assert!(
                        response.generation_id > self.generation,
                        "generation {} after {}",
                        response.generation_id,
                        self.generation
                    );
                    self.generation = response.generation_id;
                    self.member = response.member_id;
                    return Some(());
                }
                MEMBER_ID_REQUIRED => self.member = response.member_id,
                UNKNOWN_MEMBER => self.member = Str::default(),
                other => panic!("JoinGroup was refused with {other}"),
            }
        }
        panic!("JoinGroup never succeeded")
    }

    fn sync(&mut self, client: &mut Client, world: &mut Net) -> Option<()> {
        let request = sync_group::Request {
            group_id: Str::from_static(self.group),
            generation_id: self.generation,
            member_id: self.member.clone(),
            assignments: vec![sync_group::SyncGroupRequestAssignment {
                member_id: self.member.clone(),
                assignment: bytes::Bytes::from_static(b"everything"),
            }],
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::SyncGroup, 3), |w, v| request.encode(w, v))?;
        let response = sync_group::Response::decode(&mut reply.body, 3).expect("a response");
        assert_eq!(response.error_code, 0);
        assert_eq!(&response.assignment[..], b"everything");
        let request = heartbeat::Request {
            group_id: Str::from_static(self.group),
            generation_id: self.generation,
            member_id: self.member.clone(),
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::Heartbeat, 3), |w, v| request.encode(w, v))?;
        let response = heartbeat::Response::decode(&mut reply.body, 3).expect("a response");
        assert!([0, REBALANCE_IN_PROGRESS].contains(&response.error_code));
        Some(())
    }

    fn commit(&mut self, client: &mut Client, world: &mut Net) -> Option<()> {
        let offset = self.tried + 1;
        self.tried = offset;
        let request = offset_commit::Request {
            group_id: Str::from_static(self.group),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member.clone(),
            topics: vec![offset_commit::OffsetCommitRequestTopic {
                name: Str::from_static(self.topic),
                partitions: vec![offset_commit::OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_metadata: Some(Str::from_static("note")),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::OffsetCommit, 7), |w, v| {
            request.encode(w, v)
        })?;
        let response = offset_commit::Response::decode(&mut reply.body, 7).expect("a response");
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
        self.committed = offset;
        Some(())
    }

    /// The committed offset is not older than the last acknowledged commit.
    pub(crate) fn check(&self, client: &mut Client, world: &mut Net) -> Option<()> {
        if self.tried < 0 {
            return Some(());
        }
        let request = offset_fetch::Request {
            group_id: Str::from_static(self.group),
            topics: Some(vec![offset_fetch::OffsetFetchRequestTopic {
                name: Str::from_static(self.topic),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::OffsetFetch, 5), |w, v| request.encode(w, v))?;
        let response = offset_fetch::Response::decode(&mut reply.body, 5).expect("a response");
        if self.committed < 0 && response.error_code != 0 {
            // No coordinator was ever needed, so there may be no offsets topic.
            return Some(());
        }
        assert_eq!(response.error_code, 0, "OffsetFetch of {}", self.group);
        let found = response.topics[0].partitions[0].committed_offset;
        assert!(
            found >= self.committed && found <= self.tried,
            "committed offset {found}, acknowledged {}, tried {}",
            self.committed,
            self.tried
        );
        Some(())
    }
}

/// Every record of a partition, from its start to its end.
pub(crate) fn read_all(
    client: &mut Client,
    world: &mut Net,
    topic: &'static str,
    partition: i32,
) -> Option<Vec<(i64, Vec<u8>)>> {
    let mut records = Vec::new();
    loop {
        let offset = records.last().map_or(0, |(offset, _)| offset + 1);
        let request = fetch::Request {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 100_000,
            topics: vec![fetch::FetchTopic {
                topic: Str::from_static(topic),
                topic_id: Uuid::default(),
                partitions: vec![fetch::FetchPartition {
                    partition,
                    fetch_offset: offset,
                    partition_max_bytes: 50_000,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let mut reply = client.ask(world, (ApiKey::Fetch, 11), |w, v| request.encode(w, v))?;
        let response = fetch::Response::decode(&mut reply.body, 11).expect("a response");
        let part = &response.responses[0].partitions[0];
        assert_eq!(
            part.error_code, 0,
            "fetch of {topic}-{partition} at {offset}"
        );
        let data = part
            .records
            .clone()
            .map(net::wire::Records::into_bytes)
            .unwrap_or_default();
        if data.is_empty() {
            assert_eq!(
                part.high_watermark, offset,
                "the end of {topic}-{partition}"
            );
            return Some(records);
        }
        let mut at = 0;
        for whole in batch::batches(&data) {
            let whole = whole.expect("whole batches only");
            assert!(batch::check_crc(whole.bytes), "a fetched batch is damaged");
            let base = whole.summary().base_offset;
            let bytes = data.slice(at..at + whole.bytes.len());
            at += whole.bytes.len();
            for record in batch::records(&bytes, 1 << 20).expect("records") {
                let record = record.expect("a record");
                let offset = base + i64::from(record.offset_delta);
                if records.last().is_none_or(|(last, _)| *last < offset) {
                    records.push((offset, record.value.expect("a value").to_vec()));
                }
            }
        }
    }
}

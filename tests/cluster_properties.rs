//! Random commands: whatever happens, the log says the same as the image, snapshots say the same as
//! the log, and answers keep their promises.

use bytes::Bytes;
use reactor::op::Now;
use ringlog::cluster::command::{
    Answer, Change, Command, MorePartitions, NewTopic, Op, Resource, ResourceChange, TopicRef,
};
use ringlog::cluster::image::Topic;
use ringlog::cluster::replay::snapshot;
use ringlog::cluster::{Controller, Fx, Image, Replay};
use ringlog::config::Static;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::types::PartitionId;

/// A generator with a seed (xorshift64, public domain).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn name(&mut self) -> String {
        format!("t{}{}", ["", ".", "_"][self.roll(3) as usize], self.roll(8))
    }

    fn text(&mut self) -> Option<String> {
        match self.roll(5) {
            0 => None,
            1 => Some("nonsense".to_owned()),
            n => Some((1_048_576 * n).to_string()),
        }
    }

    fn setting(&mut self) -> String {
        let all = [
            "segment.bytes",
            "retention.ms",
            "cleanup.policy",
            "log.retention.ms",
            "no.such",
        ];
        all[self.roll(5) as usize].to_owned()
    }

    fn resource(&mut self) -> Resource {
        match self.roll(3) {
            0 => Resource::Broker(["", "1", "2"][self.roll(3) as usize].to_owned()),
            _ => Resource::Topic(self.name()),
        }
    }

    fn command(&mut self, image: &Image) -> Command {
        match self.roll(8) {
            0 | 1 => Command::CreateTopics {
                topics: (0..=self.roll(2))
                    .map(|_| NewTopic {
                        name: self.name(),
                        partitions: self.roll(4) as i32 - 1,
                        replication_factor: self.roll(3) as i16 - 1,
                        assignments: Vec::new(),
                        configs: vec![(self.setting(), self.text()); self.roll(2) as usize],
                    })
                    .collect(),
                validate_only: self.roll(5) == 0,
            },
            2 => {
                let by_id = image.topics().next().map(|topic| TopicRef::Id(topic.id));
                let by_name = TopicRef::Name(self.name());
                let topic = by_id.filter(|_| self.roll(2) == 0).unwrap_or(by_name);
                Command::DeleteTopics {
                    topics: vec![topic],
                }
            }
            3 => Command::CreatePartitions {
                topics: vec![MorePartitions {
                    name: self.name(),
                    count: self.roll(6) as i32,
                    assignments: None,
                }],
                validate_only: self.roll(5) == 0,
            },
            4 | 5 => Command::IncrementalAlterConfigs {
                resources: vec![ResourceChange {
                    resource: self.resource(),
                    changes: vec![Change {
                        name: self.setting(),
                        op: [Op::Set, Op::Delete, Op::Append][self.roll(3) as usize],
                        value: self.text(),
                    }],
                }],
                validate_only: self.roll(5) == 0,
            },
            6 => Command::AllocateProducerIds,
            _ => {
                let index = self.roll(3) as i32;
                let topics = image.topics().take(2);
                let id = |topic: &Arc<Topic>| PartitionId {
                    topic: topic.id,
                    index,
                };
                Command::BumpEpochs {
                    partitions: topics.map(id).collect(),
                }
            }
        }
    }
}

fn replay<'a>(log: impl IntoIterator<Item = &'a Bytes>) -> Image {
    let mut replay = Replay::new();
    for value in log {
        replay
            .record(value)
            .expect("the controller's own records replay");
    }
    replay.finish()
}

/// A controller and its log, in which a write may be lost.
struct World {
    dice: Dice,
    controller: Controller,
    log: Vec<Bytes>,
    in_flight: Vec<(u64, Vec<Bytes>)>,
    tickets: BTreeSet<u64>,
    producer_ids: BTreeSet<i64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let fixed = Arc::new(Static::default());
        Self {
            dice: Dice(seed * 2 + 1),
            controller: Controller::new(fixed, Image::default(), 0, seed),
            log: Vec::new(),
            in_flight: Vec::new(),
            tickets: BTreeSet::new(),
            producer_ids: BTreeSet::new(),
        }
    }

    fn take(&mut self, fx: Fx) {
        for write in fx.writes {
            self.in_flight.push((write.id, write.records));
        }
        for (ticket, answer) in fx.answers {
            assert!(self.tickets.remove(&ticket), "answered once");
            if let Answer::ProducerIds(ids) = answer {
                assert!(
                    self.producer_ids.insert(ids.first),
                    "a block is given out twice"
                );
            }
        }
        assert_eq!(
            **self.controller.image(),
            replay(&self.log),
            "image and log differ"
        );
    }

    fn step(&mut self, ticket: u64) {
        let mut fx = Fx::default();
        match self.dice.roll(8) {
            0..=3 => {
                let command = match ticket {
                    0 => Command::Register,
                    _ => self.dice.command(&Image::clone(self.controller.image())),
                };
                self.tickets.insert(ticket);
                self.controller
                    .handle(Now::default(), command, ticket, &mut fx);
            }
            4..=6 if !self.in_flight.is_empty() => {
                let (id, records) = self.in_flight.remove(0);
                let offset = self.log.len() as i64;
                self.log.extend(records);
                self.controller.committed(id, offset, &mut fx);
            }
            7 if !self.in_flight.is_empty() => {
                let from = self.dice.roll(self.in_flight.len() as u64) as usize;
                let lost: Vec<_> = self.in_flight.drain(from..).collect();
                self.controller.failed(lost[0].0, "no space", &mut fx);
            }
            _ => {}
        }
        self.take(fx);
    }
}

#[test]
fn the_log_says_what_the_image_says() {
    for seed in 1..60 {
        let mut world = World::new(seed);
        for ticket in 0..300 {
            world.step(ticket);
        }
        while let Some((id, records)) =
            (!world.in_flight.is_empty()).then(|| world.in_flight.remove(0))
        {
            let offset = world.log.len() as i64;
            world.log.extend(records);
            let mut fx = Fx::default();
            world.controller.committed(id, offset, &mut fx);
            world.take(fx);
        }
        assert!(
            world.tickets.is_empty(),
            "every command is answered: {:?}",
            world.tickets
        );
    }
}

#[test]
fn a_snapshot_says_what_the_log_says_and_half_a_one_says_nothing() {
    for seed in 1..20 {
        let mut world = World::new(seed);
        for ticket in 0..200 {
            world.step(ticket);
        }
        let image = replay(&world.log);
        let short: Vec<Bytes> = snapshot(&image).into_iter().flatten().collect();
        assert_eq!(replay(&short), image);
        for cut in 0..short.len() {
            let log = world.log.iter().chain(&short[..cut]);
            assert_eq!(replay(log.clone()), image, "cut after {cut}");
            // A later start goes on behind the half snapshot, and writes a whole one in the end.
            assert_eq!(replay(log.chain(&short)), image);
        }
    }
}

#[test]
fn a_long_log_gets_a_snapshot_and_its_prefix_may_go() {
    let fixed = Arc::new(Static::default());
    let mut controller = Controller::new(fixed, Image::default(), 0, 3);
    let mut log: Vec<Bytes> = Vec::new();
    let mut cut = None;
    let note = "x".repeat(200_000);
    for round in 0..60 {
        let command = match round {
            0 => Command::Register,
            _ => Command::IncrementalAlterConfigs {
                resources: vec![ResourceChange {
                    resource: Resource::Broker(String::new()),
                    changes: vec![Change {
                        name: "some.extension".to_owned(),
                        op: Op::Set,
                        value: Some(format!("{round}{note}")),
                    }],
                }],
                validate_only: false,
            },
        };
        let mut fx = Fx::default();
        controller.handle(Now::default(), command, round, &mut fx);
        while !fx.writes.is_empty() {
            for write in std::mem::take(&mut fx.writes) {
                let offset = log.len() as i64;
                log.extend(write.records);
                controller.committed(write.id, offset, &mut fx);
            }
        }
        cut = fx.delete_before.or(cut);
    }
    let cut = usize::try_from(cut.expect("a snapshot was written")).unwrap();
    assert!(cut > 0);
    assert_eq!(replay(&log[cut..]), **controller.image());
}

#[test]
fn answers_wait_for_what_they_rest_on() {
    let fixed = Arc::new(Static::default());
    let mut controller = Controller::new(fixed, Image::default(), 0, 3);
    let create = || Command::CreateTopics {
        topics: vec![NewTopic {
            name: "t".to_owned(),
            partitions: 1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }],
        validate_only: false,
    };
    let mut fx = Fx::default();
    controller.handle(Now::default(), Command::Register, 0, &mut fx);
    let writes = std::mem::take(&mut fx.writes);
    controller.committed(writes[0].id, 0, &mut fx);
    fx = Fx::default();
    controller.handle(Now::default(), create(), 1, &mut fx);
    controller.handle(Now::default(), create(), 2, &mut fx);
    assert!(
        fx.answers.is_empty(),
        "neither 'created' nor 'exists' is true before the write"
    );
    assert!(controller.image().topic("t").is_none());
    assert_eq!(fx.writes.len(), 1);
    let id = fx.writes[0].id;
    controller.failed(id, "no space", &mut fx);
    let failed = |(_, answer): &(u64, Answer)| matches!(answer, Answer::Failed(_));
    assert!(fx.answers.len() == 2 && fx.answers.iter().all(failed));
    let mut fx = Fx::default();
    controller.handle(Now::default(), create(), 3, &mut fx);
    let id = fx.writes[0].id;
    controller.committed(id, 9, &mut fx);
    assert!(controller.image().topic("t").is_some());
    assert!(matches!(&fx.answers[..], [(3, Answer::Created(made))] if made[0].1.is_ok()));
}

//! Power cuts after rounds that write to many segments. The load of `images` does other things all
//! the while, and each sync of a new file or folder makes ext4 commit what the segments have yet to
//! ask for. Here there is nothing else: a round that syncs too little loses it.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::Plan;
use crate::broker::{Broker, fresh};
use crate::chance::Chance;
use crate::disk::Disk;
use crate::images::{Fuse, Mounted, UNTIMED, installation, obstacle};
use crate::produce::client;

const TOPIC: &str = "bulk";
const PARTITIONS: i32 = 8;
/// Of every record: it goes to its segment at once, past the journal.
const RECORD_BYTES: usize = 48_000;
const LIMIT: Duration = Duration::from_secs(60);
/// If each partition had a round of its own, it would take a flush of its segment and one of the
/// journal.
const ALONE: u64 = 2 * PARTITIONS as u64;
/// So often it is tried until what comes before a cut has shared its rounds.
const TRIES_MAX: usize = 40;
/// What was sent is on its way by then; if not, rounds are smaller.
const ARRIVE: Duration = Duration::from_millis(30);

/// With both ways in which a round is made durable.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    if let Some(why) = obstacle(true) {
        println!("crash: SKIPPED, nothing was checked with bulk: {why}");
        return Ok(());
    }
    let mut chance = Chance::new(plan.seed ^ 0xb01c);
    let work = fresh(&plan.work);
    let at = fresh(&work.join("fuse"));
    let disk = Disk::mount(&at, &work, 2 << 30)?;
    let fuse = Fuse(at);
    let image = fuse.0.join(crate::disk::NAME);
    let mounted = Mounted::new(&image, work.join("disk"), true, UNTIMED)?;
    let result = [false, true].into_iter().try_for_each(|synced_writes| {
        let data = mounted.at.join(format!("synced-{synced_writes}"));
        cuts(plan, (&work, &data), &disk, synced_writes, &mut chance)
    });
    drop(mounted);
    drop(fuse);
    if result.is_ok() {
        let _ = std::fs::remove_dir_all(&work);
    }
    result
}

fn cuts(
    plan: &Plan,
    (work, data): (&Path, &Path),
    disk: &Disk,
    synced_writes: bool,
    chance: &mut Chance,
) -> Result<(), String> {
    let mut of = installation(work, data, 1, chance);
    let settings = [
        format!("synced.writes={synced_writes}"),
        format!("num.partitions={PARTITIONS}"),
    ];
    let mut broker = Broker::start_with(&of, 1, &settings);
    broker.listening()?;
    let producer: BaseProducer<Delivered> = client(&of.address())
        .set("linger.ms", "0")
        .set("message.max.bytes", "1000000")
        .set("enable.idempotence", "true")
        .create_with_context(Delivered::default())
        .map_err(|error| error.to_string())?;
    let mut sent = 0;
    for copy in 0..plan.bulk {
        // The segments are made and have room, so that nothing but records is written at the end.
        let mut flushes = Vec::new();
        let rounds = chance.within(3, 8) as usize;
        while flushes.len() < rounds || flushes.last() >= Some(&ALONE) {
            if flushes.len() == TRIES_MAX {
                return Err(format!("no round was shared: {flushes:?} flushes"));
            }
            let before = disk.flushes();
            everywhere(&producer, sent, &broker)?;
            flushes.push(disk.flushes() - before);
            sent += 1;
        }
        broker.signal("STOP");
        let image = work.join("copy.img");
        let cut = disk.cut(work, &image, chance);
        broker.signal("CONT");
        let cut = cut?;
        let mounted = Mounted::new(&image, work.join("copied"), false, UNTIMED)?;
        let name = data.file_name().expect("it was given a name");
        of.dirs = vec![mounted.at.join(name).join("data-0")];
        of.port = crate::broker::free_port(chance);
        of.log = work.join("copy.log");
        let mut second = Broker::start_with(&of, 1, &settings);
        second.listening()?;
        all_there(&of.address(), sent)?;
        second.kill()?;
        drop(mounted);
        let (unflushed, kept) = (cut.unflushed, cut.kept);
        println!(
            "copy {copy}, synced.writes={synced_writes}: {sent} records in each of {PARTITIONS} \
             partitions are there; of {unflushed} blocks that were not flushed, {kept} were kept; \
             {flushes:?} flushes"
        );
    }
    broker.kill()
}

fn value(partition: i32, number: usize) -> Vec<u8> {
    let one = format!("{partition} {number} ");
    one.bytes().cycle().take(RECORD_BYTES).collect()
}

/// Sends one record to every partition, and waits until all are acknowledged. The broker finds them
/// all at once, so that they share a round: how many flushes it took tells.
fn everywhere(
    producer: &BaseProducer<Delivered>,
    number: usize,
    broker: &Broker,
) -> Result<(), String> {
    broker.signal("STOP");
    for partition in 0..PARTITIONS {
        let value = value(partition, number);
        let record = BaseRecord::<(), Vec<u8>>::to(TOPIC).payload(&value);
        let sent = producer.send(record.partition(partition));
        sent.map_err(|(error, _)| error.to_string())?;
    }
    producer.poll(ARRIVE);
    broker.signal("CONT");
    producer.flush(LIMIT).map_err(|error| error.to_string())?;
    match producer.context().refused.lock() {
        Ok(refused) if refused.is_empty() => Ok(()),
        Ok(refused) => Err(format!("not acknowledged: {refused:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What was refused: it is not expected to be there.
#[derive(Default)]
struct Delivered {
    refused: Mutex<Vec<String>>,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut refused)) = (result, self.refused.lock()) {
            refused.push(error.to_string());
        }
    }
}

/// Each partition holds that many records, as they were sent, and no more.
fn all_there(address: &str, count: usize) -> Result<(), String> {
    let consumer: BaseConsumer = client(address)
        .set("group.id", "bulk")
        .create()
        .map_err(|error| error.to_string())?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let added = list.add_partition_offset(TOPIC, partition, Offset::Beginning);
        added.map_err(|error| error.to_string())?;
    }
    consumer.assign(&list).map_err(|error| error.to_string())?;
    let mut next = [0; PARTITIONS as usize];
    let from = Instant::now();
    while next.iter().any(|found| *found < count) {
        if from.elapsed() > LIMIT {
            return Err(format!("of {count} records each, only {next:?} are there"));
        }
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let record = polled.map_err(|error| error.to_string())?;
        let found = &mut next[usize::try_from(record.partition()).expect("a partition")];
        if record.payload() != Some(&value(record.partition(), *found)) {
            let place = (record.partition(), record.offset());
            return Err(format!("something else is at {place:?}"));
        }
        *found += 1;
    }
    for partition in 0..PARTITIONS {
        let marks = consumer.fetch_watermarks(TOPIC, partition, LIMIT);
        let (_, end) = marks.map_err(|error| error.to_string())?;
        if end != count as i64 {
            return Err(format!(
                "partition {partition} ends at {end}, not at {count}"
            ));
        }
    }
    Ok(())
}

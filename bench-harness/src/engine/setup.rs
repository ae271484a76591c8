//! What a run needs before its first record.

use super::consumer::Fetcher;
use super::plan::{NEVER, Plan};
use super::producer::{Lane, Producer};
use super::worker::{End, Role};
use crate::batch::{MARK_BYTES, Template};
use crate::client::{Cluster, Control, Link, end_offsets, producer_id};
use crate::failure::{Failure, Outcome};
use crate::kernel::memory_limit_bytes;
use crate::model::{Keys, Pace, Workload};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Descriptors of the harness besides its connections.
const SPARE_DESCRIPTORS: u64 = 128;
const PRODUCERS_MAX: u32 = 1 << 16;

/// Of all batches on their way, when nothing but this bounds them.
const IN_FLIGHT_BYTES_MAX: u64 = 4 << 30;

/// Of all records that wait to be sent: this share of the memory, one eighth, or so many bytes
/// where that is more. A disk that answers late for seconds should not end half an hour.
const HELD_SHARE: u64 = 8;
const HELD_BYTES_MIN: u64 = 512 << 20;

/// Refuses what cannot be run.
pub(super) fn check(workload: &Workload) -> Outcome<()> {
    let refuse = |what: String, advice: &str| Err(Failure::new(what).advise(advice));
    if workload.record_bytes < MARK_BYTES {
        return refuse(
            format!("records of {} bytes are too small", workload.record_bytes),
            "16 bytes is the least: each record carries its intended time and its number",
        );
    }
    if workload.compression != "none" {
        return refuse(
            format!("compression {} is not supported", workload.compression),
            "only none is",
        );
    }
    if !matches!(workload.acks, -1..=1) {
        return refuse(
            format!("acks {} does not exist", workload.acks),
            "use 0, 1 or -1 (all)",
        );
    }
    if workload.idempotent && (workload.acks != -1 || workload.in_flight_max > 5) {
        return refuse(
            "an idempotent producer cannot work with these settings".to_owned(),
            "it needs acks -1 (all) and at most 5 requests in flight",
        );
    }
    let numbers = [
        ("topics", workload.topics),
        ("partitions", workload.partitions_per_topic),
        ("generator threads", workload.generator_threads),
        ("requests in flight", workload.in_flight_max),
        ("bytes of a batch", workload.batch_bytes),
    ];
    for (what, number) in numbers {
        if number == 0 {
            return refuse(format!("0 {what} make no load"), "use 1 or more");
        }
    }
    check_load(workload)
}

fn check_load(workload: &Workload) -> Outcome<()> {
    let refuse = |what: &str, advice: &str| Err(Failure::new(what).advise(advice));
    let producers = workload.topics.saturating_mul(workload.producers_per_topic);
    if producers >= PRODUCERS_MAX {
        return refuse(
            "too many producers",
            "65,535 in all topics together are the most",
        );
    }
    let fills = workload.backlog_bytes > 0;
    if producers == 0 && (workload.pace != Pace::ConsumeOnly || fills) {
        return refuse("nothing produces", "give the workload a producer");
    }
    let full = matches!(workload.pace, Pace::Maximum) || fills;
    if full && workload.in_flight_bytes() > IN_FLIGHT_BYTES_MAX {
        return refuse(
            "as fast as it goes, so many requests in flight would fill the memory",
            "producers times requests in flight times bytes of a batch may be 4 GiB at most",
        );
    }
    if workload.keys == (Keys::Random { distinct: 0 }) {
        return refuse("0 keys cannot be drawn from", "use 1 or more");
    }
    match workload.pace {
        Pace::Rate { records_per_s } if !(records_per_s > 0.0 && records_per_s < 1e9) => {
            return refuse(
                "the rate is not possible",
                "use more than 0 and less than 10^9",
            );
        }
        Pace::ConsumeOnly if !fills || consumers(workload) == 0 => {
            return refuse(
                "nothing can be consumed",
                "give the workload consumers, and a backlog that is filled before",
            );
        }
        _ => {}
    }
    if workload.measured.is_zero() {
        return refuse("0 seconds measure nothing", "measure for 1 second or more");
    }
    Ok(())
}

const fn consumers(workload: &Workload) -> u32 {
    workload.subscriptions_per_topic * workload.consumers_per_subscription
}

/// As many descriptors as there may be connections.
pub(super) fn raise_descriptors(workload: &Workload) -> Outcome<()> {
    let each = u64::from(workload.producers_per_topic) + u64::from(consumers(workload));
    let wanted = u64::from(workload.topics) * each + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let enough = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    if !enough || setrlimit(Resource::Nofile, raised).is_err() {
        return Err(
            Failure::new(format!("{wanted} descriptors are needed, and not allowed"))
                .advise("raise the limit, such as with `ulimit -n`, or use fewer connections"),
        );
    }
    Ok(())
}

/// Differs between runs, so that none takes the records of another for its own.
pub(super) fn run_number() -> u32 {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_micros() as u64);
    let run = RUNS.fetch_add(1, Ordering::Relaxed) as u64;
    let mut random = crate::schedule::Random::new(time ^ (run << 48));
    random.below(0xffff) + 1
}

pub(super) fn topic_names(workload: &Workload, number: u32) -> Vec<String> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_secs());
    let name = |topic| format!("bench-{time:x}-{number:04x}-{topic}");
    (0..workload.topics).map(name).collect()
}

pub(super) fn plan(workload: &Workload, topics: &[String], cluster: Cluster, number: u32) -> Plan {
    let keyed = workload.keys != Keys::None;
    let slots = workload.topics * workload.partitions_per_topic;
    Plan {
        workload: workload.clone(),
        topics: topics.to_vec(),
        cluster,
        template: Template::new(
            workload.record_bytes,
            keyed,
            workload.batch_bytes,
            u64::from(number),
        ),
        number,
        schedule_from: AtomicU64::new(NEVER),
        measure_from: AtomicU64::new(NEVER),
        measure_to: AtomicU64::new(NEVER),
        filling: AtomicBool::new(false),
        consuming: AtomicBool::new(false),
        give_up: AtomicBool::new(false),
        filled_bytes: AtomicU64::new(0),
        held_bytes_max: (memory_limit_bytes() / HELD_SHARE).max(HELD_BYTES_MIN),
        producing: AtomicUsize::new(workload.generator_threads as usize),
        acked: (0..slots).map(|_| AtomicU64::new(0)).collect(),
    }
}

/// How long new partitions may take until their leader knows them.
const READY_WAIT: Duration = Duration::from_secs(60);
const READY_PAUSE: Duration = Duration::from_millis(20);

/// Waits until the leader of every partition takes requests for it: for a moment, a broker tells
/// others of a new topic before it leads it itself.
pub(super) fn wait_until_led(topics: &[String], cluster: &Cluster) -> Outcome<()> {
    let deadline = Instant::now() + READY_WAIT;
    for (topic, name) in topics.iter().enumerate() {
        for (node, address) in cluster.nodes.iter().enumerate() {
            let own = cluster.led(topic, node);
            while !own.is_empty() && end_offsets(*address, name, &own)?.len() < own.len() {
                if Instant::now() > deadline {
                    return Err(Failure::new(format!(
                        "{address} leads partitions of {name}, but did not answer for all of \
                         them within {READY_WAIT:?}"
                    ))
                    .advise("look into the log of the broker"));
                }
                std::thread::sleep(READY_PAUSE);
            }
        }
    }
    Ok(())
}

type Share = (Vec<Producer>, Vec<End>);

/// Producers and consumers, connected, for each thread.
pub(super) fn shares(plan: &Plan, control: &mut Control) -> Outcome<Vec<Share>> {
    let workload = &plan.workload;
    let threads = workload.generator_threads as usize;
    let mut shares: Vec<Share> = (0..threads).map(|_| Share::default()).collect();
    let mut turn = 0;
    for topic in 0..plan.topics.len() {
        for _ in 0..workload.producers_per_topic {
            let number = turn as u32;
            add_producer(plan, control, &mut shares[turn % threads], number, topic)?;
            turn += 1;
        }
        for _ in 0..workload.subscriptions_per_topic {
            for member in 0..workload.consumers_per_subscription {
                add_consumer(plan, &mut shares[turn % threads], member, topic)?;
                turn += 1;
            }
        }
    }
    Ok(shares)
}

fn connect(plan: &Plan, node: usize) -> Outcome<Link> {
    let address = plan.cluster.nodes[node];
    Link::open(address, CONNECT_WAIT).map_err(|error| {
        Failure::new(format!("cannot connect to {address}: {error}"))
            .advise("the broker advertises this address for partitions that it leads")
    })
}

fn add_producer(
    plan: &Plan,
    control: &mut Control,
    share: &mut Share,
    number: u32,
    topic: usize,
) -> Outcome<()> {
    let (producers, ends) = share;
    let mut lanes = BTreeMap::new();
    for node in &plan.cluster.leaders[topic] {
        if !lanes.contains_key(node) {
            let role = Role::Producer {
                producer: producers.len(),
                lane: Lane::default(),
            };
            lanes.insert(*node, ends.len());
            ends.push(End::new(connect(plan, *node)?, role));
        }
    }
    let own = plan.cluster.leaders[topic].iter().map(|node| lanes[node]);
    let identity = plan
        .workload
        .idempotent
        .then(|| producer_id(control))
        .transpose()?;
    producers.push(Producer::new(plan, number, topic, own.collect(), identity));
    Ok(())
}

fn add_consumer(plan: &Plan, share: &mut Share, member: u32, topic: usize) -> Outcome<()> {
    let members = plan.workload.consumers_per_subscription;
    let mut by_node: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (partition, node) in plan.cluster.leaders[topic].iter().enumerate() {
        if partition as u32 % members == member {
            by_node.entry(*node).or_default().push(partition as u32);
        }
    }
    for (node, partitions) in by_node {
        let fetcher = Fetcher::new(topic, &partitions);
        share
            .1
            .push(End::new(connect(plan, node)?, Role::Consumer(fetcher)));
    }
    Ok(())
}

//! Fetches as fast as they are answered, without a look into the records: what a broker can give.

use super::link::resolve;
use super::process::cpu_seconds;
use super::{Options, wire};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Of a batch: what stands before its length, and where the delta of its last offset is.
const BATCH_HEAD_BYTES: usize = 12;
const LAST_DELTA_AT: usize = 23;

/// One connection and the partitions that it reads.
struct Reader {
    stream: TcpStream,
    topic: String,
    /// Partitions that may be asked for, and from where.
    idle: VecDeque<(i32, i64)>,
    /// Those that were asked for, oldest first.
    asked: VecDeque<(i32, i64)>,
    answer: Vec<u8>,
    again: bool,
    total: Total,
}

#[derive(Clone, Copy, Default)]
struct Total {
    bytes: u64,
    requests: u64,
}

/// Every partition from its beginning: once, or again and again for `seconds`.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let (bootstrap, topic) = (options.bootstrap()?, options.topic()?);
    let partitions: i32 = options.get("partitions", 1)?;
    let connections: usize = options.get("connections", 1)?;
    let depth: usize = options.get("depth", 1)?;
    let seconds: f64 = options.get("seconds", 0.0)?;
    let pid: u32 = options.get("pid", 0)?;
    let address = resolve(&bootstrap)?;
    let mut readers = Vec::new();
    for number in 0..connections {
        let own = (0..partitions).filter(|at| *at as usize % connections == number);
        readers.push(Reader::open(address, &topic, own, seconds > 0.0)?);
    }
    let own = std::process::id();
    let (began, cpu, own_cpu) = (Instant::now(), cpu_seconds(pid)?, cpu_seconds(own)?);
    let until = (seconds > 0.0).then(|| began + Duration::from_secs_f64(seconds));
    let total = thread::scope(|scope| {
        let running = readers.into_iter();
        let running = running.map(|reader| scope.spawn(move || reader.read(depth, until)));
        let mut sum = Total::default();
        for one in running.collect::<Vec<_>>() {
            let one = one.join();
            let one = one.unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))?;
            sum.bytes += one.bytes;
            sum.requests += one.requests;
        }
        io::Result::Ok(sum)
    })?;
    let spent = began.elapsed().as_secs_f64();
    let (cpu, own_cpu) = (cpu_seconds(pid)? - cpu, cpu_seconds(own)? - own_cpu);
    let gb = total.bytes as f64 / 1e9;
    println!(
        "connections={connections} bytes={} requests={} seconds={spent:.2} gb_per_s={:.3} \
         reader_cpu_percent={:.0} broker_cpu_percent={:.0} broker_cpu_s_per_gb={:.3}",
        total.bytes,
        total.requests,
        gb / spent,
        own_cpu / spent * 100.0,
        cpu / spent * 100.0,
        cpu / gb.max(1e-9)
    );
    Ok(())
}

impl Reader {
    fn open(
        address: SocketAddr,
        topic: &str,
        partitions: impl Iterator<Item = i32>,
        again: bool,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            topic: topic.to_owned(),
            idle: partitions.map(|partition| (partition, 0)).collect(),
            asked: VecDeque::new(),
            answer: Vec::new(),
            again,
            total: Total::default(),
        })
    }

    /// Keeps `depth` requests on their way, each for a partition of its own.
    fn read(mut self, depth: usize, until: Option<Instant>) -> io::Result<Total> {
        loop {
            let over = until.is_some_and(|until| Instant::now() >= until);
            while !over && self.asked.len() < depth {
                let Some(next) = self.idle.pop_front() else {
                    break;
                };
                self.ask(next)?;
            }
            let Some((partition, offset)) = self.asked.pop_front() else {
                return Ok(self.total);
            };
            match self.take(partition, offset)? {
                Some(next) => self.idle.push_back((partition, next)),
                None if self.again => self.idle.push_back((partition, 0)),
                None => {}
            }
        }
    }

    fn ask(&mut self, (partition, offset): (i32, i64)) -> io::Result<()> {
        let poll = wire::Poll {
            max_wait_ms: 0,
            session: (0, -1),
        };
        self.asked.push_back((partition, offset));
        let frame = wire::fetch(&self.topic, &[(partition, offset)], poll);
        self.stream.write_all(&frame)
    }

    /// Where the next fetch begins; none at the end of the partition.
    fn take(&mut self, partition: i32, offset: i64) -> io::Result<Option<i64>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if self.answer.len() < length {
            self.answer.resize(length, 0);
        }
        self.stream.read_exact(&mut self.answer[..length])?;
        let cut = || io::Error::other("an answer that is none");
        let (error, records) = records(&self.answer[..length]).ok_or_else(cut)?;
        if error != 0 {
            return Err(io::Error::other(format!(
                "partition {partition} at {offset}: error {error}"
            )));
        }
        self.total.requests += 1;
        self.total.bytes += records.len() as u64;
        Ok(behind(records))
    }
}

/// Error and records of an answer for one partition.
fn records(answer: &[u8]) -> Option<(i16, &[u8])> {
    // Correlation id and tags of the header, throttle time, error and session.
    let mut at = Cursor(answer.get(4 + 1 + 4 + 2 + 4..)?);
    at.varint()?;
    let name = at.varint()?.saturating_sub(1);
    at.skip(name)?;
    at.varint()?;
    at.skip(4)?;
    let error = i16::from_be_bytes(*at.skip(2)?.first_chunk()?);
    // Three offsets; no aborted transactions are asked for; the replica to prefer.
    at.skip(24)?;
    at.varint()?;
    at.skip(4)?;
    let length = at.varint()?.saturating_sub(1);
    Some((error, at.skip(length)?))
}

/// The offset behind the last whole batch.
fn behind(mut records: &[u8]) -> Option<i64> {
    let mut next = None;
    while let (Some(base), Some(length)) = (records.first_chunk(), records.get(8..12)) {
        let length = i32::from_be_bytes(*length.first_chunk()?);
        let length = BATCH_HEAD_BYTES + usize::try_from(length).ok()?;
        let Some(batch) = records.get(..length) else {
            break;
        };
        let delta = i32::from_be_bytes(*batch.get(LAST_DELTA_AT..)?.first_chunk()?);
        next = Some(i64::from_be_bytes(*base) + i64::from(delta) + 1);
        records = &records[length..];
    }
    next
}

/// Reads without copying; none where the bytes end too early.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut bits = 0;
        for shift in (0..35).step_by(7) {
            let byte = *self.skip(1)?.first()?;
            bits |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(bits);
            }
        }
        None
    }
}

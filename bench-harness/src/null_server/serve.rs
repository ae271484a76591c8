//! The loop: one thread, all connections.

use super::answers::Answers;
use crate::client::{Link, Pool, Segment};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;

const LISTENER: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;

pub(super) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    println!("{address}");
    io::stdout().flush()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let input = io::stdin();
    epoll::add(&epoll, &input, EventData::new_u64(INPUT), EventFlags::IN)?;
    let mut links: HashMap<u64, Link> = HashMap::new();
    let mut answers = Answers::new(address.port());
    let (mut pool, mut next) = (Pool::default(), 0);
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let data = event.data;
            match data.u64() {
                INPUT => return Ok(()),
                LISTENER => {
                    while let Ok((stream, peer)) = listener.accept() {
                        let token = EventData::new_u64(next);
                        epoll::add(&epoll, &stream, token, EventFlags::IN)?;
                        links.insert(next, Link::of(stream, peer)?);
                        next += 1;
                    }
                }
                at => {
                    let Some(link) = links.get_mut(&at) else {
                        continue;
                    };
                    if answer(link, &mut answers, &mut pool).is_err() {
                        // Closing takes it out of the set.
                        links.remove(&at);
                    }
                }
            }
        }
    }
}

fn answer(link: &mut Link, answers: &mut Answers, pool: &mut Pool) -> io::Result<()> {
    link.read()?;
    let mut buffer = pool.small.pop().unwrap_or_default();
    buffer.clear();
    while let Some(frame) = link.frame() {
        let known = answers.answer(link.bytes(frame), &mut buffer);
        if !known {
            return Err(io::Error::other("a request that is none"));
        }
    }
    if buffer.is_empty() {
        pool.small.push(buffer);
    } else {
        link.push(Segment::Small(buffer));
    }
    // Answers are small: a peer that reads none of them is not one of the harness.
    link.write(pool)
}

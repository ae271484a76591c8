//! A machine made of a closure, and a runtime that runs it.
#![allow(dead_code, reason = "each test file uses its part")]

use reactor::buf::Arena;
use reactor::op::{Done, Input, Machine, Now, Op, Outbox, ShardId, Token};
use reactor::runtime::{Config, Handle, start};
use std::path::{Path, PathBuf};

/// What a scripted machine is told.
pub(crate) enum Event<M> {
    Start(ShardId, Arena),
    Done(Token, Done),
    Mail(ShardId, M),
    /// The end of every step: the time, and the mails that wait.
    Turn(Now, usize),
}

type Play<M> = Box<dyn FnMut(Event<M>, &mut Outbox<M>) + Send>;

pub(crate) struct Script<M> {
    start: Option<(ShardId, Arena)>,
    play: Play<M>,
}

impl<M: Send + 'static> Machine for Script<M> {
    type Mail = M;

    fn step(&mut self, now: Now, inputs: &mut Vec<Input<M>>, waiting: usize, out: &mut Outbox<M>) {
        if let Some((id, arena)) = self.start.take() {
            (self.play)(Event::Start(id, arena), out);
        }
        for input in inputs.drain(..) {
            let event = match input {
                Input::Done(token, done) => Event::Done(token, done),
                Input::Mail { from, mail } => Event::Mail(from, mail),
            };
            (self.play)(event, out);
        }
        (self.play)(Event::Turn(now, waiting), out);
    }
}

pub(crate) fn config(shards: u16) -> Config {
    let mut config = Config::for_shards(shards);
    config.arena_bytes_max = 64 << 20;
    config.open_max = 4096;
    config
}

pub(crate) fn run_with<M, P>(config: &Config, plays: Vec<P>) -> Handle<M>
where
    M: Send + 'static,
    P: FnMut(Event<M>, &mut Outbox<M>) + Send + 'static,
{
    let makers = plays.into_iter().map(|play| {
        move |id: ShardId, arena: Arena| Script {
            start: Some((id, arena)),
            play: Box::new(play) as Play<M>,
        }
    });
    start(config, makers.collect()).expect("the shards start")
}

/// Runs one operation after the other on one shard and returns what became of each. `next` is
/// given the results so far and the arena, and ends the machine by `None`.
pub(crate) fn one_by_one(
    mut next: impl FnMut(&[Done], &Arena) -> Option<Op> + Send + 'static,
) -> Vec<Done> {
    let mut results = Vec::new();
    let mut shard_arena = None;
    let play = move |event: Event<Vec<Done>>, out: &mut Outbox<Vec<Done>>| {
        match event {
            Event::Start(_, arena) => shard_arena = Some(arena),
            Event::Done(token, done) => {
                assert_eq!(token.0, results.len() as u64);
                results.push(done);
            }
            Event::Mail(..) | Event::Turn(..) => return,
        }
        let arena = shard_arena.as_ref().expect("started first");
        match next(&results, arena) {
            Some(op) => out.ops.push((Token(results.len() as u64), op)),
            None => {
                out.mail
                    .push((reactor::op::CONTROL, std::mem::take(&mut results)));
                out.exit = true;
            }
        }
    };
    let handle = run_with(&config(1), vec![play]);
    let (_, results) = handle.inbox().recv().expect("the results");
    handle.join();
    results
}

/// A directory of this test, removed when dropped.
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// On the disk that the build goes to.
    pub(crate) fn new(name: &str) -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    pub(crate) fn at(root: &Path, name: &str) -> Self {
        let path = root.join(format!("reactor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

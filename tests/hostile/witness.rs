//! A client that behaves, and must be served whatever the others do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::broker::wait_for;
use crate::client::{Client, batch, stored};

/// Produces and fetches in turn on a thread of its own until it is told to stop.
pub(crate) struct Witness {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        client.create_topic("witness", 2, &[]);
        let (rounds, stop) = (Arc::default(), Arc::default());
        let (count, ended) = (Arc::clone(&rounds), Arc::clone(&stop));
        let thread = std::thread::spawn(move || play(&mut client, &count, &ended));
        Self {
            rounds,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until it has been served a few times more from now on.
    pub(crate) fn is_served(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        wait_for("a client that behaves to be served", || {
            let broken = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!broken, "the client that behaves was not served");
            (self.rounds.load(Ordering::SeqCst) > before + 3).then_some(())
        });
    }

    /// Ends it; it must have been served up to now.
    pub(crate) fn end(mut self) {
        self.is_served();
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            matches!(ended, Some(Ok(()))),
            "the client that behaves was not served"
        );
    }
}

fn play(client: &mut Client, count: &AtomicU64, ended: &AtomicBool) {
    let mut offset = 0;
    while !ended.load(Ordering::SeqCst) {
        for partition in 0..2 {
            let batch = batch(format!("round {offset}").as_bytes());
            assert_eq!(client.produce("witness", partition, &batch), (0, offset));
            let got = client.fetch("witness", partition, offset, 1 << 20);
            assert_eq!(got, stored(&batch, offset));
        }
        offset += 1;
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

//! The whole broker over the simulated kernel: produce, fetch, groups, kills and power cuts at
//! random points, recovery; what was acknowledged must be there. Beside these stories, `rules`
//! plays one scene for each rule of Kafka's that needs the whole broker to show.
//!
//! `RINGLOG_SIM_SEEDS` says how many seeds run, `RINGLOG_SIM_SEED` runs one of them.

#[path = "broker/client.rs"]
mod client;
#[path = "broker/consumer.rs"]
mod consumer;
#[path = "broker/life.rs"]
mod life;
#[path = "broker/producer.rs"]
mod producer;
#[path = "broker/rules/mod.rs"]
mod rules;

use life::Story;

const SEEDS: u64 = 200;

#[test]
fn what_was_acknowledged_survives() {
    let one = std::env::var("RINGLOG_SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let count = std::env::var("RINGLOG_SIM_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok());
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..count.unwrap_or(SEEDS),
    };
    for seed in seeds {
        let told = std::panic::catch_unwind(|| Story::new(seed).play());
        if let Err(panic) = told {
            eprintln!("replay: RINGLOG_SIM_SEED={seed} cargo test --test sim_broker");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    assert_eq!(Story::new(7).play(), Story::new(7).play());
    assert_ne!(Story::new(7).play(), Story::new(8).play());
}

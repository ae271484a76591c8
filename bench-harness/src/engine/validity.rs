//! Why a figure may not be believed.

use super::stats::Tally;
use crate::model::{Doubt, Pace, Run, Workload, micros};

const BUSY_MAX: f64 = 0.9;
const ACKED_SHARE_MIN: f64 = 0.99;
const LATE_US: u64 = 1_000;
const STOLEN_MAX: f64 = 0.01;

pub(super) fn doubts(workload: &Workload, run: &Run, tally: &Tally, lost: u64) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut add = |fatal, what: String| doubts.push(Doubt { fatal, what });
    if let Some(why) = &tally.gave_up {
        add(true, format!("The run ended early: {why}."));
    }
    let errors: Vec<String> = run
        .counts
        .errors
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !errors.is_empty() {
        add(true, format!("Records failed: {}.", errors.join(", ")));
    }
    if lost > 0 {
        add(
            true,
            format!("{lost} acknowledged records are not in the broker's log."),
        );
    }
    if tally.missing > 0 {
        let missing = tally.missing;
        add(
            true,
            format!("{missing} acknowledged records did not reach a consumer within 5 s."),
        );
    }
    if tally.wrong > 0 {
        let wrong = tally.wrong;
        add(
            true,
            format!("{wrong} times a consumer met a gap, a repetition or a foreign record."),
        );
    }
    if run.counts.reconnects > 0 {
        let count = run.counts.reconnects;
        add(
            true,
            format!("{count} connections broke and were made again."),
        );
    }
    rate(workload, run, &mut add);
    generator(workload, run, &mut add);
    if let Some(stolen) = much_stolen(run) {
        add(
            false,
            format!(
                "Whoever runs this virtual machine took {:.1} % of the time of its cores while \
                 they had something to do: the tails of all latencies have these pauses in them.",
                stolen * 100.0
            ),
        );
    }
    if run.counts.stalls > 0 {
        add(
            false,
            format!(
                "Nothing was acknowledged for 100 ms or more {} times; the longest took {} ms.",
                run.counts.stalls, run.counts.longest_stall_ms
            ),
        );
    }
    doubts
}

fn rate(workload: &Workload, run: &Run, add: &mut impl FnMut(bool, String)) {
    let nothing = match workload.pace {
        Pace::ConsumeOnly => run.counts.consumed == 0,
        _ => run.counts.acked == 0,
    };
    if nothing {
        add(
            true,
            "Nothing was measured: no record came through.".to_owned(),
        );
    }
    let Pace::Rate { records_per_s } = workload.pace else {
        return;
    };
    let intended = run.counts.intended as f64;
    // What was due at the very end may still be on its way: as much as its latency allows.
    let tail = run.ack.at(0.5).unwrap_or(0) as f64 / 1e6 + workload.linger.as_secs_f64();
    let tail = records_per_s * tail.min(0.1);
    let noise = 2.0 * intended.sqrt();
    if (run.counts.acked as f64) < intended * ACKED_SHARE_MIN - tail - noise {
        add(
            true,
            format!(
                "Only {:.0} of the asked {records_per_s:.0} records/s were acknowledged: the \
                 latencies are those of a growing queue. Ask for a lower rate.",
                run.counts.acked as f64 / run.seconds.max(1e-9)
            ),
        );
    }
}

/// What the host took, if that is too much to be passed over.
fn much_stolen(run: &Run) -> Option<f64> {
    run.stolen.filter(|stolen| *stolen > STOLEN_MAX)
}

fn generator(workload: &Workload, run: &Run, add: &mut impl FnMut(bool, String)) {
    let open = matches!(workload.pace, Pace::Rate { .. });
    if run.generator_busy > BUSY_MAX {
        add(
            open,
            format!(
                "The load generator was busy for {:.0} % of the time: it may be what was \
                 measured. Give it more threads and cores.",
                run.generator_busy * 100.0
            ),
        );
    }
    let own = run.generator_delay.at(0.99).unwrap_or(0);
    if open && own > LATE_US {
        let advice = match much_stolen(run) {
            Some(_) => {
                "The host of this machine took the cores meanwhile, which may be why: use one \
                 that has its own. Or give the generator a core of its own, more threads, or ask \
                 for a lower rate."
            }
            None => "Give it a core of its own, more threads, or ask for a lower rate.",
        };
        add(
            true,
            format!(
                "The generator was late: it came to one record in a hundred {own} us or more \
                 after its time, whatever the broker did. {advice}"
            ),
        );
    }
    let limit = micros(workload.linger) + LATE_US;
    let delay = run.send_delay.at(0.99).unwrap_or(0);
    if open && delay > limit && own <= LATE_US {
        add(
            false,
            format!(
                "The broker held records back: one in a hundred was sent {delay} us or more \
                 after its time, because as many requests as may be were in flight or the \
                 socket was full. It counts."
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stats::Times;
    use crate::model::Latency;

    fn all_of(us: u64) -> Latency {
        let mut times = Times::new();
        times.add(0, us * 1_000, 1_000);
        times.latency()
    }

    #[test]
    fn time_that_the_host_took_is_told() {
        let workload = crate::workload::preset("produce").expect("it is built in");
        let told = |stolen| {
            let run = Run {
                seconds: 1.0,
                stolen,
                ..Run::default()
            };
            let all = doubts(&workload, &run, &Tally::new(), 0);
            let found = all.into_iter().find(|doubt| doubt.what.contains("took"));
            found.map(|doubt| (doubt.fatal, doubt.what.contains(" 4.2 %")))
        };
        let late = Run {
            generator_delay: all_of(5_000),
            stolen: Some(0.042),
            ..Run::default()
        };
        let end_to_end = crate::workload::preset("end-to-end").expect("it is built in");
        let why = &doubts(&end_to_end, &late, &Tally::new(), 0);
        let blamed = |doubt: &Doubt| doubt.what.contains("late") && doubt.what.contains("host");
        assert!(why.iter().any(blamed), "{why:?}");
        assert_eq!(told(Some(0.042)), Some((false, true)));
        assert_eq!((told(Some(0.01)), told(None)), (None, None));
    }

    #[test]
    fn a_late_generator_is_told_from_a_broker_that_holds_back() {
        let workload = crate::workload::preset("end-to-end").expect("it is built in");
        let seen = |own: u64, sent: u64| {
            let run = Run {
                seconds: 1.0,
                generator_delay: all_of(own),
                send_delay: all_of(sent),
                ..Run::default()
            };
            let all = doubts(&workload, &run, &Tally::new(), 0).into_iter();
            all.map(|doubt| (doubt.fatal, doubt.what))
                .collect::<Vec<_>>()
        };
        let told = |all: &[(bool, String)], fatal, part: &str| {
            all.iter()
                .any(|(is_fatal, what)| *is_fatal == fatal && what.contains(part))
        };
        let late = seen(5_000, 6_000);
        assert!(told(&late, true, "The generator was late"), "{late:?}");
        assert!(!told(&late, false, "held records back"), "{late:?}");
        assert!(told(&late, true, "a core of its own"), "{late:?}");
        let held = seen(50, 6_000);
        assert!(told(&held, false, "held records back"), "{held:?}");
        assert!(!told(&held, true, "late"), "{held:?}");
        let good = seen(50, 60);
        assert!(!told(&good, false, "held") && !told(&good, true, "late"));
    }
}

//! Rounds: every broker in each, and each round in the opposite order of the one before, so that
//! what changes slowly meets all of them alike.

use crate::failure::Outcome;
use crate::model::{Doubt, Run};

/// Who comes when in one round.
fn order(brokers: usize, round: usize) -> Vec<usize> {
    let forward = 0..brokers;
    if round.is_multiple_of(2) {
        forward.collect()
    } else {
        forward.rev().collect()
    }
}

/// The runs of every broker. One that fails is a run that is not valid; after `FAILURES_MAX` of
/// them in a row a broker is given up, and its remaining rounds say so.
pub(super) fn alternate(
    brokers: usize,
    rounds: usize,
    mut measure: impl FnMut(usize, usize) -> Outcome<Run>,
) -> Vec<Vec<Run>> {
    const FAILURES_MAX: usize = 2;
    let mut runs = vec![Vec::new(); brokers];
    let mut failures = vec![0; brokers];
    for round in 0..rounds {
        for broker in order(brokers, round) {
            let run = if failures[broker] >= FAILURES_MAX {
                invalid("Not measured: the rounds before failed.".to_owned())
            } else {
                match measure(broker, round) {
                    Ok(run) => {
                        failures[broker] = 0;
                        run
                    }
                    Err(failure) => {
                        failures[broker] += 1;
                        invalid(format!("Not measured: {failure}"))
                    }
                }
            };
            runs[broker].push(run);
        }
    }
    runs
}

fn invalid(what: String) -> Run {
    Run {
        doubts: vec![Doubt { fatal: true, what }],
        ..Run::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn every_round_turns_the_order_around() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
        let mut seen = Vec::new();
        let runs = alternate(2, 3, |broker, round| {
            seen.push((round, broker));
            Ok(Run::default())
        });
        assert_eq!(seen, [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]);
        assert!(runs.iter().all(|runs| runs.len() == 3));
    }

    #[test]
    fn a_broker_that_fails_has_rounds_that_are_not_valid_and_the_others_go_on() {
        let mut asked = [0; 2];
        let runs = alternate(2, 5, |broker, _| {
            asked[broker] += 1;
            if broker == 1 {
                return Err(Failure::new("it has ended by itself"));
            }
            Ok(Run::default())
        });
        assert_eq!(asked, [5, 2], "it is given up after two");
        assert!(runs[0].iter().all(|run| run.doubts.is_empty()));
        assert_eq!(runs[1].len(), 5, "rounds stay side by side");
        assert!(runs[1].iter().all(|run| run.doubts[0].fatal));
        assert!(runs[1][0].doubts[0].what.contains("ended by itself"));
    }
}

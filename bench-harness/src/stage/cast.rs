//! All brokers of a comparison, started and warm.

use super::alternate::alternate;
use super::measure::{Watch, perform};
use super::warm::{Warmth, warm};
use super::{Cores, SiteOptions, check, cpu_of_others, settle};
use crate::brokers::{self, Running, Site, Spec, Work, ask, judge};
use crate::failure::Outcome;
use crate::model::{Comparison, Doubt, Measured, Run, Workload};
use crate::report::terminal::{Progress, short};

/// Other brokers may take this share of the brokers' cores while one is measured.
const OTHERS_SHARE: f64 = 0.05;

pub(crate) struct Cast {
    brokers: Vec<Running>,
    /// Of each broker: what its figures have to be read with.
    doubts: Vec<Vec<Doubt>>,
    cores: Cores,
}

impl Cast {
    /// One that runs already.
    pub(crate) fn of(running: Running, cores: &Cores) -> Self {
        Self {
            brokers: vec![running],
            doubts: vec![Vec::new()],
            cores: cores.clone(),
        }
    }

    /// Starts all of them and warms those that need it, if they are to be warmed.
    pub(crate) fn start(
        specs: &[Spec],
        work: &Work,
        cores: &Cores,
        options: &SiteOptions,
        warmth: Option<Warmth>,
        progress: &mut Progress,
    ) -> Outcome<Self> {
        let site = Site {
            work,
            cores: &cores.brokers,
            ringlog: options.ringlog.as_deref(),
        };
        let mut cast = Self {
            brokers: Vec::new(),
            doubts: Vec::new(),
            cores: cores.clone(),
        };
        for spec in specs {
            progress.now(&format!("starting {}", spec.name));
            let mut running = brokers::start(spec, &site)?;
            let mut doubts = Vec::new();
            if running.warms {
                doubts.extend(cast.warmed(&mut running, warmth, progress)?);
            }
            if cores.overlap() {
                doubts.push(mind(
                    "The load generator shares a core with the broker: each slows the other \
                     down. Give them cores of their own with --broker-cores and \
                     --generator-cores.",
                ));
            }
            cast.brokers.push(running);
            cast.doubts.push(doubts);
        }
        Ok(cast)
    }

    fn warmed(
        &self,
        running: &mut Running,
        warmth: Option<Warmth>,
        progress: &mut Progress,
    ) -> Outcome<Option<Doubt>> {
        let name = running.broker.name.clone();
        let Some(warmth) = warmth else {
            running.broker.warmed = "no: it was measured cold, as asked".to_owned();
            return Ok(Some(mind(
                "It was measured cold: code that a virtual machine compiles while it runs costs \
                 several times as much before.",
            )));
        };
        let mut windows = 0;
        let warmed = warm(warmth, |workload| {
            windows += 1;
            let label = format!("warming {name}, window {windows}");
            perform(
                workload,
                running,
                &self.cores,
                Watch::new(running, label, progress),
            )
        })?;
        progress.done(&format!("{name} has taken {}", warmed.what));
        running.broker.warmed.clone_from(&warmed.what);
        Ok((!warmed.warm).then(|| {
            mind(&format!(
                "It was not seen to be warm: {}. Later it may be faster.",
                warmed.what
            ))
        }))
    }

    /// Every broker in every round. What fails is in the result as a doubt.
    pub(crate) fn compare(
        &mut self,
        workload: &Workload,
        rounds: usize,
        progress: &mut Progress,
    ) -> Outcome<Comparison> {
        check(&mut self.brokers)?;
        for running in &mut self.brokers {
            let said = ask(&running.broker.address, workload)?;
            running.broker.durability = judge(&said, workload.acks);
        }
        let count = self.brokers.len();
        let runs = alternate(count, rounds, |broker, round| {
            let name = &self.brokers[broker].broker.name;
            let label = format!("{}, round {} of {rounds}, {name}", workload.name, round + 1);
            let run = self.round(workload, broker, &label, progress);
            match &run {
                Ok(run) => progress.done(&format!("{label}: {}", short(run))),
                Err(failure) => progress.done(&format!("{label}: {failure}")),
            }
            run
        });
        let brokers = self.brokers.iter().zip(runs);
        Ok(Comparison {
            workload: workload.clone(),
            brokers: brokers
                .map(|(running, rounds)| Measured {
                    broker: running.broker.clone(),
                    rounds,
                })
                .collect(),
        })
    }

    fn round(
        &mut self,
        workload: &Workload,
        broker: usize,
        label: &str,
        progress: &mut Progress,
    ) -> Outcome<Run> {
        self.brokers[broker].check()?;
        let rested = settle(&self.brokers);
        let others = cpu_of_others(&self.brokers, broker);
        let running = &self.brokers[broker];
        let watch = Watch::new(running, label.to_owned(), progress);
        let run = perform(workload, running, &self.cores, watch);
        self.brokers[broker].check()?;
        let mut run = run?;
        let others = cpu_of_others(&self.brokers, broker) - others;
        let time = (workload.warmup + workload.measured).as_secs_f64();
        let share = others / (time * self.cores.brokers.len() as f64).max(1e-9);
        if share > OTHERS_SHARE {
            run.doubts.push(mind(&format!(
                "The other brokers used {:.0} % of the brokers' cores meanwhile.",
                share * 100.0
            )));
        }
        if !rested {
            run.doubts.push(mind(
                "A broker was still busy with what came before when the round began.",
            ));
        }
        run.doubts.extend(self.doubts[broker].iter().cloned());
        Ok(run)
    }

    pub(crate) fn stop(self) {
        for running in self.brokers {
            running.stop();
        }
    }
}

fn mind(what: &str) -> Doubt {
    Doubt {
        fatal: false,
        what: what.to_owned(),
    }
}

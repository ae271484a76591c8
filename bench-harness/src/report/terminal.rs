//! The summary on the terminal.

use super::figures::{Better, Metric, Spread, Verdict, compares, metrics_of, valid};
use super::units::{Unit, digits, times};
use super::words;
use crate::model::{Comparison, Floor, Headroom, Measured, Report};
use std::io::{self, IsTerminal, Write};

const NAME_WIDTH: usize = 42;
const VALUE_WIDTH: usize = 12;
const FACTOR_WIDTH: usize = 22;
/// Before a figure of rounds none of which is valid.
const REFUTED: &str = "✗ ";

/// Colours, where somebody looks who can see them.
#[derive(Clone, Copy)]
struct Ink {
    on: bool,
}

impl Ink {
    fn paint(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn soft(self, text: &str) -> String {
        self.paint("2", text)
    }
}

pub(crate) fn summary(report: &Report) {
    let on = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = summary_text(report, Ink { on });
    // Nobody is left to tell if the terminal is gone.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn summary_text(report: &Report, ink: Ink) -> String {
    let mut text = String::new();
    for comparison in &report.comparisons {
        table(&mut text, comparison, ink);
        doubts(&mut text, comparison, ink);
    }
    headrooms(&mut text, &report.headroom, ink);
    if let Some(floor) = &report.floor {
        floors(&mut text, floor, ink);
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn table(text: &mut String, comparison: &Comparison, ink: Ink) {
    let workload = &comparison.workload;
    let brokers = &comparison.brokers;
    line(text, "");
    line(text, &ink.strong(&workload.name));
    for part in wrapped(&words::workload(workload), 98) {
        line(text, &ink.soft(&format!("  {part}")));
    }
    let Some(first) = brokers.first() else {
        return;
    };
    let mut head = format!("  {:NAME_WIDTH$}", "");
    for (at, measured) in brokers.iter().enumerate() {
        head += &format!(
            "{:>VALUE_WIDTH$}",
            shortened(&measured.broker.name, VALUE_WIDTH - 1)
        );
        if at > 0 {
            head += &" ".repeat(FACTOR_WIDTH);
        }
    }
    line(text, &ink.strong(&head));
    for metric in metrics_of(workload, brokers) {
        let mut row = format!("  {:NAME_WIDTH$}", metric.name);
        for (at, measured) in brokers.iter().enumerate() {
            row += &format!("{:>VALUE_WIDTH$}", value(metric, measured));
            if at > 0 {
                let factor = metric.factor(first, measured);
                let factor = factor.filter(|_| compares(metric, workload));
                row +=
                    &factor.map_or_else(|| " ".repeat(FACTOR_WIDTH), |factor| painted(factor, ink));
            }
        }
        line(text, &row);
    }
    if !brokers.iter().all(|broker| broker.rounds.iter().any(valid)) {
        let legend = "  ✗: not valid, for the reasons below";
        line(text, &ink.soft(legend));
    }
    if brokers.len() > 1 {
        let rounds = first.rounds.len();
        let name = &first.broker.name;
        let legend = format!(
            "  ×: how many times better {name} is, median (lowest–highest) of {rounds} rounds, \
             less those that are not valid"
        );
        line(text, &ink.soft(&legend));
    }
    for measured in brokers {
        let broker = &measured.broker;
        let durability = &broker.durability;
        let note = format!(
            "  {}: acknowledged means {} ({})",
            broker.name, durability.meaning, durability.evidence
        );
        line(text, &ink.soft(&note));
    }
}

fn value(metric: &Metric, measured: &Measured) -> String {
    match (metric.spread(measured), metric.refuted(measured)) {
        (Some(spread), _) => metric.unit.show(spread.median),
        (None, Some(spread)) => format!("{REFUTED}{}", metric.unit.show(spread.median)),
        (None, None) if !measured.rounds.iter().any(valid) => "not valid".to_owned(),
        (None, None) => "–".to_owned(),
    }
}

/// Padded before it is painted: escapes have no width.
fn painted(factor: Spread, ink: Ink) -> String {
    let spread = match factor.rounds {
        1 => String::new(),
        _ => format!(" ({}–{})", digits(factor.min), digits(factor.max)),
    };
    let plain = format!("  {}{spread}", times(factor.median));
    let padded = format!("{plain:FACTOR_WIDTH$}");
    match factor.verdict() {
        Verdict::Better => ink.paint("32", &padded),
        Verdict::Worse => ink.paint("31", &padded),
        Verdict::Undecided => ink.soft(&padded),
    }
}

/// Each doubt once, with where it arose.
pub(super) fn doubts_of(comparison: &Comparison) -> Vec<(bool, String, String)> {
    let mut all: Vec<(bool, String, String)> = Vec::new();
    for measured in &comparison.brokers {
        let own = format!("{}, ", measured.broker.name);
        for (round, run) in (1..).zip(&measured.rounds) {
            for doubt in &run.doubts {
                let seen = all.iter_mut().find(|(fatal, place, what)| {
                    *fatal == doubt.fatal && *what == doubt.what && place.starts_with(&own)
                });
                match seen {
                    Some((_, place, _)) => *place += &format!(", {round}"),
                    None => all.push((
                        doubt.fatal,
                        format!("{own}round {round}"),
                        doubt.what.clone(),
                    )),
                }
            }
        }
    }
    all.sort_by_key(|(fatal, ..)| !fatal);
    all
}

fn doubts(text: &mut String, comparison: &Comparison, ink: Ink) {
    for (fatal, place, what) in doubts_of(comparison) {
        let mark = if fatal {
            ink.paint("1;31", "not valid")
        } else {
            ink.paint("33", "mind")
        };
        line(text, &format!("  {mark}: {place}: {what}"));
    }
}

fn headrooms(text: &mut String, all: &[Headroom], ink: Ink) {
    if all.is_empty() {
        return;
    }
    line(text, "");
    line(
        text,
        &ink.strong("The load generator's own limit, against a server that does nothing"),
    );
    for headroom in all {
        let us = |value: u64| Unit::Micros.show(value as f64);
        let row = format!(
            "  {:NAME_WIDTH$}{:>VALUE_WIDTH$}   ack p50 {}, p99 {}, p99.9 {}",
            headroom.workload,
            Unit::Rate.show(headroom.records_per_s),
            us(headroom.ack_p50_us),
            us(headroom.ack_p99_us),
            us(headroom.ack_p999_us)
        );
        line(text, &row);
    }
}

fn floors(text: &mut String, floor: &Floor, ink: Ink) {
    line(text, "");
    line(text, &ink.strong("What this machine can do"));
    for figure in &floor.figures {
        let name = format!("{}: {}", figure.group, figure.name);
        let mut parts = Vec::new();
        parts.extend(figure.bytes_per_s.map(|value| Unit::BytesRate.show(value)));
        parts.extend(figure.operations_per_s.map(|value| Unit::Rate.show(value)));
        for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
            let value = figure.latency.as_ref().and_then(|latency| latency.at(q));
            parts.extend(value.map(|us| format!("{label} {}", Unit::Micros.show(us as f64))));
        }
        if figure.group == "yardstick" {
            let cpu = figure.cpu_ns_per_operation;
            parts.extend(cpu.map(|ns| format!("CPU {} each", Unit::Nanos.show(ns))));
        }
        parts.extend(figure.doubt.as_ref().map(|why| format!("in doubt: {why}")));
        line(text, &format!("  {name:NAME_WIDTH$}  {}", parts.join(", ")));
    }
    for gap in &floor.left_out {
        line(text, &format!("  not measured: {gap}"));
    }
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split(" · ") {
        let last = lines.len() - 1;
        let room = lines[last].chars().count() + part.chars().count() + 3 <= width;
        if lines[last].is_empty() {
            lines[last] = part.to_owned();
        } else if room {
            lines[last] += &format!(" · {part}");
        } else {
            lines.push(part.to_owned());
        }
    }
    lines
}

/// A line about what is going on, written over again; one line each where nobody looks.
pub(crate) struct Progress {
    live: bool,
    width: usize,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            live: io::stderr().is_terminal(),
            width: 0,
        }
    }

    /// What goes on now, and changes every second.
    pub(crate) fn now(&mut self, text: &str) {
        if self.live {
            let text = shortened(text, 110);
            let width = text.chars().count();
            let gap = " ".repeat(self.width.saturating_sub(width));
            eprint!("\r{text}{gap}");
            self.width = width;
        }
    }

    /// What has come to an end, and stays.
    pub(crate) fn done(&mut self, text: &str) {
        self.now("");
        if self.live {
            eprint!("\r");
        }
        eprintln!("{text}");
    }
}

/// One figure of a run for the line about it.
pub(crate) fn short(run: &crate::model::Run) -> String {
    let rate = |count: u64| Unit::Rate.show(count as f64 / run.seconds.max(1e-9));
    let mut parts = Vec::new();
    if run.counts.acked > 0 {
        parts.push(format!("{} acknowledged", rate(run.counts.acked)));
    }
    if run.counts.consumed > 0 {
        parts.push(format!("{} consumed", rate(run.counts.consumed)));
    }
    for (name, latency) in [("ack", &run.ack), ("end to end", &run.end_to_end)] {
        if let Some(p99) = latency.at(0.99) {
            parts.push(format!("{name} p99 {}", Unit::Micros.show(p99 as f64)));
        }
    }
    if let Some(cpu) = super::figures::METRICS
        .iter()
        .find(|metric| metric.unit == Unit::Nanos && metric.better == Better::Lower)
        .and_then(|metric| metric.of(run))
    {
        parts.push(format!("{} CPU per record", Unit::Nanos.show(cpu)));
    }
    if !valid(run) {
        parts.push("not valid".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Doubt;
    use crate::report::sample;

    #[test]
    fn the_table_has_values_factors_and_what_acknowledged_means() {
        let text = summary_text(&sample::report(), Ink { on: false });
        assert!(
            !text.contains('\x1b'),
            "no colours where they were not asked for"
        );
        let row = text
            .lines()
            .find(|line| line.contains("records acknowledged"));
        let row = row.expect("a row of throughput");
        for part in ["2.03 M/s", "410 k/s", "4.9× (4.45–5.28)"] {
            assert!(row.contains(part), "{part} is not in: {row}");
        }
        assert!(text.contains("kafka: acknowledged means on disk"), "{text}");
        assert!(text.contains("write + flush, 64 KiB"), "{text}");
    }

    #[test]
    fn what_is_not_valid_is_marked_in_every_row_and_says_why() {
        let mut comparison = sample::comparison(sample::workload("w"));
        for run in &mut comparison.brokers[1].rounds {
            run.doubts.push(Doubt {
                fatal: true,
                what: "It disappeared.".to_owned(),
            });
        }
        let mut text = String::new();
        table(&mut text, &comparison, Ink { on: false });
        doubts(&mut text, &comparison, Ink { on: false });
        let row = text
            .lines()
            .find(|line| line.contains("records acknowledged"));
        assert!(row.is_some_and(|row| row.contains("✗ 410 k/s")), "{text}");
        assert!(text.contains("✗: not valid"), "{text}");
        assert!(
            !text.contains('×') || !text.contains("4.9×"),
            "no factor of it: {text}"
        );
        assert!(
            text.contains("not valid: kafka, round 1, 2, 3, 4, 5: It disappeared."),
            "{text}"
        );
    }

    #[test]
    fn long_lines_are_wrapped_between_their_parts() {
        let lines = wrapped("one · two · three", 9);
        assert_eq!(lines, ["one · two", "three"]);
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}

//! The page as a whole.

use super::curves::{self, Colors, Kind};
use super::plot::Plot;
use super::{setup, table};
use crate::model::{Comparison, Report};
use crate::report::terminal::doubts_of;
use crate::report::words;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("hover.js");
/// The style has so many colours; further brokers begin again.
const COLORS: usize = 8;

/// Text as it may stand anywhere in the page.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            // No control character is allowed to stand there.
            c if c.is_control() && c != '\n' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

pub(crate) fn page(report: &Report) -> String {
    let names = brokers(report);
    let color = |name: &str| names.iter().position(|other| other == name).unwrap_or(0) % COLORS;
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    page += "<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n";
    page += &format!("<title>{}</title>\n", escaped(&title(&names)));
    page += &format!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n");
    head(&mut page, report, &names, &color);
    if report.comparisons.len() > 1 {
        table::overview(&mut page, &report.comparisons, &color);
    }
    for sweep in curves::sweeps(&report.comparisons) {
        against_rate(&mut page, &sweep, &color);
    }
    for (number, comparison) in (1..).zip(&report.comparisons) {
        workload(&mut page, number, comparison, &color);
    }
    if let Some(floor) = &report.floor {
        setup::floor(&mut page, floor);
    }
    setup::setup(&mut page, report, &color);
    page += &format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

/// All that were measured, each once, in the order of their appearance.
fn brokers(report: &Report) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for measured in report.comparisons.iter().flat_map(|one| &one.brokers) {
        if !names.contains(&measured.broker.name) {
            names.push(measured.broker.name.clone());
        }
    }
    names
}

fn title(names: &[String]) -> String {
    match names {
        [] => "What this machine can do".to_owned(),
        [only] => format!("{only}, measured"),
        [first, second] => format!("{first} beside {second}"),
        [first, middle @ .., last] => format!("{first} beside {} and {last}", middle.join(", ")),
    }
}

fn head(page: &mut String, report: &Report, names: &[String], color: Colors<'_>) {
    let began = report.began.replace('T', " ").replace('Z', " UTC");
    *page += &format!(
        "<header>\n<p class=\"kicker\">bench-harness {} · {}</p>\n<h1>{}</h1>\n",
        escaped(&report.harness_version),
        escaped(&began),
        escaped(&title(names))
    );
    let machine = &report.machine;
    *page += &format!(
        "<p class=\"lead\">{}, {} {}, {}. {}</p>\n",
        escaped(&machine.cpu),
        machine.cores,
        if machine.cores == 1 { "core" } else { "cores" },
        escaped(&machine.storage),
        escaped(&method(report))
    );
    if !names.is_empty() {
        *page += "<ul class=\"legend\">";
        for measured in names.iter().filter_map(|name| {
            let all = report.comparisons.iter().flat_map(|one| &one.brokers);
            all.into_iter()
                .find(|measured| measured.broker.name == *name)
        }) {
            let broker = &measured.broker;
            *page += &format!(
                "<li><i class=\"chip c{}\"></i><b>{}</b> acknowledged means {}</li>",
                color(&broker.name),
                escaped(&broker.name),
                escaped(&broker.durability.meaning)
            );
        }
        *page += "</ul>\n";
    }
    *page += "</header>\n";
}

fn method(report: &Report) -> String {
    let compared = report.comparisons.iter().any(|one| one.brokers.len() > 1);
    let rounds = report.comparisons.iter().flat_map(|one| &one.brokers);
    let rounds = rounds.map(|measured| measured.rounds.len()).max();
    match rounds {
        Some(rounds) if compared => format!(
            "Each workload ran {} against every broker, one after the other in alternation; \
             figures are medians, factors are taken round by round.",
            match rounds {
                1 => "once".to_owned(),
                rounds => format!("{rounds} times"),
            }
        ),
        Some(1) => "Each workload ran once: a first impression, no spread.".to_owned(),
        Some(rounds) => format!("Each workload ran {rounds} times; figures are medians."),
        None => String::new(),
    }
}

fn plots(page: &mut String, plots: Vec<Option<Plot>>) {
    let plots: Vec<_> = plots.into_iter().flatten().collect();
    if plots.is_empty() {
        return;
    }
    *page += "<div class=\"plots\">\n";
    for plot in plots {
        *page += &plot.svg();
    }
    *page += "</div>\n";
}

fn against_rate(page: &mut String, sweep: &[&Comparison], color: Colors<'_>) {
    let both = [Kind::Ack, Kind::EndToEnd].map(|kind| curves::against_rate(sweep, kind, color));
    if both.iter().all(Option::is_none) {
        return;
    }
    *page += "<section>\n<h2>Latency against rate</h2>\n";
    let names: Vec<_> = sweep.iter().map(|one| &*one.workload.name).collect();
    *page += &format!(
        "<p class=\"about\">{}: the same workload at {} rates, medians of the rounds.</p>\n",
        escaped(&names.join(", ")),
        sweep.len()
    );
    plots(page, both.into());
    *page += "</section>\n";
}

fn workload(page: &mut String, number: usize, comparison: &Comparison, color: Colors<'_>) {
    *page += &format!(
        "<section id=\"workload-{number}\">\n<h2>{}</h2>\n<p class=\"about\">{}</p>\n",
        escaped(&comparison.workload.name),
        escaped(&words::workload(&comparison.workload))
    );
    doubts(page, comparison);
    table::figures(page, comparison, color);
    plots(
        page,
        vec![
            curves::percentiles(comparison, Kind::Ack, color),
            curves::percentiles(comparison, Kind::EndToEnd, color),
            curves::latency_over_time(comparison, Kind::Ack, color),
            curves::latency_over_time(comparison, Kind::EndToEnd, color),
            curves::throughput_over_time(comparison, color),
            curves::memory_over_time(comparison, color),
        ],
    );
    table::bars(page, comparison, color);
    *page += "</section>\n";
}

fn doubts(page: &mut String, comparison: &Comparison) {
    let all = doubts_of(comparison);
    if all.is_empty() {
        return;
    }
    let fatal = all.iter().any(|(fatal, ..)| *fatal);
    let class = if fatal { "doubts fatal" } else { "doubts" };
    *page += &format!("<aside class=\"{class}\">\n<h3>Against these figures</h3>\n<ul>\n");
    for (fatal, place, what) in all {
        let mark = if fatal { "<b>Not valid.</b> " } else { "" };
        *page += &format!(
            "<li>{mark}<span>{}:</span> {}</li>\n",
            escaped(&place),
            escaped(&what)
        );
    }
    *page += "</ul>\n</aside>\n";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Doubt;
    use crate::report::sample;
    use roxmltree::{Document, ParsingOptions};

    fn parsed(page: &str) -> Document<'_> {
        let options = ParsingOptions {
            allow_dtd: true,
            ..ParsingOptions::default()
        };
        Document::parse_with_options(page, options).expect("every tag is closed and nested")
    }

    fn sampled() -> Report {
        let mut report = sample::report();
        let run = &mut report.comparisons[0].brokers[1].rounds[0];
        run.doubts.push(Doubt {
            fatal: true,
            what: "Sent <late> & \"slowly\".".to_owned(),
        });
        report
    }

    #[test]
    fn the_page_is_well_formed_and_ids_are_its_own() {
        let text = page(&sampled());
        let page = parsed(&text);
        let mut ids: Vec<_> = page
            .descendants()
            .filter_map(|node| node.attribute("id"))
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id stands twice");
        for link in page.descendants().filter_map(|node| node.attribute("href")) {
            let id = link.strip_prefix('#').expect("only links within the page");
            assert!(ids.contains(&id), "{link} leads nowhere");
        }
        let text_of: String = page.descendants().filter_map(|node| node.text()).collect();
        assert!(text_of.contains("Sent <late> & \"slowly\"."));
        assert!(text_of.contains("Some CPU <fast> & \"wide\""));
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let text = page(&sampled());
        for reference in [
            "http:", "https:", "src=", "url(", "@import", "//cdn", "fetch(",
        ] {
            assert!(!text.contains(reference), "{reference}");
        }
    }

    #[test]
    fn every_workload_has_its_table_and_drawings() {
        let report = sampled();
        let text = page(&report);
        let page = parsed(&text);
        for number in 1..=report.comparisons.len() {
            let id = format!("workload-{number}");
            let section = page
                .descendants()
                .find(|node| node.attribute("id") == Some(&id))
                .expect("a section for each workload");
            let count = |name: &str| {
                let all = section.descendants();
                all.filter(|node| node.has_tag_name(name)).count()
            };
            assert_eq!(count("svg"), 6, "{id}");
            assert!(count("tr") > 12, "{id}");
        }
        assert!(text.contains("Latency against rate"));
        assert!(text.contains("Not valid."));
    }

    #[test]
    fn drawings_hold_numbers_that_are_numbers_and_stay_inside() {
        let text = page(&sampled());
        let page = parsed(&text);
        let mut seen = 0;
        for node in page.descendants() {
            for point in node.attribute("points").unwrap_or("").split(' ') {
                let Some((x, y)) = point.split_once(',') else {
                    continue;
                };
                let (x, y): (f64, f64) = (
                    x.parse().expect("x is a number"),
                    y.parse().expect("y is a number"),
                );
                assert!(
                    (0.0..=440.0).contains(&x) && (0.0..=270.0).contains(&y),
                    "{point}"
                );
                seen += 1;
            }
        }
        assert!(seen > 1_000, "{seen} points");
    }

    #[test]
    fn a_report_of_nothing_and_one_of_a_single_round_are_pages_too() {
        let mut report = sampled();
        report.comparisons.truncate(1);
        report.comparisons[0].brokers.truncate(1);
        report.comparisons[0].brokers[0].rounds.truncate(1);
        report.comparisons[0].brokers[0].rounds[0].cost = None;
        let text = page(&report);
        parsed(&text);
        assert!(text.contains("ringlog, measured"));
        report.comparisons.clear();
        parsed(&page(&report));
    }
}

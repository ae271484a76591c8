//! Reports: what was measured as a file, as a page to look at, and on the terminal.

pub(crate) mod figures;
mod html;
mod omb;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod terminal;
pub(crate) mod units;
pub(crate) mod words;

use crate::failure::{Failure, Outcome};
use crate::model::{FORMAT, Report};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes the page again from results, of one file or of several together.
#[derive(Args)]
pub(crate) struct ReportOptions {
    /// Results as `compare` and `quick` write them: report.json
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    html: PathBuf,
    /// Also writes the results together as one file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn command(options: &ReportOptions) -> Outcome<()> {
    let reports = options.files.iter().map(|file| load(file));
    let report = together(reports.collect::<Outcome<_>>()?)?;
    terminal::summary(&report);
    store(&options.html, &html::page(&report))?;
    println!("\npage: {}", options.html.display());
    if let Some(path) = &options.json {
        store(path, &json(&report))?;
        println!("results: {}", path.display());
    }
    Ok(())
}

pub(crate) fn load(path: &Path) -> Outcome<Report> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {shown}: {error}")))?;
    parse(&text).map_err(|why| {
        Failure::new(format!("{shown} holds no results: {why}"))
            .advise("give the report.json that `compare` or `quick` wrote")
    })
}

fn parse(text: &str) -> Result<Report, String> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!(
            "it is of format {}, and this version reads format {FORMAT}",
            head.format
        ));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn json(report: &Report) -> String {
    let text = serde_json::to_string(report);
    text.expect("a report has text for keys and numbers that JSON has") + "\n"
}

/// The files one after the other, if they may stand side by side.
fn together(reports: Vec<Report>) -> Outcome<Report> {
    let mut all = reports.into_iter();
    let mut first = all
        .next()
        .ok_or_else(|| Failure::new("no results were given"))?;
    for next in all {
        let (one, other) = (&first.machine, &next.machine);
        if (&one.cpu, one.cores, &one.kernel) != (&other.cpu, other.cores, &other.kernel) {
            return Err(Failure::new(format!(
                "the results come from different machines: {}, {} cores, {} and {}, {} cores, {}",
                one.cpu, one.cores, one.kernel, other.cpu, other.cores, other.kernel
            ))
            .advise("figures of different machines do not compare: make a page of each"));
        }
        first.command = format!("{}\n{}", first.command, next.command);
        first.headroom.extend(next.headroom);
        first.comparisons.extend(next.comparisons);
        first.floor = next.floor.or(first.floor);
    }
    Ok(first)
}

/// Results, page and the files for other people's tools, in a folder.
pub(crate) fn write(report: &Report, folder: &Path) -> Outcome<()> {
    let page = folder.join("report.html");
    store(&folder.join("report.json"), &json(report))?;
    store(&page, &html::page(report))?;
    let mut names = Vec::new();
    for comparison in &report.comparisons {
        for measured in &comparison.brokers {
            for (number, run) in (1..).zip(&measured.rounds) {
                let broker = &measured.broker.name;
                let name = file_name(&format!("{}-{broker}-{number}", comparison.workload.name));
                let path = folder
                    .join("openmessaging")
                    .join(distinct(name, &mut names));
                store(&path, &omb::result(&comparison.workload, broker, run))?;
            }
        }
    }
    Ok(())
}

/// The results alone, as `report` reads them.
pub(crate) fn write_results(report: &Report, path: &Path) -> Outcome<()> {
    store(path, &json(report))
}

fn file_name(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    text.chars().map(plain).collect()
}

fn distinct(name: String, taken: &mut Vec<String>) -> String {
    let same = taken.iter().filter(|other| **other == name).count();
    taken.push(name.clone());
    match same {
        0 => format!("{name}.json"),
        more => format!("{name}-{more}.json"),
    }
}

fn store(path: &Path, text: &str) -> Outcome<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_their_file() {
        let report = sample::report();
        let text = json(&report);
        let again = parse(&text).expect("it was written by us");
        assert_eq!(json(&again), text);
        let run = &again.comparisons[0].brokers[1].rounds[2];
        let original = &report.comparisons[0].brokers[1].rounds[2];
        assert_eq!(run.ack.at(0.999), original.ack.at(0.999));
        assert_eq!(run.cost, original.cost);
    }

    #[test]
    fn results_of_another_format_are_refused() {
        let mut report = sample::report();
        report.format = FORMAT + 1;
        let why = parse(&json(&report)).expect_err("it is not ours");
        assert!(why.contains("format 2"), "{why}");
        assert!(parse("{}").is_err());
        assert!(parse("publishRate").is_err());
    }

    #[test]
    fn only_results_of_one_machine_are_put_together() {
        let both = together(vec![sample::report(), sample::report()]).expect("one machine");
        assert_eq!(
            both.comparisons.len(),
            2 * sample::report().comparisons.len()
        );
        let mut other = sample::report();
        other.machine.cores = 64;
        let failure = together(vec![sample::report(), other]).expect_err("two machines");
        assert!(
            failure.to_string().contains("different machines"),
            "{failure}"
        );
    }

    #[test]
    fn a_folder_gets_results_page_and_a_file_for_each_round() {
        let folder = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
        let mut report = sample::report();
        report.comparisons.truncate(1);
        let again = report.comparisons[0].clone();
        report.comparisons.push(again);
        write(&report, &folder).expect("the temporary folder can be written");
        load(&folder.join("report.json")).expect("it was just written");
        assert!(folder.join("report.html").exists());
        let files = fs::read_dir(folder.join("openmessaging")).expect("the folder was made");
        assert_eq!(files.count(), 2 * 3 * 5, "no file hides another");
        fs::remove_dir_all(folder).expect("the folder was made");
    }
}

//! What the figures were made with.

use super::curves::Colors;
use super::page::escaped;
use crate::model::{Broker, Floor, FloorFigure, Report};
use crate::report::units::{Unit, digits};
use crate::report::words::thousands;

fn row(page: &mut String, name: &str, text: &str) {
    if !text.is_empty() {
        *page += &format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escaped(name),
            escaped(text)
        );
    }
}

pub(super) fn setup(page: &mut String, report: &Report, color: Colors<'_>) {
    *page += "<section id=\"setup\">\n<h2>Setup</h2>\n<dl>\n";
    let machine = &report.machine;
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    row(page, "Processor", &machine.cpu);
    row(page, "Cores", &machine.cores.to_string());
    row(page, "Memory", &format!("{} GiB", digits(gib)));
    row(page, "Kernel", &machine.kernel);
    row(page, "Storage", &machine.storage);
    row(page, "Cores of the brokers", &machine.broker_cores);
    row(page, "Cores of the generator", &machine.generator_cores);
    let load = format!("{} before the first run", digits(machine.load_average));
    row(page, "Load average", &load);
    row(page, "Command", &report.command);
    *page += "</dl>\n";
    brokers(page, report, color);
    headroom(page, report);
    *page += "</section>\n";
}

fn brokers(page: &mut String, report: &Report, color: Colors<'_>) {
    let mut seen: Vec<&Broker> = Vec::new();
    for measured in report.comparisons.iter().flat_map(|one| &one.brokers) {
        let broker = &measured.broker;
        let same = |other: &&&Broker| {
            (&other.name, &other.started, &other.durability.evidence)
                == (&broker.name, &broker.started, &broker.durability.evidence)
        };
        if !seen.iter().any(|other| same(&other)) {
            seen.push(broker);
        }
    }
    for broker in seen {
        *page += &format!(
            "<h3><i class=\"chip c{}\"></i>{}</h3>\n<dl>\n",
            color(&broker.name),
            escaped(&broker.name)
        );
        row(page, "Version", &broker.version);
        row(page, "Acknowledged means", &broker.durability.meaning);
        row(page, "Because it says", &broker.durability.evidence);
        row(page, "Warm-up", &broker.warmed);
        row(page, "Address", &broker.address);
        row(page, "Started with", &broker.started);
        *page += "</dl>\n";
    }
}

fn headroom(page: &mut String, report: &Report) {
    if report.headroom.is_empty() {
        return;
    }
    *page += "<h3>The load generator's own limit</h3>\n<p class=\"about\">The same workload \
              against a server that takes everything and does nothing. A broker that comes close \
              to these figures was not the limit.</p>\n<div class=\"wide\">\
              <table class=\"figures plain\">\n<thead><tr><th></th><th>records</th>\
              <th>ack p50</th><th>p99</th><th>p99.9</th></tr></thead>\n<tbody>\n";
    for one in &report.headroom {
        let us = |value: u64| escaped(&Unit::Micros.show(value as f64));
        *page += &format!(
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&one.workload),
            escaped(&Unit::Rate.show(one.records_per_s)),
            us(one.ack_p50_us),
            us(one.ack_p99_us),
            us(one.ack_p999_us)
        );
    }
    *page += "</tbody>\n</table></div>\n";
}

pub(super) fn floor(page: &mut String, floor: &Floor) {
    *page += "<section id=\"floor\">\n<h2>What this machine can do at all</h2>\n\
              <p class=\"about\">No broker can be faster than its disk, its loopback and its \
              processor: measured with plain system calls, but for the group reactor, which is \
              ringlog's own loop.</p>\n<div class=\"wide\">\
              <table class=\"figures plain\">\n<thead><tr><th></th><th>bytes</th>\
              <th>operations</th><th>p50</th><th>p99</th><th>p99.9</th><th>CPU per GB</th>\
              <th>CPU each</th></tr></thead>\n<tbody>\n";
    let mut group = "";
    for figure in &floor.figures {
        if figure.group != group {
            group = &figure.group;
            *page += &format!(
                "<tr class=\"group\"><th colspan=\"8\">{}</th></tr>\n",
                escaped(group)
            );
        }
        floor_row(page, figure);
    }
    *page += "</tbody>\n</table></div>\n";
    for gap in &floor.left_out {
        *page += &format!("<p class=\"about\">Not measured: {}</p>\n", escaped(gap));
    }
    *page += "</section>\n";
}

fn floor_row(page: &mut String, figure: &FloorFigure) {
    let cell = |value: Option<f64>, unit: Unit| match value {
        Some(value) => format!("<td>{}</td>", escaped(&unit.show(value))),
        None => "<td class=\"none\">–</td>".to_owned(),
    };
    let at = |q| {
        let latency = figure.latency.as_ref()?;
        latency.at(q).map(|us| us as f64)
    };
    let count = figure.latency.as_ref().map_or(0, |latency| latency.count);
    let times = if count > 0 {
        format!(" title=\"{} times\"", thousands(count))
    } else {
        String::new()
    };
    let doubt = figure.doubt.as_ref().map_or_else(String::new, |why| {
        format!("; <strong>in doubt: {}</strong>", escaped(why))
    });
    *page += &format!(
        "<tr{times}><th>{} <small>{}{doubt}</small></th>{}{}{}{}{}{}{}</tr>\n",
        escaped(&figure.name),
        escaped(&figure.how),
        cell(figure.bytes_per_s, Unit::BytesRate),
        cell(figure.operations_per_s, Unit::Rate),
        cell(at(0.5), Unit::Micros),
        cell(at(0.99), Unit::Micros),
        cell(at(0.999), Unit::Micros),
        cell(figure.cpu_s_per_gb, Unit::Seconds),
        cell(figure.cpu_ns_per_operation, Unit::Nanos)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_and_gaps_of_the_floor_are_shown() {
        let mut page = String::new();
        let figure = FloorFigure {
            group: "server".to_owned(),
            doubt: Some("the load was < the server".to_owned()),
            ..FloorFigure::default()
        };
        let measured = Floor {
            figures: vec![figure],
            left_out: vec!["disk: it is full".to_owned()],
        };
        floor(&mut page, &measured);
        assert!(
            page.contains("in doubt: the load was &lt; the server"),
            "{page}"
        );
        assert!(page.contains("Not measured: disk: it is full"), "{page}");
    }
}

//! The figures for a terminal.

use crate::model::{Floor, FloorFigure};

pub(super) fn print(floor: &Floor) {
    println!(
        "{:<9} {:<36} {:>8} {:>10} {:>8} {:>10} {:>7} {:>7} {:>7} {:>13}",
        "", "", "MB/s", "op/s", "s/GB", "ns/op", "p50 us", "p99", "p99.9", "rounds"
    );
    for figure in &floor.figures {
        println!("{}", line(figure));
    }
    for gap in &floor.left_out {
        println!("not measured: {gap}");
    }
}

fn line(figure: &FloorFigure) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let quantile = |q| {
        let value = figure.latency.as_ref().and_then(|latency| latency.at(q));
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    };
    let rate = figure.bytes_per_s.or(figure.operations_per_s);
    let spread = figure
        .spread
        .zip(rate)
        .map_or_else(String::new, |((low, high), rate)| {
            format!(
                "{:+.0}% {:+.0}%",
                (low / rate - 1.0) * 100.0,
                (high / rate - 1.0) * 100.0
            )
        });
    let mut line = format!(
        "{:<9} {:<36} {:>8} {:>10} {:>8} {:>10} {:>7} {:>7} {:>7} {:>13}",
        figure.group,
        figure.name,
        number(figure.bytes_per_s.map(|rate| rate / 1e6), 0),
        number(figure.operations_per_s, 0),
        number(figure.cpu_s_per_gb, 3),
        number(figure.cpu_ns_per_operation, 0),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        spread,
    );
    if let Some(doubt) = &figure.doubt {
        line.push_str("  ! ");
        line.push_str(doubt);
    }
    line
}

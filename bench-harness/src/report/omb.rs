//! A round as the OpenMessaging Benchmark writes it, so that its scripts can draw it.
//!
//! Rates are records a second, latencies milliseconds, delays of publishing microseconds. Lists
//! have one entry a second. What the harness does not keep by the second is an empty list.

use crate::model::{Interval, Latency, Run, Workload};
use serde_json::{Map, Value, json};

/// Percentiles of the lists and of the aggregates, as their keys spell them.
const PERCENTILES: [(&str, f64); 7] = [
    ("50pct", 0.5),
    ("75pct", 0.75),
    ("95pct", 0.95),
    ("99pct", 0.99),
    ("999pct", 0.999),
    ("9999pct", 0.9999),
    ("99999pct", 0.99999),
];

type OfInterval = fn(&Interval) -> f64;

pub(super) fn result(workload: &Workload, driver: &str, run: &Run) -> String {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    let w = workload;
    put("workload", json!(w.name));
    put("driver", json!(driver));
    put("messageSize", json!(w.record_bytes));
    put("topics", json!(w.topics));
    put("partitions", json!(w.partitions_per_topic));
    put("producersPerTopic", json!(w.producers_per_topic));
    let consumers = w.subscriptions_per_topic * w.consumers_per_subscription;
    put("consumersPerTopic", json!(consumers));
    put("publishRate", each(run, |at| at.acked as f64, true));
    put("publishErrorRate", json!([]));
    put("consumeRate", each(run, |at| at.consumed as f64, true));
    put("backlog", backlog(workload, run));
    let ack: [OfInterval; 3] = [
        |at| at.ack_p50_us as f64 / 1e3,
        |at| at.ack_p99_us as f64 / 1e3,
        |at| at.ack_max_us as f64 / 1e3,
    ];
    let end_to_end: [OfInterval; 3] = [
        |at| at.end_to_end_p50_us as f64 / 1e3,
        |at| at.end_to_end_p99_us as f64 / 1e3,
        |at| at.end_to_end_max_us as f64 / 1e3,
    ];
    by_second(&mut keys, "publishLatency", run, Some(ack));
    by_second(&mut keys, "publishDelayLatency", run, None);
    by_second(&mut keys, "endToEndLatency", run, Some(end_to_end));
    aggregate(&mut keys, "PublishLatency", &run.ack, |us| json!(us / 1e3));
    aggregate(&mut keys, "PublishDelayLatency", &run.send_delay, |us| {
        json!(us as u64)
    });
    aggregate(&mut keys, "EndToEndLatency", &run.end_to_end, |us| {
        json!(us / 1e3)
    });
    serde_json::to_string_pretty(&Value::Object(keys)).expect("keys are text") + "\n"
}

/// A value of each second; counts are divided by the length of theirs.
fn each(run: &Run, of: OfInterval, count: bool) -> Value {
    let mut before = 0.0;
    let values = run.intervals.iter().map(|interval| {
        let seconds = interval.at_s - before;
        before = interval.at_s;
        let value = of(interval);
        if count && seconds > 0.0 {
            value / seconds
        } else {
            value
        }
    });
    values.collect::<Vec<_>>().into()
}

/// Records that are there for subscriptions and have not been consumed, after each second.
fn backlog(workload: &Workload, run: &Run) -> Value {
    let subscriptions = i128::from(workload.subscriptions_per_topic);
    let mut waiting = 0_i128;
    let values = run.intervals.iter().map(|interval| {
        waiting += i128::from(interval.acked) * subscriptions - i128::from(interval.consumed);
        i64::try_from(waiting.max(0)).unwrap_or(i64::MAX)
    });
    values.collect::<Vec<_>>().into()
}

fn by_second(keys: &mut Map<String, Value>, name: &str, run: &Run, known: Option<[OfInterval; 3]>) {
    let ends = PERCENTILES.iter().map(|(end, _)| *end);
    for end in ends.chain(["Avg", "Max"]) {
        let of = known.and_then(|[p50, p99, max]| match end {
            "50pct" => Some(p50),
            "99pct" => Some(p99),
            "Max" => Some(max),
            _ => None,
        });
        let list = of.map_or_else(|| json!([]), |of| each(run, of, false));
        keys.insert(format!("{name}{end}"), list);
    }
}

/// Averages are never rounded; the other values are `shown`.
fn aggregate(
    keys: &mut Map<String, Value>,
    name: &str,
    latency: &Latency,
    shown: fn(f64) -> Value,
) {
    let scale = shown(1e3).as_f64().unwrap_or(1.0) / 1e3;
    let mut put = |end: &str, value| keys.insert(format!("aggregated{name}{end}"), value);
    put("Avg", json!(latency.mean_us * scale));
    put("Max", shown(latency.max_us as f64));
    let at = |q| shown(latency.at(q).unwrap_or(0) as f64);
    for (end, q) in PERCENTILES {
        put(end, at(q));
    }
    let mut quantiles = Map::new();
    if latency.count > 0 {
        let tens = (0..9).map(|tens| f64::from(tens) * 10.0);
        let fine = [
            90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0,
        ];
        for percent in tens.chain(fine) {
            // The nearest fraction, as a person would write it.
            let q = (percent * 1e3_f64).round() / 1e5;
            quantiles.insert(format!("{percent:?}"), at(q));
        }
    }
    put("Quantiles", Value::Object(quantiles));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn sampled() -> Value {
        let run = sample::run(1_000_000, 300, 1);
        let text = result(&sample::workload("w"), "kafka", &run);
        serde_json::from_str(&text).expect("it is JSON")
    }

    #[test]
    fn the_keys_are_those_of_the_openmessaging_benchmark() {
        let result = sampled();
        let mut expected: Vec<String> = [
            "workload",
            "driver",
            "messageSize",
            "topics",
            "partitions",
            "producersPerTopic",
            "consumersPerTopic",
            "publishRate",
            "publishErrorRate",
            "consumeRate",
            "backlog",
        ]
        .map(str::to_owned)
        .to_vec();
        let ends = "Avg 50pct 75pct 95pct 99pct 999pct 9999pct 99999pct Max";
        for (list, whole) in [
            ("publishLatency", "PublishLatency"),
            ("publishDelayLatency", "PublishDelayLatency"),
            ("endToEndLatency", "EndToEndLatency"),
        ] {
            for end in ends.split(' ') {
                expected.push(format!("{list}{end}"));
                expected.push(format!("aggregated{whole}{end}"));
            }
            expected.push(format!("aggregated{whole}Quantiles"));
        }
        let mut keys: Vec<_> = result
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        expected.sort();
        keys.sort();
        assert_eq!(keys, expected);
    }

    #[test]
    fn latencies_are_milliseconds_and_delays_microseconds() {
        let result = sampled();
        let run = sample::run(1_000_000, 300, 1);
        let p99 = run.ack.at(0.99).expect("it has values");
        assert_eq!(
            result["aggregatedPublishLatency99pct"],
            json!(p99 as f64 / 1e3)
        );
        assert_eq!(
            result["aggregatedPublishLatencyQuantiles"]["99.9"],
            json!(run.ack.at(0.999).expect("it has values") as f64 / 1e3)
        );
        let delay = run.send_delay.at(0.5).expect("it has values");
        assert_eq!(result["aggregatedPublishDelayLatency50pct"], json!(delay));
        assert_eq!(
            result["aggregatedPublishLatencyAvg"],
            json!(run.ack.mean_us / 1e3)
        );
        let delay = result["aggregatedPublishDelayLatencyAvg"].as_f64();
        assert!(delay.is_some_and(|delay| (delay - run.send_delay.mean_us).abs() < 1e-9));
        assert_eq!(result["publishLatency50pct"][0], json!(0.3));
        assert_eq!(result["publishRate"].as_array().map(Vec::len), Some(10));
    }

    #[test]
    fn what_was_not_consumed_is_backlog() {
        let mut run = sample::run(1_000_000, 300, 1);
        run.intervals.truncate(2);
        for interval in &mut run.intervals {
            (interval.acked, interval.consumed) = (100, 150);
        }
        let mut workload = sample::workload("w");
        workload.subscriptions_per_topic = 2;
        assert_eq!(backlog(&workload, &run), json!([50, 100]));
    }
}

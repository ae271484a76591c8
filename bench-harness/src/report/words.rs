//! A workload in one sentence.

use super::units::{Unit, digits};
use crate::model::{Idle, Keys, Pace, Workload};
use std::time::Duration;

fn many(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {what}{ending}", thousands(count))
}

/// With commas: 1,000.
pub(crate) fn thousands(count: u64) -> String {
    let plain = count.to_string();
    let mut shown = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::Rate { records_per_s } => {
            let rate = if records_per_s.fract() == 0.0 {
                thousands(records_per_s as u64)
            } else {
                digits(records_per_s)
            };
            format!("{rate} records/s, open loop")
        }
        // Latency then says how full the pipe was.
        Pace::Maximum => "as fast as it goes, closed loop".to_owned(),
        Pace::ConsumeOnly => "consuming what is there".to_owned(),
    }
}

fn span(time: Duration) -> String {
    Unit::Seconds.show(time.as_secs_f64())
}

pub(crate) fn acks(workload: &Workload) -> String {
    match workload.acks {
        -1 => "acks=all".to_owned(),
        acks => format!("acks={acks}"),
    }
}

/// In a few words: what somebody needs to judge the figures below.
pub(crate) fn workload(workload: &Workload) -> String {
    let w = workload;
    let partitions = u64::from(w.topics) * u64::from(w.partitions_per_topic);
    let mut parts = vec![pace(w.pace)];
    parts.push(format!(
        "records of {}",
        Unit::Bytes.show(f64::from(w.record_bytes))
    ));
    if w.topics > 1 {
        parts.push(many(u64::from(w.topics), "topic"));
    }
    parts.push(many(partitions, "partition"));
    if w.pace != Pace::ConsumeOnly {
        let producers = u64::from(w.topics) * u64::from(w.producers_per_topic);
        let mut text = format!("{} with {}", many(producers, "producer"), acks(w));
        if w.idempotent {
            text += ", idempotent";
        }
        parts.push(text);
        parts.push(format!(
            "batches of up to {} KiB, linger {}, {} in flight",
            digits(f64::from(w.batch_bytes) / 1024.0),
            span(w.linger),
            w.in_flight_max
        ));
    }
    let consumers = u64::from(w.topics)
        * u64::from(w.subscriptions_per_topic)
        * u64::from(w.consumers_per_subscription);
    if consumers > 0 {
        parts.push(many(consumers, "consumer"));
    }
    if w.backlog_bytes > 0 {
        let backlog = Unit::Bytes.show(w.backlog_bytes as f64);
        parts.push(format!("a backlog of {backlog} first"));
    }
    if let Keys::Random { distinct } = w.keys {
        parts.push(format!(
            "keys drawn from {}",
            thousands(u64::from(distinct))
        ));
    }
    if w.compression != "none" && !w.compression.is_empty() {
        parts.push(w.compression.clone());
    }
    for (name, value) in &w.topic_settings {
        parts.push(format!("{name}={value}"));
    }
    parts.push(format!(
        "{} measured after {}",
        span(w.measured),
        span(w.warmup)
    ));
    if w.idle == Idle::Spin {
        parts.push("a spinning load generator".to_owned());
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_workload_reads_as_a_sentence() {
        let mut sample = sample::workload("w");
        let text = workload(&sample);
        for part in [
            "as fast as it goes, closed loop",
            "records of 100 B",
            "16 partitions",
            "64 producers with acks=all",
            "batches of up to 64 KiB, linger 5 ms, 5 in flight",
            "10 s measured after 3 s",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        sample.pace = Pace::Rate {
            records_per_s: 50_000.0,
        };
        assert!(workload(&sample).starts_with("50,000 records/s, open loop"));
    }
}

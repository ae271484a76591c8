//! Scales and their ticks.

use crate::report::units::Unit;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    Log,
    /// Of quantiles: as far from 0 to 0.9 as from 0.9 to 0.99 and so on.
    Tail,
}

/// One axis: where values lie between its ends, and what is written along it.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) name: &'static str,
    /// What the script calls the unit.
    kind: &'static str,
}

fn kind(unit: Unit) -> &'static str {
    match unit {
        Unit::Micros | Unit::Nanos => "time",
        Unit::Seconds => "seconds",
        Unit::Rate => "rate",
        Unit::Bytes | Unit::BytesRate => "bytes",
        Unit::Count => "count",
    }
}

impl Axis {
    /// For the script: scale, ends and unit.
    pub(super) fn data(&self) -> String {
        let scale = match self.scale {
            Scale::Linear => "linear",
            Scale::Log => "log",
            Scale::Tail => "tail",
        };
        format!("{scale} {} {} {}", self.low, self.high, self.kind)
    }

    /// From zero.
    pub(super) fn linear(name: &'static str, unit: Unit, highest: f64) -> Self {
        let step = step_for(highest.max(f64::MIN_POSITIVE), 5.0);
        let count = (highest / step).ceil().max(1.0);
        let values = (0..=count as u32).map(|n| f64::from(n) * step);
        Self {
            scale: Scale::Linear,
            low: 0.0,
            high: count * step,
            ticks: values.map(|value| (value, tick(unit, value))).collect(),
            name,
            kind: kind(unit),
        }
    }

    /// Seconds from the beginning; the last one is the end.
    pub(super) fn time(name: &'static str, seconds: f64) -> Self {
        // Clocks count in sixties.
        let unit = if seconds >= 300.0 { 60.0 } else { 1.0 };
        let step = step_for(seconds.max(1.0) / unit, 6.0).max(1.0) * unit;
        let count = (seconds / step).floor() as u32;
        let values = (0..=count).map(|n| f64::from(n) * step);
        Self {
            scale: Scale::Linear,
            low: 0.0,
            high: seconds.max(1.0),
            ticks: values.map(|value| (value, clock(value))).collect(),
            name,
            kind: "seconds",
        }
    }

    /// From and to decades or their halves around the values.
    pub(super) fn log(name: &'static str, unit: Unit, lowest: f64, highest: f64) -> Self {
        let lowest = lowest.max(1e-9);
        let highest = highest.max(lowest);
        let steps = |marks: &[f64]| {
            let first = lowest.log10().floor() as i32 - 1;
            let last = highest.log10().ceil() as i32 + 1;
            let decades = (first..=last).map(|exponent| 10_f64.powi(exponent));
            decades
                .flat_map(|decade| marks.iter().map(move |mark| decade * mark))
                .collect::<Vec<_>>()
        };
        let fine = steps(&[1.0, 2.0, 5.0]);
        let below = |value: &&f64| **value <= lowest * 1.0001;
        let low = fine.iter().rev().find(below).copied().unwrap_or(lowest);
        let above = |value: &&f64| **value >= highest * 0.9999 && **value > low;
        let high = fine.iter().find(above).copied().unwrap_or(highest);
        let marks: &[f64] = match high / low {
            wide if wide > 2e5 => &[1.0],
            middle if middle > 300.0 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let inside = |value: &f64| *value >= low * 0.9999 && *value <= high * 1.0001;
        let ticks = steps(marks).into_iter().filter(inside);
        Self {
            scale: Scale::Log,
            low,
            high,
            ticks: ticks.map(|value| (value, tick(unit, value))).collect(),
            name,
            kind: kind(unit),
        }
    }

    /// Quantiles from none to the one that a single value among `count` is beyond.
    pub(super) fn tail(name: &'static str, count: u64) -> Self {
        let nines = (count.max(10) as f64).log10().min(5.0);
        let all = [
            (0.0, "0 %"),
            (0.5, "50 %"),
            (0.9, "90 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.9999, "99.99 %"),
            (0.99999, "99.999 %"),
        ];
        let high = 1.0 - 10_f64.powf(-nines);
        let reached = |(q, _): &&(f64, &str)| *q <= high + 1e-9;
        Self {
            scale: Scale::Tail,
            low: 0.0,
            high,
            ticks: all
                .iter()
                .filter(reached)
                .map(|(q, text)| (*q, (*text).to_owned()))
                .collect(),
            name,
            kind: "share",
        }
    }

    /// Where a value lies: 0 is the low end, 1 the high one; never beyond.
    pub(super) fn place(&self, value: f64) -> f64 {
        let of = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(self.low).log10(),
            Scale::Tail => -(1.0 - value).max(1e-12).log10(),
        };
        let (low, high) = (of(self.low), of(self.high));
        ((of(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// A round step that divides up to `highest` into about `parts`.
fn step_for(highest: f64, parts: f64) -> f64 {
    let raw = highest / parts;
    let decade = 10_f64.powf(raw.log10().floor());
    let fits = [1.0, 2.0, 2.5, 5.0, 10.0];
    let mark = fits.into_iter().find(|mark| decade * mark >= raw * 0.9999);
    decade * mark.unwrap_or(10.0)
}

fn tick(unit: Unit, value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else {
        unit.show(value)
    }
}

fn clock(seconds: f64) -> String {
    if seconds >= 120.0 && seconds % 60.0 == 0.0 {
        return format!("{} min", seconds / 60.0);
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| &**text).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_reach_beyond_the_highest_value() {
        let axis = Axis::linear("y", Unit::Rate, 4_300_000.0);
        assert_eq!(
            texts(&axis),
            ["0", "1 M/s", "2 M/s", "3 M/s", "4 M/s", "5 M/s"]
        );
        assert!((axis.place(2_500_000.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.place(9e9), 1.0, "nothing leaves the plot");
        let none = Axis::linear("y", Unit::Rate, 0.0);
        assert!(none.place(0.0) == 0.0 && none.ticks.len() >= 2);
    }

    #[test]
    fn log_ticks_lie_on_decades_and_parts_of_them() {
        let axis = Axis::log("y", Unit::Micros, 120.0, 900.0);
        assert_eq!(texts(&axis), ["100 µs", "200 µs", "500 µs", "1 ms"]);
        let wide = Axis::log("y", Unit::Micros, 50.0, 60_000_000.0);
        assert!(texts(&wide).contains(&"1 s"), "{:?}", texts(&wide));
        assert!(wide.ticks.len() < 9, "{:?}", texts(&wide));
        let same = Axis::log("y", Unit::Micros, 100.0, 100.0);
        assert!(same.place(100.0).is_finite());
        assert!(
            Axis::log("y", Unit::Micros, 0.0, 0.0)
                .place(0.0)
                .is_finite()
        );
    }

    #[test]
    fn every_nine_takes_as_much_room_and_no_more_are_shown_than_were_counted() {
        let axis = Axis::tail("x", 50_000);
        assert_eq!(
            texts(&axis),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
        );
        let nine = axis.place(0.99) - axis.place(0.9);
        assert!((nine - (axis.place(0.999) - axis.place(0.99))).abs() < 1e-9);
        assert!(axis.high < 0.99999);
    }

    #[test]
    fn time_ends_with_the_measurement() {
        let axis = Axis::time("t", 11.0);
        assert_eq!(texts(&axis), ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert!((axis.place(11.0) - 1.0).abs() < 1e-9);
        assert_eq!(texts(&Axis::time("t", 1_800.0))[1], "5 min");
    }
}

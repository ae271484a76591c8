//! Numbers as people read them: three digits, and a unit that fits.

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Nanos,
    /// Of records (or whatever) a second.
    Rate,
    Bytes,
    BytesRate,
    Seconds,
    /// A plain number.
    Count,
}

const NANOS: &[(f64, &str)] = &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
const THOUSANDS: &[(f64, &str)] = &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
const BYTES: &[(f64, &str)] = &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")];

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Nanos => scaled(value, NANOS, " "),
            Self::Micros => scaled(value * 1e3, NANOS, " "),
            Self::Seconds => scaled(value * 1e9, NANOS, " "),
            Self::Rate => scaled(value, THOUSANDS, " ").trim_end().to_owned() + "/s",
            Self::Bytes => scaled(value, BYTES, " "),
            Self::BytesRate => scaled(value, BYTES, " ") + "/s",
            Self::Count => scaled(value, THOUSANDS, " ").trim_end().to_owned(),
        }
    }
}

fn scaled(value: f64, scales: &[(f64, &str)], gap: &str) -> String {
    let size = value.abs();
    // What would be rounded up to 1,000 of a unit is 1 of the next.
    let fits = |(scale, _): &&(f64, &str)| size >= scale * 0.9995;
    let (scale, unit) = scales
        .iter()
        .find(fits)
        .or_else(|| scales.last())
        .unwrap_or(&(1.0, ""));
    format!("{}{gap}{unit}", digits(value / scale))
}

/// Three digits, or all that stand before the point.
pub(crate) fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size == 0.0 || size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// How many times: "9.8×".
pub(crate) fn times(factor: f64) -> String {
    format!("{}×", digits(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_three_digits_and_a_unit_that_fits() {
        let shown = |unit: Unit, value| unit.show(value);
        assert_eq!(shown(Unit::Micros, 0.0), "0 ns");
        assert_eq!(shown(Unit::Micros, 412.0), "412 µs");
        assert_eq!(shown(Unit::Micros, 999.9), "1 ms");
        assert_eq!(shown(Unit::Micros, 3_456.0), "3.46 ms");
        assert_eq!(shown(Unit::Micros, 25_000_000.0), "25 s");
        assert_eq!(shown(Unit::Nanos, 55.04), "55 ns");
        assert_eq!(shown(Unit::Rate, 1_250_000.0), "1.25 M/s");
        assert_eq!(shown(Unit::Rate, 3.0), "3/s");
        assert_eq!(shown(Unit::Bytes, 1_073_741_824.0), "1.07 GB");
        assert_eq!(shown(Unit::BytesRate, 512.0), "512 B/s");
        assert_eq!(shown(Unit::Count, 0.0421), "0.042");
        assert_eq!(times(12.345), "12.3×");
        assert_eq!(times(0.5), "0.5×");
    }
}

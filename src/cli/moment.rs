//! Points in time on the command line: milliseconds, dates, or so long ago.

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400 * SECOND_MS;

/// Milliseconds since the Unix epoch, now.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads `1700000000000` (milliseconds), `2026-11-23`, `2026-11-23T22:05:00[.250][Z|+01:00]`, or
/// `90s`, `15m`, `6h`, `2d` (ago).
pub(crate) fn parse(text: &str, now_ms: i64) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return (ms >= 0).then_some(ms);
    }
    if let Some((at, unit)) = text.char_indices().next_back()
        && let Ok(count) = text[..at].parse::<i64>()
        && count >= 0
    {
        let unit_ms = match unit {
            's' => SECOND_MS,
            'm' => 60 * SECOND_MS,
            'h' => 3_600 * SECOND_MS,
            'd' => DAY_MS,
            _ => return None,
        };
        return count
            .checked_mul(unit_ms)
            .map(|ago| now_ms.saturating_sub(ago).max(0));
    }
    parse_date(text)
}

fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = numbers(date, '-')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let month_days = days_of(year, month + 1) - days_of(year, month);
    if !(1..=month_days).contains(&day) {
        return None;
    }
    let (time, offset_ms) = split_zone(time)?;
    let (time, millis) = match time.split_once('.') {
        None => (time, 0),
        Some((time, digits)) if (1..=3).contains(&digits.len()) => {
            (time, format!("{digits:0<3}").parse::<i64>().ok()?)
        }
        Some(_) => return None,
    };
    let [hour, minute, second] = match time.matches(':').count() {
        1 => {
            let [hour, minute] = numbers(time, ':')?;
            [hour, minute, 0]
        }
        _ => numbers(time, ':')?,
    };
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        return None;
    }
    let days = days_of(year, month) + day - 1;
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(days * DAY_MS + seconds * SECOND_MS + millis - offset_ms)
}

/// The time without its zone, and the zone's distance from UTC in milliseconds.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let [hours, minutes] = numbers(&time[at + 1..], ':')?;
    let sign = if time[at..].starts_with('-') { -1 } else { 1 };
    Some((&time[..at], sign * (hours * 60 + minutes) * 60 * SECOND_MS))
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for number in &mut numbers {
        let part = parts
            .next()
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to the first of a month; month 13 is the next year's first.
const fn days_of(year: i64, month: i64) -> i64 {
    // Years that begin in March put the leap day last (Howard Hinnant, "chrono-compatible
    // low-level date algorithms").
    let shifted = (month + 9) % 12;
    let year = year + (month - 1) / 12 - if (month - 1) % 12 < 2 { 1 } else { 0 };
    let era_year = year.rem_euclid(400);
    let day_of_year = (153 * shifted + 2) / 5;
    let day_of_era = era_year * 365 + era_year / 4 - era_year / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

/// `2026-11-23T22:05:00.250Z`
pub(crate) fn format(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let mut year = 1970 + days / 366;
    while days_of(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while days_of(year, month + 1) <= days {
        month += 1;
    }
    let day = days - days_of(year, month) + 1;
    let (seconds, millis) = (rest / SECOND_MS, rest % SECOND_MS);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-23T22:05:00.250Z", 1_795_471_500_250),
            ("2026-11-23T23:05:00.250+01:00", 1_795_471_500_250),
            ("2026-11-23T17:35:00.25-04:30", 1_795_471_500_250),
            ("1700000000000", 1_700_000_000_000),
            ("90s", 910_000),
            ("1d", 0),
        ] {
            assert_eq!(parse(text, 1_000_000), Some(ms), "{text}");
        }
        for text in [
            "",
            "x",
            "5y",
            "2026-13-01",
            "2026-02-29",
            "2026-11-23T25:00:00",
            "-5",
        ] {
            assert_eq!(parse(text, 0), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in (0..146_097).step_by(1) {
            let ms = day * DAY_MS + 1;
            assert_eq!(parse(&format(ms), 0), Some(ms));
        }
    }
}

//! Which cores are whose.

use crate::failure::{Failure, Outcome};
use crate::kernel::usable_cores;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) brokers: Vec<usize>,
    pub(crate) generator: Vec<usize>,
}

impl Cores {
    /// What was asked for, and half of the machine each where nothing was.
    pub(crate) fn split(brokers: Option<&str>, generator: Option<&str>) -> Outcome<Self> {
        Self::of(&usable_cores(), brokers, generator)
    }

    fn of(usable: &[usize], brokers: Option<&str>, generator: Option<&str>) -> Outcome<Self> {
        let asked = |text: Option<&str>, option| match text {
            None => Ok(None),
            Some(text) => parse(text, option, usable).map(Some),
        };
        let brokers = asked(brokers, "--broker-cores")?;
        let generator = asked(generator, "--generator-cores")?;
        let half = usable.len().div_ceil(2);
        let without = |taken: &[usize]| -> Vec<usize> {
            let left = usable.iter().filter(|core| !taken.contains(core));
            left.copied().collect()
        };
        let brokers = brokers.unwrap_or_else(|| match &generator {
            Some(generator) if without(generator).is_empty() => usable.to_vec(),
            Some(generator) => without(generator),
            None => usable[..half].to_vec(),
        });
        let generator = generator.unwrap_or_else(|| match without(&brokers) {
            none if none.is_empty() => usable.to_vec(),
            others => others,
        });
        Ok(Self { brokers, generator })
    }

    pub(crate) fn overlap(&self) -> bool {
        self.brokers
            .iter()
            .any(|core| self.generator.contains(core))
    }
}

/// Such as "0-3,6".
fn parse(text: &str, option: &str, usable: &[usize]) -> Outcome<Vec<usize>> {
    let wrong = |why: String| {
        Failure::new(format!("{option} {text}: {why}")).advise(format!(
            "this process may use the cores {}; a list looks like 0 or 0-3,6",
            shown(usable)
        ))
    };
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let number = text.trim().parse::<usize>();
            number.map_err(|_| wrong(format!("{part:?} names no core")))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > 1 << 20 {
            return Err(wrong(format!("{part:?} names no core")));
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    match cores.iter().find(|core| !usable.contains(core)) {
        Some(core) => Err(wrong(format!("core {core} may not be used"))),
        None => Ok(cores),
    }
}

pub(super) fn shown(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let parts = parts.into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(count: usize, brokers: Option<&str>, generator: Option<&str>) -> (String, String) {
        let usable: Vec<_> = (0..count).collect();
        let cores = Cores::of(&usable, brokers, generator).expect("they exist");
        (shown(&cores.brokers), shown(&cores.generator))
    }

    fn both(brokers: &str, generator: &str) -> (String, String) {
        (brokers.to_owned(), generator.to_owned())
    }

    #[test]
    fn brokers_and_generator_share_cores_only_where_there_is_one() {
        assert_eq!(split(2, None, None), both("0", "1"));
        assert_eq!(split(8, None, None), both("0-3", "4-7"));
        assert_eq!(split(8, Some("0,2-3"), None), both("0,2-3", "1,4-7"));
        assert_eq!(split(4, None, Some("0")), both("1-3", "0"));
        assert_eq!(split(1, None, None), both("0", "0"));
        let one = Cores::of(&[0], None, None).expect("it exists");
        assert!(one.overlap());
    }

    #[test]
    fn cores_that_do_not_exist_are_refused() {
        for list in ["9", "a", "3-1", "", "0,,1", "0-99999999"] {
            let failure = Cores::of(&[0, 1], Some(list), None)
                .expect_err(list)
                .to_string();
            assert!(failure.contains("--broker-cores"), "{failure}");
            assert!(failure.contains("the cores 0-1"), "{failure}");
        }
    }
}

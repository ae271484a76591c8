//! When records should be sent: pure numbers, no clock.

/// Small, fast and good enough for load: the finaliser of SplitMix64 over a counter.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Less than `bound`, evenly enough for a bound far below 2^32.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Intended times with exponential gaps: records come as if from many independent senders
/// (a Poisson process), so that bursts are as frequent as in life.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    random: Random,
    mean_gap_ns: f64,
    next_ns: f64,
}

impl Schedule {
    pub(crate) fn new(records_per_s: f64, seed: u64) -> Self {
        let mut schedule = Self {
            random: Random::new(seed),
            mean_gap_ns: 1e9 / records_per_s,
            next_ns: 0.0,
        };
        schedule.advance();
        schedule
    }

    /// The next intended time, in ns after the beginning.
    pub(crate) const fn peek(&self) -> u64 {
        self.next_ns as u64
    }

    pub(crate) fn advance(&mut self) {
        self.next_ns -= self.random.unit().ln() * self.mean_gap_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rate: f64, seed: u64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(rate, seed);
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(schedule.peek());
            schedule.advance();
        }
        times
    }

    #[test]
    fn the_rate_is_kept_and_gaps_are_exponential() {
        let times = times(10_000.0, 7, 100_000);
        let seconds = times[times.len() - 1] as f64 / 1e9;
        assert!((9.8..10.2).contains(&seconds), "{seconds}");
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // A share of exp(-2) of the gaps is longer than twice the mean.
        let long = gaps.iter().filter(|gap| **gap > 200_000).count() as f64;
        let share = long / gaps.len() as f64;
        assert!((0.13..0.141).contains(&share), "{share}");
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        assert_eq!(times(1e6, 1, 1000), times(1e6, 1, 1000));
        assert_ne!(times(1e6, 1, 1000), times(1e6, 2, 1000));
        assert!(times(1e6, 3, 1000).is_sorted());
    }
}

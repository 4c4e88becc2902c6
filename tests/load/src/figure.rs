//! A measured figure: its rounds, what the relay needed, and what it is held against.

use posthouse_bench::median;
use serde::Serialize;

/// One figure over all rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in the report, as in [`LIMITS`] where it has a limit.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: &'static str,
    /// One value a round.
    pub rounds: Vec<f64>,
    /// The relay's values of the same rounds; empty where there is none.
    pub relay: Vec<f64>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    name: &'static str,
    /// The report calls a figure beyond it failed.
    pub bound: f64,
    /// What we work towards.
    pub aim: f64,
    better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Better {
    Less,
    More,
}

const fn at_most(name: &'static str, bound: f64, aim: f64) -> Limit {
    Limit { name, bound, aim, better: Better::Less }
}

const fn at_least(name: &'static str, bound: f64, aim: f64) -> Limit {
    Limit { name, bound, aim, better: Better::More }
}

/// The limits of all figures that have one.
const LIMITS: [Limit; 12] = [
    at_most("pairs_cpu_multiple", 2.4, 2.0),
    at_least("pairs_rate_multiple", 0.40, 0.50),
    at_most("fan_out_100_cpu_multiple", 1.4, 1.1),
    at_most("fan_out_1000_cpu_multiple", 1.4, 1.1),
    at_most("reconnect_cpu_multiple", 2.0, 1.5),
    at_most("crowd_back_multiple", 1.7, 1.1),
    at_most("idle_memory", 8.0, 4.0),
    at_most("open_loop_p50_over_sync", 2.0, 0.5),
    at_most("open_loop_p99_over_sync", 10.0, 3.0),
    at_most("written_per_message", 12.0, 6.0),
    at_most("start_after_kill", 3.0, 0.5),
    at_most("article_cpu", 1.0, 0.3),
];

/// The names of all figures that have a limit.
pub fn limited() -> impl Iterator<Item = &'static str> {
    LIMITS.into_iter().map(|limit| limit.name)
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as we want it.
    Aim,
    /// Within the bound.
    Bound,
    /// Beyond the bound.
    Failed,
}

impl Figure {
    /// A figure without a relay to compare with.
    pub fn new(name: &'static str, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self { name, unit, rounds, relay: Vec::new() }
    }

    /// A figure of server and relay, and behind it its multiple, round by round.
    pub fn with_relay(names: [&'static str; 2], unit: &'static str, rounds: &[(f64, f64)]) -> [Self; 2] {
        let (relay, server): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let multiples = rounds.iter().map(|(relay, server)| server / relay).collect();
        [Self { name: names[0], unit, rounds: server, relay }, Self::new(names[1], "×", multiples)]
    }

    /// The median over the rounds.
    pub fn value(&self) -> f64 {
        median(&self.rounds)
    }

    /// The median over the relay's rounds.
    pub fn relay_value(&self) -> Option<f64> {
        (!self.relay.is_empty()).then(|| median(&self.relay))
    }

    /// Its limit, if it has one.
    pub fn limit(&self) -> Option<Limit> {
        LIMITS.into_iter().find(|limit| limit.name == self.name)
    }

    /// How it compares with its limit.
    pub fn verdict(&self) -> Option<Verdict> {
        Some(self.limit()?.verdict(self.value()))
    }
}

impl Limit {
    fn verdict(self, value: f64) -> Verdict {
        let reaches = |limit: f64| match self.better {
            Better::Less => value <= limit,
            Better::More => value >= limit,
        };
        match (reaches(self.aim), reaches(self.bound)) {
            (true, _) => Verdict::Aim,
            (false, true) => Verdict::Bound,
            (false, false) => Verdict::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_multiple_is_taken_round_by_round() {
        let [figure, multiple] =
            Figure::with_relay(["pairs_cpu", "pairs_cpu_multiple"], "µs", &[(10.0, 20.0), (20.0, 30.0), (10.0, 25.0)]);
        assert_eq!((figure.value(), figure.relay_value()), (25.0, Some(10.0)));
        assert_eq!((multiple.value(), multiple.relay_value()), (2.0, None));
        assert_eq!(multiple.verdict(), Some(Verdict::Aim));
    }

    #[test]
    fn a_figure_passes_on_its_better_side_only() {
        let verdict = |name, value| Figure::new(name, "", vec![value]).verdict();
        assert_eq!(verdict("pairs_rate_multiple", 0.6), Some(Verdict::Aim));
        assert_eq!(verdict("pairs_rate_multiple", 0.45), Some(Verdict::Bound));
        assert_eq!(verdict("pairs_rate_multiple", 0.3), Some(Verdict::Failed));
        assert_eq!(verdict("start_after_kill", 3.1), Some(Verdict::Failed));
        assert_eq!(verdict("start_after_kill", f64::NAN), Some(Verdict::Failed));
        assert_eq!(verdict("a figure without a limit", 1.0), None);
    }
}

//! What models were given and gave, as programs count it, and how counts become a total.

use serde::{Deserialize, Serialize};

/// Tokens and money. `None` is what the program does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens given to models, `cached` ones included.
    pub input: Option<u64>,
    /// Those of `input` that came from a cache.
    pub cached: Option<u64>,
    /// Tokens that models gave, `reasoning` ones included.
    pub output: Option<u64>,
    /// Those of `output` that nobody is shown.
    pub reasoning: Option<u64>,
    /// What the program thinks that it cost, millionths of a US dollar.
    pub cost_usd_micros: Option<u64>,
    /// Whether these are all of the session so far; else they come on top of what was told before.
    pub cumulative: bool,
}

impl Usage {
    /// The total after `next`, when this is the total before it. Only what `next` says of is changed.
    ///
    /// A session that goes on in another run keeps counting in programs that count sessions (codex): the first cumulative
    /// count of such a run holds what its predecessors used.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let total = |before: Option<u64>, told: Option<u64>| match (before, told) {
            (before, None) => before,
            (Some(before), Some(told)) if !next.cumulative => Some(before.saturating_add(told)),
            (_, Some(told)) => Some(told),
        };
        Self {
            input: total(self.input, next.input),
            cached: total(self.cached, next.cached),
            output: total(self.output, next.output),
            reasoning: total(self.reasoning, next.reasoning),
            cost_usd_micros: total(self.cost_usd_micros, next.cost_usd_micros),
            cumulative: true,
        }
    }
}

/// Dollars in millionths of one; none for what is no amount.
pub(super) fn usd_micros(dollars: f64) -> Option<u64> {
    let micros = (dollars * 1e6).round();
    // Not so many that the number cannot be told from its neighbours.
    (0.0..=9e15).contains(&micros).then_some(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_takes_the_place_of_what_was_counted_and_the_rest_is_added() {
        let step = Usage { input: Some(10), output: Some(2), ..Usage::default() };
        let all = Usage { input: Some(25), output: Some(9), cost_usd_micros: Some(70), cumulative: true, ..step };
        let total = Usage::default().then(step).then(step);
        assert_eq!((total.input, total.output, total.cost_usd_micros), (Some(20), Some(4), None));
        let total = total.then(all).then(step);
        assert_eq!((total.input, total.output, total.cost_usd_micros), (Some(35), Some(11), Some(70)));
        let most = Usage { input: Some(u64::MAX), ..Usage::default() };
        assert_eq!(total.then(most).input, Some(u64::MAX));
    }

    #[test]
    fn dollars_become_millionths() {
        assert_eq!(usd_micros(0.012_345_6), Some(12_346));
        assert_eq!([f64::NAN, f64::INFINITY, -1.0, 1e300].map(usd_micros), [None; 4]);
    }
}

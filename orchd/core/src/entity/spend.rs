//! What may be spent on models: by one attempt, by all attempts at a task, and what tokens cost.

use serde::{Deserialize, Serialize};

use super::budget::Meter;
use super::model_use::TokenUse;

/// Tokens that a price is for.
const PRICED_TOKENS: u128 = 1_000_000;

/// What something costs, or may cost: tokens, and money in millionths of what prices are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    pub tokens: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl Spend {
    /// In the unit of the meter; nothing of what is no matter of models.
    #[must_use]
    pub const fn of(self, meter: Meter) -> u64 {
        match meter {
            Meter::RunTime => 0,
            Meter::Tokens => self.tokens,
            Meter::Cost => self.cost,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_add(other.tokens), cost: self.cost.saturating_add(other.cost) }
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.tokens == 0 && self.cost == 0
    }
}

/// How much may be spent, in the units of [`Spend`]; none: as much as there is need for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
}

impl Allowance {
    /// Whether there is no bound.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        self.tokens.is_none() && self.cost.is_none()
    }

    /// This, and where it says nothing the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { tokens: self.tokens.or(other.tokens), cost: self.cost.or(other.cost) }
    }

    /// Each bound that there is, as often as a person gave it.
    pub fn bounds(self, raises: u32) -> impl Iterator<Item = (Meter, u64)> {
        let times = u64::from(raises).saturating_add(1);
        let each = [(Meter::Tokens, self.tokens), (Meter::Cost, self.cost)];
        each.into_iter().filter_map(move |(meter, bound)| Some((meter, bound?.saturating_mul(times))))
    }
}

/// What tokens of a model cost, in millionths of a currency for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input: u64,
    /// Of input that came from a cache.
    pub cached: u64,
    /// Of input that went to a cache.
    pub cache_written: u64,
    pub output: u64,
}

impl Price {
    /// What so many tokens cost, in millionths of the currency, rounded up.
    #[must_use]
    pub fn of(&self, tokens: &TokenUse) -> u64 {
        let plain = tokens.input.saturating_sub(tokens.cached).saturating_sub(tokens.cache_written);
        let parts = [
            (plain, self.input),
            (tokens.cached, self.cached),
            (tokens.cache_written, self.cache_written),
            (tokens.output, self.output),
        ];
        let sum = parts.into_iter().map(|(tokens, price)| u128::from(tokens) * u128::from(price));
        let sum = sum.fold(0, u128::saturating_add);
        u64::try_from(sum.div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_cache_has_its_own_price() {
        let price = Price { input: 3_000_000, cached: 300_000, cache_written: 3_750_000, output: 15_000_000 };
        let tokens = TokenUse { input: 1_000, cached: 600, cache_written: 100, output: 10, reasoning: 4 };
        assert_eq!(price.of(&tokens), 300 * 3 + 180 + 375 + 150);
        let one = TokenUse { cached: 1, input: 1, ..TokenUse::default() };
        assert_eq!((price.of(&one), price.of(&TokenUse::default())), (1, 0));
        let most = TokenUse { input: u64::MAX, output: u64::MAX, ..TokenUse::default() };
        assert_eq!(Price { input: u64::MAX, output: u64::MAX, ..price }.of(&most), u64::MAX);
    }

    #[test]
    fn a_raise_gives_as_much_again() {
        let allowance = Allowance { tokens: Some(1_000), cost: None };
        assert_eq!(allowance.bounds(0).collect::<Vec<_>>(), [(Meter::Tokens, 1_000)]);
        assert_eq!(allowance.bounds(2).collect::<Vec<_>>(), [(Meter::Tokens, 3_000)]);
        assert!(Allowance::default().is_unbounded());
    }
}

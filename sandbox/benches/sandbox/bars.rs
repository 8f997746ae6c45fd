//! What must hold, and how a finding about it is printed.

use serde_json::json;

/// Which way a bar is passed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// One thing that must hold.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) against: &'static str,
    pub(crate) limit: Limit,
    pub(crate) stretch: Option<f64>,
}

/// What was found about a bar.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) bar: &'static Bar,
    /// The number, or why there is none.
    pub(crate) value: Result<f64, String>,
    /// The same number from the parts of the measurement: the tenth and the ninetieth of a hundred.
    pub(crate) spread: Option<(f64, f64)>,
    /// What else a reader should know, a line each.
    pub(crate) notes: Vec<String>,
}

impl Finding {
    pub(crate) fn of(bar: &'static Bar, value: f64) -> Self {
        Self { bar, value: Ok(value), spread: None, notes: Vec::new() }
    }

    pub(crate) fn unknown(bar: &'static Bar, why: impl Into<String>) -> Self {
        Self { bar, value: Err(why.into()), spread: None, notes: Vec::new() }
    }

    pub(crate) fn spread(self, spread: (f64, f64)) -> Self {
        Self { spread: Some(spread), ..self }
    }

    pub(crate) fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// Whether the bar is passed; `None` when nobody can say.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.value.as_ref().ok().map(|value| match self.bar.limit {
            Limit::AtMost(limit) => *value <= limit,
            Limit::AtLeast(limit) => *value >= limit,
        })
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        let Bar { name, unit, against, limit, stretch } = self.bar;
        let (Limit::AtMost(limit) | Limit::AtLeast(limit)) = limit;
        json!({
            "bar": name,
            "value": self.value.as_ref().ok(),
            "unit": unit,
            "against": against,
            "limit": limit,
            "stretch": stretch,
            "holds": self.holds(),
            "spread": self.spread.map(|(low, high)| [low, high]),
            "why": self.value.as_ref().err(),
            "notes": self.notes,
        })
        .to_string()
    }

    /// A line for people, and one for each note.
    pub(crate) fn text(&self) -> String {
        let Bar { name, unit, against, limit, stretch } = self.bar;
        let (sign, limit) = match limit {
            Limit::AtMost(limit) => ("<=", limit),
            Limit::AtLeast(limit) => (">=", limit),
        };
        let verdict = match self.holds() {
            Some(true) => "holds",
            Some(false) => "BROKEN",
            None => "unknown",
        };
        let value = self.value.as_ref().map_or("-".to_owned(), |value| number(*value));
        let spread = self.spread.map_or(String::new(), |(low, high)| format!("({}-{})", number(low), number(high)));
        let stretch = stretch.map_or(String::new(), |stretch| format!("stretch {}", number(stretch)));
        let mut text = format!(
            "{name:<15} {value:>9} {unit:<6} {spread:<15} {sign} {:<6} {stretch:<13} {verdict:<8} against {against}",
            number(*limit)
        );
        let why = self.value.as_ref().err();
        for line in why.into_iter().chain(&self.notes) {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text
    }
}

fn number(value: f64) -> String {
    let digits = if value.fract() == 0.0 || value.abs() >= 100.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

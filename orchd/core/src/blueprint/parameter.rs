//! Parameters of a blueprint: what a Vision may choose, and how a choice reaches a step.
//!
//! A value is checked against a character set before anything sees it, and then travels as an environment variable. It
//! is never put into shell text, so no quoting can go wrong. Patterns are classes and lengths, not regular expressions:
//! a blueprint can be hostile too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checked::Blueprint;
use crate::recipe::reader::nearest;
use crate::recipe::text::printable;
use crate::recipe::{EnvName, Key};

/// Longest value of any parameter, bytes.
pub const PARAMETER_BYTES_MAX: usize = 128;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Unique among parameters.
    pub name: Key,
    /// One line for people.
    pub description: String,
    /// Used when nobody chooses. Fits the pattern.
    pub default: String,
    /// What a value may look like.
    pub pattern: Pattern,
    /// Where a value is looked for, first hit wins; then the default.
    pub from: Vec<ParameterSource>,
}

/// What a value may look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// 1 to `length_max` characters of these classes; the first of `first`.
    Chars { chars: Vec<CharClass>, first: Vec<CharClass>, length_max: usize },
    /// One of these texts.
    OneOf(Vec<String>),
    /// A whole number in this range, both ends included, without sign or leading zero.
    Number { min: u64, max: u64 },
}

/// A set of ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CharClass {
    /// `a` to `z`.
    Lower,
    /// `A` to `Z`.
    Upper,
    /// `0` to `9`.
    Digit,
    /// `-`.
    Dash,
    /// `_`.
    Underscore,
    /// `.`.
    Dot,
    /// A space.
    Space,
}

/// Where the value of a parameter is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSource {
    /// This key of `parameters` in the Vision's front matter.
    FrontMatter(String),
    /// The Vision's title, made to fit: lower case, other characters become `-`.
    Title,
}

/// A choice that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("parameter `{name}` is `{found}`, expected {expected}")]
    DoesNotFit { name: String, found: String, expected: String },
    #[error("blueprint has no parameter `{name}`")]
    Unknown { name: String, nearest: Option<String> },
}

impl ParameterError {
    /// The next step for a person, if there is one beyond the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Unknown { nearest: None, .. } | Self::DoesNotFit { .. } => None,
        }
    }
}

/// Values of all parameters as the environment of the steps.
pub type ParameterEnv = BTreeMap<EnvName, String>;

impl Parameter {
    /// The variable that carries the value: `ORCH_PARAM_` and the name in upper case, `-` as `_`.
    pub fn env_name(&self) -> EnvName {
        let name = format!("ORCH_PARAM_{}", self.name.as_str().to_ascii_uppercase().replace('-', "_"));
        EnvName::parse(&name).expect("a key has only letters, digits and dashes and is shorter than a variable may be")
    }

    /// Chooses the value: the first source that has one, else the default.
    ///
    /// # Errors
    /// `DoesNotFit` when a person chose a value that the pattern refuses. A title that cannot be made to fit is passed
    /// over: nobody chose it for this.
    fn choose(&self, given: &BTreeMap<String, String>, title: &str) -> Result<String, ParameterError> {
        for source in &self.from {
            match source {
                ParameterSource::FrontMatter(key) => {
                    let Some(value) = given.get(key) else { continue };
                    return if self.pattern.accepts(value) {
                        Ok(value.clone())
                    } else {
                        Err(ParameterError::DoesNotFit {
                            name: self.name.to_string(),
                            found: printable(value),
                            expected: self.pattern.to_string(),
                        })
                    };
                }
                ParameterSource::Title => {
                    let fitted = self.pattern.fit(title);
                    if let Some(value) = fitted {
                        return Ok(value);
                    }
                }
            }
        }
        Ok(self.default.clone())
    }
}

impl Blueprint {
    /// Resolves all parameters from what the Vision gives: `parameters` of its front matter, and its title.
    ///
    /// # Errors
    /// `Unknown` for a given name that no parameter reads, `DoesNotFit` for a value its pattern refuses.
    pub fn resolve(&self, given: &BTreeMap<String, String>, title: &str) -> Result<ParameterEnv, ParameterError> {
        let read: Vec<&str> = self.parameters.iter().flat_map(|parameter| parameter.given_keys()).collect();
        if let Some(name) = given.keys().find(|name| !read.contains(&name.as_str())) {
            let nearest = nearest(name, read.iter().copied()).map(str::to_owned);
            return Err(ParameterError::Unknown { name: printable(name), nearest });
        }
        let resolved =
            self.parameters.iter().map(|parameter| Ok((parameter.env_name(), parameter.choose(given, title)?)));
        resolved.collect()
    }
}

impl Parameter {
    fn given_keys(&self) -> impl Iterator<Item = &str> {
        self.from.iter().filter_map(|source| match source {
            ParameterSource::FrontMatter(key) => Some(key.as_str()),
            ParameterSource::Title => None,
        })
    }
}

impl Pattern {
    /// Whether a value fits.
    pub fn accepts(&self, value: &str) -> bool {
        if value.is_empty() || value.len() > PARAMETER_BYTES_MAX {
            return false;
        }
        match self {
            Self::Chars { chars, first, length_max } => {
                let is_of = |classes: &[CharClass], c: char| classes.iter().any(|class| class.has(c));
                value.len() <= *length_max
                    && value.chars().all(|c| is_of(chars, c))
                    && value.starts_with(|c: char| is_of(first, c))
            }
            Self::OneOf(texts) => texts.iter().any(|text| text == value),
            Self::Number { min, max } => {
                let canonical = value.bytes().all(|b| b.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
                canonical && value.parse::<u64>().is_ok_and(|number| (*min..=*max).contains(&number))
            }
        }
    }

    /// Makes free text fit, if the pattern is one of characters: lower case, runs of others become one `-` or are
    /// dropped when `-` is not allowed.
    fn fit(&self, text: &str) -> Option<String> {
        let Self::Chars { chars, first, length_max } = self else { return None };
        let mut fitted = String::new();
        for c in text.chars().flat_map(char::to_lowercase) {
            if chars.iter().any(|class| class.has(c)) && c != ' ' {
                fitted.push(c);
            } else if chars.contains(&CharClass::Dash) && !fitted.is_empty() && !fitted.ends_with('-') {
                fitted.push('-');
            }
        }
        let start = fitted.find(|c: char| first.iter().any(|class| class.has(c)))?;
        let fitted: String = fitted.chars().skip(start).take(*length_max).collect();
        let fitted = fitted.trim_end_matches('-').to_owned();
        self.accepts(&fitted).then_some(fitted)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |classes: &[CharClass]| classes.iter().map(|class| class.label()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Chars { chars, first, length_max } => {
                write!(f, "1 to {length_max} characters of: {}; the first of: {}", list(chars), list(first))
            }
            Self::OneOf(texts) => write!(f, "one of {}", texts.join(", ")),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
        }
    }
}

impl CharClass {
    /// All classes, by the name they have in a blueprint.
    pub(super) const BY_NAME: [(&'static str, Self); 7] = [
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("digit", Self::Digit),
        ("dash", Self::Dash),
        ("underscore", Self::Underscore),
        ("dot", Self::Dot),
        ("space", Self::Space),
    ];

    fn has(self, c: char) -> bool {
        match self {
            Self::Lower => c.is_ascii_lowercase(),
            Self::Upper => c.is_ascii_uppercase(),
            Self::Digit => c.is_ascii_digit(),
            Self::Dash => c == '-',
            Self::Underscore => c == '_',
            Self::Dot => c == '.',
            Self::Space => c == ' ',
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Lower => "a-z",
            Self::Upper => "A-Z",
            Self::Digit => "0-9",
            Self::Dash => "`-`",
            Self::Underscore => "`_`",
            Self::Dot => "`.`",
            Self::Space => "space",
        }
    }
}

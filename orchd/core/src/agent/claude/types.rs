//! The lines of stream-json, as far as they are read.

use std::fmt;

use orch_proto::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::agent::event::RunEvent;
use crate::agent::usage::Usage;
use crate::agent::wire::{Content, Count, List, Maybe, Number, Str};

/// Most pieces of what one tool gave back.
const PIECES_MAX: usize = 256;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SystemLine<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    pub(super) session_id: Str<'a>,
    pub(super) model: Str<'a>,
    pub(super) attempt: Count,
    pub(super) max_retries: Count,
    pub(super) error_status: Count,
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct AssistantLine<'a> {
    #[serde(borrow)]
    pub(super) message: Message<'a>,
    #[serde(default)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct UserLine<'a> {
    #[serde(borrow)]
    pub(super) message: Message<'a>,
    /// What the program knows of the result beyond what the model is told.
    #[serde(default)]
    pub(super) tool_use_result: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    pub(super) model: Str<'a>,
    pub(super) content: Option<Content<'a, Block<'a>>>,
    pub(super) usage: Option<Tokens>,
}

/// The fields of all sorts of content.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    pub(super) text: Str<'a>,
    pub(super) thinking: Str<'a>,
    pub(super) id: Str<'a>,
    pub(super) name: Str<'a>,
    pub(super) input: Option<&'a RawValue>,
    pub(super) tool_use_id: Str<'a>,
    pub(super) content: Option<Content<'a, Piece<'a>, PIECES_MAX>>,
    pub(super) is_error: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    output_tokens: Count,
}

/// What all models of a session used together.
#[derive(Clone, Copy, Default)]
pub(super) struct ModelUsage(Option<Usage>);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModelTokens {
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    output_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ResultLine<'a> {
    #[serde(borrow)]
    pub(super) subtype: Maybe<Str<'a>>,
    pub(super) is_error: Maybe<bool>,
    pub(super) result: Maybe<Str<'a>>,
    pub(super) errors: Maybe<List<Str<'a>>>,
    pub(super) usage: Maybe<Tokens>,
    #[serde(rename = "modelUsage")]
    pub(super) model_usage: Maybe<ModelUsage>,
    pub(super) total_cost_usd: Number,
    pub(super) stop_reason: Maybe<Str<'a>>,
    pub(super) api_error_status: Count,
    pub(super) deferred_tool_use: Maybe<Option<Deferred<'a>>>,
}

/// A tool for which the program did not wait.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Deferred<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    pub(super) name: Str<'a>,
    pub(super) input: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimitLine<'a> {
    #[serde(borrow)]
    rate_limit_info: RateLimit<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RateLimit<'a> {
    #[serde(borrow)]
    status: Str<'a>,
    /// Seconds since 1970.
    #[serde(rename = "resetsAt")]
    resets_at: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlLine<'a> {
    #[serde(borrow)]
    pub(super) request_id: Str<'a>,
    pub(super) request: ControlRequest<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlRequest<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    pub(super) tool_name: Str<'a>,
    pub(super) input: Option<&'a RawValue>,
    /// What a server of tools asks.
    pub(super) message: Maybe<Str<'a>>,
}

impl<'a> Block<'a> {
    pub(super) fn text(text: Str<'a>) -> Self {
        Self { kind: Str::from_static("text"), text, ..Self::default() }
    }
}

impl Tokens {
    pub(super) fn usage(&self) -> Usage {
        usage(self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens, self.output_tokens)
    }
}

/// Anthropic counts what comes from a cache and what goes into it apart from the rest of the input.
fn usage(rest: Count, written: Count, cached: Count, output: Count) -> Usage {
    let input = [rest, written, cached].iter().filter_map(|count| count.0).reduce(u64::saturating_add);
    Usage { input, cached: cached.0, output: output.0, ..Usage::default() }
}

impl ModelUsage {
    pub(super) fn usage(self) -> Option<Usage> {
        self.0
    }
}

impl<'de> Deserialize<'de> for ModelUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ModelUsageVisitor)
    }
}

struct ModelUsageVisitor;

impl<'de> Visitor<'de> for ModelUsageVisitor {
    type Value = ModelUsage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of models")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelUsage, A::Error> {
        let mut sum = None;
        while let Some((_, of)) = map.next_entry::<IgnoredAny, ModelTokens>()? {
            let next =
                usage(of.input_tokens, of.cache_creation_input_tokens, of.cache_read_input_tokens, of.output_tokens);
            sum = Some(sum.map_or(next, |sum: Usage| sum.then(next)));
        }
        Ok(ModelUsage(sum))
    }
}

impl RateLimitLine<'_> {
    pub(super) fn tell(&self, sink: &mut dyn FnMut(RunEvent)) {
        let RateLimit { status, resets_at } = &self.rate_limit_info;
        // Else it only says how much is left.
        if status.as_str() == "rejected" {
            let resets_at = resets_at.0.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000));
            sink(RunEvent::RateLimited { resets_at: resets_at.map(Timestamp::from_unix_us) });
        }
    }
}

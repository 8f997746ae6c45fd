//! The messages of an agent, as far as they are read.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::agent::event::{Choice, PlanItem, PlanStatus, Verdict};
use crate::agent::text::PATH_BYTES_MAX;
use crate::agent::usage::Usage;
use crate::agent::wire::{Content, Count, List, Maybe, Number, Str, name};

/// Most pieces of what one tool gave back, and answers to choose from.
const PIECES_MAX: usize = 256;

/// A notification or request with the parameters of its method.
#[derive(Deserialize)]
pub(super) struct Call<P> {
    pub(super) params: P,
}

#[derive(Deserialize)]
pub(super) struct Updated<'a> {
    #[serde(borrow)]
    pub(super) update: Update<'a>,
}

/// The fields of all sorts of updates.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Update<'a> {
    #[serde(borrow)]
    pub(super) session_update: Str<'a>,
    pub(super) content: Contents<'a>,
    pub(super) entries: List<Entry<'a>>,
    pub(super) tool_call_id: Str<'a>,
    pub(super) name: Str<'a>,
    pub(super) title: Str<'a>,
    pub(super) kind: Str<'a>,
    pub(super) status: Str<'a>,
    pub(super) locations: List<Location<'a>, PIECES_MAX>,
    pub(super) raw_input: Option<&'a RawValue>,
    pub(super) raw_output: Option<&'a RawValue>,
    pub(super) cost: Maybe<Cost<'a>>,
}

/// One block in what is said, a list in what a tool did.
#[derive(Default)]
pub(super) enum Contents<'a> {
    #[default]
    Nothing,
    Block(Block<'a>),
    List(List<ToolContent<'a>, PIECES_MAX>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    pub(super) text: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ToolContent<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    pub(super) content: Block<'a>,
    pub(super) path: Str<'a>,
    /// Empty in a diff of a new file.
    pub(super) old_text: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) content: Str<'a>,
    pub(super) status: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Location<'a> {
    #[serde(borrow)]
    pub(super) path: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Cost<'a> {
    pub(super) amount: Number,
    #[serde(borrow)]
    pub(super) currency: Str<'a>,
}

/// A request for leave or for an answer.
#[derive(Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    pub(super) params: AskedParams<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AskedParams<'a> {
    #[serde(borrow)]
    pub(super) tool_call: Update<'a>,
    pub(super) options: List<Answer<'a>, PIECES_MAX>,
    pub(super) message: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    option_id: Str<'a>,
    name: Str<'a>,
    kind: Str<'a>,
}

/// An answer to a request of the client.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    pub(super) result: Maybe<Option<Outcome<'a>>>,
    pub(super) error: Maybe<Option<Fault<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault<'a> {
    pub(super) code: Number,
    #[serde(borrow)]
    pub(super) message: Str<'a>,
    pub(super) data: Option<&'a RawValue>,
}

/// The fields of all sorts of answers.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Outcome<'a> {
    #[serde(borrow)]
    pub(super) session_id: Str<'a>,
    pub(super) stop_reason: Str<'a>,
    pub(super) usage: Maybe<Option<Tokens>>,
    models: Maybe<Models<'a>>,
    config_options: Maybe<List<ConfigOption<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Models<'a> {
    #[serde(borrow)]
    current_model_id: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigOption<'a> {
    #[serde(borrow)]
    category: Str<'a>,
    current_value: Maybe<Str<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Tokens {
    total_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    thought_tokens: Count,
    cached_read_tokens: Count,
    cached_write_tokens: Count,
}

/// What agents put into the free form of what a tool was given.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawInput<'a> {
    #[serde(borrow)]
    pub(super) command: Maybe<Content<'a, Str<'a>, PIECES_MAX>>,
    pub(super) todos: Maybe<List<Entry<'a>>>,
}

/// And of what it gave back.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawOutput<'a> {
    #[serde(borrow)]
    pub(super) output: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
    pub(super) exit_code: Number,
    pub(super) metadata: Maybe<Metadata>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) exit: Number,
    /// Whether a file was there before it was written.
    pub(super) exists: Option<bool>,
}

impl Entry<'_> {
    pub(super) fn item(&self) -> PlanItem {
        let status = match self.status.as_str() {
            "completed" => PlanStatus::Completed,
            "in_progress" => PlanStatus::InProgress,
            _ => PlanStatus::Pending,
        };
        PlanItem { text: self.content.start(PATH_BYTES_MAX), status }
    }
}

impl Answer<'_> {
    pub(super) fn choice(&self) -> Choice {
        let verdict = match self.kind.as_str() {
            "allow_once" => Some(Verdict::AllowOnce),
            "allow_always" => Some(Verdict::AllowAlways),
            "reject_once" => Some(Verdict::RejectOnce),
            "reject_always" => Some(Verdict::RejectAlways),
            _ => None,
        };
        Choice { id: self.option_id.name(), label: self.name.start(PATH_BYTES_MAX), verdict }
    }
}

impl Asked<'_> {
    /// The id as JSON, so that an answer can have the same one: a number or a string.
    pub(super) fn id(&self) -> String {
        name(self.id.get()).to_owned()
    }
}

impl Outcome<'_> {
    pub(super) fn model(&self) -> Option<String> {
        let option = |options: &List<ConfigOption<'_>>| {
            let model = options.items.iter().find(|option| option.category.as_str() == "model")?;
            model.current_value.0.as_ref().map(Str::name)
        };
        let current = self.models.0.as_ref().map(|models| models.current_model_id.name());
        current.filter(|model| !model.is_empty()).or_else(|| self.config_options.0.as_ref().and_then(option))
    }
}

impl Tokens {
    /// Agents differ in whether what came from a cache is part of the input, and thoughts of the output; the total tells.
    pub(super) fn usage(&self) -> Usage {
        let sum = |counts: &[Count]| counts.iter().filter_map(|count| count.0).reduce(u64::saturating_add);
        let apart = [self.cached_read_tokens, self.cached_write_tokens, self.thought_tokens];
        let all = sum(&[&[self.input_tokens, self.output_tokens], &apart[..]].concat());
        let are_apart = self.total_tokens.0.is_some_and(|total| Some(total) >= all);
        let (input, output) = if are_apart {
            let input = sum(&[self.input_tokens, self.cached_read_tokens, self.cached_write_tokens]);
            (input, sum(&[self.output_tokens, self.thought_tokens]))
        } else {
            (self.input_tokens.0, self.output_tokens.0)
        };
        let (cached, reasoning) = (self.cached_read_tokens.0, self.thought_tokens.0);
        Usage { input, cached, output, reasoning, ..Usage::default() }
    }
}

impl<'a> Contents<'a> {
    pub(super) fn into_block(self) -> Block<'a> {
        match self {
            Self::Block(block) => block,
            Self::Nothing | Self::List(_) => Block::default(),
        }
    }

    pub(super) fn list(&self) -> &[ToolContent<'a>] {
        match self {
            Self::List(list) => &list.items,
            Self::Nothing | Self::Block(_) => &[],
        }
    }

    pub(super) fn into_list(self) -> List<ToolContent<'a>, PIECES_MAX> {
        match self {
            Self::List(list) => list,
            Self::Nothing | Self::Block(_) => List::default(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Contents<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentsVisitor)
    }
}

struct ContentsVisitor;

impl<'de> Visitor<'de> for ContentsVisitor {
    type Value = Contents<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block or a list of them")
    }

    fn visit_unit<E>(self) -> Result<Contents<'de>, E> {
        Ok(Contents::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Contents<'de>, A::Error> {
        Block::deserialize(MapAccessDeserializer::new(map)).map(Contents::Block)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Contents<'de>, A::Error> {
        List::from_seq(seq).map(Contents::List)
    }
}

//! The protocols, and where each is asked for.
//!
//! Only the vendors' own paths are known, so that a gateway which builds a wrong one is found out.

use hyper::Method;
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::manner::Failure;
use super::piece::Pieces;
use super::refusal::Vendor;
use super::reply::Reply;
use super::{chat, messages, ollama, responses};

/// When everything was made, in seconds of Unix time. It is always the same, so that answers are.
pub(super) const CREATED: u64 = 1_767_225_600;

/// The same as text.
pub(super) const CREATED_TEXT: &str = "2026-01-01T00:00:00Z";

/// A way to ask a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Responses,
    Chat,
    Messages,
    OllamaChat,
    OllamaGenerate,
}

impl Protocol {
    pub(super) fn vendor(self) -> Vendor {
        match self {
            Self::Responses | Self::Chat => Vendor::OpenAi,
            Self::Messages => Vendor::Anthropic,
            Self::OllamaChat | Self::OllamaGenerate => Vendor::Ollama,
        }
    }

    /// What a stream is.
    pub(super) fn stream_type(self) -> &'static str {
        match self.vendor() {
            Vendor::OpenAi | Vendor::Anthropic => "text/event-stream; charset=utf-8",
            Vendor::Ollama => "application/x-ndjson",
        }
    }

    pub(super) fn read(self, body: &Value) -> Conversation {
        match self {
            Self::Responses => responses::read(body),
            Self::Chat => chat::read(body),
            Self::Messages => messages::read(body),
            Self::OllamaChat => ollama::read_chat(body),
            Self::OllamaGenerate => ollama::read_generate(body),
        }
    }

    pub(super) fn whole(self, reply: &Reply) -> Value {
        match self {
            Self::Responses => responses::whole(reply),
            Self::Chat => chat::whole(reply),
            Self::Messages => messages::whole(reply),
            Self::OllamaChat | Self::OllamaGenerate => ollama::whole(reply, self),
        }
    }

    pub(super) fn stream(self, reply: &Reply) -> Pieces {
        match self {
            Self::Responses => responses::stream(reply),
            Self::Chat => chat::stream(reply),
            Self::Messages => messages::stream(reply),
            Self::OllamaChat | Self::OllamaGenerate => ollama::stream(reply, self),
        }
    }

    pub(super) fn error_event(self, reply: &Reply, failure: &Failure) -> Pieces {
        match self {
            Self::Responses => responses::error_event(reply, failure),
            Self::Chat => chat::error_event(failure),
            Self::Messages => messages::error_event(failure),
            Self::OllamaChat | Self::OllamaGenerate => ollama::error_event(failure),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Model(Protocol),
    /// The models, in the form of OpenAI or Anthropic, whichever asks.
    Models,
    CountTokens,
    Tags,
    Version,
    /// A sign of life.
    Root,
    /// The same as a model, but over a WebSocket.
    Socket,
    Unknown,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match (method.as_str(), path) {
            ("POST", "/v1/responses") => Self::Model(Protocol::Responses),
            ("POST", "/v1/chat/completions") => Self::Model(Protocol::Chat),
            ("POST", "/v1/messages") => Self::Model(Protocol::Messages),
            ("POST", "/api/chat") => Self::Model(Protocol::OllamaChat),
            ("POST", "/api/generate") => Self::Model(Protocol::OllamaGenerate),
            ("POST", "/v1/messages/count_tokens") => Self::CountTokens,
            ("GET", "/v1/models") => Self::Models,
            ("GET", "/api/tags") => Self::Tags,
            ("GET", "/api/version") => Self::Version,
            ("GET", "/v1/responses") => Self::Socket,
            ("GET" | "HEAD", "/") => Self::Root,
            _ => Self::Unknown,
        }
    }

    /// Whose form an error has on a path.
    pub(super) fn vendor(self, path: &str) -> Vendor {
        match self {
            Self::Model(protocol) => protocol.vendor(),
            Self::Models | Self::Socket => Vendor::OpenAi,
            Self::CountTokens => Vendor::Anthropic,
            Self::Tags | Self::Version => Vendor::Ollama,
            Self::Root | Self::Unknown if path.starts_with("/v1/messages") => Vendor::Anthropic,
            Self::Root | Self::Unknown if path.starts_with("/api/") => Vendor::Ollama,
            Self::Root | Self::Unknown => Vendor::OpenAi,
        }
    }
}

/// The list of the models as OpenAI has it. Codex looks for `models`, of which it needs none.
pub(super) fn openai_models(names: &[String]) -> Value {
    let model = |name: &String| json!({ "id": name, "object": "model", "created": CREATED, "owned_by": "script" });
    json!({ "object": "list", "data": names.iter().map(model).collect::<Vec<_>>(), "models": [] })
}

/// The same as Anthropic has it.
pub(super) fn anthropic_models(names: &[String]) -> Value {
    let model =
        |name: &String| json!({ "type": "model", "id": name, "display_name": name, "created_at": CREATED_TEXT });
    let data: Vec<Value> = names.iter().map(model).collect();
    json!({ "data": data, "has_more": false, "first_id": names.first(), "last_id": names.last() })
}

/// The same as Ollama has it.
pub(super) fn ollama_tags(names: &[String]) -> Value {
    let details = json!({ "format": "gguf", "family": "script", "families": ["script"], "parameter_size": "1B",
        "quantization_level": "Q4_0", "parent_model": "" });
    let model = |name: &String| {
        json!({ "name": name, "model": name, "modified_at": CREATED_TEXT, "size": 1, "digest": "0".repeat(64),
            "details": details })
    };
    json!({ "models": names.iter().map(model).collect::<Vec<_>>() })
}

/// A text member of an object; empty when there is none.
pub(super) fn as_text(body: &Value, name: &str) -> String {
    body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A truth in an object; false when there is none.
pub(super) fn as_bool(body: &Value, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

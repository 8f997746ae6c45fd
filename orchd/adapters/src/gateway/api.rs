//! What may be asked of a model's server: three families of requests, each with its paths, its key and its errors.
//!
//! Paths are those of the vendors' references of 2026: `platform.openai.com/docs/api-reference` (Responses, Chat
//! Completions), `docs.anthropic.com/en/api` (Messages), `docs.ollama.com/api`. Everything else a key opens - files,
//! organisations, fine-tuning - is nothing that a run has a reason to reach, and is refused by name.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

/// Which wire protocol an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Responses and Chat Completions; also what speaks like it.
    OpenAi,
    /// Messages.
    Anthropic,
    /// Chat and generate, and what it understands of `OpenAi`.
    Ollama,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /api/chat` and `POST /api/generate`.
    Ollama,
    /// Lists, versions and counts of tokens, which cost nothing.
    Free,
}

const OPENAI: &[(Method, &str, Route)] = &[
    (Method::POST, "/v1/responses", Route::Responses),
    (Method::POST, "/v1/chat/completions", Route::Chat),
    (Method::GET, "/v1/models", Route::Free),
];

const ANTHROPIC: &[(Method, &str, Route)] = &[
    (Method::POST, "/v1/messages", Route::Messages),
    (Method::POST, "/v1/messages/count_tokens", Route::Free),
    (Method::GET, "/v1/models", Route::Free),
];

const OLLAMA: &[(Method, &str, Route)] = &[
    (Method::POST, "/api/chat", Route::Ollama),
    (Method::POST, "/api/generate", Route::Ollama),
    (Method::POST, "/api/show", Route::Free),
    (Method::GET, "/api/tags", Route::Free),
    (Method::GET, "/api/version", Route::Free),
];

/// Headers in which a key can be.
const KEY_HEADERS: [HeaderName; 3] =
    [AUTHORIZATION, HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

impl Api {
    /// The word for it, in configurations and on record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Ollama].into_iter().find(|api| api.word() == word)
    }

    /// What `path` asks for, without its query; none when it is nothing that a run may ask for.
    #[must_use]
    pub fn route(self, method: &Method, path: &str) -> Option<Route> {
        let known: &[&[(Method, &str, Route)]] = match self {
            Self::OpenAi => &[OPENAI],
            Self::Anthropic => &[ANTHROPIC],
            Self::Ollama => &[OLLAMA, OPENAI],
        };
        let mut known = known.iter().copied().flatten();
        known.find(|(asked, at, _)| asked == method && *at == path).map(|(.., route)| *route)
    }

    /// Puts the key where this server looks for it, in place of whatever the run had there.
    pub(super) fn authorize(self, headers: &mut HeaderMap, key: Option<HeaderValue>) {
        for name in KEY_HEADERS {
            headers.remove(name);
        }
        let Some(mut key) = key else { return };
        key.set_sensitive(true);
        match self {
            Self::Anthropic => headers.insert("x-api-key", key),
            Self::OpenAi | Self::Ollama => headers.insert(AUTHORIZATION, key),
        };
    }

    /// The value of the header with the key; none when it cannot be one.
    pub(super) fn key_header(self, key: &[u8]) -> Option<HeaderValue> {
        let value = match self {
            Self::Anthropic => HeaderValue::from_bytes(key),
            Self::OpenAi | Self::Ollama => HeaderValue::from_bytes(&[b"Bearer ", key].concat()),
        };
        value.ok()
    }

    /// An error in the words of this API, so that an agent shows it as it shows those of the model's server.
    pub(super) fn error_body(self, status: StatusCode, code: &str, message: &str) -> Vec<u8> {
        let kind = match (self, status) {
            (_, StatusCode::TOO_MANY_REQUESTS) => "rate_limit_error",
            (_, StatusCode::NOT_FOUND) => "not_found_error",
            (_, status) if status.is_server_error() => "api_error",
            (_, StatusCode::FORBIDDEN) => "permission_error",
            _ => "invalid_request_error",
        };
        let body = match self {
            Self::OpenAi => {
                serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Self::Anthropic => serde_json::json!({"type": "error", "error": {"type": kind, "message": message}}),
            Self::Ollama => serde_json::json!({"error": message}),
        };
        body.to_string().into_bytes()
    }
}

impl Route {
    /// Whether an answer to it is counted.
    #[must_use]
    pub const fn is_metered(self) -> bool {
        !matches!(self, Self::Free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_run_has_a_reason_to_ask_for_has_a_route() {
        let asks = |api: Api, method: Method, path: &str| api.route(&method, path);
        assert_eq!(asks(Api::OpenAi, Method::POST, "/v1/responses"), Some(Route::Responses));
        assert_eq!(asks(Api::Anthropic, Method::POST, "/v1/messages"), Some(Route::Messages));
        assert_eq!(asks(Api::Ollama, Method::POST, "/v1/chat/completions"), Some(Route::Chat));
        for (method, path) in [
            (Method::GET, "/v1/responses"),
            (Method::POST, "/v1/files"),
            (Method::GET, "/v1/organization/api_keys"),
            (Method::POST, "/v1/responses/../files"),
            (Method::POST, "//v1/responses"),
            (Method::POST, "/v1/messages"),
        ] {
            assert_eq!(asks(Api::OpenAi, method, path), None, "{path}");
        }
    }

    #[test]
    fn whatever_key_a_run_names_is_not_the_one_that_is_sent() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer of-the-run"));
        headers.append("x-api-key", HeaderValue::from_static("of-the-run"));
        headers.append("api-key", HeaderValue::from_static("of-the-run"));
        Api::Anthropic.authorize(&mut headers, Api::Anthropic.key_header(b"real"));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-api-key"], "real");
        Api::OpenAi.authorize(&mut headers, Api::OpenAi.key_header(b"real"));
        assert_eq!((headers.len(), &headers[AUTHORIZATION]), (1, &HeaderValue::from_static("Bearer real")));
        Api::Ollama.authorize(&mut headers, None);
        assert!(headers.is_empty());
        assert_eq!(Api::OpenAi.key_header(b"two\nlines"), None);
    }
}

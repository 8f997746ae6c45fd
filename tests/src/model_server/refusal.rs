//! The vendors' bodies for errors.
//!
//! Sources: the error pages of the API references of OpenAI and Anthropic, and Ollama's `docs/api.md`.

use serde_json::{Value, json};

use super::manner::Failure;

/// Whose form an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vendor {
    OpenAi,
    Anthropic,
    Ollama,
}

/// The body of an error.
pub(super) fn body(vendor: Vendor, failure: &Failure) -> Value {
    match vendor {
        Vendor::OpenAi => openai(failure),
        Vendor::Anthropic => anthropic(failure),
        Vendor::Ollama => ollama(failure),
    }
}

/// What is said of an error.
pub(super) fn said(failure: &Failure) -> String {
    failure.message.clone().unwrap_or_else(|| {
        let said = match failure.status {
            400 => "The request is not as it should be.",
            401 => "The key is not right.",
            403 => "The key does not allow that.",
            404 => "There is no such thing.",
            413 => "The request is too large.",
            429 => "Rate limit reached.",
            503 | 529 => "Overloaded.",
            _ => "The server had an error.",
        };
        said.to_owned()
    })
}

/// OpenAI's `code`, which not every error has.
pub(super) fn openai_code(failure: &Failure) -> Option<&str> {
    let by_status = match failure.status {
        401 => Some("invalid_api_key"),
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        500 => Some("server_error"),
        503 | 529 => Some("server_is_overloaded"),
        _ => None,
    };
    failure.code.as_deref().or(by_status)
}

pub(super) fn openai(failure: &Failure) -> Value {
    let kind = match failure.status {
        400..=428 => "invalid_request_error",
        429 => "requests",
        _ => "server_error",
    };
    json!({ "error": { "message": said(failure), "type": kind, "param": null, "code": openai_code(failure) } })
}

pub(super) fn anthropic(failure: &Failure) -> Value {
    let kind = failure.code.as_deref().unwrap_or(match failure.status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    });
    let error = json!({ "type": kind, "message": said(failure) });
    json!({ "type": "error", "error": error, "request_id": "req_scripted" })
}

pub(super) fn ollama(failure: &Failure) -> Value {
    json!({ "error": said(failure) })
}

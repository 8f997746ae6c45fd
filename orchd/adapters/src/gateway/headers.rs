//! Which headers pass: those that are known to be needed, and no others.
//!
//! A header can choose another project of the key, turn on what a vendor runs itself, or set a cookie that the next run
//! sends back. The lists are of what the supported programs send and read (`orchd/docs/agent-programs.md`).

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};

/// Headers of requests that pass.
const OF_REQUESTS: [&str; 13] = [
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "idempotency-key",
    "originator",
    "session-id",
    "session_id",
    "thread-id",
    "x-app",
    "x-claude-code-session-id",
    "x-client-request-id",
    "x-codex-beta-features",
    "x-codex-turn-state",
    "x-codex-window-id",
];
/// Beginnings of those of one maker of clients, which say how it was built.
const OF_CLIENTS: &str = "x-stainless-";
/// Names what of Anthropic's is not finished and is wanted all the same.
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// Words of what Anthropic runs, fetches or keeps itself.
const HOSTED_BETAS: [&str; 12] = [
    "advisor",
    "batch",
    "code-execution",
    "computer-use",
    "container",
    "environments",
    "files",
    "managed",
    "mcp",
    "profiles",
    "skills",
    "web-",
];
/// Headers of answers that pass, beside those that say how much more may be asked.
const OF_ANSWERS: [&str; 10] = [
    "cf-ray",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after-ms",
    "x-codex-turn-state",
    "x-oai-request-id",
    "x-request-id",
    "x-should-retry",
];
/// Beginnings of those.
const OF_RATES: [&str; 2] = ["anthropic-ratelimit-", "x-ratelimit-"];
/// Longest value that passes, in bytes.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// Headers of a run's request as they are sent, without a key.
pub(super) fn of_request(asked: &HeaderMap, hosted: bool) -> HeaderMap {
    let mut sent = HeaderMap::new();
    for (name, value) in asked {
        let is_plain = [ACCEPT, CONTENT_TYPE, USER_AGENT].contains(name) || OF_REQUESTS.contains(&name.as_str());
        if (is_plain || name.as_str().starts_with(OF_CLIENTS)) && value.len() <= VALUE_BYTES_MAX {
            sent.insert(name.clone(), value.clone());
        }
    }
    let betas = asked.get_all(BETA).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let betas = betas.map(str::trim).filter(|beta| !beta.is_empty());
    let betas: Vec<&str> = betas.filter(|beta| hosted || !is_hosted(beta)).take(64).collect();
    if let Some(betas) = HeaderValue::from_str(&betas.join(",")).ok().filter(|value| !value.is_empty()) {
        sent.insert(BETA, betas);
    }
    // What is packed can be neither counted nor searched.
    sent.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    sent
}

/// Headers of a server's answer as the run gets them.
pub(super) fn of_answer(answered: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in answered {
        let is_plain = [CONTENT_TYPE, DATE, RETRY_AFTER].contains(name) || OF_ANSWERS.contains(&name.as_str());
        let is_rate = OF_RATES.iter().any(|known| name.as_str().starts_with(known));
        if (is_plain || is_rate) && value.len() <= VALUE_BYTES_MAX {
            passed.insert(name.clone(), value.clone());
        }
    }
    passed
}

/// Whether an answer is packed although nobody asked for that.
pub(super) fn is_packed(answered: &HeaderMap) -> bool {
    answered.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_hosted(beta: &str) -> bool {
    let beta = beta.to_ascii_lowercase();
    HOSTED_BETAS.iter().any(|word| beta.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_chooses_more_than_an_answer_does_not_leave() {
        let asked = headers(&[
            ("openai-project", "other"),
            ("openai-organization", "other"),
            ("openai-beta", "assistants=v2"),
            ("cookie", "a=b"),
            ("host", "h"),
            ("connection", "x-app"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer own"),
            ("x-api-key", "own"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-stainless-os", "Linux"),
            ("user-agent", "u"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "effort-2025-11-24, files-api-2025-04-14,mcp-client-2025-11-20"),
        ]);
        let sent = of_request(&asked, false);
        let expected = ["accept-encoding", "anthropic-beta", "anthropic-version", "user-agent", "x-stainless-os"];
        assert_eq!(names(&sent), expected);
        assert_eq!(
            (&sent[BETA], &sent[ACCEPT_ENCODING]),
            (&"effort-2025-11-24".parse().unwrap(), &"identity".parse().unwrap())
        );
        assert!(of_request(&asked, true)[BETA].to_str().unwrap().contains("files-api"));
        assert!(!of_request(&headers(&[("anthropic-beta", "skills-2025-10-02")]), false).contains_key(BETA));
    }

    #[test]
    fn an_answer_brings_no_cookie_and_no_name_of_the_account() {
        let answered = headers(&[
            ("set-cookie", "a=b"),
            ("anthropic-organization-id", "o"),
            ("openai-organization", "o"),
            ("location", "https://a.example"),
            ("content-length", "9"),
            ("content-type", "text/event-stream"),
            ("retry-after", "2"),
            ("request-id", "r"),
            ("anthropic-ratelimit-tokens-remaining", "5"),
        ]);
        let expected = ["anthropic-ratelimit-tokens-remaining", "content-type", "request-id", "retry-after"];
        assert_eq!(names(&of_answer(&answered)), expected);
        assert!(is_packed(&headers(&[("content-encoding", "gzip")])) && !is_packed(&answered));
    }
}

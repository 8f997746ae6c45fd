//! What a request may come to: how many tokens its answer has at most, and whether they cost what the lists of prices say.

use serde_json::value::RawValue;

use super::api::Route;
use super::members::Members;

/// How many tokens are kept for an answer of which the request does not say how long it may be.
pub const OUTPUT_TOKENS: u64 = 8_192;

/// Most answers to one request: OpenAI's own bound of `n`.
const ANSWERS_MAX: u64 = 128;

/// How many tokens an answer has at most, by whichever name that is asked for, and of all answers that are asked for.
///
/// # Errors
/// When that cannot be told.
pub(super) fn output_max(route: Route, members: &Members<'_>) -> Result<Option<u64>, String> {
    let mut most = None;
    for name in ["max_output_tokens", "max_completion_tokens", "max_tokens"] {
        most = most.max(members.get(name)?.map(|value| number(name, value)).transpose()?);
    }
    if let (Route::Ollama, Some(options)) = (route, members.get("options")?) {
        let inner = Members::in_value(options).map_err(|problem| format!("`options`: {problem}"))?;
        // Less than none stands for no bound.
        let bounds = |value: &&RawValue| !value.get().starts_with('-');
        most = most.max(
            inner.get("num_predict")?.filter(bounds).map(|value| number("options.num_predict", value)).transpose()?,
        );
    }
    let answers = members.get("n")?.map(|value| number("n", value)).transpose()?.unwrap_or(1);
    if !(1..=ANSWERS_MAX).contains(&answers) {
        return Err(format!("`n` is not 1 to {ANSWERS_MAX}"));
    }
    Ok(most.map(|most| most.saturating_mul(answers)).or_else(|| (answers > 1).then_some(answers * OUTPUT_TOKENS)))
}

/// A number that is not negative, rounded up: some servers take `1e3` and `9.5` for numbers of tokens.
pub(super) fn number(name: &str, value: &RawValue) -> Result<u64, String> {
    let number: Option<f64> = value.get().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked; what is too large is as much as there is"
    )]
    number.map(|number| number.ceil() as u64).ok_or_else(|| format!("`{name}` is no number of tokens"))
}

/// Refuses what has the vendor count a token at another price than it has in the lists that budgets go by.
///
/// # Errors
/// What does.
pub(super) fn usual_price(members: &Members<'_>) -> Result<(), String> {
    for (name, usual) in [
        ("service_tier", &["auto", "default", "flex", "standard", "standard_only"][..]),
        ("speed", &["standard"]),
        ("inference_geo", &["global"]),
    ] {
        if let Some(asked) = members.text(name)?.filter(|asked| !usual.contains(&asked.as_ref())) {
            let asked = asked.chars().take(80).collect::<String>();
            return Err(format!(
                "`{name}` is `{}`, which costs more than the price of the model",
                asked.escape_debug()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_is_asked_for_counts_however_it_is_written() {
        let most = |route, body: &str| output_max(route, &Members::of(body.as_bytes()).unwrap());
        for (route, body, expected) in [
            (Route::Chat, r#"{"max_tokens":100}"#, Some(100)),
            (Route::Chat, r#"{"max_tokens":1e3,"max_completion_tokens":9.5}"#, Some(1_000)),
            (Route::Chat, r#"{"max_tokens":100,"n":3}"#, Some(300)),
            (Route::Chat, r#"{"n":2}"#, Some(2 * OUTPUT_TOKENS)),
            (Route::Ollama, r#"{"options":{"num_predict":64}}"#, Some(64)),
            (Route::Ollama, r#"{"options":{"num_predict":-1}}"#, None),
            (Route::Responses, r#"{"max_output_tokens":null}"#, None),
        ] {
            assert_eq!(most(route, body), Ok(expected), "{body}");
        }
        for body in [r#"{"max_tokens":"9"}"#, r#"{"max_tokens":-1}"#, r#"{"n":0}"#, r#"{"n":1000}"#] {
            assert!(most(Route::Chat, body).is_err(), "{body}");
        }
    }

    #[test]
    fn what_costs_more_than_the_list_says_is_the_operators_to_allow() {
        for body in [
            r#"{"service_tier":"priority"}"#,
            r#"{"speed":"fast"}"#,
            r#"{"inference_geo":"us"}"#,
            r#"{"service_tier":7}"#,
        ] {
            assert!(usual_price(&Members::of(body.as_bytes()).unwrap()).is_err(), "{body}");
        }
        let usual = r#"{"service_tier":"standard_only","speed":"standard","inference_geo":"global"}"#;
        assert_eq!(usual_price(&Members::of(usual.as_bytes()).unwrap()), Ok(()));
    }
}

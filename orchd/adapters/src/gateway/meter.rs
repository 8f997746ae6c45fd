//! Counts what an answer costs while it passes.
//!
//! Every server says so itself, each at another place: Responses in the event that ends the stream, Chat Completions in
//! its last chunk when it was asked to, Messages at the beginning (input) and cumulatively with each `message_delta`
//! (output), Ollama in its last line. Only events with such a figure are parsed.

use orch_core::entity::TokenUse;
use serde::Deserialize;

use super::api::Route;
use super::lines::Lines;

/// About how many bytes of text are a token, for answers of which nobody says what they cost.
const BYTES_OF_TOKEN: u64 = 4;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Server-sent events.
    Events,
    /// A line of JSON for each piece.
    Lines,
    /// One JSON document.
    Document,
}

/// Follows one answer.
#[derive(Debug)]
pub(super) struct Meter {
    route: Route,
    form: Form,
    lines: Lines,
    tokens: Option<TokenUse>,
    model: Option<String>,
    bytes: u64,
    is_over: bool,
}

impl Meter {
    /// For an answer to `route` whose header has this content type.
    pub(super) fn new(route: Route, content_type: &str) -> Self {
        let form = match content_type.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Form::Events,
            "application/x-ndjson" | "application/jsonl" => Form::Lines,
            _ if route == Route::Ollama => Form::Lines,
            _ => Form::Document,
        };
        Self { route, form, lines: Lines::default(), tokens: None, model: None, bytes: 0, is_over: false }
    }

    /// Follows the next bytes of the answer. Without room for it, what has not ended is not looked at.
    pub(super) fn feed(&mut self, bytes: &[u8], has_room: bool) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let (route, form) = (self.route, self.form);
        if form == Form::Document {
            return;
        }
        let mut lines = std::mem::take(&mut self.lines);
        lines.feed(bytes, has_room, |line| match form {
            Form::Events => {
                if let Some(data) = line.strip_prefix(b"data:") {
                    self.hear(route, data.trim_ascii());
                }
            }
            Form::Lines | Form::Document => self.hear(route, line),
        });
        self.lines = lines;
    }

    /// The answer is at its end; `kept` is all of it when it is one document.
    pub(super) fn finish(&mut self, kept: &[u8]) {
        match self.form {
            Form::Document => self.hear(self.route, kept),
            Form::Lines => {
                let rest = self.lines.rest().to_vec();
                self.hear(self.route, &rest);
            }
            Form::Events => {}
        }
    }

    /// Whether the server has said all that it has to say.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many bytes it holds.
    pub(super) const fn held(&self) -> usize {
        self.lines.held()
    }

    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// What the answer to a request of this size cost, and whether that is an estimate. Only a server that came to its end
    /// has said all: what it said before is less than it was.
    pub(super) fn cost(&self, request_bytes: u64, is_whole: bool) -> (TokenUse, bool) {
        let (said, is_all) = match self.tokens {
            Some(tokens) => (tokens, is_whole && (self.is_over || self.form == Form::Document)),
            None => (TokenUse::default(), false),
        };
        if is_all {
            return (said, false);
        }
        let about = sizes(request_bytes, self.bytes);
        let input = if said.input > 0 { said.input } else { about.input };
        (TokenUse { input, output: said.output.max(about.output), ..said }, true)
    }

    fn hear(&mut self, route: Route, json: &[u8]) {
        if json == b"[DONE]" {
            self.is_over = true;
            return;
        }
        let tells = |word: &str| has(json, word.as_bytes());
        match route {
            Route::Responses => {
                let ends = ["response.completed", "response.incomplete", "response.failed"];
                if self.form == Form::Document {
                    self.take(parse::<ResponseBody>(json).map(ResponseBody::counted));
                } else if ends.iter().any(|end| tells(end)) {
                    let event = parse::<ResponseEvent>(json);
                    self.is_over |= event.as_ref().is_some_and(|event| ends.contains(&event.kind.as_str()));
                    self.take(event.and_then(|event| event.response).map(ResponseBody::counted));
                }
            }
            Route::Chat if tells("\"usage\"") => self.take(parse::<ChatBody>(json).map(ChatBody::counted)),
            Route::Messages if tells("\"usage\"") || tells("message_stop") => {
                let Some(event) = parse::<MessagesEvent>(json) else { return };
                self.is_over |= event.kind == "message_stop";
                self.take_message(event);
            }
            Route::Ollama if tells("\"done\"") => {
                let Some(line) = parse::<OllamaLine>(json) else { return };
                if line.done {
                    self.is_over = true;
                    self.take(Some(line.counted()));
                }
            }
            Route::Chat | Route::Messages | Route::Ollama | Route::Free => {}
        }
    }

    fn take(&mut self, counted: Option<(Option<String>, Option<TokenUse>)>) {
        let Some((model, tokens)) = counted else { return };
        self.model = model.or_else(|| self.model.take());
        self.tokens = tokens.or(self.tokens);
    }

    /// Figures of Messages are cumulative, and each event has only some of them.
    fn take_message(&mut self, event: MessagesEvent) {
        let MessagesEvent { message, usage, model, .. } = event;
        let (inner, inner_model) = message.map(|message| (message.usage, message.model)).unwrap_or_default();
        self.model = model.or(inner_model).or_else(|| self.model.take());
        for usage in [inner, usage].into_iter().flatten() {
            let known = self.tokens.unwrap_or_default();
            let input = match (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) {
                (None, ..) => (known.input, known.cached, known.cache_written),
                // Here tokens that come from a cache or go to it are not among the others.
                (Some(input), read, written) => {
                    let (read, written) = (read.unwrap_or(0), written.unwrap_or(0));
                    (input.saturating_add(read).saturating_add(written), read, written)
                }
            };
            self.tokens = Some(TokenUse {
                input: input.0,
                cached: input.1,
                cache_written: input.2,
                output: usage.output_tokens.unwrap_or(known.output),
                reasoning: 0,
            });
        }
    }
}

/// What a request and an answer of these sizes may have cost.
pub(super) const fn sizes(request_bytes: u64, answer_bytes: u64) -> TokenUse {
    TokenUse {
        input: request_bytes.div_ceil(BYTES_OF_TOKEN),
        output: answer_bytes.div_ceil(BYTES_OF_TOKEN),
        cached: 0,
        cache_written: 0,
        reasoning: 0,
    }
}

/// Whether `word` is anywhere in `bytes`.
fn has(bytes: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(bytes, word).is_some()
}

/// What is no such thing is not counted: it is passed on all the same.
fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

#[derive(Deserialize)]
struct ResponseEvent {
    #[serde(rename = "type")]
    kind: String,
    response: Option<ResponseBody>,
}

#[derive(Deserialize)]
struct ResponseBody {
    model: Option<String>,
    usage: Option<ResponseUse>,
}

#[derive(Deserialize)]
struct ResponseUse {
    input_tokens: u64,
    output_tokens: u64,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct ChatBody {
    model: Option<String>,
    usage: Option<ChatUse>,
}

#[derive(Deserialize)]
struct ChatUse {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
}

/// An event of a stream, or a whole message.
#[derive(Deserialize)]
struct MessagesEvent {
    #[serde(rename = "type", default)]
    kind: String,
    message: Option<MessageStart>,
    usage: Option<MessageUse>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct MessageStart {
    model: Option<String>,
    usage: Option<MessageUse>,
}

#[derive(Deserialize)]
struct MessageUse {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OllamaLine {
    model: Option<String>,
    #[serde(default)]
    done: bool,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
}

impl ResponseBody {
    fn counted(self) -> (Option<String>, Option<TokenUse>) {
        let tokens = self.usage.map(|usage| TokenUse {
            input: usage.input_tokens,
            cached: usage.input_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            cache_written: 0,
            output: usage.output_tokens,
            reasoning: usage.output_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        });
        (self.model, tokens)
    }
}

impl ChatBody {
    fn counted(self) -> (Option<String>, Option<TokenUse>) {
        let tokens = self.usage.map(|usage| TokenUse {
            input: usage.prompt_tokens,
            cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            cache_written: 0,
            output: usage.completion_tokens,
            reasoning: usage.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        });
        (self.model, tokens)
    }
}

impl OllamaLine {
    fn counted(self) -> (Option<String>, Option<TokenUse>) {
        // A prompt that was there already is not counted by it.
        let tokens = self.eval_count.map(|output| TokenUse {
            input: self.prompt_eval_count.unwrap_or(0),
            output,
            ..TokenUse::default()
        });
        (self.model, tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metered(route: Route, content_type: &str, answer: &str, piece: usize) -> Meter {
        let mut meter = Meter::new(route, content_type);
        answer.as_bytes().chunks(piece).for_each(|piece| meter.feed(piece, true));
        meter.finish(answer.as_bytes());
        meter
    }

    /// What a whole answer to no request cost.
    fn cost(meter: &Meter) -> (TokenUse, bool) {
        meter.cost(0, true)
    }

    fn tokens(input: u64, cached: u64, output: u64, reasoning: u64) -> TokenUse {
        TokenUse { input, cached, cache_written: 0, output, reasoning }
    }

    #[test]
    fn responses_are_counted_by_the_event_that_ends_them() {
        let usage = r#""usage":{"input_tokens":500,"input_tokens_details":{"cached_tokens":300},"output_tokens":100,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":600}"#;
        let stream = format!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"r\",\"usage\":null}}}}\n\n\
             event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"response.completed\"}}\n\n\
             event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"r\",\"model\":\"m\",{usage}}}}}\n\n"
        );
        for piece in [1, 7, 4096] {
            let meter = metered(Route::Responses, "text/event-stream; charset=utf-8", &stream, piece);
            assert!(meter.is_over());
            assert_eq!((meter.model(), cost(&meter)), (Some("m"), (tokens(500, 300, 100, 40), false)));
        }
        let cut = &stream[..stream.len() - 40];
        let meter = metered(Route::Responses, "text/event-stream", cut, 100);
        let about = TokenUse { output: (cut.len() as u64).div_ceil(4), ..TokenUse::default() };
        assert_eq!((meter.is_over(), cost(&meter)), (false, (about, true)));
        let document = format!("{{\"object\":\"response\",\"model\":\"m\",{usage}}}");
        let meter = metered(Route::Responses, "application/json", &document, 9);
        assert_eq!(cost(&meter), (tokens(500, 300, 100, 40), false));
    }

    #[test]
    fn chat_is_counted_by_its_last_chunk() {
        let stream = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n\
                      data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\n\
                      data: [DONE]\n\n";
        let meter = metered(Route::Chat, "text/event-stream", stream, 5);
        assert_eq!((meter.is_over(), cost(&meter)), (true, (tokens(7, 2, 3, 0), false)));
    }

    #[test]
    fn messages_are_counted_at_their_beginning_and_with_each_delta() {
        let start = r#"{"type":"message_start","message":{"model":"c","usage":{"input_tokens":10,"cache_read_input_tokens":90,"cache_creation_input_tokens":5,"output_tokens":1}}}"#;
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#;
        let stream = format!("data: {start}\n\ndata: {delta}\n\ndata: {{\"type\":\"message_stop\"}}\n\n");
        let meter = metered(Route::Messages, "text/event-stream", &stream, 11);
        let expected = TokenUse { cache_written: 5, ..tokens(105, 90, 42, 0) };
        assert_eq!((meter.is_over(), meter.model(), cost(&meter)), (true, Some("c"), (expected, false)));
        // One that broke off has cost what it began with, and as much as it said: its first figure is one token.
        let text = "x".repeat(800);
        let cut = format!("data: {start}\n\ndata: {{\"type\":\"content_block_delta\",\"text\":\"{text}\"}}\n\n");
        let meter = metered(Route::Messages, "text/event-stream", &cut, 11);
        let expected = TokenUse { cache_written: 5, ..tokens(105, 90, (cut.len() as u64).div_ceil(4), 0) };
        assert_eq!((meter.is_over(), cost(&meter)), (false, (expected, true)));
    }

    #[test]
    fn ollama_is_counted_by_its_last_line() {
        let stream = "{\"model\":\"q\",\"message\":{\"content\":\"x\"},\"done\":false}\n\
                      {\"model\":\"q\",\"done\":true,\"prompt_eval_count\":26,\"eval_count\":259}\n";
        let meter = metered(Route::Ollama, "application/x-ndjson", stream, 13);
        assert_eq!((meter.is_over(), cost(&meter)), (true, (tokens(26, 0, 259, 0), false)));
        let document = "{\"model\":\"q\",\"done\":true,\"prompt_eval_count\":1,\"eval_count\":2}";
        assert_eq!(cost(&metered(Route::Ollama, "application/json", document, 13)), (tokens(1, 0, 2, 0), false));
    }

    #[test]
    fn figures_that_make_no_sense_are_none() {
        for usage in [r#"{"input_tokens":-1,"output_tokens":1}"#, r#"{"input_tokens":"9","output_tokens":1}"#, "7"] {
            let event = format!("data: {{\"type\":\"response.completed\",\"response\":{{\"usage\":{usage}}}}}\n\n");
            assert!(cost(&metered(Route::Responses, "text/event-stream", &event, 64)).1, "{usage}");
        }
        let silent = metered(Route::Responses, "text/event-stream", &"x".repeat(401), 64);
        assert_eq!(silent.cost(1_000, true), (tokens(250, 0, 101, 0), true));
        // What an answer says in the end counts only when that came to its end.
        let usage = r#"data: {"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
        let cut = metered(Route::Chat, "text/event-stream", &format!("{usage}\n\n"), 64);
        assert!(cut.cost(0, true).1 && cut.cost(0, false).1);
    }
}

//! What a request asks for, by its body: refused unless it is known, because a key opens more than answers of a model.
//!
//! A vendor runs tools of its own (web search, code, servers of others that speak MCP), fetches what is named by address, and
//! keeps files, prompts and earlier answers under the key. A run that asks for these has a network and reads what the key
//! reads. So a request may have the members that answers need, tools that the agent runs itself, and data that it has with
//! it. An operator lets the rest pass by `hosted` of a server. What would make an answer that nobody counts is refused in
//! any case.
//!
//! From the vendors' references of 2026 and from what the supported programs send (`orchd/docs/agent-programs.md`).

use serde_json::value::RawValue;

use super::api::{Api, Route};
use super::cost::{number, output_max, usual_price};
use super::members::{Members, each, is_list, is_object, text};

/// The least `thinking.budget_tokens` that the reference of Anthropic Messages names.
const THINKING_TOKENS_MIN: u64 = 1_024;
/// How deep what is looked into may nest.
const DEPTH_MAX: u32 = 16;

/// What a request says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) model: Option<String>,
    /// How many tokens its answer has at most.
    pub(super) output_max: Option<u64>,
    /// The request with what it has to ask for beside; none: it stays as it is.
    pub(super) body: Option<Vec<u8>>,
}

/// Looks at a request. Blocks: it may have many megabytes.
///
/// # Errors
/// What is in it that is not passed on, and what would let it.
pub(super) fn look(route: Route, path: &str, body: &[u8], hosted: bool) -> Result<Said, String> {
    let members =
        Members::of(body).map_err(|problem| format!("the request is not JSON of the known form: {problem}"))?;
    let model = members.text("model")?.map(|model| model.into_owned());
    if members.is_set("background")? {
        return Err("`background` is not passed on: nobody would count its answer".to_owned());
    }
    if !hosted {
        known(route, path, &members, model.as_deref()).map_err(|problem| {
            format!("{problem}; `hosted = true` of the server, in `[models]` of the configuration, lets it pass")
        })?;
    }
    let streams = members.is_set("stream")?;
    let body = if route == Route::Chat && streams { Some(counted(&members)?) } else { None };
    Ok(Said { model, output_max: output_max(route, &members)?, body })
}

/// The request with this temperature, in hundredths, in the place of its own.
///
/// # Errors
/// When it is not JSON of the known form.
pub(super) fn tempered(route: Route, body: &[u8], percent: u32) -> Result<Vec<u8>, String> {
    let members = Members::of(body)?;
    let value = format!("{}.{:02}", percent / 100, percent % 100);
    if route != Route::Ollama {
        return Ok(members.with("temperature", &value).into_bytes());
    }
    let options = match members.get("options")? {
        Some(options) => Members::in_value(options)?.with("temperature", &value),
        None => format!("{{\"temperature\":{value}}}"),
    };
    Ok(members.with("options", &options).into_bytes())
}

/// The request whose answer has at most so many tokens, or as many as it asks for if those are fewer.
///
/// # Errors
/// When it is not JSON of the known form.
pub(super) fn capped((api, route): (Api, Route), body: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let members = Members::of(body)?;
    let names: &[&str] = match route {
        Route::Responses => &["max_output_tokens"],
        Route::Chat => &["max_completion_tokens", "max_tokens"],
        Route::Messages | Route::Free => &["max_tokens"],
        Route::Ollama => {
            let options = match members.get("options")? {
                Some(options) => {
                    let inner = Members::in_value(options).map_err(|problem| format!("`options`: {problem}"))?;
                    inner.with("num_predict", &bound("options.num_predict", &inner, "num_predict", most)?.to_string())
                }
                None => format!("{{\"num_predict\":{most}}}"),
            };
            return Ok(members.with("options", &options).into_bytes());
        }
    };
    let mut text = String::from_utf8(body.to_vec()).map_err(|_| "the request is no text".to_owned())?;
    let mut is_bound = false;
    for name in names {
        let members = Members::of(text.as_bytes())?;
        if members.get(name)?.is_none() {
            continue;
        }
        let anew = members.with(name, &bound(name, &members, name, most)?.to_string());
        drop(members);
        (text, is_bound) = (anew, true);
    }
    // What vendors take now; Ollama takes what they took before, and passes over the other
    // (github.com/ollama/ollama, issue 7125).
    let heeded = if route == Route::Chat && api == Api::Ollama { "max_tokens" } else { names[0] };
    let members = Members::of(text.as_bytes())?;
    if !is_bound || api == Api::Ollama && members.get(heeded)?.is_none() {
        let most = bound(names[0], &members, names[0], most)?;
        text = members.with(heeded, &most.to_string());
    }
    if route == Route::Messages {
        let anew = thought_of_less(&Members::of(text.as_bytes())?, most)?;
        text = anew.unwrap_or(text);
    }
    Ok(text.into_bytes())
}

/// The request with less thinking, where its answer would have no room beside that: the vendor refuses such a one. `most` is
/// what the whole answer has.
fn thought_of_less(members: &Members<'_>, most: u64) -> Result<Option<String>, String> {
    let Some(thinking) = members.get("thinking")? else { return Ok(None) };
    let inner = Members::in_value(thinking).map_err(|problem| format!("`thinking`: {problem}"))?;
    let Some(budget) = inner.get("budget_tokens")? else { return Ok(None) };
    let budget = number("thinking.budget_tokens", budget)?;
    let most = members
        .get("max_tokens")?
        .map(|most| number("max_tokens", most))
        .transpose()?
        .map_or(most, |own| own.min(most));
    if budget < most {
        return Ok(None);
    }
    // Less than the least that can be thought is no thinking.
    let thinking = match most / 2 {
        half @ THINKING_TOKENS_MIN.. => inner.with("budget_tokens", &half.to_string()),
        _ => "{\"type\":\"disabled\"}".to_owned(),
    };
    Ok(Some(members.with("thinking", &thinking)))
}

/// The number under `name`, and no more than `most`. Less than none stands for no bound.
fn bound(at: &str, members: &Members<'_>, name: &str, most: u64) -> Result<u64, String> {
    let asked = members.get(name)?.filter(|value| !value.get().starts_with('-'));
    Ok(asked.map(|value| number(at, value)).transpose()?.map_or(most, |asked| asked.min(most)))
}

/// The request that also asks what its answer costs.
fn counted(members: &Members<'_>) -> Result<Vec<u8>, String> {
    let options = match members.get("stream_options")? {
        Some(options) => {
            let inner = Members::in_value(options).map_err(|problem| format!("`stream_options`: {problem}"))?;
            inner.with("include_usage", "true")
        }
        None => r#"{"include_usage":true}"#.to_owned(),
    };
    Ok(members.with("stream_options", &options).into_bytes())
}

/// Members that answers of Responses need.
const OF_RESPONSES: &str = "\
    background client_metadata context_management frequency_penalty include input instructions max_output_tokens \
    max_tool_calls metadata model parallel_tool_calls presence_penalty prompt_cache_key prompt_cache_retention \
    reasoning safety_identifier service_tier store stream stream_options temperature text tool_choice tools \
    top_logprobs top_p truncation user";
/// The same of Chat Completions.
const OF_CHAT: &str = "\
    chat_template_kwargs frequency_penalty function_call functions keep_alive logit_bias logprobs \
    max_completion_tokens max_tokens messages metadata min_p model n options parallel_tool_calls prediction \
    presence_penalty prompt_cache_key prompt_cache_retention reasoning reasoning_effort repetition_penalty \
    response_format safety_identifier seed service_tier stop store stream stream_options temperature think \
    thinking tool_choice tools top_k top_logprobs top_p user verbosity";
/// The same of Messages, and of counts of their tokens.
const OF_MESSAGES: &str = "\
    cache_control context_management diagnostics inference_geo max_tokens messages metadata model output_config \
    output_format service_tier speed stop_sequences stream system temperature thinking tool_choice tools top_k \
    top_p";
/// The same of Ollama's own.
const OF_OLLAMA: &str = "\
    context format images keep_alive logprobs messages model options prompt raw stream suffix system template \
    think tools top_logprobs";
/// The same of what a model is like.
const OF_SHOW: &str = "\
    model name options system template verbose";

/// Members that answers need, by what is asked for.
fn members_of(route: Route, path: &str) -> &'static str {
    match route {
        Route::Responses => OF_RESPONSES,
        Route::Chat => OF_CHAT,
        Route::Free if path.ends_with("/show") => OF_SHOW,
        Route::Messages | Route::Free => OF_MESSAGES,
        Route::Ollama => OF_OLLAMA,
    }
}

/// Whether all of a request is known to ask for nothing but an answer.
fn known(route: Route, path: &str, members: &Members<'_>, model: Option<&str>) -> Result<(), String> {
    let is_known = |name: &str| members_of(route, path).split_ascii_whitespace().any(|known| known == name);
    if let Some((name, _)) = members.iter().find(|(name, _)| !is_known(name)) {
        let name = name.chars().take(80).collect::<String>();
        return Err(format!("`{}` is nothing that is passed on", name.escape_debug()));
    }
    usual_price(members)?;
    if model.is_some_and(searches) {
        return Err("a model that searches the network by itself is not asked".to_owned());
    }
    match route {
        // Here it is kept where nothing is said.
        Route::Responses if members.get("store")?.map(RawValue::get) != Some("false") => {
            return Err("`store` has to be `false`: an answer is not kept at the vendor".to_owned());
        }
        Route::Chat if members.is_set("store")? => {
            return Err("`store` has to be `false`: an answer is not kept at the vendor".to_owned());
        }
        _ => {}
    }
    let look = Look { route };
    if let Some(tools) = members.get("tools")? {
        look.tools("tools", tools, 0)?;
    }
    for name in ["input", "messages", "system", "instructions"] {
        match members.get(name)? {
            Some(list) if is_list(list) => {
                each(list, &mut |at, item| look.item(&format!("{name}[{at}]"), item))?;
            }
            Some(object) if is_object(object) => return Err(format!("`{name}` is neither a text nor a list")),
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Whether a model is one that a vendor has connected to the network.
fn searches(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    ["search-preview", "search-api", "deep-research", ":online"].iter().any(|word| model.contains(word))
}

/// Looks into what a request of one kind has.
#[derive(Clone, Copy, Debug)]
struct Look {
    route: Route,
}

impl Look {
    /// An entry of the history.
    fn item(self, at: &str, item: &RawValue) -> Result<(), String> {
        if self.route == Route::Responses {
            let members = Members::in_value(item).map_err(|problem| format!("`{at}`: {problem}"))?;
            let kind = members.text("type")?;
            match kind.as_deref() {
                // With nothing but an id it stands for one that the vendor has.
                None if members.get("role")?.is_none() => return Err(format!("`{at}` has neither `type` nor `role`")),
                Some(kind) if names_stored(kind) => {
                    return Err(format!("`{at}` is `{}`, which is not passed on", kind.escape_debug()));
                }
                Some(_) | None => {}
            }
        }
        self.value(at, item, 0)
    }

    /// Whatever an entry has: nothing in it may be fetched by the server.
    fn value(self, at: &str, value: &RawValue, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("`{at}` nests deeper than {DEPTH_MAX}"));
        }
        if is_list(value) {
            return each(value, &mut |index, element| {
                if is_list(element) || is_object(element) {
                    self.value(&format!("{at}[{index}]"), element, depth + 1)
                } else {
                    Ok(())
                }
            });
        }
        if !is_object(value) {
            return Ok(());
        }
        let members = Members::in_value(value).map_err(|problem| format!("`{at}`: {problem}"))?;
        if let Some(kind @ ("container_upload" | "item_reference")) = members.text("type").ok().flatten().as_deref() {
            return Err(format!("`{at}` is `{kind}`, which is not passed on"));
        }
        for (name, inner) in members.iter() {
            let place = || format!("{at}.{name}");
            match name.to_ascii_lowercase().as_str() {
                "file_id" | "file_ids" | "file_url" | "container_id" | "vector_store_ids" | "server_url"
                | "connector_id" | "mcp_servers" => {
                    return Err(format!("`{}` names data that the model's server has or fetches", place()));
                }
                "image_url" | "video_url" | "audio_url" if !is_data(inner) => {
                    return Err(format!("`{}` is an address; pictures are sent as `data:`", place()));
                }
                "source" if is_object(inner) && !is_sent_along(inner)? => {
                    return Err(format!("`{}` names data that the model's server has or fetches", place()));
                }
                "tools" if is_list(inner) => self.tools(&place(), inner, depth + 1)?,
                // What a tool was called with, and what it takes, is data of the agent's own.
                "input" | "arguments" | "action" | "input_schema" | "parameters" => {}
                _ if is_list(inner) || is_object(inner) => self.value(&place(), inner, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Tools: each has to be one that the agent runs.
    fn tools(self, at: &str, tools: &RawValue, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("`{at}` nests deeper than {DEPTH_MAX}"));
        }
        each(tools, &mut |index, tool| {
            let at = format!("{at}[{index}]");
            let members = Members::in_value(tool).map_err(|problem| format!("`{at}`: {problem}"))?;
            let kind = members.text("type")?;
            if let ("namespace", Some(inner)) = (kind.as_deref().unwrap_or_default(), members.get("tools")?) {
                return self.tools(&format!("{at}.tools"), inner, depth + 1);
            }
            if self.is_agents(kind.as_deref(), &members)? {
                return Ok(());
            }
            let kind = kind.unwrap_or_default().chars().take(80).collect::<String>();
            Err(format!("`{at}` is `{}`, a tool that the model's server runs itself", kind.escape_debug()))
        })
    }

    /// Whether a tool of this kind is run by the agent.
    fn is_agents(self, kind: Option<&str>, members: &Members<'_>) -> Result<bool, String> {
        let has_type = |name: &str, wanted: &str| {
            let Some(inner) = members.get(name)? else { return Ok(false) };
            Ok::<_, String>(is_object(inner) && Members::in_value(inner)?.text("type")?.as_deref() == Some(wanted))
        };
        Ok(match (self.route, kind) {
            (Route::Messages | Route::Free, kind) => kind.is_none_or(|kind| {
                let by_schema = ["bash_", "text_editor_", "memory_", "computer_"];
                kind == "custom" || by_schema.iter().any(|known| kind.starts_with(known))
            }),
            (Route::Ollama, None) | (_, Some("function")) => true,
            (Route::Chat | Route::Responses, Some("custom")) => true,
            (Route::Responses, Some("local_shell" | "apply_patch")) => true,
            (Route::Responses, Some("shell")) => has_type("environment", "local")?,
            (Route::Responses, Some("tool_search")) => members.text("execution")?.as_deref() == Some("client"),
            _ => false,
        })
    }
}

/// Whether an entry of this kind stands for something that the vendor has, or has a server of others asked.
fn names_stored(kind: &str) -> bool {
    let stored =
        ["item_reference", "code_interpreter_call", "computer_call", "file_search_call", "image_generation_call"];
    stored.contains(&kind) || kind.starts_with("mcp_")
}

/// Whether a picture is there itself, as a text or as an object with it.
fn is_data(value: &RawValue) -> bool {
    let is = |value: &RawValue| {
        text(value).is_some_and(|text| text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")))
    };
    if !is_object(value) {
        return is(value);
    }
    let url = Members::in_value(value).ok().and_then(|members| members.get("url").ok().flatten());
    url.is_some_and(is)
}

/// Whether the source of a document is sent along.
fn is_sent_along(source: &RawValue) -> Result<bool, String> {
    let members = Members::in_value(source)?;
    Ok(matches!(members.text("type")?.as_deref(), Some("base64" | "text" | "content")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSES: &str = "/v1/responses";
    const MESSAGES: &str = "/v1/messages";

    fn looked(route: Route, path: &str, body: &str) -> Result<Said, String> {
        look(route, path, body.as_bytes(), false)
    }

    /// A request for an answer of Responses with this beside what each has.
    fn response(more: &str) -> String {
        format!(r#"{{"model":"m","stream":true,"store":false,{more}}}"#)
    }

    #[test]
    fn a_temperature_takes_the_place_of_that_of_the_request() {
        let tempered = |route, body: &str| String::from_utf8(tempered(route, body.as_bytes(), 15).unwrap()).unwrap();
        assert_eq!(tempered(Route::Chat, r#"{"temperature":2,"model":"m"}"#), r#"{"model":"m","temperature":0.15}"#);
        let nested = tempered(Route::Ollama, r#"{"model":"m","options":{"seed":1,"temperature":1}}"#);
        assert_eq!(nested, r#"{"model":"m","options":{"seed":1,"temperature":0.15}}"#);
        assert_eq!(tempered(Route::Ollama, r#"{"model":"m"}"#), r#"{"model":"m","options":{"temperature":0.15}}"#);
    }

    #[test]
    fn an_answer_has_no_more_tokens_than_it_may_and_no_more_than_it_asks_for() {
        let capped = |api, route, body: &str| {
            let capped = capped((api, route), body.as_bytes(), 300)?;
            Ok::<_, String>(String::from_utf8(capped).unwrap())
        };
        let open = Api::OpenAi;
        for (api, route, body, expected) in [
            (open, Route::Responses, r#"{"model":"m"}"#, r#"{"model":"m","max_output_tokens":300}"#),
            (open, Route::Responses, r#"{"max_output_tokens":null}"#, r#"{"max_output_tokens":300}"#),
            (open, Route::Chat, r#"{"model":"m"}"#, r#"{"model":"m","max_completion_tokens":300}"#),
            (Api::Ollama, Route::Chat, r#"{"model":"m"}"#, r#"{"model":"m","max_tokens":300}"#),
            (
                Api::Ollama,
                Route::Chat,
                r#"{"max_completion_tokens":100000}"#,
                r#"{"max_completion_tokens":300,"max_tokens":300}"#,
            ),
            (
                Api::Ollama,
                Route::Chat,
                r#"{"max_completion_tokens":20}"#,
                r#"{"max_completion_tokens":20,"max_tokens":20}"#,
            ),
            (
                open,
                Route::Chat,
                r#"{"max_tokens":9e9,"max_completion_tokens":20}"#,
                r#"{"max_completion_tokens":20,"max_tokens":300}"#,
            ),
            (Api::Anthropic, Route::Messages, r#"{"max_tokens":32000}"#, r#"{"max_tokens":300}"#),
            (Api::Anthropic, Route::Messages, r#"{"max_tokens":7.2}"#, r#"{"max_tokens":8}"#),
            (
                Api::Anthropic,
                Route::Messages,
                r#"{"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":31999}}"#,
                r#"{"max_tokens":300,"thinking":{"type":"disabled"}}"#,
            ),
            (
                Api::Anthropic,
                Route::Messages,
                r#"{"max_tokens":9,"thinking":{"type":"adaptive"}}"#,
                r#"{"thinking":{"type":"adaptive"},"max_tokens":9}"#,
            ),
            (Api::Ollama, Route::Ollama, r#"{"model":"m"}"#, r#"{"model":"m","options":{"num_predict":300}}"#),
            (
                Api::Ollama,
                Route::Ollama,
                r#"{"options":{"num_predict":-1,"seed":1}}"#,
                r#"{"options":{"seed":1,"num_predict":300}}"#,
            ),
        ] {
            assert_eq!(capped(api, route, body).as_deref(), Ok(expected), "{body}");
        }
        for body in [r#"{"max_output_tokens":"9"}"#, r#"{"Max_output_tokens":9}"#, "[]"] {
            assert!(capped(open, Route::Responses, body).is_err(), "{body}");
        }
        let thinks = br#"{"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":16000}}"#;
        for (most, budget) in [(4_000, 2_000), (16_000, 8_000), (16_001, 16_000)] {
            let capped = super::capped((Api::Anthropic, Route::Messages), thinks, most).unwrap();
            let capped: serde_json::Value = serde_json::from_slice(&capped).unwrap();
            assert_eq!(capped["thinking"]["budget_tokens"], budget, "{capped}");
        }
    }

    #[test]
    fn what_the_programs_send_passes() {
        let codex = response(
            r#""instructions":"i","input":[{"type":"additional_tools","role":"developer","tools":[{"type":"namespace","name":"functions","tools":[{"type":"custom","name":"exec","format":{"type":"grammar"}},{"type":"function","name":"wait","parameters":{"properties":{"tools":{"type":"array"},"file_id":{"type":"string"}}}}]}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"data:image/png;base64,AA"}]},{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"x"},{"type":"function_call","id":"fc","call_id":"c","name":"exec_command","arguments":"{\"file_id\":\"f\"}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"o"}]},{"role":"user","content":"more"}],"tools":[{"type":"function","name":"f"},{"type":"custom","name":"apply_patch"},{"type":"tool_search","execution":"client"},{"type":"shell","environment":{"type":"local"}},{"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]}],"tool_choice":"auto","parallel_tool_calls":true,"reasoning":{"effort":"medium"},"include":["reasoning.encrypted_content"],"prompt_cache_key":"k","text":{"verbosity":"low"},"client_metadata":{"a":"b"}"#,
        );
        let said = looked(Route::Responses, RESPONSES, &codex).unwrap();
        assert_eq!(said, Said { model: Some("m".into()), output_max: None, body: None });
        let claude = r#"{"model":"c","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"file_id":"of-the-agent","source":{"type":"url","url":"u"}}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","data":"AA"}},{"type":"document","source":{"type":"text","data":"d"}}]}]}],"tools":[{"name":"Bash","description":"d","input_schema":{}},{"type":"bash_20250124","name":"bash"},{"type":"custom","name":"x"}],"metadata":{"user_id":"u"},"thinking":{"type":"adaptive"},"context_management":{"edits":[]},"output_config":{"effort":"high"},"stream":true}"#;
        assert!(looked(Route::Messages, MESSAGES, claude).is_ok());
        assert!(looked(Route::Free, "/v1/messages/count_tokens", claude).is_ok());
        let ollama = r#"{"model":"q","messages":[{"role":"user","content":"x","images":["AA"]}],"tools":[{"type":"function","function":{}}],"think":true}"#;
        assert!(looked(Route::Ollama, "/api/chat", ollama).is_ok());
        assert!(looked(Route::Free, "/api/show", r#"{"model":"q"}"#).is_ok());
    }

    #[test]
    fn what_a_vendor_does_by_itself_is_refused_unless_the_operator_lets_it() {
        let tools = ["web_search", "web_search_preview", "file_search", "code_interpreter", "mcp", "image_generation"];
        let tool = |kind: &str| response(&format!(r#""input":"x","tools":[{{"type":"{kind}"}}]"#));
        let mut bodies: Vec<String> = tools.iter().map(|kind| tool(kind)).collect();
        bodies.extend(
            [
                r#""tools":[{"type":"tool_search"}]"#,
                r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#,
                r#""tools":[{"type":"shell","Environment":{"type":"local"}}]"#,
                r#""tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]"#,
                r#""input":[{"type":"additional_tools","role":"developer","tools":[{"type":"web_search"}]}]"#,
                r#""input":[{"type":"message","role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#,
                r#""input":[{"type":"message","role":"user","content":[{"type":"input_file","\u0066ile_url":"f"}]}]"#,
                r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a.example/x"}]}]"#,
                r#""input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"http://a"}]}]"#,
                r#""input":[{"id":"msg_1"}]"#,
                r#""input":[{"type":"item_reference","id":"msg_1"}]"#,
                r#""input":[{"type":"mcp_approval_response","approve":true}]"#,
                r#""input":{"type":"message"}"#,
                r#""previous_response_id":"r""#,
                r#""conversation":"c""#,
                r#""prompt":{"id":"p"}"#,
                r#""not_known_yet":1"#,
                r#""service_tier":"priority""#,
            ]
            .map(response),
        );
        bodies.extend(
            [r#"{"model":"m"}"#, r#"{"model":"m","store":true}"#, r#"{"model":"o4-deep-research","store":false}"#]
                .map(str::to_owned),
        );
        for body in &bodies {
            let refused = looked(Route::Responses, RESPONSES, body).unwrap_err();
            assert!(refused.contains("`hosted = true`"), "{body}: {refused}");
            assert!(look(Route::Responses, RESPONSES, body.as_bytes(), true).is_ok(), "{body}");
        }
    }

    #[test]
    fn what_anthropic_and_chat_have_of_it_is_refused_as_well() {
        for body in [
            r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
            r#"{"tools":[{"type":"web_fetch_20250910"}]}"#,
            r#"{"tools":[{"type":"code_execution_20250825"}]}"#,
            r#"{"tools":[{"type":"mcp_toolset"}]}"#,
            r#"{"tools":[{"type":"tool_search_tool_regex_20251119"}]}"#,
            r#"{"mcp_servers":[]}"#,
            r#"{"container":"c"}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image","source":{"url":"https://a"}}]}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"container_upload","x":1}]}]}"#,
        ] {
            assert!(looked(Route::Messages, MESSAGES, body).is_err(), "{body}");
            assert!(looked(Route::Free, "/v1/messages/count_tokens", body).is_err(), "{body}");
        }
        for body in [
            r#"{"web_search_options":{}}"#,
            r#"{"store":true}"#,
            r#"{"model":"gpt-4o-search-preview"}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}"#,
            r#"{"tools":[{"type":"web_search"}]}"#,
        ] {
            assert!(looked(Route::Chat, "/v1/chat/completions", body).is_err(), "{body}");
        }
    }

    #[test]
    fn nobody_lets_an_answer_pass_that_is_not_counted() {
        let body = response(r#""background":true"#);
        assert!(look(Route::Responses, RESPONSES, body.as_bytes(), true).unwrap_err().contains("background"));
    }

    #[test]
    fn a_stream_of_chat_asks_what_it_costs_whatever_it_asks_for_beside() {
        let asked = |body: &str| {
            let said = looked(Route::Chat, "/v1/chat/completions", body)?;
            Ok::<_, String>(said.body.map(|body| String::from_utf8(body).unwrap()))
        };
        let expected = r#"{"stream":true,"n":1,"stream_options":{"a":[1],"include_usage":true}}"#;
        let body = r#"{"stream":true,"stream_options":{"include_usage":false,"a":[1]},"n":1}"#;
        assert_eq!(asked(body).unwrap().as_deref(), Some(expected));
        let plain = asked(r#"{"stream":true,"stream_options":null}"#).unwrap();
        assert_eq!(plain.as_deref(), Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#));
        assert_eq!(asked(r#"{"stream":null}"#), Ok(None));
        for body in [
            r#"[]"#,
            r#"{"stream":true,"stream_options":"x"}"#,
            r#"{"stream":true,"stream_options":[1]}"#,
            r#"{"stream":1}"#,
            r#"{"stream":true,"stream":false}"#,
        ] {
            assert!(asked(body).is_err(), "{body}");
        }
    }

    #[test]
    fn millions_of_members_and_of_levels_cost_little() {
        let many = format!("{{\"stream\":true{}}}", ",\"\":0".repeat(1 << 20));
        assert!(looked(Route::Chat, "/v1/chat/completions", &many).is_err());
        let deep = "[".repeat(1 << 16) + &"]".repeat(1 << 16);
        let deep = response(&format!(r#""input":[{{"role":"user","content":{deep}}}]"#));
        assert!(looked(Route::Responses, RESPONSES, &deep).unwrap_err().contains("nests deeper"));
    }
}

//! Questions that the programs of agents ask by themselves, as a person is asked them over the channel of the run, and the answers
//! in the program's own terms. What asks for leave is none of them: rules do not see them.
//!
//! In whichever protocol, a question has one or more things that it asks for. Secrets are never among them: what is answered here
//! goes to the model.

use std::collections::BTreeMap;

use orch_proto::view::{FieldKind, FieldSpec};
use serde_json::{Number, Value, json};

use super::rpc::start;
use crate::text::SafeText;

/// Most things that one question asks for. Each may take two fields.
const ASKED_MAX: usize = 8;
/// Most answers that one can be chosen from.
const CHOICES_MAX: usize = 32;
/// Most bytes of the words of a question, of what stands before a field, and of an answer to choose.
const WORDS_BYTES_MAX: usize = 3 << 10;
const LABEL_BYTES_MAX: usize = 300;
const CHOICE_BYTES_MAX: usize = 100;
/// Most bytes of all labels and choices together.
const FIELDS_BYTES_MAX: usize = 7 << 10;

/// A question of a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// What a person reads first.
    pub(super) words: String,
    asked: Vec<Asked>,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    /// By which the program knows it.
    key: String,
    label: String,
    kind: Kind,
    is_required: bool,
}

/// What is an answer.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Text,
    Number,
    Bool,
    /// One of these, or something else where that is allowed.
    One {
        choices: Vec<Choice>,
        or_words: bool,
    },
    /// Some of these.
    Several(Vec<Choice>),
}

/// An answer to choose: what the program calls it, and what a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    value: String,
    label: String,
}

/// What people said, by what the program calls each; or what it is told in the place of an answer.
pub(crate) type Answers = Result<BTreeMap<String, Value>, String>;

impl Question {
    /// Questions as Codex and Claude Code put them; none when they cannot be read, or one asks for a secret.
    pub(super) fn of_list(list: &Value) -> Option<Self> {
        let list = list.as_array().filter(|list| !list.is_empty())?;
        let mut words = Vec::new();
        let mut asked = Vec::new();
        for (question, number) in list.iter().zip(1..) {
            let text = question["question"].as_str()?;
            if question["isSecret"] == true {
                return None;
            }
            let options = question["options"].as_array().map(Vec::as_slice).unwrap_or_default();
            words.push(if list.len() == 1 { text.to_owned() } else { format!("{number}. {text}") });
            words.extend(options.iter().filter_map(described));
            let choices: Vec<Choice> =
                options.iter().filter_map(|option| Choice::of(option["label"].as_str()?)).collect();
            let kind = match (choices.is_empty(), question["multiSelect"] == true) {
                (true, _) => Kind::Text,
                (false, true) => Kind::several(choices),
                // Claude Code, whose questions have no ids, offers words of one's own with each of them.
                (false, false) => {
                    let or_words = question["isOther"].as_bool().unwrap_or(question["id"].is_null());
                    Kind::One { choices, or_words }
                }
            };
            let key = question["id"].as_str().unwrap_or(text).to_owned();
            asked.push(Asked { key, label: label(text), kind, is_required: false });
        }
        Self::new(&words, asked)
    }

    /// A question by the schema of its answer, as servers of tools put it; none when it asks for something else.
    pub(super) fn of_schema(words: &Value, schema: &Value) -> Option<Self> {
        let properties = schema["properties"].as_object()?;
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let asked = properties.iter().map(|(key, of)| {
            let title = of["title"].as_str().unwrap_or(key);
            let about = of["description"].as_str().map_or_else(String::new, |about| format!(": {about}"));
            let kind = kind_of(of)?;
            let is_required = required.contains(&key.as_str());
            Some(Asked { key: key.clone(), label: label(&format!("{title}{about}")), kind, is_required })
        });
        Self::new(&[words.as_str()?.to_owned()], asked.collect::<Option<Vec<_>>>()?)
    }

    fn new(words: &[String], asked: Vec<Asked>) -> Option<Self> {
        let words = cut(&words.join("\n"), WORDS_BYTES_MAX);
        let question = Self { words, asked };
        let fields = question.fields();
        let choices = |field: &FieldSpec| match &field.kind {
            FieldKind::Choice { choices } => (choices.len(), choices.iter().map(String::len).sum::<usize>()),
            _ => (0, 0),
        };
        let bytes: usize = fields.iter().map(|field| field.label.len() + choices(field).1).sum();
        let fits = question.asked.len() <= ASKED_MAX
            && bytes <= FIELDS_BYTES_MAX
            && fields.iter().all(|field| choices(field).0 <= CHOICES_MAX);
        (fits && !fields.is_empty() && !question.words.trim().is_empty()).then_some(question)
    }

    /// What a person fills in.
    pub(super) fn fields(&self) -> Vec<FieldSpec> {
        self.asked.iter().zip(1..).flat_map(|(asked, number)| asked.fields(number)).collect()
    }

    /// What a person filled in, as the program is told it.
    pub(super) fn read(&self, given: &BTreeMap<String, String>) -> Answers {
        let value = |(asked, number): (&Asked, u32)| Some((asked.key.clone(), asked.value(number, given)?));
        let answers: BTreeMap<String, Value> = self.asked.iter().zip(1..).filter_map(value).collect();
        if answers.is_empty() { Err("a person was asked and said nothing".to_owned()) } else { Ok(answers) }
    }
}

impl Asked {
    fn fields(&self, number: u32) -> Vec<FieldSpec> {
        let field = |name: String, label: String, kind, required| FieldSpec { name, label, kind, required };
        let choices = |choices: &[Choice]| choices.iter().map(|choice| choice.label.clone()).collect::<Vec<_>>();
        let first = |kind, required| field(name(number), self.label.clone(), kind, required);
        match &self.kind {
            Kind::Text => vec![first(FieldKind::Text, self.is_required)],
            Kind::Number => vec![first(FieldKind::Number, self.is_required)],
            Kind::Bool => vec![first(FieldKind::Bool, self.is_required)],
            Kind::One { choices: some, or_words: false } => {
                vec![first(FieldKind::Choice { choices: choices(some) }, self.is_required)]
            }
            Kind::One { choices: some, or_words: true } => vec![
                first(FieldKind::Choice { choices: choices(some) }, false),
                field(in_words(number), "or in words of your own".to_owned(), FieldKind::Text, false),
            ],
            Kind::Several(some) => {
                let label = format!("{} (any of, with commas between: {})", self.label, choices(some).join(", "));
                vec![field(name(number), cut(&label, LABEL_BYTES_MAX), FieldKind::Text, self.is_required)]
            }
        }
    }

    fn value(&self, number: u32, given: &BTreeMap<String, String>) -> Option<Value> {
        let of = |name: &str| given.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let text = of(&name(number));
        match &self.kind {
            Kind::Text => text.map(Value::from),
            Kind::Number => {
                let text = text?;
                let whole = text.parse::<i64>().ok().map(Number::from);
                whole.or_else(|| Number::from_f64(text.parse().ok()?)).map(Value::Number)
            }
            Kind::Bool => text.map(|text| json!(text == "true")),
            Kind::One { choices, .. } => {
                let own = of(&in_words(number)).map(Value::from);
                own.or_else(|| Some(json!(chosen(choices, text?))))
            }
            Kind::Several(choices) => {
                let values = text?.split(',').map(str::trim).filter(|part| !part.is_empty());
                Some(values.map(|part| chosen(choices, part)).collect())
            }
        }
    }
}

impl Kind {
    /// Commas stand between those that are chosen, and in none of them.
    fn several(choices: Vec<Choice>) -> Self {
        let plain = |choice: Choice| Choice { label: choice.label.replace(',', ";"), ..choice };
        Self::Several(choices.into_iter().map(plain).collect())
    }
}

impl Choice {
    fn of(value: &str) -> Option<Self> {
        Self::named(value, value)
    }

    /// A label has nothing that a terminal takes for its own.
    fn named(value: &str, label: &str) -> Option<Self> {
        let label = cut(SafeText::line(label.trim()).as_str(), CHOICE_BYTES_MAX);
        (!label.is_empty()).then(|| Self { value: value.to_owned(), label })
    }
}

/// What the program calls a choice that a person made; words of their own stay what they are.
fn chosen(choices: &[Choice], said: &str) -> String {
    let found = choices.iter().find(|choice| choice.label == said);
    found.map_or(said, |choice| choice.value.as_str()).to_owned()
}

fn name(number: u32) -> String {
    format!("answer_{number}")
}

fn in_words(number: u32) -> String {
    format!("words_{number}")
}

/// What an option says of itself, as a line.
fn described(option: &Value) -> Option<String> {
    let (label, about) = (option["label"].as_str()?, option["description"].as_str()?);
    (!about.trim().is_empty()).then(|| format!("   {label}: {about}"))
}

/// What is an answer by a property of a schema; none for what cannot be asked a person so.
fn kind_of(property: &Value) -> Option<Kind> {
    let choices = |of: &Value| -> Option<Vec<Choice>> {
        let texts = |list: &Value| {
            list.as_array().map(|list| list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<_>>())
        };
        let found: Vec<Choice> = if let Some(values) = texts(&of["enum"]) {
            let names = texts(&of["enumNames"]).unwrap_or_default();
            let label = |at: usize, value: &String| names.get(at).unwrap_or(value).clone();
            values.iter().enumerate().filter_map(|(at, value)| Choice::named(value, &label(at, value))).collect()
        } else {
            let list = ["oneOf", "anyOf"].into_iter().find_map(|key| of[key].as_array())?;
            let named =
                |one: &Value| Choice::named(one["const"].as_str()?, one["title"].as_str().or(one["const"].as_str())?);
            list.iter().filter_map(named).collect()
        };
        (!found.is_empty() && found.len() <= CHOICES_MAX).then_some(found)
    };
    match property["type"].as_str()? {
        "string" => match choices(property) {
            Some(choices) => Some(Kind::One { choices, or_words: false }),
            None if property.get("enum").is_some() || property.get("oneOf").is_some() => None,
            None => Some(Kind::Text),
        },
        "number" | "integer" => Some(Kind::Number),
        "boolean" => Some(Kind::Bool),
        "array" => choices(&property["items"]).map(Kind::several),
        _ => None,
    }
}

fn label(text: &str) -> String {
    cut(SafeText::line(text.trim()).as_str(), LABEL_BYTES_MAX)
}

/// The start of a text, and that it is one.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max - 3).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// The answer to a question of a form, as the Model Context Protocol has it and others with it.
pub(super) fn elicited(answers: Answers) -> Value {
    match answers {
        Ok(content) => json!({ "action": "accept", "content": content }),
        Err(_) => json!({ "action": "decline" }),
    }
}

/// What an agent is told whose question nobody answers.
pub(super) fn nobody(why: &str) -> String {
    format!("{}. Decide it by yourself, and say what you took for granted.", start(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(question: &Question, values: &[(&str, &str)]) -> Value {
        question.read(&given(values)).map_or_else(Value::from, |answers| json!(answers))
    }

    /// As Claude Code 2.1 asks.
    #[test]
    fn a_choice_can_be_made_or_put_in_other_words() {
        let asked = json!([
            {"question": "Which database?", "header": "Database", "multiSelect": false, "options": [
                {"label": "SQLite", "description": "One file"}, {"label": "Postgres", "description": "A server"}]},
            {"question": "Which parts?", "header": "Parts", "multiSelect": true, "options": [
                {"label": "a, c", "description": ""}, {"label": "b", "description": ""}]}
        ]);
        let question = Question::of_list(&asked).unwrap();
        assert_eq!(question.words, "1. Which database?\n   SQLite: One file\n   Postgres: A server\n2. Which parts?");
        let fields: Vec<_> =
            question.fields().into_iter().map(|field| (field.name, field.kind, field.required)).collect();
        let choices = FieldKind::Choice { choices: vec!["SQLite".into(), "Postgres".into()] };
        assert_eq!(
            fields,
            [
                ("answer_1".to_owned(), choices, false),
                ("words_1".to_owned(), FieldKind::Text, false),
                ("answer_2".to_owned(), FieldKind::Text, false)
            ]
        );
        assert_eq!(
            read(&question, &[("answer_1", "SQLite"), ("answer_2", "b, a; c,")]),
            json!({"Which database?": "SQLite", "Which parts?": ["b", "a, c"]})
        );
        assert_eq!(
            read(&question, &[("answer_1", "SQLite"), ("words_1", " none ")]),
            json!({"Which database?": "none"})
        );
        assert_eq!(read(&question, &[("words_1", "  ")]), json!("a person was asked and said nothing"));
    }

    /// As the app-server of Codex 0.171 asks, and what is asked nobody.
    #[test]
    fn secrets_and_what_is_too_much_are_not_asked() {
        let one = json!({"id": "q", "header": "H", "question": "Where?", "isOther": true, "isSecret": false, "options": null});
        let question = Question::of_list(&json!([one])).unwrap();
        assert_eq!((question.words.as_str(), question.fields().len()), ("Where?", 1));
        assert_eq!(read(&question, &[("answer_1", "here")]), json!({"q": "here"}));
        let secret = json!({"id": "q", "header": "H", "question": "Key?", "isSecret": true});
        let too_many = json!(vec![one; ASKED_MAX + 1]);
        for list in
            [json!([secret]), json!([]), json!({}), json!([{"question": 7}]), too_many, json!([{"question": " "}])]
        {
            assert_eq!(Question::of_list(&list), None, "{list}");
        }
        let option = |at: u32| json!({"label": format!("{at}{}", "x".repeat(400)), "description": "y".repeat(9_000)});
        let (key, many): (_, Vec<Value>) = ("z".repeat(9_000), (0..31).map(option).collect());
        let long = Question::of_list(&json!([{"question": key, "options": many}])).unwrap();
        let fields = long.fields();
        assert!(long.words.len() <= WORDS_BYTES_MAX && fields.iter().all(|field| field.label.len() <= LABEL_BYTES_MAX));
        let FieldKind::Choice { choices } = &fields[0].kind else { panic!("{fields:?}") };
        assert_eq!(
            read(&long, &[("answer_1", &choices[3])])[&key],
            many[3]["label"],
            "what is cut is known all the same"
        );
        let more: Vec<Value> = (0..33).map(option).collect();
        assert_eq!(Question::of_list(&json!([{"question": "?", "options": more}])), None);
    }

    /// As the Model Context Protocol has servers ask.
    #[test]
    fn a_schema_is_asked_field_by_field() {
        let schema = json!({"type": "object", "required": ["name", "size"], "properties": {
            "name": {"type": "string", "title": "Name", "description": "of the \u{1b}[31mhost"},
            "size": {"type": "string", "enum": ["s", "l"], "enumNames": ["small", "large"]},
            "ports": {"type": "integer"},
            "open": {"type": "boolean"},
            "parts": {"type": "array", "items": {"anyOf": [{"const": "1", "title": "one"}, {"const": "2", "title": "two"}]}}
        }});
        let question = Question::of_schema(&json!("Set it up"), &schema).unwrap();
        let fields = question.fields();
        assert!(fields.iter().all(|field| !field.label.contains('\u{1b}')), "{fields:?}");
        // In the order of their names.
        let labels: Vec<&str> = fields.iter().map(|field| field.label.as_str()).collect();
        assert_eq!((labels[1], labels[3]), ("open", "ports"));
        let values = [
            ("answer_1", "web"),
            ("answer_2", "true"),
            ("answer_3", "two, one"),
            ("answer_4", "80"),
            ("answer_5", "large"),
        ];
        let expected = json!({"name": "web", "open": true, "parts": ["2", "1"], "ports": 80, "size": "l"});
        assert_eq!(read(&question, &values), expected);
        for other in [json!({}), json!({"properties": {"a": {"type": "object"}}}), json!({"properties": {}})] {
            assert_eq!(Question::of_schema(&json!("?"), &other), None, "{other}");
        }
    }
}

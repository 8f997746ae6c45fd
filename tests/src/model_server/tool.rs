//! The tools that the asking program offers, and how a turn's acts are carried out with them.
//!
//! The shell tools of the programs are a table here; a program that is not in it is served by the form of what it
//! offers. Knows nothing of the protocols beyond the three kinds of tools that there are.

use serde_json::{Value, json};

use super::script::Act;

/// Most tools that are looked at.
const TOOLS_MAX: usize = 4096;

/// After this codex gives a command back as still running, and a script does not ask again. It is the most there is.
const YIELD_MS: u64 = 30_000;

/// What a tool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A JSON object.
    Function,
    /// Free text.
    Custom,
    /// The shell tool that OpenAI builds in; it has no name.
    LocalShell,
}

/// A tool that a request offers.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The group that it stands in, which a call must name.
    pub(super) namespace: Option<String>,
    pub(super) kind: Kind,
    /// Names of its arguments, if it is a function.
    pub(super) arguments: Vec<String>,
}

impl Tool {
    /// One that is described by its name and a JSON schema.
    pub(super) fn function(name: &Value, schema: &Value) -> Option<Self> {
        let name = name.as_str()?.to_owned();
        let arguments = schema.get("properties").and_then(Value::as_object);
        let arguments = arguments.map(|map| map.keys().cloned().collect()).unwrap_or_default();
        Some(Self { name, namespace: None, kind: Kind::Function, arguments })
    }

    /// One that is described as OpenAI's Chat Completions do, and Ollama.
    pub(super) fn nested(tool: &Value) -> Option<Self> {
        let function = tool.get("function")?;
        Self::function(function.get("name")?, function.get("parameters").unwrap_or(&Value::Null))
    }

    fn takes(&self, argument: &str) -> bool {
        self.arguments.iter().any(|at| at == argument)
    }
}

/// The tools in the `tools` of some objects, up to a bound.
pub(super) fn tools<'a>(objects: impl IntoIterator<Item = &'a Value>, read: impl Fn(&Value) -> Vec<Tool>) -> Vec<Tool> {
    let lists = objects.into_iter().filter_map(|object| object.get("tools")?.as_array());
    lists.flatten().flat_map(read).take(TOOLS_MAX).collect()
}

/// What a call hands over.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    Function(Value),
    Custom(String),
    LocalShell(Vec<String>),
}

/// A call of a tool that the request offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// Its turn and its place in that.
    pub(super) turn: usize,
    pub(super) place: usize,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) input: Input,
}

impl Call {
    /// An id that [`mark`] knows again.
    pub(super) fn id(&self, vendor: &str) -> String {
        format!("{vendor}_t{}_{}", self.turn, self.place)
    }

    /// Its arguments, as JSON. Free text is a string.
    pub(super) fn arguments(&self) -> Value {
        match &self.input {
            Input::Function(arguments) => arguments.clone(),
            Input::Custom(text) => json!(text),
            Input::LocalShell(command) => json!({ "command": command }),
        }
    }
}

/// The turn that a call was made in, by its id; none when it is another's.
pub(super) fn mark(id: &str) -> Option<usize> {
    let (_vendor, rest) = id.split_once("_t")?;
    let (turn, _place) = rest.split_once('_')?;
    turn.parse::<u32>().ok()?.try_into().ok()
}

/// How a shell tool takes its command.
#[derive(Clone, Copy, Debug)]
enum Shell {
    /// `{"cmd": "..."}`
    Cmd,
    /// `{"command": "...", "description": "..."}`
    Command,
    /// `{"command": ["bash", "-c", "..."]}`
    Words,
}

/// The programs' shell tools, best first: codex (newest first), Claude Code, opencode, gemini and its kin.
const SHELLS: [(&str, Shell); 8] = [
    ("exec_command", Shell::Cmd),
    ("shell_command", Shell::Command),
    ("shell", Shell::Words),
    ("container.exec", Shell::Words),
    ("Bash", Shell::Command),
    ("bash", Shell::Command),
    ("run_shell_command", Shell::Command),
    ("execute", Shell::Command),
];

/// Calls that carry a turn's acts out.
///
/// # Errors
/// What is missing, when the request offers no tool for one of them.
pub(super) fn calls(turn: usize, acts: &[Act], tools: &[Tool]) -> Result<Vec<Call>, String> {
    let call = |(place, act): (usize, &Act)| {
        let found = match act {
            Act::Run(command) => shell(tools, command),
            Act::Call { name, arguments } => named(tools, name)
                .map(|tool| (tool, input(tool, arguments)))
                .or_else(|| Some((interpreter(tools)?, Input::Custom(program(name, arguments))))),
        };
        let wanted = match act {
            Act::Run(_) => "a shell tool",
            Act::Call { name, .. } => name,
        };
        let offered = || tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
        let (tool, input) =
            found.ok_or_else(|| format!("Turn {turn} needs {wanted}, which is not among these: {}", offered()))?;
        Ok(Call { turn, place, name: tool.name.clone(), namespace: tool.namespace.clone(), input })
    };
    acts.iter().enumerate().map(call).collect()
}

/// The tool with a name, or the only one whose name ends with it.
fn named<'a>(tools: &'a [Tool], name: &str) -> Option<&'a Tool> {
    let exact = tools.iter().find(|tool| tool.name == name);
    exact.or_else(|| {
        let is_end =
            |tool: &&Tool| tool.name.strip_suffix(name).is_some_and(|rest| rest.ends_with(['_', '.', '/', '-']));
        let mut found = tools.iter().filter(is_end);
        found.next().filter(|_| found.next().is_none())
    })
}

/// The JavaScript interpreter in which codex hides all other tools, for models that only write programs.
fn interpreter(tools: &[Tool]) -> Option<&Tool> {
    tools.iter().find(|tool| tool.kind == Kind::Custom && tool.name == "exec")
}

/// A program that calls one of the hidden tools by its name, or by the end of it.
fn program(name: &str, arguments: &Value) -> String {
    let name = Value::from(name);
    format!(
        "const name = {name};\nconst names = ALL_TOOLS.map((tool) => tool.name);\n\
         const found = names.includes(name) ? [name] : names.filter((at) => at.endsWith(\"_\" + name));\n\
         if (found.length !== 1) throw new Error(`${{name}} is not one of ${{names}}`);\n\
         text(await tools[found[0]]({arguments}));\n"
    )
}

fn input(tool: &Tool, arguments: &Value) -> Input {
    match tool.kind {
        Kind::Function | Kind::LocalShell => Input::Function(arguments.clone()),
        Kind::Custom => Input::Custom(arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned)),
    }
}

/// The tool that runs commands, and how it is told to run this one.
fn shell<'a>(tools: &'a [Tool], command: &str) -> Option<(&'a Tool, Input)> {
    let function = |name: &str| tools.iter().find(|tool| tool.kind == Kind::Function && tool.name == name);
    let words = || vec!["bash".to_owned(), "-c".to_owned(), command.to_owned()];
    let known = SHELLS.iter().find_map(|(name, shell)| Some((function(name)?, *shell)));
    let by_form = || {
        let tool = |argument: &str| tools.iter().find(|tool| tool.kind == Kind::Function && tool.takes(argument));
        tool("cmd").map(|tool| (tool, Shell::Cmd)).or_else(|| Some((tool("command")?, Shell::Command)))
    };
    if let Some((tool, shell)) = known {
        return Some((tool, Input::Function(shell_arguments(tool, shell, command))));
    }
    if let Some(tool) = tools.iter().find(|tool| tool.kind == Kind::LocalShell) {
        return Some((tool, Input::LocalShell(words())));
    }
    if let Some(tool) = interpreter(tools) {
        let arguments = json!({ "cmd": command, "yield_time_ms": YIELD_MS });
        return Some((tool, Input::Custom(program("exec_command", &arguments))));
    }
    by_form().map(|(tool, shell)| (tool, Input::Function(shell_arguments(tool, shell, command))))
}

fn shell_arguments(tool: &Tool, shell: Shell, command: &str) -> Value {
    let mut arguments = match shell {
        Shell::Cmd => json!({ "cmd": command }),
        Shell::Command => json!({ "command": command }),
        Shell::Words => json!({ "command": ["bash", "-c", command] }),
    };
    if let Some(map) = arguments.as_object_mut() {
        if tool.takes("description") {
            map.insert("description".to_owned(), json!("Run what the script says"));
        }
        if tool.takes("yield_time_ms") {
            map.insert("yield_time_ms".to_owned(), json!(YIELD_MS));
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, arguments: &[&str]) -> Tool {
        let arguments = arguments.iter().map(|&at| at.to_owned()).collect();
        Tool { name: name.to_owned(), namespace: None, kind: Kind::Function, arguments }
    }

    fn run(tools: &[Tool]) -> Result<(String, Input), String> {
        let mut calls = calls(3, &[Act::Run("ls".to_owned())], tools)?;
        let call = calls.pop().unwrap();
        assert_eq!(mark(&call.id("call")), Some(3));
        Ok((call.name, call.input))
    }

    #[test]
    fn a_command_goes_to_the_shell_tool_that_is_offered() {
        let offered = [function("Read", &["path"]), function("Bash", &["command", "description"])];
        let arguments = json!({ "command": "ls", "description": "Run what the script says" });
        assert_eq!(run(&offered), Ok(("Bash".to_owned(), Input::Function(arguments))));

        let offered = [function("exec_command", &["cmd", "workdir"]), function("write_stdin", &["session_id"])];
        assert_eq!(run(&offered), Ok(("exec_command".to_owned(), Input::Function(json!({ "cmd": "ls" })))));

        let offered = [function("shell", &["command", "timeout_ms"])];
        let arguments = json!({ "command": ["bash", "-c", "ls"] });
        assert_eq!(run(&offered), Ok(("shell".to_owned(), Input::Function(arguments))));

        let offered = [function("terminal", &["command"])];
        assert_eq!(run(&offered), Ok(("terminal".to_owned(), Input::Function(json!({ "command": "ls" })))));

        let offered = [Tool { kind: Kind::LocalShell, ..function("local_shell", &[]) }];
        let words = ["bash", "-c", "ls"].map(str::to_owned).to_vec();
        assert_eq!(run(&offered), Ok(("local_shell".to_owned(), Input::LocalShell(words))));
    }

    #[test]
    fn what_no_tool_can_do_is_said_with_the_tools_that_there_are() {
        let refused = run(&[function("Read", &["path"])]).unwrap_err();
        assert!(refused.ends_with("Read"), "{refused}");
    }

    #[test]
    fn a_tool_is_found_by_the_end_of_its_name_if_it_is_the_only_one() {
        let offered =
            [function("mcp__house__report", &[]), function("support", &[]), function("a_x", &[]), function("b_x", &[])];
        assert_eq!(named(&offered, "report").map(|tool| tool.name.as_str()), Some("mcp__house__report"));
        assert!(named(&offered, "port").is_none());
        assert!(named(&offered, "x").is_none());
        assert_eq!(named(&offered, "a_x").map(|tool| tool.name.as_str()), Some("a_x"));
    }

    #[test]
    fn ids_of_others_have_no_turn() {
        assert_eq!(mark("call_t12_1"), Some(12));
        for other in ["call_abc", "toolu_01AbC", "call_t99999999999_0", "call_tx_0", ""] {
            assert_eq!(mark(other), None, "{other}");
        }
    }
}

//! Both forms read whole, and each kind of bad recipe with its exact place and hint.

use super::{Isolation, Network, Problem, Recipe, RecipeError, RunRecipe, ToolRecipe, parse, parse_policy};

const SUM: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn run(text: &str) -> RunRecipe {
    match parse(text, "recipe.yaml") {
        Ok(Recipe::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

fn tool(text: &str) -> ToolRecipe {
    match parse(text, "recipe.yaml") {
        Ok(Recipe::Tool(tool)) => tool,
        other => panic!("{other:?}"),
    }
}

fn error(text: &str) -> RecipeError {
    parse(text, "recipe.yaml").expect_err(text)
}

/// The message and, after ` | `, the hint.
fn shown(text: &str) -> String {
    let error = error(text);
    match error.hint() {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    }
}

/// The run recipe of the control-plane document, with a checksum of the right form.
#[test]
fn run_form_of_the_seed() {
    let text = format!(
        "tools:\n  - name: awscli\n    version: 2.15.0\n    checksum: {SUM}\n    env: {{ AWS_DEFAULT_REGION: us-east-1 }}\n    \
         network: true\n  - name: opentofu\n    version: 1.10\n    network: false\nsteps:\n  - echo \"build\"\n  - run: echo \
         \"deploy\"\n    env: {{ STAGE: prod, LEVEL: 3 }}\n    timeout: 60\n    cwd: ./deploy\n    artifacts: [\"out/*.txt\"]\n    \
         idempotent: false\nretries: {{ max_retries: 2, backoff_base_seconds: 0.5 }}\nrequires: {{ approval: true }}\n"
    );
    let recipe = run(&text);
    assert_eq!((recipe.tools[0].network.clone(), recipe.tools[1].network.clone()), (Network::Any, Network::None));
    assert_eq!(recipe.tools[1].version.as_deref(), Some("1.10"));
    assert_eq!((recipe.steps[0].name.as_str(), recipe.steps[0].run.as_str()), ("step 1", "echo \"build\""));
    let deploy = &recipe.steps[1];
    assert_eq!((deploy.timeout_ms, deploy.cwd.as_str(), deploy.idempotent), (60_000, "deploy", false));
    let env: Vec<String> = deploy.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["LEVEL=3", "STAGE=prod"]);
    assert_eq!((recipe.retries.max_retries, recipe.retries.backoff_base_ms), (Some(2), Some(500)));
    assert!(recipe.requires.approval);

    let stored = serde_json::to_string(&Recipe::Run(recipe.clone())).expect("serialises");
    assert_eq!(serde_json::from_str::<Recipe>(&stored).expect("reads back"), Recipe::Run(recipe));
}

#[test]
fn a_run_may_do_without_files_changes_or_isolation() {
    let plain = run("steps: [make]\n");
    assert_eq!((plain.starts_empty, plain.keeps_changes, plain.isolation), (false, true, Isolation::Sandbox));
    let looks = run("steps: [make]\nchanges: discard\n");
    assert_eq!((looks.starts_empty, looks.keeps_changes), (false, false));
    let host = run("steps: [make]\ncheckout: false\nisolation: none\n");
    assert_eq!((host.starts_empty, host.keeps_changes, host.isolation), (true, false, Isolation::None));
    for (more, said) in [
        ("changes: keep", "3:10: `changes` is `keep`, not one of propose, discard"),
        ("isolation: docker", "3:12: `isolation` is `docker`, not one of sandbox, none"),
        (
            "isolation: none",
            "3:12: `isolation` does not go with the rest: git is never used outside of a sandbox: add `checkout: false`",
        ),
        (
            "changes: propose\ncheckout: false",
            "3:10: `changes` does not go with the rest: without a checkout there is nothing that could have changed",
        ),
        (
            "isolation: none\ncheckout: false\nsecrets: [key]",
            "3:12: `isolation` does not go with the rest: only a sandbox can give `network`, `secrets`, `channel` and `providers`",
        ),
    ] {
        let text = format!("steps:\n  - make\n{more}\n");
        assert_eq!(shown(&text), format!("recipe.yaml:{said}"), "{text}");
    }
}

/// Scenario B of the control-plane document names tools only; its tasks bring the steps.
#[test]
fn run_form_may_name_tools_only() {
    let recipe = run("tools:\n  - name: awscli\n  - { name: tofu, network: [registry.opentofu.org] }\n");
    assert_eq!((recipe.tools.len(), recipe.steps.len()), (2, 0));
    assert!(matches!(&recipe.tools[1].network, Network::Domains(domains) if domains.len() == 1));
}

#[test]
fn tool_form_of_the_seed() {
    let text = format!(
        "name: awscli\nversion: 2.17.x\nsource:\n  url: https://awscli.amazonaws.com/awscli-exe-linux-x86_64.zip\n  checksum: \
         {SUM}\nsteps:\n  - run: unzip awscli-exe-linux-x86_64.zip && ./aws/install\npermissions:\n  network: \
         [\"s3.amazonaws.com\"]\n  filesystem: [\"/workspace\"]\n  capabilities: []\n"
    );
    let recipe = tool(&text);
    assert_eq!((recipe.name.as_str(), recipe.version.as_str()), ("awscli", "2.17.x"));
    assert_eq!(recipe.permissions.filesystem, ["/workspace"]);
    assert_eq!(recipe.sources.first().map(|source| source.checksum.as_str()), Some(SUM));
}

#[test]
fn a_tool_has_one_download_or_one_for_each_processor() {
    let pinned = |url: &str| format!("{{ url: \"https://example.org/{url}\", checksum: \"{SUM}\" }}");
    let of = |source: &str| format!("name: x\nversion: 1\nprogram: y\nsource: {source}\nsteps: [a]\n");
    let url = |recipe: &ToolRecipe, processor: &str| recipe.source_for(processor).map(|source| source.url.clone());
    let all = tool(&of(&pinned("x.zip")));
    assert_eq!((all.program.as_str(), url(&all, "riscv64").as_deref()), ("y", Some("https://example.org/x.zip")));
    let own = tool(&of(&format!("{{ x86_64: {}, aarch64: {} }}", pinned("a"), pinned("b"))));
    assert_eq!(
        ["x86_64", "aarch64", "riscv64"].map(|processor| url(&own, processor)),
        [Some("https://example.org/a".to_owned()), Some("https://example.org/b".to_owned()), None]
    );
    let both = of(&format!("{{ url: \"https://example.org/x\", checksum: \"{SUM}\", x86_64: {} }}", pinned("a")));
    assert!(shown(&both).contains("one download for all processors, or one for each"), "{}", shown(&both));
    let plain = tool("name: x\nversion: 1\nsteps: [a]\n");
    assert!(!plain.is_installed() && plain.program == "x");
    assert!(shown("name: x\nversion: 1\nprogram: ../y\nsteps: [a]\n").contains("is not a tool name"));
}

#[test]
fn unknown_and_missing_keys() {
    assert_eq!(
        shown("steps:\n  - run: echo\n    timeot: 5\n"),
        "recipe.yaml:3:5: unknown key `timeot` in a step | did you mean `timeout`?"
    );
    assert_eq!(shown("stpes: [a]\n"), "recipe.yaml:1:1: unknown key `stpes` in a run recipe | did you mean `steps`?");
    assert_eq!(
        shown("steps: [a]\nzzz: 1\n"),
        "recipe.yaml:2:1: unknown key `zzz` in a run recipe | known keys: tools, steps, env, retries, requires, network, secrets, channel, providers, checkout, \
         changes, isolation, timeout"
    );
    assert_eq!(shown("name: x\nsteps: [a]\n"), "recipe.yaml:1:1: missing key `version` in a tool recipe");
    assert_eq!(
        shown("name: x\nversion: 1\nsource:\n  url: https://example.org/x.zip\nsteps: [a]\n"),
        "recipe.yaml:4:3: missing key `checksum` in `source`"
    );
    assert_eq!(
        shown("steps: [a]\nenv: {A: 1}\nsteps: [b]\n"),
        "recipe.yaml:3:1: duplicate key `steps`, first given on line 1 | keep one of the two"
    );
}

#[test]
fn timeouts() {
    let with = |timeout: &str| shown(&format!("steps:\n  - run: x\n    timeout: {timeout}\n"));
    let seconds = "timeouts are seconds, such as `60`";
    assert_eq!(with("-5"), format!("recipe.yaml:3:14: `timeout` is negative: -5 | {seconds}"));
    assert_eq!(with("0"), format!("recipe.yaml:3:14: `timeout` must be more than zero | {seconds}"));
    assert_eq!(with("soon"), format!("recipe.yaml:3:14: `timeout` is not a number: `soon` | {seconds}"));
    assert_eq!(with("1e3"), format!("recipe.yaml:3:14: `timeout` is not a number: `1e3` | {seconds}"));
    assert_eq!(
        with("86401"),
        "recipe.yaml:3:14: `timeout` is 86401, more than 86400 | timeouts are seconds, at most 86400"
    );
    assert!(with("99999999999999999999999").contains("more than 86400"));
    assert_eq!(with("\"60\""), "recipe.yaml:3:14: `timeout` must be a number, not text");
    assert_eq!(with("[1]"), "recipe.yaml:3:14: `timeout` must be a number, not a list");
    assert_eq!(run("steps:\n  - run: x\n    timeout: 0.25\n").steps[0].timeout_ms, 250);
}

#[test]
fn wrong_types_and_values() {
    let cases = [
        ("steps: x\n", "1:8: `steps` must be a list, not text"),
        ("steps:\n", "1:1: `steps` must be a list, not nothing"),
        ("steps: []\n", "1:8: `steps` is empty"),
        ("steps:\n  - ' '\n", "2:5: `run` is empty"),
        ("steps:\n  - [a]\n", "2:5: `a step` must be a mapping, not a list"),
        ("steps:\n  - 5\n", "2:5: `run` must be text, not a number"),
        ("[a]\n", "1:1: `recipe` must be a mapping, not a list"),
        ("tools: [{name: Aws}]\nsteps: [a]\n", "1:16: name `Aws` is not a tool name"),
        ("tools: [{name: a}, {name: a}]\n", "1:8: `tools` is given twice: `a`"),
        (
            "tools: [{name: a, network: 3}]\n",
            "1:28: `network` must be `true`, `false` or a list of hosts, not a number",
        ),
        ("tools: [{name: a, network: [10.0.0.1]}]\n", "1:29: `network`: `10.0.0.1` is not a host name"),
        ("steps: [a]\nnetwork: [example.org:0]\n", "2:11: `network`: `0` is not a port"),
        ("steps: [a]\nnetwork: [example.org:99999]\n", "2:11: `network`: `99999` is not a port"),
        ("steps: [a]\nnetwork: ['*']\n", "2:11: `network`: `*` is not a host name"),
        ("steps: [a]\nnetwork: [com]\n", "2:11: `network`: `com` is not a host name"),
        ("steps: [a]\nnetwork: [127.0.0.1]\n", "2:11: `network`: `127.0.0.1` is not a host name"),
        ("steps: [a]\nnetwork: true\n", "2:10: `network` must be a list, not a boolean"),
        ("steps: [a]\nnetwork: [{host: a.org, ports: []}]\n", "2:32: `ports` is empty"),
        ("steps: [a]\nnetwork: [{host: a.org, port: 1}]\n", "2:25: unknown key `port` in a host of `network`"),
        ("steps: [a]\nnetwork: [{ports: [1]}]\n", "2:11: missing key `host` in a host of `network`"),
        ("steps: [a]\nsecrets: [a/b]\n", "2:11: `secrets`: `a/b` is not the name of a secret"),
        ("steps: [a]\nsecrets: [.a]\n", "2:11: `secrets`: `.a` is not the name of a secret"),
        ("steps: [a]\nsecrets: [a, {name: a, env: B}]\n", "2:10: `secrets` is given twice: `a`"),
        ("steps: [a]\nsecrets: [{name: a, env: ORCH_RUN}]\n", "2:26: variable `ORCH_RUN` is reserved"),
        ("steps: [a]\nsecrets: [{name: a, value: x}]\n", "2:21: unknown key `value` in a secret of `secrets`"),
        ("tools: [{name: a, version: 'x y'}]\n", "1:28: version `x y` is not a version"),
        (
            "tools:\n  - name: a\n    checksum: sha256:deadbeef\n",
            "3:15: `checksum`: `sha256:deadbeef` is not a checksum",
        ),
        ("steps: [{run: a, cwd: /etc}]\n", "1:23: `cwd`: path `/etc` is absolute"),
        ("steps: [{run: a, cwd: x/../..}]\n", "1:23: `cwd`: path `x/../..` leaves the workspace through `..`"),
        ("steps: [{run: a, env: {9A: x}}]\n", "1:24: `env`: `9A` is not an environment variable name"),
        ("steps: [{run: a, env: {ORCH_ATTEMPT: 1}}]\n", "1:24: variable `ORCH_ATTEMPT` is reserved"),
        ("steps: [{run: a, env: {A: [1]}}]\n", "1:27: `A` must be text, not a list"),
        ("steps: [{run: a, idempotent: maybe}]\n", "1:30: `idempotent` must be `true` or `false`, not text"),
        (
            "steps: [{run: a, artifacts: ['../*']}]\n",
            "1:30: `artifacts`: path `../*` leaves the workspace through `..`",
        ),
        ("steps: [a]\nretries: {max_retries: -1}\n", "2:24: `max_retries` is negative: -1"),
        ("steps: [a]\nretries: {max_retries: 1.5}\n", "2:24: `max_retries` is not a number: `1.5`"),
        ("steps: [a]\nretries: {max_retries: 99}\n", "2:24: `max_retries` is 99, more than 20"),
        (
            "name: a\nversion: 1\nsource: {url: 'http://x.org/a', checksum: x}\nsteps: [a]\n",
            "3:15: url `http://x.org/a` is not an https address",
        ),
        (
            "name: a\nversion: 1\nsteps: [a]\npermissions: {filesystem: [a]}\n",
            "4:28: path `a` of `filesystem` is not absolute",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text).to_string(), format!("recipe.yaml:{expected}"), "{text}");
    }
}

#[test]
fn what_is_too_much() {
    let steps = format!("steps:\n{}", "  - echo\n".repeat(201));
    assert_eq!(shown(&steps), "recipe.yaml:2:3: `steps` has 201 entries, more than 200 | at most 200 steps");
    let large = format!("steps: [a]\n#{}", "x".repeat(300_000));
    assert!(matches!(error(&large).problem, Problem::TooLarge { bytes: 300_012 }));
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nsteps: [*b, *b]\n";
    assert_eq!(
        shown(bomb),
        "recipe.yaml:1:4: anchors and aliases are not allowed | write the value out where it is used"
    );
    assert!(matches!(error("steps: [*x]\n").problem, Problem::Anchor | Problem::Syntax { .. }));
    let deep = format!("steps: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(matches!(error(&deep).problem, Problem::TooDeep { .. }));
}

#[test]
fn syntax_errors_have_a_place() {
    for (text, line) in
        [("steps:\n  - run: \"x\n", 2), ("a: b: c\n", 1), ("steps: [a\nenv: {}\n", 2), ("steps:\n\t- a\n", 2)]
    {
        let error = error(text);
        assert!(matches!(error.problem, Problem::Syntax { .. }), "{text:?}: {error}");
        assert_eq!(error.place.line, line, "{text:?}: {error}");
    }
}

#[test]
fn a_colon_in_a_command_is_explained() {
    assert_eq!(
        shown("steps:\n  - run: echo \"a: b\"\n"),
        "recipe.yaml:2:17: yaml syntax: mapping values are not allowed in this context | quote the value, or write it below \
         a `|`, when it contains `: `"
    );
}

/// Messages are one line of printable text whatever the file says.
#[test]
fn messages_never_carry_raw_bytes_of_the_file() {
    let hostile = "\"\\e[31mred\\a\\n\": 1\n";
    let message = error(hostile).to_string();
    assert!(!message.chars().any(char::is_control), "{message:?}");
    let long = format!("{}: 1\n", "k".repeat(900));
    assert!(error(&long).to_string().len() < 200);
}

#[test]
fn policy_protects_paths() {
    let policy =
        parse_policy("name: default\nprotected_paths: ['.github/**', '**/migrations/**']\n", "p").expect("good");
    assert_eq!(policy.protects("db/migrations/1.sql").map(ToString::to_string).as_deref(), Some("**/migrations/**"));
    assert_eq!(policy.protects("src/main.rs"), None);
    let empty = parse_policy("name: x\nprotected_paths: []\n", "p").expect_err("empty");
    assert_eq!(empty.to_string(), "p:2:18: `protected_paths` is empty");
}

/// What a run is given is what is written, with the ports of the web where none is; nothing is nothing.
#[test]
fn access_is_what_is_written() {
    let lines = |text: &str| run(text).access.lines();
    assert_eq!(lines("steps: [a]\n"), [""; 0]);
    assert_eq!(lines("steps: [a]\nnetwork: []\nsecrets: []\n"), [""; 0]);
    let text = "steps: [a]\ntools: [{name: tofu, network: [registry.opentofu.org]}, {name: b, network: false}]\n\
                network:\n  - crates.io\n  - '*.crates.io:443'\n  - { host: mirror.example.org, ports: [8443, 8080] }\n\
                secrets:\n  - NPM_TOKEN\n  - { name: registry, env: TOKEN }\n";
    assert_eq!(
        lines(text),
        [
            "network: crates.io:80,443",
            "network: *.crates.io:443",
            "network: mirror.example.org:8080,8443",
            "network: registry.opentofu.org:80,443",
            "secret: NPM_TOKEN (file)",
            "secret: registry (variable TOKEN)",
        ]
    );
}

#[test]
fn what_covers_a_host_covers_its_ports() {
    let reach = |text: &str| super::Reach::parse(text).unwrap();
    for (wide, narrow, covered) in [
        ("a.org", "a.org:443", true),
        ("a.org:443", "a.org", false),
        ("*.a.org", "b.a.org:80", true),
        ("*.a.org", "*.b.a.org", true),
        ("*.a.org", "*.a.org", true),
        ("*.a.org", "a.org", false),
        ("*.a.org", "ba.org", false),
        ("b.a.org", "*.a.org", false),
        ("*.b.a.org", "*.a.org", false),
    ] {
        assert_eq!(reach(wide).covers(&reach(narrow)), covered, "{wide} {narrow}");
    }
}

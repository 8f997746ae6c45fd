//! Everything under `recipes/` parses, and the demo's Vision asks for nothing that its blueprint does not serve.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use orch_core::blueprint;
use orch_core::recipe::{Recipe, parse, parse_policy, parse_prices, parse_provider, parse_role};
use orch_proto::view::FieldKind;

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes")
}

/// File names and texts of a folder, those that end in `.yaml`.
fn yaml_files(folder: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(recipes().join(folder)).expect("folder is shipped");
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("text")))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

#[test]
fn tools_parse_and_are_named_like_their_files() {
    for (file, text) in yaml_files("tools") {
        match parse(&text, &file).unwrap_or_else(|error| panic!("{error} {:?}", error.hint())) {
            Recipe::Tool(tool) => assert!(file.ends_with(&format!("/{}.yaml", tool.name)), "{file}"),
            Recipe::Run(run) => {
                assert!(file.ends_with("/example-run.yaml"), "{file}");
                assert_eq!((run.tools.len(), run.steps.len(), run.steps[1].timeout_ms), (2, 2, 2500));
                assert_eq!((run.access.network.len(), run.access.secrets.len()), (3, 2));
            }
        }
    }
}

/// What is pinned is what npm publishes of its own packages, and a host of another processor is told so.
/// What npm found to be right when it installed the same packages is what the recipes pin, for the processor of this machine.
#[test]
fn agents_of_recipes_are_pinned_by_what_npm_publishes() -> anyhow::Result<()> {
    let installed = match orch_tests::agents::installed() {
        Ok(installed) => Some(installed),
        Err(missing) => missing.holds().map(|_| None)?,
    };
    for (name, processors) in [("codex", 2), ("claude-code", 2), ("opencode", 1)] {
        let file = format!("tools/{name}.yaml");
        let text = fs::read_to_string(recipes().join(&file)).expect("it ships");
        let Ok(Recipe::Tool(tool)) = parse(&text, &file) else { panic!("{file} is no tool") };
        assert_eq!(tool.sources.len(), processors, "{file}");
        assert!(tool.source_for("riscv64").is_none(), "{file}");
        for source in &tool.sources {
            assert!(source.url.starts_with("https://registry.npmjs.org/"), "{}", source.url);
            assert!(source.url.contains(&tool.version), "{}", source.url);
            assert!(source.checksum.as_str().starts_with("sha512-"), "{}", source.url);
        }
        assert!(tool.permissions.network.is_empty(), "its steps reach nothing");
        let own = tool.source_for(std::env::consts::ARCH).zip(installed.as_deref());
        if let Some((own, installed)) = own {
            assert!(installed.contains(&format!("\"{}\"", own.checksum)), "{} is not {}", own.url, own.checksum);
        }
    }
    Ok(())
}

#[test]
fn policies_parse() {
    for (file, text) in yaml_files("policies") {
        let policy = parse_policy(&text, &file).unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
        assert!(policy.protects(".github/workflows/ci.yml").is_some());
        assert_eq!(policy.protects("src/main.py"), None);
    }
}

/// The fields are those that the product's first description names; what is secret is never shown, and comes as a file.
#[test]
fn providers_parse_and_ask_for_what_is_said_of_them() {
    let mut found = Vec::new();
    for (file, text) in yaml_files("providers") {
        let provider = parse_provider(&text, &file).unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
        assert!(file.ends_with(&format!("/{}.yaml", provider.name)), "{file}");
        for secret in provider.fields.iter().filter(|field| field.kind == FieldKind::Secret) {
            let named = format!("{{{}}}", secret.name);
            assert!(provider.files.iter().any(|file| file.content.contains(&named)), "{named}");
            assert!(!provider.variables.values().any(|template| template.contains(&named)), "{named}");
        }
        let fields: Vec<String> = provider.fields.into_iter().map(|field| field.name).collect();
        found.push(format!("{}: {}", provider.name, fields.join(" ")));
    }
    let said = [
        "aws: AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION",
        "azure: AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_CLIENT_SECRET AZURE_SUBSCRIPTION_ID",
        "gcp: GOOGLE_APPLICATION_CREDENTIALS_JSON GOOGLE_CLOUD_PROJECT",
        "kubernetes: KUBECONFIG_CONTENT",
    ];
    assert_eq!(found, said);
}

#[test]
fn roles_parse_and_no_two_do_the_same() {
    let mut capabilities = BTreeSet::new();
    for (file, text) in yaml_files("roles") {
        let role = parse_role(&text, &file).unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
        assert!(file.ends_with(&format!("/{}.yaml", role.name)), "{file}");
        for capability in role.capabilities {
            assert!(capabilities.insert(capability.to_string()), "{capability} of {file}");
        }
    }
    for asked in ["developer", "docs", "infra", "qa", "security"] {
        assert!(capabilities.contains(asked), "the planner asks for {asked}");
    }
}

#[test]
fn prices_parse() {
    for (file, text) in yaml_files("models") {
        let prices = parse_prices(&text, &file).unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
        assert!(prices.of("claude-opus-5-5-20260922").is_some_and(|price| price.cached < price.input));
        assert_eq!(prices.of("some-model"), None);
    }
}

/// Ids at the start of a bullet of the Vision, such as `FR-3` and `CON-1`.
#[test]
fn every_requirement_of_the_demo_vision_is_covered() {
    let vision = fs::read_to_string(recipes().join("planner/demo-vision.md")).expect("shipped");
    let id_of = |line: &str| {
        let (id, _) = line.strip_prefix("- ")?.split_once(": ")?;
        let (kind, number) = id.split_once('-')?;
        (["FR", "NFR", "CON"].contains(&kind) && number.parse::<u32>().is_ok()).then(|| id.to_owned())
    };
    let asked: BTreeSet<String> = vision.lines().filter_map(id_of).collect();
    assert_eq!(asked.len(), 18, "{asked:?}");

    let file = recipes().join("blueprints/web-api/blueprint.yaml");
    let text = fs::read_to_string(file).expect("shipped");
    let blueprint =
        blueprint::parse(&text, "blueprint.yaml").unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
    let covered: BTreeSet<String> = blueprint.tasks.iter().flat_map(|task| task.covers.clone()).collect();
    let missing: Vec<&String> = asked.difference(&covered).collect();
    assert!(missing.is_empty(), "no task covers {missing:?}");
    let is_id = |cover: &&String| cover.split_once('-').is_some_and(|(kind, _)| ["FR", "NFR", "CON"].contains(&kind));
    let unknown: Vec<&String> = covered.iter().filter(is_id).filter(|id| !asked.contains(*id)).collect();
    assert!(unknown.is_empty(), "the Vision does not ask for {unknown:?}");
}

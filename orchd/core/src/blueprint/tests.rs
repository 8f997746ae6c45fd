//! A small blueprint read whole, its parameters, and each kind of bad one with its exact place.

use std::collections::BTreeMap;

use super::{Blueprint, Pattern, parse};
use crate::recipe::Key;

const GOOD: &str = r#"name: tiny
version: 1.0
title: Tiny
description: Two files.
parameters:
  - name: service-name
    description: Name of the service.
    default: shop
    pattern: { chars: [lower, digit, dash], first: [lower], length_max: 12 }
    from: [front_matter.service, title]
  - name: port
    description: Port.
    default: 8080
    pattern: { number: { min: 1024, max: 65535 } }
  - name: fail
    description: Fail once.
    default: "no"
    pattern: { one_of: ["yes", "no"] }
gates:
  - name: test
    run: python3 -m unittest
protected_paths: [".github/**"]
epics:
  - { key: core, title: Core }
stories:
  - { key: base, title: Base, epic: core }
tasks:
  - key: wire
    title: Wire it
    story: base
    needs: [scaffold]
    steps: [echo wire]
  - key: scaffold
    title: Scaffold
    story: base
    covers: [FR-1, layout]
    acceptance: [files are there]
    steps:
      - echo one
      - { name: two, run: echo two }
    estimate_minutes: 5
    risk: none known
verify:
  start: exec ./run.sh
  ready_path: /readyz
  ready_timeout: 5
  calls:
    - { method: GET, path: "/v1/{service-name}", headers: { If-Match: '"1"' }, expect_status: 200, expect_contains: ok }
"#;

fn good() -> Blueprint {
    parse(GOOD, "b.yaml").expect("good")
}

/// Replaces one piece of the good blueprint and shows message and hint of what comes out.
fn broken(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let error = parse(&GOOD.replacen(from, to, 1), "b.yaml").expect_err(to);
    match error.hint() {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn whole() {
    let blueprint = good();
    let order: Vec<&str> = blueprint.order().iter().map(|task| task.key.as_str()).collect();
    assert_eq!(order, ["scaffold", "wire"]);
    let scaffold = blueprint.task(&Key::parse("scaffold").expect("key")).expect("task");
    let names: Vec<&str> = scaffold.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!((names, scaffold.epic.as_str(), scaffold.estimate_minutes), (vec!["scaffold 1", "two"], "core", 5));
    let verify = blueprint.verify.clone().expect("there");
    assert_eq!((verify.start.run.as_str(), verify.ready_timeout_ms), ("exec ./run.sh", 5000));
    let values = blueprint.resolve(&BTreeMap::new(), "").expect("defaults");
    assert_eq!(verify.calls[0].path_with(&blueprint.parameters, &values), "/v1/shop");
    let stored = serde_json::to_string(&blueprint).expect("serialises");
    assert_eq!(serde_json::from_str::<Blueprint>(&stored).expect("reads back"), blueprint);
}

#[test]
fn parameters_resolve_in_order_and_stay_in_their_sets() {
    let resolve = |given: &[(&str, &str)], title: &str| {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let resolved = good().resolve(&given, title).map_err(|error| match error.hint() {
            Some(hint) => format!("{error} | {hint}"),
            None => error.to_string(),
        })?;
        let shown: Vec<String> = resolved.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok::<_, String>(shown.join(" "))
    };
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(resolve(&[], ""), ok("ORCH_PARAM_FAIL=no ORCH_PARAM_PORT=8080 ORCH_PARAM_SERVICE_NAME=shop"));
    assert_eq!(
        resolve(&[("service", "stock"), ("port", "9000"), ("fail", "yes")], "Other"),
        ok("ORCH_PARAM_FAIL=yes ORCH_PARAM_PORT=9000 ORCH_PARAM_SERVICE_NAME=stock")
    );
    assert_eq!(
        resolve(&[], "2nd  My Shop $(rm) & Co"),
        ok("ORCH_PARAM_FAIL=no ORCH_PARAM_PORT=8080 ORCH_PARAM_SERVICE_NAME=nd-my-shop-r")
    );
    for hostile in ["a;b", "a$(b)", "", "A", "-a", "a b", "averylongname1"] {
        assert!(resolve(&[("service", hostile)], "").is_err(), "{hostile}");
    }
    for hostile in ["80", "08080", "+8080", "8080 ", "99999999999999999999"] {
        assert!(resolve(&[("port", hostile)], "").is_err(), "{hostile}");
    }
    assert_eq!(
        resolve(&[("servise", "x")], ""),
        Err("blueprint has no parameter `servise` | did you mean `service`?".to_owned())
    );
    assert_eq!(
        resolve(&[("fail", "maybe")], ""),
        Err("parameter `fail` is `maybe`, expected one of yes, no".to_owned())
    );
    assert!(!Pattern::Number { min: 0, max: 5 }.accepts("00"));
}

#[test]
fn bad_blueprints() {
    let cases = [
        (
            "needs: [scaffold]",
            "needs: [scafold]",
            "b.yaml:31:13: task `scafold` does not exist | did you mean `scaffold`?",
        ),
        (
            "needs: [scaffold]",
            "needs: [wire]",
            "b.yaml:31:13: tasks need each other in a circle: wire -> wire | take one of these `needs` out",
        ),
        (
            "covers: [FR-1, layout]",
            "needs: [wire]",
            "b.yaml:31:13: tasks need each other in a circle: wire -> scaffold -> wire | take one of these `needs` out",
        ),
        ("needs: [scaffold]", "needs: [scaffold, scaffold]", "b.yaml:31:23: `needs` is given twice: `scaffold`"),
        ("key: scaffold", "key: wire", "b.yaml:33:5: `tasks` is given twice: `wire`"),
        ("story: base", "story: bass", "b.yaml:30:12: story `bass` does not exist | did you mean `base`?"),
        ("epic: core }", "epic: tore }", "b.yaml:26:37: epic `tore` does not exist | did you mean `core`?"),
        ("steps: [echo wire]", "steps: []", "b.yaml:32:12: `steps` is empty"),
        ("risk: none known", "riks: x", "b.yaml:42:5: unknown key `riks` in a task | did you mean `risk`?"),
        ("default: 8080", "default: 80", "b.yaml:13:14: default `80` of parameter `port` does not fit its pattern"),
        (
            "[lower, digit, dash]",
            "[lower, regex]",
            "b.yaml:9:31: `chars` is `regex`, not one of lower, upper, digit, dash, underscore, dot, space",
        ),
        ("expect_status: 200", "expect_status: 20", "`expect_status` must be a status of 100 to 599, not a number"),
        ("If-Match: '\"1\"'", "\"a\\nb\": c", "contains a control character"),
        ("method: GET", "method: get", "`method` is `get`, not one of GET, POST"),
        ("min: 1024, max: 65535", "min: 9, max: 1", "`number` must be a range with `min` not above `max`"),
    ];
    for (from, to, expected) in cases {
        let shown = broken(from, to);
        assert!(shown.contains(expected), "{to}\n  {shown}\n  {expected}");
    }
}

//! What `demo --agent` asks for before anything begins. The demo itself is told by the stories.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A directory with a program of this name.
fn installed(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join(name);
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[tokio::test]
async fn an_agent_that_lacks_something_is_told_before_anything_begins() {
    let fake = Fake::start(one_project());
    let directory = installed("codex");
    let path = directory.path().to_str().unwrap();
    let with_key = [("PATH", path), ("OPENAI_API_KEY", "sk-1")];
    for (env, line, code, said) in [
        (&[("PATH", "/nowhere")][..], "demo --agent codex", 78, "npm install -g @openai/codex"),
        (&[("PATH", path)], "demo --agent codex", 2, "set OPENAI_API_KEY, or name a file"),
        // One vendor's key is not another's.
        (&[("PATH", path), ("ANTHROPIC_API_KEY", "sk-2")], "demo --agent codex", 2, "there is no key for `codex`"),
        (
            &with_key,
            "demo --agent codex",
            2,
            "not confirmed: let codex ask https://api.openai.com with your key, at your cost?",
        ),
        (&with_key, "demo --agent codex --key-file /nowhere/key", 3, "there is no file `/nowhere/key`"),
        (&with_key, "demo --agent codex --key-file -", 2, "there is no key for `codex`"),
        (&with_key, "demo --model some-model", 2, "--agent"),
    ] {
        let outcome = call(&fake, Call { env, ..Call::default() }, line).await;
        assert_eq!(outcome.code, code, "{line}: {outcome:?}");
        assert!(outcome.err.contains(said), "{line}: {outcome:?}");
        assert!(!outcome.err.contains("sk-1"), "{outcome:?}");
    }
}

#[tokio::test]
async fn what_is_spent_is_asked_about_and_no_is_taken() {
    let fake = Fake::start(one_project());
    let directory = installed("claude");
    let env = [("PATH", directory.path().to_str().unwrap()), ("ANTHROPIC_API_KEY", "sk-1")];
    let outcome = call(&fake, Call { env: &env, stdin: "n\n", terminal: TTY }, "demo --agent claude").await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    for said in [
        "https://api.anthropic.com with your key, which costs money",
        "let claude ask https://api.anthropic.com with your key, at your cost? [y/N]",
    ] {
        assert!(outcome.err.contains(said), "{outcome:?}");
    }
    assert_eq!(outcome.out, "", "nothing has begun");
}

#[tokio::test]
async fn a_key_is_not_typed_in() {
    let fake = Fake::start(one_project());
    let directory = installed("codex");
    let env = [("PATH", directory.path().to_str().unwrap())];
    let call_of = |terminal| Call { env: &env, stdin: "sk-1\n", terminal };
    let typed = call(&fake, call_of(TTY), "demo --agent codex --key-file -").await;
    assert!(typed.code == 2 && typed.err.contains("a key is not typed in"), "{typed:?}");
    let piped = call(&fake, call_of(Terminal::default()), "demo --agent codex --key-file -").await;
    assert!(piped.code == 2 && piped.err.contains("not confirmed"), "{piped:?}");
}

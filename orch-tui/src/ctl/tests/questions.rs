//! Answers to questions: values come from files, standard input and the terminal.

use std::fs::File;
use std::io::BufReader;

use super::*;

fn one_question() -> Fake {
    Fake::start(State { infos: vec![samples::info_request(1, "us")], ..one_project() })
}

fn answered(fake: &Fake) -> Vec<(String, String)> {
    let text = |value: &Bytes| String::from_utf8(value.0.clone()).unwrap();
    fake.see(|state| {
        let last = state.answered.last().unwrap();
        last.iter().map(|(field, value)| (field.clone(), text(value))).collect()
    })
}

#[tokio::test]
async fn several_values_come_on_standard_input() {
    let fake = one_question();
    let wanted = vec![("region".to_owned(), "eu".to_owned()), ("token".to_owned(), " hunter2=".to_owned())];
    for stdin in ["region=eu\ntoken= hunter2=\n", r#"{"region": "eu", "token": " hunter2="}"#] {
        let given = Call { stdin, ..Call::default() };
        let done = call(&fake, given, "question answer shop/I-1 --values-file -").await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(answered(&fake), wanted);
    }
    for (stdin, line, says) in [
        ("region=eu", "--values-file -", "missing: token"),
        ("", "--value-file token=-", "missing: region"),
        ("region=eu", "--values-file - --value-file token=-", "standard input was named more than once"),
        ("region=eu\nregion=us", "--values-file -", "`region` was given more than once"),
        ("place=eu", "--values-file -", "has no field `place`"),
        ("", "--value region=eu", "unexpected argument '--value'"),
    ] {
        let refused = call(&fake, Call { stdin, ..Call::default() }, &format!("question answer shop/I-1 {line}")).await;
        assert_eq!((refused.code, refused.err.contains(says)), (2, true), "{line}: {refused:?}");
    }
    assert_eq!(fake.see(|state| state.answered.len()), 2);
}

#[tokio::test]
async fn a_secret_is_not_asked_for_where_it_would_be_shown() {
    let fake = one_question();
    let typed = Call { stdin: "eu\nhunter2\n", terminal: TTY, env: &[] };
    let refused = call(&fake, typed, "question answer shop/I-1").await;
    assert!(refused.code == 2 && refused.err.contains("this terminal would show what is typed"), "{refused:?}");
    let long = "x".repeat(4_095);
    let typed = Call { stdin: &long, terminal: TTY, env: &[] };
    let refused = call(&fake, typed, "question answer shop/I-1").await;
    assert!(refused.code == 2 && refused.err.contains("is longer than a terminal takes"), "{refused:?}");
    assert_eq!(fake.see(|state| state.answered.len()), 0);
}

/// A key is pasted with all its lines.
#[tokio::test]
async fn a_secret_of_several_lines_is_refused_with_what_takes_it() {
    let fake = one_question();
    let pty = nix::pty::openpty(None, None).unwrap();
    let (slave, mut master) = (File::from(pty.slave), File::from(pty.master));
    master.write_all(b"eu\n-----BEGIN\nhunter2\n").unwrap();
    let (stdin, err) = (Box::new(BufReader::new(slave.try_clone().unwrap())), Sink::default());
    let console = Console::new(stdin, Box::new(io::sink()), Box::new(err.clone()), TTY).with_input(Some(slave.into()));
    let words = ["question", "answer", "shop/I-1"].map(OsString::from);
    let arguments = ["orchctl".into(), "--socket".into(), fake.socket().into_os_string()].into_iter().chain(words);
    assert_eq!(run(arguments, console).await, 2, "{}", err.text());
    let said = err.text();
    assert!(said.contains("several were typed") && said.contains("--value-file token=FILE"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(fake.see(|state| state.answered.len()), 0);
}

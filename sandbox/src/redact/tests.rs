//! What redaction promises, on random secrets, encodings and cuts. The encoders here are not those of the product.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn patterns(values: &[&[u8]]) -> Arc<Patterns> {
    let mut secrets = Secrets::new();
    for (index, value) in values.iter().enumerate() {
        secrets.insert(&format!("S{index}"), value.to_vec()).unwrap();
    }
    Patterns::new(&secrets).unwrap()
}

/// What comes out when `text` goes in cut into pieces of these lengths, over and over.
fn redacted(patterns: &Arc<Patterns>, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut redactor, mut out, mut rest) = (Redactor::new(patterns), Vec::new(), text);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
        redactor.feed(piece, &mut out);
        rest = later;
    }
    redactor.finish(&mut out);
    out
}

fn shown(value: &str, text: &str) -> String {
    String::from_utf8(redacted(&patterns(&[value.as_bytes()]), text.as_bytes(), &[3])).unwrap()
}

#[test]
fn values_are_named_in_their_place() {
    assert_eq!(shown("hunter22", "a hunter22 b"), "a [secret S0] b");
    assert_eq!(shown(" hunter22\n", "hunter22hunter22\n"), "[secret S0][secret S0]\n");
    assert_eq!(shown("hunter22", "hunter2 hunter"), "hunter2 [secret S0]", "half a value at the end is not shown");
    assert_eq!(shown("hunter22", "hunter2 hun"), "hunter2 hun");
    assert_eq!(shown("secret", "a secret"), "a ***", "the mask must not tell it");
    let two = patterns(&[b"abcdef", b"defghi"]);
    assert_eq!(redacted(&two, b"xabcdefghix", &[1]), b"x[secret S0]x", "overlaps are one place");
    assert_eq!(redacted(&two, b"xabcdefx", &[1]), b"x[secret S0]x");
    let nested = patterns(&[b"1234", b"0123456"]);
    assert_eq!(redacted(&nested, b"01234 0123456", &[2]), b"0[secret S0] [secret S1]");
}

/// What was looked for before is found over the change, and what is new is from there on.
#[test]
fn patterns_change_at_any_place() {
    let text = "a hunter22 b aHVudGVyMjI= c swordfish d";
    let mut sets = vec![Secrets::new(), Secrets::new()];
    sets[0].insert("S0", b"hunter22".to_vec()).unwrap();
    sets[1].insert("S1", b"swordfish".to_vec()).unwrap();
    let (before, after) = (Patterns::new(&sets[0]).unwrap(), Patterns::of_sets(&sets).unwrap());
    let place = text.find("swordfish").unwrap();
    for cut in 0..=text.len() {
        let (mut redactor, mut out) = (Redactor::new(&before), Vec::new());
        redactor.feed(&text.as_bytes()[..cut], &mut out);
        redactor.change(&after);
        redactor.feed(&text.as_bytes()[cut..], &mut out);
        redactor.finish(&mut out);
        let last = if cut <= place { "[secret S1]" } else { "swordfish" };
        assert_eq!(String::from_utf8(out).unwrap(), format!("a [secret S0] b [secret S0] c {last} d"), "{cut}");
    }
}

#[test]
fn known_spellings_are_found() {
    let key = "p@ss \"w\u{f6}rd\" it's/+\\42";
    let b64 = STANDARD.encode(key);
    let spellings = [
        b64.as_str(),
        "p%40ss+%22w%C3%B6rd%22+it%27s%2F%2B%5C42",
        "p%40ss%20%22w%c3%b6rd%22%20it's/%2b%5c42",
        "p@ss \\\"w\\u00f6rd\\\" it's/+\\\\42",
        "p@ss \\\"w\u{f6}rd\\\" it\\'s\\/+\\\\42",
        "p@ss\\ \\\"w\\303\\266rd\\\"\\ it\\'s/+\\\\42",
        "p@ss \"w\u{f6}rd\" it'\\''s/+\\42",
        "p@ss \"w\u{f6}rd\" it''s/+\\42",
        "p@ss \"\"w\u{f6}rd\"\" it's/+\\42",
        "p@ss &quot;w\u{f6}rd&quot; it&#x27;s/+\\42",
        "p@ss &#34;w\u{f6}rd&#34; it&#39;s/+\\42",
        "70 40 73 73 20 22 77 c3 b6 72 64 22 20 69 74 27 73 2f 2b 5c 34 32",
        "70:40:73:73:20:22:77:C3:B6:72:64:22:20:69:74:27:73:2F:2B:5C:34:32",
        "\\x70\\x40\\x73\\x73\\x20\\x22\\x77\\xc3\\xb6\\x72\\x64\\x22\\x20\\x69\\x74\\x27\\x73\\x2f\\x2b\\x5c\\x34\\x32",
    ];
    for spelling in spellings {
        assert_eq!(shown(key, &format!("<{spelling}>")), "<[secret S0]>", "{spelling}");
    }
    // What the escape ends with looks like what it stands for.
    assert_eq!(shown("1hunter22", "<%31hunter22>"), "<[secret S0]>");
    // In a string of JSON, which is in a string of JSON.
    let twice = serde_json::to_string(&serde_json::to_string(key).unwrap()).unwrap();
    assert_eq!(shown(key, &twice), "\"\\\"[secret S0]\\\"\"");
}

/// A key with lines, as programs print it: whole, indented, with other line ends, in an object.
#[test]
fn keys_with_lines_are_found() {
    let lines: Vec<String> = (0..20).map(|line| STANDARD.encode([line; 48])).collect();
    let key = format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", lines.join("\n"));
    let patterns = patterns(&[key.as_bytes()]);
    let indented: String = key.lines().map(|line| format!("    | {line}\r\n")).collect();
    for text in
        [key.clone(), indented, serde_json::json!({ "key": key }).to_string(), STANDARD.encode(format!("xy{key}"))]
    {
        let out = String::from_utf8(redacted(&patterns, text.as_bytes(), &[7, 64, 1])).unwrap();
        assert!(out.contains("[secret S0]") && out.len() < text.len(), "{out}");
        assert!(lines.iter().all(|line| !out.contains(line.as_str())), "{out}");
    }
}

/// A line that stays incomplete must not tell how a value begins.
#[test]
fn nothing_of_a_beginning_is_given_out() {
    let patterns = patterns(&[b"hunter22"]);
    let (mut redactor, mut out) = (Redactor::new(&patterns), Vec::new());
    for byte in b"password: hunter2" {
        redactor.feed(&[*byte], &mut out);
        assert!(!out.ends_with(b"h"));
    }
    assert_eq!(out, b"password: ");
    redactor.feed(b"2", &mut out);
    redactor.feed(b"\n", &mut out);
    assert_eq!(out, b"password: [secret S0]\n");
}

/// The worst output for an automaton: everything always begins again.
#[test]
fn self_similar_output_is_bounded() {
    let value = vec![b'a'; 4096];
    let patterns = patterns(&[&value]);
    let text = [vec![b'a'; 4095], b"b".to_vec()].concat().repeat(20);
    assert_eq!(redacted(&patterns, &text, &[4093]), text);
    let (mut redactor, mut out) = (Redactor::new(&patterns), Vec::new());
    for _ in 0..100 {
        redactor.feed(&value, &mut out);
        assert!(redactor.held.capacity() < 1 << 15 && redactor.found.len() < 2);
    }
    redactor.finish(&mut out);
    assert_eq!(out, b"[secret S0]", "overlapping places are one");
}

/// How a program spells a value.
#[derive(Debug, Clone)]
enum Spelling {
    Plain,
    Base64 { before: Vec<u8>, after: Vec<u8>, engine: u8, width: usize },
    Hex { upper: bool, separator: &'static str, width: usize },
    Percent { all: bool, upper: bool, plus: bool },
    Json,
    Octal,
}

impl Spelling {
    fn any() -> impl Strategy<Value = Self> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..7);
        let width = || prop_oneof![Just(usize::MAX), Just(64), Just(76), 1..90_usize];
        prop_oneof![
            Just(Self::Plain),
            (bytes(), bytes(), 0..4_u8, width()).prop_map(|(before, after, engine, width)| Self::Base64 {
                before,
                after,
                engine,
                width
            }),
            (any::<bool>(), prop::sample::select(vec!["", ":", " ", "-", ", ", "\\x"]), width())
                .prop_map(|(upper, separator, width)| Self::Hex { upper, separator, width }),
            any::<(bool, bool, bool)>().prop_map(|(all, upper, plus)| Self::Percent { all, upper, plus }),
            Just(Self::Json),
            Just(Self::Octal),
        ]
    }

    fn spell(&self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => value.to_vec(),
            Self::Base64 { before, after, engine, width } => {
                let engine = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD][usize::from(*engine)];
                broken(&engine.encode([before, value, after].concat()), *width)
            }
            Self::Hex { upper, separator, width } => {
                let digits: Vec<String> = value.iter().map(|byte| format!("{byte:02x}")).collect();
                let text = digits.join(separator);
                broken(&if *upper { text.to_uppercase().replace('X', "x") } else { text }, *width)
            }
            Self::Percent { all, upper, plus } => {
                value.iter().flat_map(|byte| percent(*byte, *all, *upper, *plus)).collect()
            }
            Self::Json => serde_json::to_vec(&String::from_utf8_lossy(value)).unwrap(),
            Self::Octal => value.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect(),
        }
    }

    /// Whether `value` can be read in `text` when it is spelled like this.
    fn shows(&self, text: &[u8], value: &[u8]) -> bool {
        let has = |text: &[u8]| text.windows(value.len()).any(|window| window == value);
        let compact = || text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        match self {
            Self::Base64 { .. } => {
                let standard = compact().map(|byte| match byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                });
                let text: Vec<u8> = standard.collect();
                let runs = text.split(|byte| !byte.is_ascii_alphanumeric() && !b"+/".contains(byte));
                runs.flat_map(|run| (0..4).filter_map(|skip| run.get(skip..)).map(<[u8]>::to_vec)).any(|mut run| {
                    run.truncate(run.len() / 4 * 4);
                    STANDARD.decode(run).is_ok_and(|decoded| has(&decoded))
                })
            }
            Self::Plain | Self::Hex { .. } | Self::Percent { .. } | Self::Json | Self::Octal => {
                let spelled = self.spell(value);
                has(text) || text.windows(spelled.len()).any(|window| window == spelled)
            }
        }
    }
}

fn broken(text: &str, width: usize) -> Vec<u8> {
    text.as_bytes().chunks(width).collect::<Vec<_>>().join(&b'\n')
}

fn percent(byte: u8, all: bool, upper: bool, plus: bool) -> Vec<u8> {
    match byte {
        b' ' if plus => b"+".to_vec(),
        byte if !all && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) => vec![byte],
        byte if upper => format!("%{byte:02X}").into_bytes(),
        byte => format!("%{byte:02x}").into_bytes(),
    }
}

/// A value of bytes, of text with everything that needs escapes, or of few letters, so that it resembles itself.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 6..50),
        "[ -~\u{e9}\u{1f600}]{6,60}".prop_map(String::into_bytes),
        "[ab+ %\\\\\"]{6,30}".prop_map(String::into_bytes),
    ]
    .prop_filter("white space around it is not part of it, and nothing is like a mask", |value| {
        value.trim_ascii().len() == value.len() && !value.iter().any(|byte| b"[]*S".contains(byte))
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..40_usize, 1..8)
}

proptest! {
    /// Whatever a value is, however it is spelled and cut, and whatever of it is printed around it.
    #[test]
    fn no_spelling_is_shown(
        value in value(),
        spelling in Spelling::any(),
        (head, tail) in (0..50_usize, 0..50_usize),
        cuts in cuts(),
    ) {
        let patterns = patterns(&[&value]);
        let spelled = spelling.spell(&value);
        let text = [&spelled[..head % spelled.len()], b"<", &spelled, b">", &value[..tail % value.len()]].concat();
        let out = redacted(&patterns, &text, &cuts);
        // JSON has no bytes that are no text.
        prop_assume!(!matches!(spelling, Spelling::Json) || std::str::from_utf8(&value).is_ok());
        prop_assert!(!spelling.shows(&out, &value), "{:?}", String::from_utf8_lossy(&out));
        prop_assert_eq!(redacted(&patterns, &text, &[usize::MAX]), out, "cuts do not matter");
    }

    /// Beginnings of a value that do not go on are nothing.
    #[test]
    fn the_rest_goes_through_unchanged(
        value in prop::collection::vec(0x80..=0xff_u8, 10..50),
        noise in prop::collection::vec((any::<String>(), Spelling::any(), 0..50_usize), 0..8),
        cuts in cuts(),
    ) {
        let mut text = Vec::new();
        for (words, spelling, len) in noise {
            text.extend_from_slice(words.as_bytes());
            let spelled = spelling.spell(&value);
            // Less than the value in base64, which is the shortest of the others.
            text.extend_from_slice(&spelled[..len % value.len().min(spelled.len())]);
            text.extend_from_slice(b"~<|>~");
        }
        let out = redacted(&patterns(&[&value]), &text, &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&text));
    }
}

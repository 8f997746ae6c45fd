//! No input at any size breaks the view: it never panics, its focus is always valid, and what it draws is harmless.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use unicode_width::UnicodeWidthChar as _;

use super::harness::{Harness, World};
use crate::view::action::{ACTIONS, valid_in};
use crate::view::focus::Pane;
use crate::view::{Code, Input, Key, Msg, Theme};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Press(Key),
    Paste(String),
    Resize(u16, u16),
    Wait(u64),
    World(World),
    Connect,
    Disconnect,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let bound: Vec<Key> =
        ACTIONS.iter().flat_map(|spec| spec.keys).flat_map(|keys| keys.split(' ')).filter_map(Key::parse).collect();
    let editing = [Code::Enter, Code::Esc, Code::Tab, Code::Backspace, Code::Delete, Code::Left, Code::Char('y')];
    let happening = prop_oneof![
        20 => prop::sample::select(bound).prop_map(Happening::Press),
        6 => prop::sample::select(editing.map(Key::plain).to_vec()).prop_map(Happening::Press),
        2 => any::<char>().prop_map(|char| Happening::Press(Key::plain(Code::Char(char)))),
        1 => "\\PC{0,12}".prop_map(Happening::Paste),
        3 => (1_u16..140, 1_u16..50).prop_map(|(columns, rows)| Happening::Resize(columns, rows)),
        3 => (0_u64..20_000).prop_map(Happening::Wait),
        1 => prop::sample::select(vec![World::Empty, World::Normal, World::Hostile]).prop_map(Happening::World),
        1 => Just(Happening::Connect),
        1 => Just(Happening::Disconnect),
    ];
    prop::collection::vec(happening, 0..60)
}

fn happen(harness: &mut Harness, happening: Happening) {
    match happening {
        Happening::Press(key) => harness.message(Msg::Input(Input::Key(key))),
        Happening::Paste(text) => harness.message(Msg::Input(Input::Paste(text))),
        Happening::Resize(columns, rows) => harness.resize((columns, rows)),
        Happening::Wait(ms) => harness.wait_ms(ms),
        Happening::World(world) => {
            harness.world = world;
            harness.wait_ms(1_000);
            harness.press("r");
        }
        Happening::Connect => harness.connect(),
        Happening::Disconnect => harness.disconnect(),
    }
}

/// The keys go to something that is there.
fn assert_focus_valid(harness: &Harness) {
    let model = &harness.model;
    if crate::view::layout::parts(model).is_none() {
        return;
    }
    match model.pane() {
        Pane::CardLog | Pane::RunLog => assert!(model.visible_log().is_some()),
        Pane::Cards => assert!(model.board.selected().is_none() || model.selected_task().is_some()),
        Pane::RunList => assert!(model.runs.selected().is_none() || model.selected_run().is_some()),
        Pane::Dossier => assert!(model.selected_entry().is_some()),
        _ => {}
    }
}

fn assert_harmless(buffer: &Buffer) {
    for cell in buffer.content() {
        let symbol = cell.symbol();
        assert!(
            !symbol.chars().any(|char| char.is_control() || ('\u{202a}'..='\u{202e}').contains(&char)),
            "{symbol:?}"
        );
        assert!(symbol.chars().filter(|char| char.width() == Some(0)).count() <= 3, "{symbol:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_the_view(happenings in happenings()) {
        let mut harness = Harness::offline((80, 24), World::Hostile);
        harness.connect();
        for happening in happenings {
            happen(&mut harness, happening);
            assert_focus_valid(&harness);
            assert_harmless(&harness.buffer());
        }
    }
}

#[test]
fn every_size_draws_something() {
    let mut harness = Harness::online((80, 24), World::Hostile);
    for keys in ["1", "2", "2 enter", "2 enter tab", "3", "3 A", "3 G Q", "5", "8", "9", "?", "1 M", "1 enter"] {
        for (columns, rows) in (1..60).flat_map(|columns| [(columns, columns / 3 + 1), (columns, 60 - columns)]) {
            harness.resize((columns, rows));
            assert_harmless(&harness.buffer());
        }
        harness.resize((80, 24));
        harness.press("esc esc esc");
        harness.press(keys);
    }
}

/// Without colours the screen says the same, and truly has none, whatever a program wrote.
#[test]
fn mono_loses_no_word_and_has_no_colour() {
    for keys in ["1", "2", "3", "5", "8", "9"] {
        let mut colored = Harness::online((120, 40), World::Hostile);
        colored.press(keys);
        let mut mono = Harness::online((120, 40), World::Hostile);
        mono.model.options.theme = Theme::Mono;
        mono.press(keys);
        assert_eq!(mono.screen(), colored.screen());
        let buffer = mono.buffer();
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}

/// Goal: no action is dead. Walks the screens with every card selected once and notes what was possible.
#[test]
fn every_action_is_possible_somewhere() {
    let mut possible = BTreeSet::new();
    let mut note = |harness: &Harness| {
        for spec in valid_in(harness.model.pane().scopes()) {
            if spec.enabled(&harness.model).is_ok() {
                possible.insert(spec.name);
            }
        }
    };
    for keys in ["v", "tab", "tab / w o r d enter", "2", "2 j enter", "2 j enter tab", "3", "5", "8", "9"] {
        let mut harness = Harness::online((120, 40), World::Normal);
        harness.press(keys);
        for _ in 0..12 {
            note(&harness);
            harness.press("j");
        }
    }
    possible.extend(valid_in(Pane::Viewer.scopes()).iter().map(|spec| spec.name));
    let dead: Vec<_> = ACTIONS.iter().map(|spec| spec.name).filter(|name| !possible.contains(name)).collect();
    assert_eq!(dead, Vec::<&str>::new());
}

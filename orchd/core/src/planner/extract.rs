//! From the bytes of a Vision to an `Extraction`.
//!
//! Puts the steps together: check, front matter, outline, headings, walk. Knows no rule of its own but which document
//! is read how broadly, and what a person is warned of.

use super::collect::{self, Collected, Reach};
use super::draft::REQUIREMENTS_MAX;
use super::front_matter;
use super::inline::printable;
use super::model::{ExtractError, Extraction, FrontMatter, Statement};
use super::nest;
use super::outline::{self, BlockKind, Outline};
use super::phrase;
use super::sections::Sections;
use super::source::Source;

/// Sections that one warning names.
const NAMES_MAX: usize = 20;

/// Reads a Vision.
///
/// A text without any requirement is no error: its whole text becomes one goal, and a warning says so.
///
/// # Errors
/// `EmptyVision` for white space only, `NotText` for a NUL or bytes that are not UTF-8, `TooLarge` above
/// `VISION_BYTES_MAX`.
pub fn extract(source: &[u8]) -> Result<Extraction, ExtractError> {
    let source = Source::check(source)?;
    let front = front_matter::read(&source);
    let mut warnings = front.warnings;
    let mut outline = outline::parse(&source, front.body_start);
    let facts = nest::nest(&mut outline);
    let sections = Sections::read(&outline);
    let named = Reach { qualities: !sections.has_qualities(), ..Reach::default() };
    let mut found = collect::collect(&outline, &sections, &facts, Reach::default());
    if found.drafts.is_empty() {
        found = collect::collect(&outline, &sections, &facts, Reach { everywhere: true, ..named });
        if !found.drafts.is_empty() {
            warnings.push(
                "no section is named as one of requirements: the list items and demands of all sections were taken"
                    .to_owned(),
            );
        }
    } else if !sections.has_features() && sections.milestone_items(&outline) > found.drafts.len() {
        found = collect::collect(&outline, &sections, &facts, Reach { milestones: true, ..named });
        warnings.push(
            "no section is named as one of features: the items of the milestones were taken as requirements".to_owned(),
        );
    } else if named.qualities && !found.drafts.are_numbered() {
        // An author who numbers requirements would have numbered these too.
        found = collect::collect(&outline, &sections, &facts, named);
    }
    warn(&found, &mut warnings);
    let title = title(&source, &front.front_matter, &outline, &sections, &mut warnings);
    Ok(finish(&source, front.front_matter, title, found, warnings))
}

fn finish(
    source: &Source<'_>,
    front_matter: FrontMatter,
    title: String,
    found: Collected,
    mut warnings: Vec<String>,
) -> Extraction {
    let lists = found.lists;
    let mut goals = lists.goals;
    if found.drafts.is_empty() {
        let whole = goals.is_empty() && lists.constraints.is_empty() && lists.acceptance.is_empty();
        if whole {
            goals = vec![Statement { text: source.text.trim().to_owned(), lines: source.all_lines() }];
            warnings.push("no requirement was found: the whole text is taken as one goal".to_owned());
        } else {
            warnings.push(
                "no requirement was found: add a list under a heading such as `Functional requirements`".to_owned(),
            );
        }
    }
    let front_lines = front_matter.lines.unwrap_or_else(|| source.all_lines());
    let mut constraints: Vec<Statement> =
        front_matter.constraints.iter().map(|text| Statement { text: text.clone(), lines: front_lines }).collect();
    constraints.extend(lists.constraints);
    Extraction {
        title,
        summary: found.summary,
        front_matter,
        goals,
        non_goals: lists.non_goals,
        constraints,
        acceptance: lists.acceptance,
        open_questions: lists.questions,
        risks: lists.risks,
        milestones: lists.milestones,
        requirements: found.drafts.finish(),
        unclassified: lists.unclassified,
        warnings,
    }
}

fn title(
    source: &Source<'_>,
    front: &FrontMatter,
    outline: &Outline,
    sections: &Sections,
    warnings: &mut Vec<String>,
) -> String {
    let heading = sections.title.and_then(|index| outline.blocks.get(index)).map(|block| block.text.as_str());
    let named = front.title.as_deref().or(heading).map(str::trim).filter(|title| !title.is_empty());
    if let Some(title) = named {
        // YAML can write any character with printable ones.
        let title: String = title.chars().map(printable).collect();
        return phrase::shorten(&title, phrase::TITLE_CHARS_MAX);
    }
    warnings.push("the vision has no title: its first words are used".to_owned());
    let first = outline
        .blocks
        .iter()
        .filter(|block| !matches!(block.kind, BlockKind::Code))
        .find(|block| !block.text.is_empty());
    let words = first.map_or_else(|| source.text.trim(), |block| block.text.as_str());
    phrase::title(words, 0)
}

fn warn(found: &Collected, warnings: &mut Vec<String>) {
    for (key, line) in &found.drafts.repeated {
        warnings
            .push(format!("id `{key}` is used again in line {line}: the second requirement got a number of its own"));
    }
    for line in &found.struck {
        warnings.push(format!("line {line} is struck out and was left out"));
    }
    if found.overfull {
        warnings.push(format!(
            "only the first {REQUIREMENTS_MAX} requirements were taken, the others are unclassified; \
             hand these in as the Vision of another project, or when the first ones are done"
        ));
    }
    if !found.lists.unclassified.is_empty() {
        let count = found.lists.unclassified.len();
        warnings.push(format!(
            "{count} statements look like requirements but stand outside a list of them: see `unclassified`"
        ));
    }
    if !found.skipped.is_empty() && !found.drafts.is_empty() {
        let names: Vec<String> =
            found.skipped.iter().take(NAMES_MAX).map(|(name, line)| format!("`{name}` (line {line})")).collect();
        let more = found.skipped.len().saturating_sub(NAMES_MAX);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        warnings.push(format!("sections that were not read for requirements: {}{rest}", names.join(", ")));
    }
}

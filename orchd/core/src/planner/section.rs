//! What a heading says about the text under it.
//!
//! A table of phrases, read in two ways: a heading of its own is recognised when it contains a phrase, a heading inside
//! a requirements section only when it consists of one, so that `Goal tracking` can be a feature. Knows no blocks.

/// The meaning of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Functional,
    NonFunctional,
    /// Requirements of either kind.
    Mixed,
    Constraint,
    Goals,
    NonGoals,
    Acceptance,
    Questions,
    Risks,
    Milestones,
    Summary,
    /// Describes the requirement or section above: `Description`, `Rationale`, `Notes`.
    Detail,
    /// Names a quality (`Security`, `Performance targets`): requirements where no section is named so.
    Quality,
    /// Looks like requirements without being named so: `Scope`, `Capabilities`.
    Described,
    /// Asks what happens at the borders; some of it is answered there, some is not.
    EdgeCases,
    /// Is about the document: `Glossary`, `References`.
    Aside,
    /// Is about using what is there: `Installation`, `Configuration`; inside requirements it is a feature like others.
    Manual,
    /// Says nothing that is known.
    Unknown,
}

impl Class {
    /// Whether a section of this class is named as one of requirements.
    pub(super) fn is_requirements(self) -> bool {
        matches!(self, Self::Functional | Self::NonFunctional | Self::Mixed)
    }
}

/// How a heading is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A phrase anywhere in the heading counts.
    Contains,
    /// Only a heading that says nothing but the phrase counts.
    Exact,
}

/// Words that add nothing to a phrase.
const FILLERS: [&str; 26] = [
    "key",
    "primary",
    "main",
    "core",
    "project",
    "product",
    "business",
    "user",
    "technical",
    "system",
    "software",
    "initial",
    "overall",
    "high",
    "level",
    "the",
    "and",
    "for",
    "v1",
    "mvp",
    "other",
    "general",
    "additional",
    "proposed",
    "section",
    "our",
];

/// Characters of a heading that are looked at.
const HEADING_CHARS_MAX: usize = 240;
/// Words of a heading that are looked at.
const HEADING_WORDS_MAX: usize = 16;

/// Phrases that decide by themselves, in the singular.
const DECISIVE: &[(&str, Class)] = &[
    ("non functional", Class::NonFunctional),
    ("nonfunctional", Class::NonFunctional),
    ("nfr", Class::NonFunctional),
    ("quality attribute", Class::NonFunctional),
    ("quality requirement", Class::NonFunctional),
    ("quality of service", Class::NonFunctional),
    ("extra functional", Class::NonFunctional),
    ("functional requirement", Class::Functional),
    ("functional specification", Class::Functional),
    ("functional scope", Class::Functional),
    ("user story", Class::Functional),
    ("user scenario", Class::Functional),
    ("feature", Class::Functional),
    ("requirement", Class::Mixed),
    ("must have", Class::Mixed),
    ("should have", Class::Mixed),
    ("could have", Class::Mixed),
    ("nice to have", Class::Mixed),
    ("requirement traceability", Class::Aside),
    ("requirement coverage", Class::Aside),
    ("traceability", Class::Aside),
    ("requirement document", Class::Unknown),
    ("requirement specification", Class::Unknown),
    ("requirement spec", Class::Unknown),
    ("product requirement", Class::Mixed),
    ("error handling", Class::Functional),
    ("constraint", Class::Constraint),
    ("assumption", Class::Constraint),
    ("goal", Class::Goals),
    ("objective", Class::Goals),
    ("desired outcome", Class::Goals),
    ("non goal", Class::NonGoals),
    ("nongoal", Class::NonGoals),
    ("non objective", Class::NonGoals),
    ("anti goal", Class::NonGoals),
    ("not goal", Class::NonGoals),
    ("out of scope", Class::NonGoals),
    ("not in scope", Class::NonGoals),
    ("won t have", Class::NonGoals),
    ("will not have", Class::NonGoals),
    ("exclusion", Class::NonGoals),
    ("explicitly excluded", Class::NonGoals),
    ("acceptance", Class::Acceptance),
    ("acceptance criteria", Class::Acceptance),
    ("acceptance test", Class::Acceptance),
    ("acceptance scenario", Class::Acceptance),
    ("success criteria", Class::Acceptance),
    ("success metric", Class::Acceptance),
    ("success measure", Class::Acceptance),
    ("measurable outcome", Class::Acceptance),
    ("definition of done", Class::Acceptance),
    ("exit criteria", Class::Acceptance),
    ("graduation criteria", Class::Acceptance),
    ("kpi", Class::Acceptance),
    ("open question", Class::Questions),
    ("unresolved question", Class::Questions),
    ("open issue", Class::Questions),
    ("open item", Class::Questions),
    ("question", Class::Questions),
    ("clarification", Class::Questions),
    ("risk", Class::Risks),
    ("milestone", Class::Milestones),
    ("roadmap", Class::Milestones),
    ("timeline", Class::Milestones),
    ("rollout", Class::Milestones),
    ("release plan", Class::Milestones),
    ("mvp scope", Class::Milestones),
    ("development phase", Class::Milestones),
    ("implementation phase", Class::Milestones),
    ("phase", Class::Milestones),
    ("future enhancement", Class::Milestones),
    ("future work", Class::Milestones),
    ("future consideration", Class::Milestones),
    ("future improvement", Class::Milestones),
    ("future feature", Class::Milestones),
    ("post mvp", Class::Milestones),
];

/// Phrases that count only where they are the whole heading.
const WHOLE: &[(&str, Class)] = &[
    ("functional", Class::Functional),
    ("need", Class::Mixed),
    ("user need", Class::Mixed),
    ("what people need", Class::Mixed),
    ("what user need", Class::Mixed),
    ("what we need", Class::Mixed),
    ("what i need", Class::Mixed),
    ("what we want", Class::Mixed),
    ("what i want", Class::Mixed),
    ("what is needed", Class::Mixed),
    ("what is wanted", Class::Mixed),
    ("what it must do", Class::Mixed),
    ("what it should do", Class::Mixed),
    ("what it has to do", Class::Mixed),
    ("not now", Class::NonGoals),
    ("not yet", Class::NonGoals),
    ("not included", Class::NonGoals),
    ("what it is not", Class::NonGoals),
    ("what it doe not do", Class::NonGoals),
    ("what it will not do", Class::NonGoals),
    ("done when", Class::Acceptance),
    ("it is done when", Class::Acceptance),
    ("finished when", Class::Acceptance),
    ("user", Class::Aside),
    ("target user", Class::Aside),
    ("actor", Class::Aside),
    ("revenue model", Class::Aside),
    ("business model", Class::Aside),
    ("pricing", Class::Aside),
    ("team", Class::Aside),
    ("market analysis", Class::Aside),
    ("competitive analysis", Class::Aside),
    ("competitor", Class::Aside),
];

/// Phrases that count only where no decisive one is there.
const WEAK: &[(&str, Class)] = &[
    ("summary", Class::Summary),
    ("executive summary", Class::Summary),
    ("overview", Class::Summary),
    ("introduction", Class::Summary),
    ("vision", Class::Summary),
    ("problem statement", Class::Summary),
    ("problem", Class::Summary),
    ("purpose", Class::Summary),
    ("abstract", Class::Summary),
    ("description", Class::Detail),
    ("rationale", Class::Detail),
    ("detail", Class::Detail),
    ("user flow", Class::Detail),
    ("priority", Class::Detail),
    ("stimulus response sequence", Class::Detail),
    ("why this priority", Class::Detail),
    ("independent test", Class::Detail),
    ("security", Class::Quality),
    ("performance", Class::Quality),
    ("scalability", Class::Quality),
    ("scaling", Class::Quality),
    ("reliability", Class::Quality),
    ("availability", Class::Quality),
    ("usability", Class::Quality),
    ("accessibility", Class::Quality),
    ("maintainability", Class::Quality),
    ("portability", Class::Quality),
    ("compatibility", Class::Quality),
    ("observability", Class::Quality),
    ("privacy", Class::Quality),
    ("compliance", Class::Quality),
    ("extensibility", Class::Quality),
    ("telemetry", Class::Quality),
    ("failure mode", Class::Quality),
    ("quality gate", Class::Quality),
    ("guardrail", Class::Quality),
    ("scope", Class::Described),
    ("capability", Class::Described),
    ("functionality", Class::Described),
    ("behavior", Class::Described),
    ("behaviour", Class::Described),
    ("use case", Class::Described),
    ("edge case", Class::EdgeCases),
    ("deliverable", Class::Described),
    ("how it work", Class::Described),
    ("epic", Class::Described),
    ("ux spec", Class::Described),
    ("api design", Class::Described),
    ("testing strategy", Class::Described),
    ("integration", Class::Described),
    ("checklist", Class::Aside),
    ("questionnaire", Class::Aside),
    ("glossary", Class::Aside),
    ("definition", Class::Aside),
    ("acronym", Class::Aside),
    ("reference", Class::Aside),
    ("appendix", Class::Aside),
    ("changelog", Class::Aside),
    ("change log", Class::Aside),
    ("revision history", Class::Aside),
    ("document control", Class::Aside),
    ("document history", Class::Aside),
    ("version history", Class::Aside),
    ("table of content", Class::Aside),
    ("content", Class::Aside),
    ("toc", Class::Aside),
    ("key entity", Class::Aside),
    ("data model", Class::Aside),
    ("persona", Class::Aside),
    ("stakeholder", Class::Aside),
    ("target audience", Class::Aside),
    ("approval", Class::Manual),
    ("prerequisite", Class::Manual),
    ("installation", Class::Manual),
    ("getting started", Class::Manual),
    ("quick start", Class::Manual),
    ("quickstart", Class::Manual),
    ("usage", Class::Manual),
    ("running", Class::Manual),
    ("configuration", Class::Manual),
    ("environment variable", Class::Manual),
    ("layout", Class::Manual),
    ("repository structure", Class::Manual),
    ("project structure", Class::Manual),
    ("scenario", Class::Manual),
    ("example", Class::Aside),
    ("note", Class::Aside),
    ("demo", Class::Manual),
    ("testing", Class::Manual),
    ("contributing", Class::Manual),
    ("license", Class::Manual),
    ("credit", Class::Aside),
    ("acknowledgement", Class::Aside),
    ("next step", Class::Aside),
    ("background", Class::Summary),
];

/// What the heading says; `None` where it says nothing that is known.
pub(super) fn classify(heading: &str, reading: Reading) -> Option<Class> {
    let words = words(heading);
    if words.is_empty() || words.len() > HEADING_WORDS_MAX {
        return None;
    }
    if let Some((_, class)) = WHOLE.iter().find(|(phrase, _)| phrase.split(' ').eq(words.iter().map(String::as_str))) {
        return Some(*class);
    }
    let found = find(&words, DECISIVE).or_else(|| find(&words, WEAK))?;
    let covered = covers(&words, found.len);
    let class = found.class;
    // A quality may be one of several (`Performance & scalability`): it only ever decides the kind of a requirement.
    if reading == Reading::Exact && !covered && class != Class::Quality {
        return None;
    }
    if found.len == 1 && !covered && !says_features(heading) && !lists_features(&words, found.at) {
        return None;
    }
    // `Architecture overview` does not sum up the product.
    if !covered && class == Class::Summary && found.at > 0 {
        return None;
    }
    let functional = words.iter().filter(|word| *word == "functional").count();
    let negated = words.windows(2).filter(|pair| pair[0] == "non" && pair[1] == "functional").count();
    let both = matches!(class, Class::Functional | Class::NonFunctional) && negated > 0 && functional > negated;
    let quality = class == Class::Mixed && find(&words, WEAK).is_some_and(|weak| weak.class == Class::Quality);
    match (both, quality) {
        (true, _) => Some(Class::Mixed),
        (false, true) => Some(Class::NonFunctional),
        (false, false) => Some(class).filter(|&class| class != Class::Unknown),
    }
}

fn says_features(heading: &str) -> bool {
    heading.chars().take(HEADING_CHARS_MAX).flat_map(char::to_lowercase).collect::<String>().contains("features")
}

/// Whether the word at `at` is no `feature`, or one of a list: `Core feature set`, but not `Feature enablement`.
fn lists_features(words: &[String], at: usize) -> bool {
    const BEFORE: [&str; 5] = ["core", "key", "main", "mvp", "product"];
    const BEHIND: [&str; 6] = ["set", "list", "overview", "breakdown", "specification", "catalog"];
    let is = |at: Option<usize>, known: &[&str]| {
        at.and_then(|at| words.get(at)).is_some_and(|word| known.contains(&word.as_str()))
    };
    !is(Some(at), &["feature"]) || is(at.checked_sub(1), &BEFORE) || is(Some(at + 1), &BEHIND)
}

/// Whether the heading names a requirements document as a whole.
pub(super) fn names_document(heading: &str) -> bool {
    let words = words(heading);
    const NAMES: &[(&str, Class)] = &[
        ("requirement document", Class::Unknown),
        ("requirement specification", Class::Unknown),
        ("requirement spec", Class::Unknown),
        ("product requirement", Class::Unknown),
        ("prd", Class::Unknown),
        ("srs", Class::Unknown),
    ];
    find(&words, NAMES).is_some()
}

/// Whether the heading is one phase of several: `Phase 2: Beta`, `M1 - Skeleton`.
pub(super) fn names_phase(heading: &str) -> bool {
    let words = words(heading);
    let first = words.first().map(String::as_str).unwrap_or_default();
    let second_is_number = words.get(1).is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()));
    matches!(first, "phase" | "milestone" | "sprint" | "stage" | "iteration") && second_is_number
}

/// The priority that a heading gives to what stands under it: `Must have`, `P1`.
pub(super) fn priority(heading: &str) -> Option<String> {
    let words = words(heading);
    let phrase = words.join(" ");
    let known =
        ["must have", "should have", "could have", "nice to have", "high priority", "medium priority", "low priority"];
    if let Some(found) = known.iter().find(|known| phrase.starts_with(**known)) {
        return Some((*found).to_owned());
    }
    let first = words.first()?;
    let numbered = first.len() == 2 && first.starts_with('p') && first.ends_with(|c: char| c.is_ascii_digit());
    (numbered && words.len() <= 4).then(|| first.to_ascii_uppercase())
}

struct Found {
    class: Class,
    at: usize,
    len: usize,
}

/// The first phrase in the heading; of two that begin together, the longer one.
fn find(words: &[String], phrases: &[(&str, Class)]) -> Option<Found> {
    let mut best: Option<Found> = None;
    for &(phrase, class) in phrases {
        let len = phrase.split(' ').count();
        let limit = best.as_ref().map_or(words.len(), |best| best.at + 1);
        let at = (0..limit.min(words.len()))
            .find(|&at| phrase.split(' ').enumerate().all(|(i, word)| words.get(at + i).is_some_and(|w| w == word)));
        let Some(at) = at else { continue };
        if best.as_ref().is_none_or(|best| at < best.at || (at == best.at && len > best.len)) {
            best = Some(Found { class, at, len });
        }
    }
    best
}

/// Whether the words beside the phrase add nothing.
fn covers(words: &[String], phrase_len: usize) -> bool {
    let meaning = words.iter().filter(|word| !FILLERS.contains(&word.as_str())).count();
    meaning <= phrase_len
}

/// Lower-case words in the singular, without a leading number and what stands in parentheses.
fn words(heading: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut depth = 0_usize;
    for c in heading.chars().take(HEADING_CHARS_MAX) {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => outside.extend(c.to_lowercase()),
            _ => {}
        }
    }
    outside
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .skip_while(|word| word.chars().all(|c| c.is_ascii_digit()))
        .map(singular)
        .take(HEADING_WORDS_MAX + 1)
        .collect()
}

fn singular(word: &str) -> String {
    match word {
        "criteria" | "criterion" => "criteria".to_owned(),
        _ if word.ends_with("ies") && word.len() > 4 => format!("{}y", word.trim_end_matches("ies")),
        _ if word.ends_with("ss") || word.len() < 4 => word.to_owned(),
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

//! Whether an agent may do what it asks leave for: the one place where that is decided.

/// What an agent asks leave for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What it would do, in its own words.
    pub(crate) title: String,
    /// What it can be answered.
    pub(crate) options: Vec<Choice>,
}

/// One answer that an agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    AllowOnce,
    AllowAlways,
    /// Anything that allows nothing.
    Other,
}

/// Who decides. While that takes its time the agent is listened to, so it may take as long as a person needs.
pub(crate) trait Permissions: Clone + Send + 'static {
    /// The id of the answer that is chosen; none: no leave is given.
    fn decide(&self, asked: Asked) -> impl Future<Output = Option<String>> + Send;
}

/// Allows everything, once: what an agent may do is bounded by the sandbox that it is in, not by what it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllowInside;

impl Permissions for AllowInside {
    async fn decide(&self, asked: Asked) -> Option<String> {
        let of = |verdict| asked.options.iter().find(|choice| choice.verdict == verdict);
        of(Verdict::AllowOnce).or_else(|| of(Verdict::AllowAlways)).map(|choice| choice.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leave_is_given_once_where_that_is_offered_and_never_by_an_answer_that_refuses() {
        let choice = |id: &str, verdict| Choice { id: id.to_owned(), verdict };
        let (never, always) = (choice("never", Verdict::Other), choice("always", Verdict::AllowAlways));
        let once = choice("once", Verdict::AllowOnce);
        for (options, expected) in [
            (vec![never.clone(), always.clone(), once], Some("once")),
            (vec![never.clone(), always], Some("always")),
            (vec![never], None),
            (vec![], None),
        ] {
            let asked = Asked { title: "rm x".to_owned(), options };
            assert_eq!(AllowInside.decide(asked).await.as_deref(), expected);
        }
    }
}

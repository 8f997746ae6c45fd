//! One request for each of several things.

use orch_proto::Ref;

use super::failure::Failure;
use super::session::Session;

/// Does it for each; a failure does not keep the others from being done.
///
/// A single one fails with its own failure. Several give `Partial`, with a message per failure on standard error.
pub(crate) async fn each(
    session: &Session,
    items: &[Ref],
    mut act: impl AsyncFnMut(Ref) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let [item] = items {
        return act(item.clone()).await;
    }
    let mut failed = 0;
    for item in items {
        match act(item.clone()).await {
            Ok(()) => {}
            // When nobody can be reached or read, the rest would fail the same way.
            Err(failure @ (Failure::Output(_) | Failure::Json(_) | Failure::Yaml(_) | Failure::Detached)) => {
                return Err(failure);
            }
            Err(failure) if failure.is_passing() => return Err(failure),
            Err(failure) => {
                failed += 1;
                let text = if session.options.output.is_json() {
                    failure.json()
                } else {
                    failure.text(session.paint_messages())
                };
                session.console.say(&text);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Partial { failed, total: items.len() }) }
}

//! Following one run's log by long polls, page by page from an offset, until it ends or someone else is followed.

use orch_proto::id::RunId;
use orch_proto::wire::Client;
use orch_proto::{LOG_PAGE_BYTES_MAX, Ref, WAIT_MS_MAX};
use tokio::sync::mpsc;

use crate::view::Msg;

/// Reads on until the log ends, a call fails or nobody listens. The queue's bound keeps a flood from running ahead.
pub(super) async fn follow(client: Client, run: RunId, mut offset: u64, messages: mpsc::Sender<Msg>) {
    loop {
        let reference = Ref(run.to_string());
        let result = client
            .call(async |orch, context| {
                orch.run_log(context, reference, offset, LOG_PAGE_BYTES_MAX, WAIT_MS_MAX, false).await
            })
            .await;
        let next = result.as_ref().ok().filter(|page| !page.end).map(|page| page.next_offset);
        if messages.send(Msg::Log { run, offset, result }).await.is_err() {
            return;
        }
        let Some(next) = next else { return };
        offset = next;
    }
}

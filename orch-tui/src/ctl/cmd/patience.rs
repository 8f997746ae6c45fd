//! Time-outs as they are written and shown, and `orchctl project patience`.

use clap::Args;
use orch_proto::Ref;
use orch_proto::request::Request;
use orch_proto::view::{Remedy, Timeout};

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::duration;

/// How long tasks of a project may wait, and its runs be silent.
#[derive(Debug, Args)]
pub(crate) struct PatienceArgs {
    /// Name of the project
    pub(crate) name: String,
    /// How long a task may wait although it could begin, and what follows: `2h:ask`; `warn`, `ask` or `end`; `never`; `none`
    #[arg(long, value_name = "TIME[:THEN]", value_parser = timeout)]
    pub(crate) queue_timeout: Option<Timeout>,
    /// How long a run may be silent, and what follows: as for `--queue-timeout`
    #[arg(long, value_name = "TIME[:THEN]", value_parser = timeout)]
    pub(crate) silence_timeout: Option<Timeout>,
}

/// Sets them.
pub(crate) async fn set(session: &Session, args: PatienceArgs) -> Result<(), Failure> {
    if (args.queue_timeout, args.silence_timeout) == (None, None) {
        return Err(Failure::usage("nothing to set; use `--queue-timeout` or `--silence-timeout`"));
    }
    let project = Ref(args.name);
    let request = Request::ProjectPatience { project, queue: args.queue_timeout, silence: args.silence_timeout };
    session.change(request, "set").await.map(drop)
}

/// Reads a time-out: `2h`, `20m:ask`, `never`, or `none` to take away what was said.
pub(crate) fn timeout(text: &str) -> Result<Timeout, String> {
    let (time, then) = text.split_once(':').unwrap_or((text, "warn"));
    let then = remedy(then)?;
    let after_ms = match time {
        "none" => None,
        "never" => Some(0),
        time => Some(length(time)?),
    };
    Ok(Timeout { after_ms, then })
}

/// Reads a length of time that is not nothing, in milliseconds.
pub(crate) fn length(text: &str) -> Result<u64, String> {
    let length = duration::parse(text).map_err(|error| error.to_string())?;
    match u64::try_from(length.as_millis()).unwrap_or(u64::MAX) {
        0 => Err("nothing can be that fast; write `never` for no time-out".into()),
        ms => Ok(ms),
    }
}

fn remedy(text: &str) -> Result<Remedy, String> {
    let all = [Remedy::Warn, Remedy::Ask, Remedy::End];
    all.into_iter()
        .find(|remedy| remedy.label() == text)
        .ok_or_else(|| format!("`{text}` is nothing that can follow; there are warn, ask, end"))
}

/// A time-out as it is shown: `2h00m, then ask`.
pub(crate) fn text(timeout: Timeout) -> String {
    match timeout.after_ms {
        None | Some(0) => "never".into(),
        Some(ms) => format!("{}, then {}", duration::short(ms), timeout.then.label()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_are_read() {
        let read = |text| timeout(text).map(|timeout| (timeout.after_ms, timeout.then));
        assert_eq!(read("2h"), Ok((Some(7_200_000), Remedy::Warn)));
        assert_eq!(read("90s:end"), Ok((Some(90_000), Remedy::End)));
        assert_eq!(read("never"), Ok((Some(0), Remedy::Warn)));
        assert_eq!(read("none"), Ok((None, Remedy::Warn)));
        assert!(read("0s").unwrap_err().contains("never"));
        assert!(read("soon").is_err() && read("2h:kill").unwrap_err().contains("warn, ask, end"));
        assert_eq!(text(timeout("20m:ask").unwrap()), "20m00s, then ask");
        assert_eq!(text(timeout("never").unwrap()), "never");
    }
}

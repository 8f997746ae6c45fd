//! What runs asked of the network and what became of it.

use serde::{Deserialize, Serialize};

/// Most different things of the network that a run keeps; the events have them all.
pub const NETWORK_USES_MAX: usize = 200;

/// Something that a run asked of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUse {
    /// `connect`, `http`, `socks`, ...
    pub way: String,
    /// The host as the run named it, if it did, made printable.
    pub host: Option<String>,
    pub port: Option<u16>,
    pub verdict: NetworkVerdict,
    /// How often.
    pub count: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum NetworkVerdict {
    /// A connection was made to this address.
    Allowed {
        address: String,
    },
    Denied {
        reason: String,
    },
    /// It was allowed and did not work.
    Failed {
        reason: String,
    },
    /// An allowed connection ended.
    Closed {
        sent_bytes: u64,
        received_bytes: u64,
    },
}

/// Adds to what is alike, so that a run which asks without end does not grow without end.
pub(super) fn count(known_uses: &mut Vec<NetworkUse>, used: &NetworkUse, left_out: &mut u64) {
    let alike = |known: &&mut NetworkUse| {
        let verdicts = match (&known.verdict, &used.verdict) {
            (NetworkVerdict::Closed { .. }, NetworkVerdict::Closed { .. }) => true,
            (known, used) => known == used,
        };
        verdicts && (&known.way, &known.host, known.port) == (&used.way, &used.host, used.port)
    };
    if let Some(known) = known_uses.iter_mut().find(alike) {
        known.count = known.count.saturating_add(used.count);
        if let (
            NetworkVerdict::Closed { sent_bytes, received_bytes },
            NetworkVerdict::Closed { sent_bytes: sent, received_bytes: received },
        ) = (&mut known.verdict, &used.verdict)
        {
            *sent_bytes = sent_bytes.saturating_add(*sent);
            *received_bytes = received_bytes.saturating_add(*received);
        }
    } else if known_uses.len() < NETWORK_USES_MAX {
        known_uses.push(used.clone());
    } else {
        *left_out = left_out.saturating_add(used.count);
    }
}

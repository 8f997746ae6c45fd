//! Estimates in words: a band of time, what it rests on, and what it leaves out.

use orch_proto::view::{EtaBasis, EtaView, PlanEtaView};

use super::duration::short;

/// Stuck tasks that are named.
const STUCK_SHOWN_MAX: usize = 5;

/// From the median to the 90th percentile: `2m05s-4m10s`, `12s`.
#[must_use]
pub fn span(p50_ms: u64, p90_ms: u64) -> String {
    let (low, high) = (short(p50_ms), short(p90_ms));
    if low == high { low } else { format!("{low}-{high}") }
}

/// The band alone, with a mark when it takes longer than everything known: `2m05s-4m10s`, `late, up to 3m`.
#[must_use]
pub fn band(eta: &EtaView) -> String {
    if eta.overdue { format!("late, up to {}", short(eta.p90_ms)) } else { span(eta.p50_ms, eta.p90_ms) }
}

/// The band in one unit, where there is little room: `eta 3-4s`, `eta 1-3m`, `late`.
#[must_use]
pub fn brief(eta: &EtaView) -> String {
    if eta.overdue {
        return "late".to_owned();
    }
    let (unit_ms, unit) = match eta.p90_ms {
        0..60_000 => (1_000, 's'),
        60_000..7_200_000 => (60_000, 'm'),
        7_200_000..172_800_000 => (3_600_000, 'h'),
        _ => (86_400_000, 'd'),
    };
    let (low, high) = (eta.p50_ms / unit_ms, eta.p90_ms.div_ceil(unit_ms));
    if low == high { format!("eta {low}{unit}") } else { format!("eta {low}-{high}{unit}") }
}

/// The band and what it rests on.
#[must_use]
pub fn sentence(eta: &EtaView) -> String {
    let basis = match eta.basis {
        EtaBasis::Given => "the plan's estimate, no history yet".to_owned(),
        basis => format!("p50-p90 of {} {}", eta.samples, basis.words()),
    };
    let reading = if eta.reading { "; still reading history" } else { "" };
    match eta.elapsed_ms {
        Some(elapsed) if eta.overdue => format!(
            "perhaps up to {} more after {}, longer than all that is known ({basis}{reading})",
            short(eta.p90_ms),
            short(elapsed)
        ),
        Some(elapsed) => {
            format!("{} more after {} ({basis}{reading})", span(eta.p50_ms, eta.p90_ms), short(elapsed))
        }
        None => format!("{} once it starts ({basis}{reading})", span(eta.p50_ms, eta.p90_ms)),
    }
}

/// When the open tasks of a plan will be done: a headline and what it rests on, a line each.
#[must_use]
pub fn plan_lines(eta: &PlanEtaView) -> Vec<String> {
    let tasks = super::count(eta.tasks, "open task");
    let mut lines = Vec::new();
    if eta.tasks > 0 {
        lines.push(format!(
            "{tasks} done in {} (p50-p90 of {} simulated schedules, {} at once)",
            span(eta.p50_ms, eta.p90_ms),
            eta.rounds,
            eta.places
        ));
        lines.push(format!("longest chain of them, about {}: {}", short(eta.path_ms), eta.path.join(" -> ")));
    }
    if eta.unknown > 0 {
        lines.push(format!("nothing is known of {}, reckoned as no time", super::count(eta.unknown, "task")));
    }
    if eta.stuck_count > 0 {
        let shown = eta.stuck.iter().take(STUCK_SHOWN_MAX);
        let named: Vec<String> = shown.map(|stuck| format!("{} ({})", stuck.key, stuck.why)).collect();
        let more = usize::try_from(eta.stuck_count).unwrap_or(usize::MAX).saturating_sub(named.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push(format!(
            "left out: {} not going on by {}: {}{more}",
            super::count(eta.stuck_count, "task"),
            if eta.stuck_count == 1 { "itself" } else { "themselves" },
            named.join(", ")
        ));
    }
    if eta.reading {
        lines.push("still reading history: this will change".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use orch_proto::view::StuckView;

    use super::*;

    const LIKE: EtaView = EtaView {
        p50_ms: 125_000,
        p90_ms: 250_000,
        basis: EtaBasis::LikeInProject,
        samples: 12,
        elapsed_ms: None,
        overdue: false,
        reading: false,
    };

    #[test]
    fn estimates_say_what_they_rest_on() {
        let running = EtaView { elapsed_ms: Some(30_000), basis: EtaBasis::LikeAnywhere, ..LIKE };
        let late = EtaView { elapsed_ms: Some(250_000), overdue: true, p50_ms: 125_000, ..LIKE };
        let given =
            EtaView { basis: EtaBasis::Given, samples: 0, reading: true, p50_ms: 60_000, p90_ms: 60_000, ..LIKE };
        let said: Vec<String> =
            [LIKE, running, late, given].iter().map(|eta| format!("{} | {}", band(eta), sentence(eta))).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        2m05s-4m10s | 2m05s-4m10s once it starts (p50-p90 of 12 like tasks of the project)
        2m05s-4m10s | 2m05s-4m10s more after 30s (p50-p90 of 12 like tasks of all projects)
        late, up to 4m10s | perhaps up to 4m10s more after 4m10s, longer than all that is known (p50-p90 of 12 like tasks of the project)
        1m00s | 1m00s once it starts (the plan's estimate, no history yet; still reading history)
        ");
    }

    #[test]
    fn where_there_is_little_room_there_is_one_unit() {
        let shown = |p50_ms, p90_ms, overdue| brief(&EtaView { p50_ms, p90_ms, overdue, ..LIKE });
        assert_eq!(shown(0, 0, false), "eta 0s");
        assert_eq!(shown(2_900, 4_200, false), "eta 2-5s");
        assert_eq!(shown(61_000, 185_000, false), "eta 1-4m");
        assert_eq!(shown(3_600_000, 9_000_000, false), "eta 1-3h");
        assert_eq!(shown(86_400_000, 604_800_000, false), "eta 1-7d");
        assert_eq!(shown(1, 2, true), "late");
    }

    #[test]
    fn a_plan_says_what_it_leaves_out() {
        let stuck = |key: &str, why: &str| StuckView { key: key.into(), why: why.into() };
        let eta = PlanEtaView {
            p50_ms: 4_000,
            p90_ms: 9_400,
            path: vec!["storage".into(), "wiring".into()],
            path_ms: 3_000,
            tasks: 3,
            places: 2,
            rounds: 200,
            stuck: vec![stuck("http", "it failed"), stuck("release", "needs http")],
            stuck_count: 40,
            unknown: 1,
            reading: true,
        };
        insta::assert_snapshot!(plan_lines(&eta).join("\n"), @r"
        3 open tasks done in 4.0s-9.4s (p50-p90 of 200 simulated schedules, 2 at once)
        longest chain of them, about 3.0s: storage -> wiring
        nothing is known of 1 task, reckoned as no time
        left out: 40 tasks not going on by themselves: http (it failed), release (needs http), and 38 more
        still reading history: this will change
        ");
        let nothing = PlanEtaView { tasks: 0, stuck_count: 0, unknown: 0, reading: false, ..eta };
        assert_eq!(plan_lines(&nothing), Vec::<String>::new());
    }
}

//! What a pass would say at this moment.

use crate::ctx::Ctx;
use crate::ledger::Loaded;
use crate::rules::alert::Why;
use crate::rules::doctor::Judged;
use crate::rules::view::View;
use crate::rules::wording;
use crate::{deliver, judge, look, report};

pub(super) fn gather(ctx: &Ctx, loaded: &Loaded, view: &View) -> Judged {
    let (ledger, now) = (&loaded.ledger, view.now);
    let mut problems = view.problems.clone();
    // looked for at all of them here, and in a pass only where something is missing
    for misplaced in view.agents.iter().filter_map(|agent| look::misplaced(ctx, agent)) {
        if !problems.contains(&misplaced) {
            problems.push(misplaced);
        }
    }
    problems.extend(loaded.problem.clone());
    let alerts = judge::firing(ctx, view, ledger, now);
    let alerts = alerts.into_iter().map(|alert| {
        let words = wording::words(&alert, Why::First, now, ctx.here(now));
        (alert, words)
    });
    Judged {
        nothing: report::nothing(view) && report::exit(ctx, view) != report::Exit::Fine,
        problems,
        alerts: alerts.collect(),
        silenced: deliver::silenced(ctx, &ledger.silences, now),
    }
}

//! Everything that needs a human, put together in one place.

use crate::ctx::Ctx;
use crate::remotes;
use crate::rules;
use crate::rules::alert::Alert;
use crate::rules::memory::Ledger;
use crate::rules::view::View;
use crate::types::{Ms, Problem};

/// What needs a human, as of this view.
pub(crate) fn alerts(ctx: &Ctx, view: &View) -> Vec<Alert> {
    let env_key = ["ANTHROPIC_API_KEY", "ANTHROPIC_OAUTH_TOKEN"]
        .iter()
        .any(|name| ctx.host.var_nonblank(name).is_some());
    rules::causes::collect(view, env_key, ctx.config.alerts.grace, &|path| ctx.host.tilde(path))
}

/// All that fires: here, among the channels, and on the other hosts by their last word; the worst first.
pub(crate) fn firing(ctx: &Ctx, view: &View, ledger: &Ledger, now: Ms) -> Vec<Alert> {
    let mut firing = alerts(ctx, view);
    firing.extend(rules::alert::channel_alerts(&ledger.troubles));
    firing.extend(rules::link::alerts(&ledger.openclaw));
    firing.extend(rules::alert::config_alert(ctx.config.broken.as_deref()));
    firing.extend(rules::alert::heartbeat_alert(ledger.heartbeat.as_ref()));
    firing.extend(remotes::alerts(ctx, ledger, now));
    rules::alert::sort(&mut firing);
    firing
}

/// That the last valid configuration is used.
pub(crate) fn config_broken(ctx: &Ctx) -> Option<Problem> {
    let why = ctx.config.broken.as_ref()?;
    Some(Problem {
        kind: "config_broken",
        path: ctx.config.path.clone(),
        message: format!("the configuration is broken, the last valid one is used: {why}"),
        hint: "see `nolapse config check`".into(),
    })
}

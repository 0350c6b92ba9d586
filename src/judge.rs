//! Everything that needs a human, put together in one place.

use crate::ctx::Ctx;
use crate::rules::alert::Alert;
use crate::rules::memory::Ledger;
use crate::rules::resolve::{key_names, normalise_provider};
use crate::rules::view::View;
use crate::types::{Moment, Problem};
use crate::{remotes, rules};
use std::borrow::Cow;

/// The variable in the environment that serves a provider without any login or profile.
pub(crate) fn key_in_env(ctx: &Ctx, provider: &str) -> Option<Cow<'static, str>> {
    let mut names = key_names(&normalise_provider(provider)).into_iter();
    names.find(|name| ctx.host.var_nonblank(name).is_some())
}

/// What needs a human, as of this view.
pub(crate) fn alerts(ctx: &Ctx, view: &View) -> Vec<Alert> {
    let mut alerts = rules::causes::collect(view, ctx.config.alerts.grace, &|path| ctx.host.tilde(path));
    if !ctx.config.sync.enabled {
        for alert in alerts.iter_mut().filter(|alert| alert.is_stale_copy()) {
            alert.detail = Some("`sync.enabled` is false".into());
            alert.fix = Some(rules::wording::sync_again("enabled", "true"));
        }
    }
    alerts
}

/// All that fires: here, among the channels, and on the other hosts by their last word; the worst first.
pub(crate) fn firing(ctx: &Ctx, view: &View, ledger: &Ledger, now: Moment) -> Vec<Alert> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_serves_its_own_provider_unless_it_is_blank() {
        let mut ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        ctx.host.env.insert("ANTHROPIC_API_KEY".into(), "K".into());
        ctx.host.env.insert("OPENAI_API_KEY".into(), " ".into());
        assert_eq!(key_in_env(&ctx, " Anthropic").as_deref(), Some("ANTHROPIC_API_KEY"));
        assert_eq!(key_in_env(&ctx, "openai"), None);
    }

    #[test]
    fn that_the_last_valid_configuration_is_used_is_a_problem() {
        let mut ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        assert_eq!(config_broken(&ctx), None);
        ctx.config.broken = Some("line 3".into());
        let problem = config_broken(&ctx).unwrap();
        assert!(problem.kind == "config_broken" && problem.message.ends_with(": line 3"));
        ctx.config.broken = None;
    }
}

//! What is dated in the future, which means that the clock was set back or is wrong.

use super::stored;
use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::memory::Ledger;
use crate::rules::view::View;
use crate::types::{MINUTE, Moment, Ms};
use std::path::Path;

/// Times this far ahead are no rounding: proper-lockfile alone goes up to a second ahead, [`Ms`].
const AHEAD: Ms = 2 * MINUTE;

/// What is from the future: times of files, and what the ledger remembers.
pub(super) fn gather(ctx: &Ctx, view: &View, ledger: &Ledger) -> Vec<(String, Ms)> {
    let now = view.now;
    let mut ahead: Vec<(String, Ms)> = Vec::new();
    let mut add = |what: String, at: Moment| {
        if at - now > AHEAD {
            ahead.push((what, at - now));
        }
    };
    let file = |path: &Path| format!("`{}`", ctx.host.tilde(path));
    for name in files::list(&ctx.state_dir) {
        let path = ctx.state_dir.join(name);
        if let Some(meta) = files::stat(&path) {
            add(file(&path), meta.modified);
        }
    }
    for login in stored(view) {
        if let Some(meta) = &login.login.meta {
            add(file(&login.login.place.file()), meta.modified);
        }
    }
    for agent in &view.agents {
        if let Some(meta) = &agent.meta {
            add(file(&agent.path), meta.modified);
        }
    }
    let alerts = ledger.alerts.values().map(|memory| memory.since);
    let queued = ledger.outbox.iter().map(|out| out.queued_at);
    let renewals = ledger.renewals.values();
    let failed = renewals.filter_map(|record| Some(record.last.as_ref()?.at));
    let issued = ledger.setup_tokens.values().map(|token| token.issued_at);
    if let Some(latest) = alerts.chain(queued).chain(failed).chain(issued).max() {
        add("what the ledger remembers".into(), latest);
    }
    ahead
}

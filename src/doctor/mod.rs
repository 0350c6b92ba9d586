//! Gathers what `rules/doctor` judges, a file a group, and carries out the few safe repairs. Looks at files, asks the platform's
//! own programs and opens connections that say nothing, all of that at once and each with a short deadline.

mod agents;
mod clock;
mod configuration;
mod grants;
mod judged;
mod locks;
mod logins;
mod owners;
mod repair;
mod running;
mod telling;
mod ways;

use crate::ctx::Ctx;
use crate::rules::doctor::{self as rule, Facts, Finding, Group, Runs, Spot};
use crate::rules::login::Source;
use crate::rules::view::{LoginView, View};
use crate::table::ConfigError;
use crate::{edge, install, ledger, look, pass};
pub(crate) use repair::{Repaired, repair, repairs};
use std::path::Path;
use std::time::Duration;

/// How long the other end of a channel, or a program of the platform, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known before anything is looked at.
pub(crate) struct About<'a> {
    /// The configuration's path.
    pub(crate) config_path: &'a Path,
    /// What is wrong with it; the context then holds the defaults.
    pub(crate) config_error: Option<ConfigError>,
    /// The host as an installation sees it; `None` where a service would not look at this home.
    pub(crate) place: Option<install::Site>,
    /// This program.
    pub(crate) exe: Option<&'a Path>,
}

/// What was found.
pub(crate) struct Exam {
    /// The findings, by group, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// What was looked at, by group.
    pub(crate) checked: Vec<(Group, String)>,
}

/// Who makes passes on this home; `place` is `None` where a service would not look at it.
pub(crate) async fn runs(ctx: &Ctx, place: Option<&install::Site>) -> Runs {
    run_by(ctx, place).await.0
}

/// The same, and what makes them, in words; nothing but the number of a daemon that was started by hand.
pub(crate) async fn run_by(ctx: &Ctx, place: Option<&install::Site>) -> (Runs, Vec<String>) {
    let daemons = running::daemons(ctx);
    let ways = match place {
        Some(place) => ways::ask_all(ctx, ways::find(ctx, place)).await,
        None if daemons.is_empty() => return (Runs::Unknown, Vec::new()),
        None => Vec::new(),
    };
    let on = ways
        .iter()
        .filter(|way| matches!(way.on, rule::On::Yes | rule::On::Likely));
    let mut by: Vec<String> = on.map(|way| way.name.clone()).collect();
    if by.is_empty() {
        by.extend(daemons.iter().map(|pid| format!("`nolapse daemon` (process {pid})")));
    }
    (rule::runs(&ways, &daemons), by)
}

/// Looks at everything. Writes nothing, and holds no lock.
pub(crate) async fn examine(ctx: &Ctx, about: &About<'_>) -> Exam {
    let loaded = ledger::load(&ctx.state_dir);
    let ledger = &loaded.ledger;
    let view = look::look(ctx, ledger);
    let unwatched = look::unwatched(ctx, &view.logins);
    let (channels, running) = tokio::join!(telling::gather(ctx, ledger), running::gather(ctx, &view, about));
    let rehearsed = match about.config_error {
        None => pass::rehearse(ctx).await.done,
        Some(_) => Vec::new(),
    };
    let facts = Facts {
        now: view.now,
        config: configuration::gather(ctx, about),
        judged: judged::gather(ctx, &loaded, &view),
        logins: logins::gather(ctx, ledger, &view, &unwatched),
        grants: grants::gather(ctx, &view, &unwatched),
        agents: agents::gather(ctx, &view, &rehearsed),
        locks: locks::gather(ctx, &view),
        files: owners::gather(ctx, ledger, &view),
        channels,
        running,
        remotes: ctx.config.remotes.len(),
        ahead: clock::gather(ctx, &view, ledger),
    };
    Exam {
        findings: rule::examine(&facts),
        checked: rule::checked(&facts),
    }
}

fn spot(ctx: &Ctx, path: &Path) -> Spot {
    Spot {
        path: path.to_owned(),
        shown: ctx.host.tilde(path),
    }
}

/// The logins that are kept in a directory of Claude Code's.
fn stored(view: &View) -> impl Iterator<Item = &LoginView> {
    view.logins.iter().filter(|login| login.login.source != Source::Env)
}

/// The process that a lock or a record names.
fn pid(bytes: &[u8]) -> Option<u32> {
    edge::locks::pid_in(bytes).and_then(|pid| u32::try_from(pid).ok())
}

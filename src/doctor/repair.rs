//! The few safe repairs, carried out.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{self, Cleared, LockError};
use crate::history::{self, Entry};
use crate::rules::doctor::{Finding, Fix};
use crate::rules::wording;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How a repair went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// It was done.
    Done,
    /// It was left alone, and why.
    Left(String),
}

/// Carries out the repairs, each looked at again just before, and notes what was done in the history. No other pass of ours
/// runs meanwhile, where the state directory lets itself be locked.
pub(crate) async fn repair(ctx: &Ctx, fixes: &[Fix]) -> Vec<Repaired> {
    if let Err(error) = files::make_dirs(&ctx.state_dir) {
        tracing::warn!("history: {}", files::io_words(&error));
    }
    let lock = match locks::pass_lock(&ctx.state_dir, Duration::from_secs(20)).await {
        Err(LockError::Held(_)) => {
            let why = "a pass runs just now; try again when it is over";
            return fixes.iter().map(|_| Repaired::Left(why.into())).collect();
        }
        other => other.ok(),
    };
    let mut all = Vec::new();
    for fix in fixes {
        let done = match fix {
            Fix::Mode { path, mode } => match files::restrict(path, *mode) {
                Ok(()) => Repaired::Done,
                Err(error) => Repaired::Left(files::io_words(&error)),
            },
            Fix::Lock { path, stale_after } => match locks::clear_dead(path, *stale_after) {
                Ok(Cleared::Removed) => Repaired::Done,
                Ok(Cleared::Gone) => Repaired::Left("it is gone already".into()),
                Ok(Cleared::Held) => Repaired::Left("somebody holds it again".into()),
                Err(error) => Repaired::Left(files::io_words(&error)),
            },
        };
        if done == Repaired::Done {
            let entry = Entry {
                at: ctx.clock.now(),
                what: "repaired".into(),
                whom: ctx.host.tilde(fix.path()),
                text: words(fix),
                ..Entry::default()
            };
            history::note(&ctx.state_dir, &[entry]);
        }
        all.push(done);
    }
    drop(lock);
    all
}

/// A repair as a person would do it.
fn words(fix: &Fix) -> String {
    match fix {
        Fix::Mode { mode, .. } => format!("took permissions away, to {mode:o}"),
        Fix::Lock { .. } => "removed the lock of a process that died".into(),
    }
}

/// The repairs among the findings, each once, shown as commands.
pub(crate) fn repairs(ctx: &Ctx, findings: &[Finding]) -> Vec<(Fix, String)> {
    let mut all: BTreeMap<PathBuf, (Fix, String)> = BTreeMap::new();
    for fix in findings.iter().filter_map(|finding| finding.fix.clone()) {
        let shown = wording::quote(&ctx.host.tilde(fix.path()));
        let text = match &fix {
            Fix::Mode { mode, .. } => format!("chmod {mode:o} {shown}"),
            Fix::Lock { path, .. } if files::is_dir(path) => format!("rmdir {shown}"),
            Fix::Lock { .. } => format!("rm {shown}"),
        };
        all.insert(fix.path().to_owned(), (fix, text));
    }
    all.into_values().collect()
}

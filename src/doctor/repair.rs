//! The few safe repairs, carried out.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{self, Cleared, LockError, Terms, Watch};
use crate::history;
use crate::outcome::{Done, Outcome};
use crate::pass::{self, Scope};
use crate::rules::doctor::{Finding, Fix};
use crate::rules::memory::Entry;
use crate::rules::wording;
use crate::stores::families::STORE_LOCK;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a repair went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// It was done.
    Done,
    /// It was not repaired, and why.
    Left(String),
}

/// Carries out the repairs, each looked at again just before, and notes what was done in the history; what `sync` does comes last,
/// since a dead lock may be in its way.
pub(crate) async fn repair(ctx: &Ctx, fixes: &[Fix]) -> Vec<Repaired> {
    let Some(mut all) = tidy(ctx, fixes).await else {
        let why = "a pass is running; try again when it has finished";
        return fixes.iter().map(|_| Repaired::Left(why.into())).collect();
    };
    if fixes.iter().any(|fix| matches!(fix, Fix::Sync { .. })) {
        let done = pass::run(ctx, Scope::Sync).await.done;
        for (fix, repaired) in fixes.iter().zip(&mut all) {
            if let Fix::Sync { path } = fix {
                *repaired = synced(&done, path);
            }
        }
    }
    all
}

/// What a pass did to this store or login.
fn synced(done: &[Done], path: &Path) -> Repaired {
    match done.iter().rfind(|done| done.path == path).map(|done| &done.outcome) {
        Some(Outcome::Written(_) | Outcome::Healed(_)) => Repaired::Done,
        Some(Outcome::Failed(problem)) => Repaired::Left(problem.message.clone()),
        _ => Repaired::Left("there was nothing to bring up to date any more".into()),
    }
}

/// The repairs that are not `sync`'s; `None` while a pass runs. None runs meanwhile, where the state directory lets itself be
/// locked.
async fn tidy(ctx: &Ctx, fixes: &[Fix]) -> Option<Vec<Repaired>> {
    if let Err(error) = files::make_dirs(&ctx.state_dir) {
        tracing::warn!("history: {}", files::io_words(&error));
    }
    let lock = match locks::pass_lock(&ctx.state_dir, Duration::from_secs(20)).await {
        Err(LockError::Busy(_)) => return None,
        other => other.ok(),
    };
    let mut all = Vec::new();
    let mut watch = Watch::default();
    for fix in fixes {
        if let Fix::Lock { path, stale_after } = fix {
            watch.begin(path, limits(*stale_after));
        }
    }
    for fix in fixes {
        let (done, text) = match fix {
            Fix::Mode { path, mode } => (restrict(path, *mode), format!("took permissions away, to {mode:o}")),
            Fix::Lock { path, stale_after } => (
                clear(path, *stale_after, &mut watch).await,
                "removed the lock of a process that died".into(),
            ),
            Fix::Sync { .. } => {
                all.push(Repaired::Left(String::new()));
                continue;
            }
        };
        if done == Repaired::Done {
            let entry = Entry {
                at: ctx.clock.now(),
                what: "repaired".into(),
                whom: ctx.host.tilde(fix.path()),
                text,
                ..Entry::default()
            };
            history::note(&ctx.state_dir, &[entry]);
        }
        all.push(done);
    }
    drop(lock);
    Some(all)
}

/// A lock that may be any program's is watched for as long as the slowest of them takes to touch it.
fn limits(stale_after: Duration) -> Terms {
    Terms {
        stale_after,
        ..STORE_LOCK
    }
}

fn restrict(path: &Path, mode: u32) -> Repaired {
    match files::restrict(path, mode) {
        Ok(()) => Repaired::Done,
        Err(error) => Repaired::Left(files::io_words(&error)),
    }
}

async fn clear(path: &Path, stale_after: Duration, watch: &mut Watch) -> Repaired {
    match locks::clear_watched(path, limits(stale_after), watch).await {
        Ok(Cleared::Removed) => Repaired::Done,
        Ok(Cleared::Gone) => Repaired::Left("it is gone already".into()),
        Ok(Cleared::Busy) => Repaired::Left("somebody holds it again".into()),
        Err(error) => Repaired::Left(files::io_words(&error)),
    }
}

/// The repairs among the findings, each once, shown as commands.
pub(crate) fn repairs(ctx: &Ctx, findings: &[Finding]) -> Vec<(Fix, String)> {
    let mut all: BTreeMap<(bool, PathBuf), (Fix, String)> = BTreeMap::new();
    for fix in findings.iter().filter_map(|finding| finding.fix.clone()) {
        let shown = wording::quote(&ctx.host.tilde(fix.path()));
        let text = match &fix {
            Fix::Mode { mode, .. } => format!("chmod {mode:o} {shown}"),
            Fix::Lock { path, .. } if files::is_dir(path) => format!("rmdir {shown}"),
            Fix::Lock { .. } => format!("rm {shown}"),
            Fix::Sync { .. } => format!("nolapse sync  # {shown}"),
        };
        let last = matches!(fix, Fix::Sync { .. });
        all.insert((last, fix.path().to_owned()), (fix, text));
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Problem;

    #[test]
    fn what_a_pass_did_to_a_store_is_how_its_repair_went() {
        let done = |path: &str, outcome| Done {
            whom: "x".into(),
            path: path.into(),
            outcome,
        };
        let all = [
            done("/a", Outcome::Written(vec!["p".into()])),
            done("/b", Outcome::Healed("x".into())),
            done(
                "/c",
                Outcome::Failed(Problem::at("store_locked", "/c", "locked", "wait")),
            ),
        ];
        for (path, wanted) in [
            ("/a", Repaired::Done),
            ("/b", Repaired::Done),
            ("/c", Repaired::Left("locked".into())),
            (
                "/d",
                Repaired::Left("there was nothing to bring up to date any more".into()),
            ),
        ] {
            assert_eq!(synced(&all, Path::new(path)), wanted, "{path}");
        }
    }
}

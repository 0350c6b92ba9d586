//! What a look finds wrong with a login's file, a store's, and what lies beside them.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::agent::{self, Agent, BYTE_ORDER_MARK, StateDir};
use crate::rules::causes::in_seconds;
use crate::rules::login::{self, Fault, Login, State};
use crate::rules::memory::Ledger;
use crate::rules::target::Unfit;
use crate::rules::{resolve, wording};
use crate::sources::claude;
use crate::stores::families;
use crate::types::Problem;
use std::path::{Path, PathBuf};

/// What is wrong with a login.
pub(super) fn of_login(ctx: &Ctx, login: &Login) -> Vec<Problem> {
    let mut problems = Vec::new();
    let path = login.place.file();
    let here = ctx.host.tilde(&path);
    match &login.state {
        State::Unreadable { why, fault } => problems.push(unreadable(ctx, login, why, *fault)),
        State::SignedIn(grant) => {
            if grant.scopes.is_none() && !grant.blanked {
                problems.push(Problem::at(
                    "no_scopes",
                    &path,
                    format!("`{here}` has no `scopes`; Claude Code treats it as signed out"),
                    "run `claude auth login`",
                ));
            }
            if in_seconds(grant.expires) {
                problems.push(Problem::at(
                    "expires_in_seconds",
                    &path,
                    format!(
                        "`{here}` has `expiresAt` in seconds; Claude Code reads milliseconds, so it looks long expired"
                    ),
                    "let Claude Code renew the login by using it once",
                ));
            }
        }
        State::Absent | State::SignedOut => {}
    }
    if let (Some(meta), Some(dir_uid)) = (&login.meta, login.dir_uid) {
        if meta.uid != dir_uid {
            problems.push(Problem::at(
                "wrong_owner",
                &path,
                format!(
                    "`{here}` belongs to user {} and its directory to user {dir_uid}",
                    meta.uid
                ),
                match meta.uid == files::our_uid() {
                    true => format!("run `{}`", wording::take_over(&ctx.host.tilde(&login.place.dir))),
                    false => format!("run `sudo chown {dir_uid} {}`", wording::quote(&here)),
                },
            ));
        }
        if meta.mode & 0o077 != 0 {
            problems.push(Problem::at(
                "readable_by_others",
                &path,
                format!("`{here}` has mode {:04o}: others can read the tokens", meta.mode),
                format!("run `chmod 600 {here}`"),
            ));
        }
    }
    if let Some((lock, _)) = &login.dead_lock {
        problems.push(Problem::at(
            "dead_lock",
            lock,
            format!(
                "`{}` was left behind by a process that died; the next program that needs it clears it",
                ctx.host.tilde(lock)
            ),
            "nothing to do; `claude` clears it when it next renews",
        ));
    }
    problems
}

fn unreadable(ctx: &Ctx, login: &Login, why: &str, fault: Fault) -> Problem {
    let path = login.place.file();
    let here = ctx.host.tilde(&path);
    let (kind, message, hint) = match fault {
        Fault::Refused => (
            "unreadable",
            format!("`{here}` cannot be read: {why}"),
            "run nolapse as the user who runs Claude Code; `ls -l` shows whether root took the file".into(),
        ),
        Fault::Foreign => {
            let owned = claude::foreign_owner(&login.place).map_or_else(|| path.clone(), |(owned, _)| owned);
            (
                "foreign_owner",
                format!("`{here}` cannot be read: {why}"),
                format!("run `{}`", wording::take_over(&ctx.host.tilde(&owned))),
            )
        }
        Fault::ByteOrderMark => (
            "byte_order_mark",
            format!("Claude Code treats `{here}` as signed out: {why}"),
            take_the_mark(&here),
        ),
        Fault::Mode => (
            "unreadable",
            format!("`{here}` cannot be read: {why}; Claude Code treats it as signed out"),
            format!("run `{}`", wording::let_owner_in(&here)),
        ),
        Fault::Directory | Fault::Special | Fault::Content => (
            "unreadable",
            format!("`{here}` is not a valid credentials file: {why}; Claude Code treats it as signed out"),
            match fault {
                Fault::Directory => format!("{}; then `claude auth login`", Unfit::Directory.remedy(&here)),
                Fault::Special => format!("{}; then `claude auth login`", Unfit::Special.remedy(&here)),
                _ => "run `claude auth login`".into(),
            },
        ),
    };
    Problem::at(kind, &path, message, hint)
}

fn take_the_mark(here: &str) -> String {
    format!(
        "run `{}`, which removes three bytes and nothing else",
        wording::strip_mark(here)
    )
}

/// What is wrong with a store's file.
pub(super) fn of_store(
    ctx: &Ctx,
    agent: &Agent,
    json: &Path,
    state: &agent::Store,
    foreign: Option<&(PathBuf, u32)>,
) -> Option<Problem> {
    let here = ctx.host.tilde(json);
    Some(match state {
        agent::Store::ByteOrderMark => Problem::at(
            "byte_order_mark",
            json,
            format!(
                "`{here}` is no store to its agent: {BYTE_ORDER_MARK}; its agent takes it for empty and replaces it, keys and all"
            ),
            take_the_mark(&here),
        ),
        agent::Store::Malformed(why) => Problem::at(
            "store_malformed",
            json,
            format!(
                "`{here}` is not a valid store: {why}. The agent treats it as empty and will overwrite it, with all its keys"
            ),
            "restore it from a backup, or move it away so that the agent makes a new one",
        ),
        agent::Store::Directory | agent::Store::Special => Problem::at(
            "store_malformed",
            json,
            format!(
                "`{here}` is no store: {}; its agent reads none and can save none",
                state.unread().unwrap_or_default()
            ),
            format!("run `{}`", wording::aside(&here)),
        ),
        agent::Store::Refused(why) | agent::Store::OwnMode(why) => Problem::at(
            "unreadable",
            json,
            format!("`{here}` cannot be read: {why}{}", owned_by(foreign)),
            match foreign {
                Some((path, _)) => format!("run `{}`", wording::take_over(&ctx.host.tilde(path))),
                None if matches!(state, agent::Store::OwnMode(_)) => format!("run `{}`", wording::let_owner_in(&here)),
                None if files::is_symlink(json) => {
                    format!("`ls -l {}` shows where the link leads", wording::quote(&here))
                }
                None => "run nolapse as the user who runs the agent".into(),
            },
        ),
        agent::Store::Absent if files::exists(&agent.agent.dir.join(families::LEGACY_STORE)) => Problem::at(
            "legacy_store",
            agent.agent.dir.join(families::LEGACY_STORE),
            format!(
                "{} still has the legacy `auth.json`, which would be ignored if a store were made now",
                agent.agent.label()
            ),
            "start the agent once, so that it imports it; then nolapse keeps the store up to date",
        ),
        agent::Store::Absent | agent::Store::Read(_) => return None,
    })
}

/// The outermost of a state directory, what is in it, and the store that belongs to another user, and to whom; nobody is another
/// to root.
pub(super) fn another_owner(state_dir: &Path, file: &Path) -> Option<(PathBuf, u32)> {
    let mut above: Vec<&Path> = file
        .ancestors()
        .take_while(|path| path.starts_with(state_dir))
        .collect();
    if above.len() < 2 {
        // an agent's directory elsewhere
        above = file.ancestors().take(2).collect();
    }
    let owner = |path: &Path| Some((path.to_owned(), files::stat(path)?.uid));
    let other = |(_, uid): &(PathBuf, u32)| *uid != files::our_uid() && !files::is_root();
    above.into_iter().rev().filter_map(owner).find(other)
}

fn owned_by(owner: Option<&(PathBuf, u32)>) -> String {
    owner.map_or_else(String::new, |(_, uid)| {
        format!(" (it belongs to user {uid}, and this is user {})", files::our_uid())
    })
}

/// What in an agents' `.env` serves them beside the profiles in their stores, unless it was put there by `reauth`.
pub(super) fn of_dotenv(ctx: &Ctx, ledger: &Ledger, state_dir: &StateDir) -> Option<Problem> {
    const RELEVANT: [&str; 4] = [resolve::KEY_VAR, resolve::OAUTH_VAR, login::AUTH_VAR, login::TOKEN_VAR];
    let path: &Path = &state_dir.dir.join(".env");
    let ours = |name: &str| {
        let kept = ledger.setup_tokens.values().filter_map(|known| known.kept.as_ref());
        kept.into_iter()
            .any(|kept| kept.path == path && kept.var.as_deref() == Some(name))
    };
    let names: Vec<&str> = state_dir
        .dotenv
        .iter()
        .map(String::as_str)
        .filter(|name| RELEVANT.contains(name) && !ours(name))
        .collect();
    // the agents ask their profiles first and then these, the `claude` that they run asks these first (clawdbot 2026.1.24-3)
    (!names.is_empty()).then(|| {
        Problem::at(
            "shadowed_by_env",
            path,
            format!(
                "`{}` sets {}: these agents use that instead of a login, and so does `claude` when they run it",
                ctx.host.tilde(path),
                names.join(", ")
            ),
            "fine if intended; otherwise remove the line",
        )
    })
}

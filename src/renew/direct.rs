//! Renewal by our own exchange, opt-in, under Claude Code's two locks.
//!
//! The order, each step there for a way in which a login was lost before:
//! 1. both refresh locks; then everything is read again and decided again, so that a token somebody else just saved is adopted;
//! 2. the login's temp file and the rescue file are opened and have room set aside: there are two places for the answer;
//! 3. the fence is durable in the ledger: a pass that dies after this is recognised;
//! 4. the refresh token is posted, once, while both locks are kept fresh;
//! 5. the answer is written to the rescue file and synced;
//! 6. it is saved in its place, compare-and-set, under `.storage-write.lock` for milliseconds;
//! 7. the rescue file is removed, the fence cleared, the locks released.
//!
//! From 3 to 7 no signal ends the process.

use super::exchange::{self, Answer, Exchange, Tokens};
use super::rescue::{self, Rescue};
use super::{Asked, Attempt, case, problem};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{LockError, PATIENCE};
use crate::edge::signals::Uninterrupted;
use crate::ledger::{self, Ledger};
use crate::look;
use crate::rules::renew::{self as rule, Not, Record, Stage, Way};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude::{self, NewTokens, Place, Refresh, State};
use crate::sources::providers::ANTHROPIC;
use crate::sources::save::{self, Ready, RefreshLocks, SaveError};
use crate::types::Ms;
use std::path::Path;
use std::time::Duration;

/// Claude Code's holders touch their locks every 5 s.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// Renews the login with this id.
pub(super) async fn direct(ctx: &Ctx, ledger: &mut Ledger, id: &str, place: &Place, asked: &Asked) -> Attempt {
    let mut locks = match save::lock(place, PATIENCE).await {
        Ok(locks) => locks,
        Err(LockError::Held(_)) => {
            return Attempt::failed(problem(
                "login_busy",
                place.refresh_lock(),
                format!("somebody else renews the login `{id}`, or holds its lock"),
                "nothing to do if it passes",
            ));
        }
        Err(LockError::Io(error)) => {
            return Attempt::failed(problem(
                "login_not_writable",
                place.refresh_lock(),
                format!("the login `{id}` cannot be locked: {}", files::io_words(&error)),
                "make its directory writable for the user who runs nolapse",
            ));
        }
    };
    if locks.were_taken_over() {
        return Attempt::Not(Not::TakenOver);
    }
    let view = look::look(ctx, ledger);
    let Some((i, login)) = view.logins.iter().enumerate().find(|(_, login)| login.id() == id) else {
        return Attempt::Not(Not::SignedOut);
    };
    let mut again = case(ctx, ledger, &view, i, Way::Direct, asked);
    // the lock is ours, and we never write the record of who refreshes: one that is there is a dead process's
    again.abandoned = claude::begun_and_not_saved(place, login.login.meta.as_ref());
    let grant = match rule::due(&again, view.now) {
        Ok(grant) => grant.clone(),
        Err(why) => return Attempt::Not(why),
    };
    let Some(refresh) = grant.refresh.token() else {
        return Attempt::Not(Not::NoRefreshToken);
    };
    let token = refresh.fingerprint();
    let not_writable = |what: &str, error: &std::io::Error| {
        Attempt::failed(problem(
            "login_not_writable",
            place.file(),
            format!(
                "the login `{id}` was not renewed, since {what}: {}",
                files::io_words(error)
            ),
            "make room, and make it writable for the user who runs nolapse",
        ))
    };
    let ready = match save::prepare(place) {
        Ok(ready) => ready,
        Err(error) => return not_writable("its new tokens could not be saved", &error),
    };
    let slot = match rescue::open(&ctx.state_dir, token) {
        Ok(slot) => slot,
        Err(error) => return not_writable("there is no second place for its new tokens", &error),
    };
    // between the fence and the request there is nothing that takes time
    if let Err(why) = ctx.http.warm() {
        return Attempt::failed(unreachable(id, &place.file(), &why.to_string()));
    }
    let _whole = Uninterrupted::begin();
    let mut record = Record::of(ledger.renewals.get(id), token);
    let sent_at = ctx.clock.now();
    record.stage = Stage::Sent {
        expires: grant.expires,
        at: sent_at,
    };
    let remembered = ledger.renewals.insert(id.to_owned(), record.clone());
    if let Err(error) = ledger::save_durably(&ctx.state_dir, ledger) {
        match remembered {
            Some(before) => ledger.renewals.insert(id.to_owned(), before),
            None => ledger.renewals.remove(id),
        };
        return not_writable("nothing could be written down about it", &error);
    }
    record.stage = Stage::Idle;
    if !locks.touch() {
        ledger.renewals.insert(id.to_owned(), record);
        clear(ctx, ledger);
        return Attempt::failed(problem(
            "login_busy",
            place.refresh_lock(),
            format!("the lock of the login `{id}` was taken away"),
            "nothing to do: the next pass tries again",
        ));
    }
    let config = &ctx.config.renew;
    let stored_scopes = grant.scopes.as_ref().map(|scopes| scopes.join(" "));
    let ask = Exchange {
        provider: ANTHROPIC,
        url: &config.token_url,
        client_id: grant.client_id.as_deref().unwrap_or(&config.client_id),
        refresh,
        scope: match &grant.client_id {
            Some(_) => stored_scopes.as_deref(),
            None => ANTHROPIC.scope,
        },
        other_scope: stored_scopes.as_deref().filter(|scopes| !scopes.is_empty()),
        timeout: config.timeout,
    };
    let answer = keeping(&mut locks, exchange::exchange(ctx, &ask)).await;
    let attempt = match answer {
        Answer::Tokens(tokens) => {
            let rescue = Rescue {
                whom: id.to_owned(),
                spent: token,
                new: new_tokens(ctx, tokens, refresh, 0),
            };
            let stored = slot.write(&rescue);
            let saved = store(place, ready, refresh, &rescue.new).await;
            after_answer(ctx, place, &mut record, &rescue, stored, saved, grant.expires)
        }
        other => without_tokens(ledger, &mut record, other, id, &place.file(), grant.expires, sent_at),
    };
    ledger.renewals.insert(id.to_owned(), record);
    clear(ctx, ledger);
    attempt
}

/// What follows from an answer that brings no tokens.
pub(super) fn without_tokens(
    ledger: &mut Ledger,
    record: &mut Record,
    answer: Answer,
    id: &str,
    file: &Path,
    expires: Option<Ms>,
    sent_at: Ms,
) -> Attempt {
    match answer {
        // handled where they are saved
        Answer::Tokens(_) => Attempt::Not(Not::OutcomeUnknown),
        Answer::NotSent(why) => Attempt::failed(unreachable(id, file, &why)),
        Answer::Unknown(why) => {
            record.stage = Stage::Unknown {
                expires,
                at: sent_at,
                why: why.clone(),
            };
            Attempt::failed(unknown(id, file, &why))
        }
        Answer::Rejected(why) => {
            if !ledger.rejected.contains(&record.token) {
                ledger.rejected.push(record.token);
            }
            Attempt::failed(problem(
                "rejected",
                file,
                format!("the refresh token of `{id}` was refused for good: {why}"),
                "sign in again, for Claude Code with `claude auth login`",
            ))
        }
        Answer::NoVerdict { kind, why, retry_after } => Attempt::Failed {
            problem: problem(
                kind,
                file,
                format!("`{id}` was not renewed: {why}; its token is kept"),
                match kind {
                    "endpoint_blocked" => "see whether a proxy, a VPN or the server's filter stands in between",
                    _ => "nothing to do: it is tried again later",
                },
            ),
            retry_after,
        },
    }
}

pub(super) fn unreachable(id: &str, file: &Path, why: &str) -> crate::types::Problem {
    problem(
        "endpoint_unreachable",
        file,
        format!("`{id}` was not renewed: {why}"),
        "see whether this host reaches the token endpoint; the next pass tries again",
    )
}

/// What is said where an answer never came.
pub(super) fn unknown(id: &str, file: &Path, why: &str) -> crate::types::Problem {
    problem(
        "unknown_outcome",
        file,
        format!(
            "the refresh token of `{id}` was posted and what the server did is not known: {why}; it is not posted again"
        ),
        "use `claude` once: it works, or it asks you to sign in; `claude auth login` helps in any case",
    )
}

/// Makes the end of an exchange known to the next pass. Should that fail, the fence is found there and settled from the files.
pub(super) fn clear(ctx: &Ctx, ledger: &Ledger) {
    if let Err(error) = ledger::save_durably(&ctx.state_dir, ledger) {
        tracing::warn!("the fence could not be cleared: {}", files::io_words(&error));
    }
}

/// Waits for the answer and keeps the locks fresh. A lock that was lost meanwhile does not matter any more: the token has left, and
/// the save is compare-and-set.
async fn keeping<F: Future>(locks: &mut RefreshLocks, answer: F) -> F::Output {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(HEARTBEAT) => {
                if !locks.touch() {
                    tracing::warn!("a lock of the login was lost while waiting for the answer");
                }
            }
        }
    }
}

pub(super) fn new_tokens(ctx: &Ctx, tokens: Tokens, old: &Secret, margin: Ms) -> NewTokens {
    let now = ctx.clock.now();
    NewTokens {
        access: tokens.access,
        refresh: tokens.refresh.unwrap_or_else(|| old.clone()),
        expires: now + tokens.expires_in - margin,
        deadline: tokens.login_ends_in.map(|span| now + span),
    }
}

/// Saves, and tries a second time from the start where the system refused: what is saved exists nowhere else in its place.
async fn store(place: &Place, ready: Ready, expected: &Secret, new: &NewTokens) -> Result<(), SaveError> {
    let first = match ready.save(place, expected, new).await {
        Err(error @ (SaveError::Io(_) | SaveError::Lock(_))) => error,
        other => return other,
    };
    tracing::warn!("saving the new tokens: {first}; once more");
    save::prepare(place)?.save(place, expected, new).await
}

fn after_answer(
    ctx: &Ctx,
    place: &Place,
    record: &mut Record,
    rescue: &Rescue,
    stored: std::io::Result<()>,
    saved: Result<(), SaveError>,
    expires: Option<Ms>,
) -> Attempt {
    let now = ctx.clock.now();
    let renewed = Attempt::Renewed {
        expires: rescue.new.expires,
        by: "directly",
    };
    let failure = match saved {
        Ok(()) => match files::sync_dir(&place.file()) {
            Ok(()) => {
                forget(ctx, rescue.spent);
                return renewed;
            }
            Err(error) => {
                tracing::warn!("the save may not survive a power cut: {}", files::io_words(&error));
                // what was rescued is compared with the file at the next pass and removed then
                return renewed;
            }
        },
        Err(SaveError::Changed) if superseded(place, rescue.spent) => {
            forget(ctx, rescue.spent);
            return Attempt::failed(problem(
                "login_changed",
                place.file(),
                format!(
                    "the login `{}` was changed by somebody else while it was renewed; theirs stands",
                    rescue.whom
                ),
                "nothing to do",
            ));
        }
        Err(error) => error,
    };
    match stored {
        Ok(()) => {
            record.stage = Stage::Rescued {
                at: now,
                why: failure.to_string(),
            };
            Attempt::failed(save_failed(&rescue.whom, &place.file(), &failure.to_string()))
        }
        Err(error) => {
            let why = format!(
                "the answer came and could be saved nowhere ({failure}; {})",
                files::io_words(&error)
            );
            record.stage = Stage::Unknown {
                expires,
                at: now,
                why: why.clone(),
            };
            Attempt::failed(unknown(&rescue.whom, &place.file(), &why))
        }
    }
}

/// What is said where new tokens lie in `rescue/` only.
pub(super) fn save_failed(whom: &str, file: &Path, why: &str) -> crate::types::Problem {
    problem(
        "save_failed",
        file,
        format!("the new tokens of `{whom}` could not be saved in their place: {why}; they are kept in `rescue/`"),
        "make its directory writable, then run `nolapse refresh`; do not use `claude` before that",
    )
}

/// Removes what was rescued. A file that stays is compared at the next pass.
pub(super) fn forget(ctx: &Ctx, spent: Fingerprint) {
    if let Err(error) = files::remove(&rescue::path(&ctx.state_dir, spent)) {
        tracing::warn!("rescue: {}", files::io_words(&error));
    }
}

/// Whether the login holds another live token than the one that was spent, or was signed out: somebody's newer will.
pub(super) fn superseded(place: &Place, spent: Fingerprint) -> bool {
    match claude::read(place).0 {
        State::SignedIn(grant) => match &grant.refresh {
            Refresh::Token(refresh) => refresh.fingerprint() != spent,
            Refresh::Blank => false,
            Refresh::None => true,
        },
        State::SignedOut => true,
        State::Absent => files::is_dir(&place.dir),
        State::Unreadable { .. } => false,
    }
}

//! Renewal: what can be renewed without a human, is; and never at the cost of a login.
//!
//! The decision is `rules::renew`; [`delegate`] and `direct` carry it out; [`settle`] makes good what a pass that died, or could
//! not save, has left. docs/renewal.md tells the whole story.

pub mod delegate;
mod direct;
mod exchange;
mod own;
mod rescue;

use crate::config::RenewMode;
use crate::ctx::Ctx;
use crate::edge::locks::PATIENCE;
use crate::edge::{files, target};
use crate::ledger::Ledger;
use crate::look::{LoginView, View};
use crate::pass::{Done, Outcome};
use crate::rules::lineage::Relation;
use crate::rules::renew::{self as rule, Case, Not, Record, Stage, Way};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude::{self, Place, Source, State};
use crate::sources::save::{self, SaveError};
use crate::types::{Ms, Problem, Reason};
use rescue::Rescue;
use std::path::{Path, PathBuf};

/// What waits in `rescue/`: files that hold new tokens which could not be saved yet.
pub fn rescued(state_dir: &std::path::Path) -> Vec<PathBuf> {
    rescue::all(state_dir).into_iter().map(|(path, _)| path).collect()
}

/// What was asked for; a pass asks for nothing in particular.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// This login alone.
    pub login: Option<String>,
    /// Whether or not an agent needs it.
    pub by_hand: bool,
    /// Neither the clock nor a back-off holds it up.
    pub force: bool,
}

/// How it went with one login.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The login's id.
    pub whom: String,
    /// Its file.
    pub path: PathBuf,
    /// What was done, or why not.
    pub what: What,
}

/// What was done, or why not.
#[derive(Clone, Debug)]
pub enum What {
    /// Renewed; until when its access token is good now, [`Ms`], and how.
    Renewed {
        /// [`Ms`].
        expires: Ms,
        /// `by Claude Code`, `directly`.
        by: &'static str,
    },
    /// Would be renewed, and how.
    Would(String),
    /// Not now, and why.
    Not(Not),
    /// `renew.mode` is `off`.
    Off,
    /// It was tried, or could not be.
    Failed(Problem),
}

/// How one attempt went.
enum Attempt {
    Renewed {
        expires: Ms,
        by: &'static str,
    },
    Not(Not),
    Failed {
        problem: Problem,
        /// The server's wish, [`Ms`] from now.
        retry_after: Option<Ms>,
    },
}

impl Attempt {
    fn failed(problem: Problem) -> Self {
        Self::Failed {
            problem,
            retry_after: None,
        }
    }
}

fn problem(
    kind: &'static str,
    path: impl Into<PathBuf>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Problem {
    Problem::at(kind, path, message, hint)
}

/// Renews what is due, one login after the other, and notes in the ledger how it went.
pub async fn renew(ctx: &Ctx, ledger: &mut Ledger, view: &View, asked: &Asked, dry_run: bool) -> Vec<Seen> {
    let mut all = Vec::new();
    for (i, login) in view.logins.iter().enumerate() {
        if asked.login.as_ref().is_some_and(|id| id != login.id()) {
            continue;
        }
        let place = &login.login.place;
        let what = match way(ctx) {
            None => What::Off,
            Some(way) => match rule::due(&case(ctx, ledger, view, i, way, asked), view.now) {
                Err(why) => What::Not(why),
                Ok(_) if dry_run => would(ctx, login, way),
                Ok(_) => attempt(ctx, ledger, login, way, asked).await,
            },
        };
        match &what {
            What::Renewed { by, .. } => tracing::info!(login = login.id(), "renewed {by}"),
            What::Failed(problem) => tracing::info!(login = login.id(), kind = problem.kind, "not renewed"),
            _ => {}
        }
        all.push(Seen {
            whom: login.id().to_owned(),
            path: place.file(),
            what,
        });
    }
    if ctx.config.renew.mode == RenewMode::Direct {
        all.extend(own::renew(ctx, ledger, view, asked, dry_run).await);
    }
    all
}

async fn attempt(ctx: &Ctx, ledger: &mut Ledger, login: &LoginView, way: Way, asked: &Asked) -> What {
    let id = login.id();
    let outcome = match (unfit_login(ctx, login), way) {
        (Some(problem), _) => Attempt::failed(problem),
        (None, Way::Delegate) => delegate::delegate(ctx, ledger, login).await,
        (None, Way::Direct) => direct::direct(ctx, ledger, id, &login.login.place, asked).await,
    };
    match outcome {
        Attempt::Renewed { expires, by } => {
            let stuck = ledger.renewals.get(id).is_some_and(Record::stuck);
            if !stuck {
                ledger.renewals.remove(id);
            }
            What::Renewed { expires, by }
        }
        Attempt::Not(why) => What::Not(why),
        Attempt::Failed { problem, retry_after } => {
            if let Some(token) = login.login.grant().and_then(fingerprint) {
                note_failure(ctx, ledger, id, token, &problem, retry_after);
            }
            What::Failed(problem)
        }
    }
}

fn note_failure(
    ctx: &Ctx,
    ledger: &mut Ledger,
    key: &str,
    token: Fingerprint,
    problem: &Problem,
    retry_after: Option<Ms>,
) {
    let mut record = Record::of(ledger.renewals.get(key), token);
    record.failed(problem.kind, &problem.message, retry_after, ctx.clock.now());
    ledger.renewals.insert(key.to_owned(), record);
}

fn way(ctx: &Ctx) -> Option<Way> {
    match ctx.config.renew.mode {
        RenewMode::Delegate => Some(Way::Delegate),
        RenewMode::Direct => Some(Way::Direct),
        RenewMode::Off => None,
    }
}

/// What stands against saving new tokens of a login in its file, whoever would save them.
fn unfit_login(ctx: &Ctx, login: &LoginView) -> Option<Problem> {
    match login.login.source {
        Source::File => unfit(ctx, "login_not_writable", login.id(), &login.login.place.file()),
        Source::Keychain | Source::Env => None,
    }
}

/// What stands against saving new tokens in this file. Asked before anything is posted or started: the answer could not be kept.
fn unfit(ctx: &Ctx, kind: &'static str, whom: &str, path: &Path) -> Option<Problem> {
    let why = target::prove(path).err()?;
    let remedy = why.remedy(&ctx.host.tilde(path));
    Some(problem(
        kind,
        path,
        format!(
            "`{whom}` is not renewed, since its file {} and its new tokens would be lost: {remedy}",
            why.words()
        ),
        remedy,
    ))
}

fn would(ctx: &Ctx, login: &LoginView, way: Way) -> What {
    if let Some(problem) = unfit_login(ctx, login) {
        return What::Failed(problem);
    }
    match way {
        Way::Direct => What::Would("directly, under Claude Code's locks".into()),
        Way::Delegate => match delegate::find(ctx, login.id()) {
            Ok(program) => What::Would(format!(
                "by running `{} -p /cost --safe-mode --no-session-persistence`",
                ctx.host.tilde(&program)
            )),
            Err(problem) => What::Failed(problem),
        },
    }
}

/// A login as the rule sees it.
fn case<'a>(ctx: &Ctx, ledger: &'a Ledger, view: &'a View, i: usize, way: Way, asked: &Asked) -> Case<'a> {
    let login = &view.logins[i];
    let place = &login.login.place;
    let profiles = || view.agents.iter().flat_map(|agent| &agent.profiles);
    let record = ledger.renewals.get(login.id());
    let killed = login
        .login
        .dead_lock
        .as_ref()
        .is_some_and(|(path, _)| *path == place.refresh_lock());
    Case {
        state: &login.login.state,
        source: login.login.source,
        way,
        lead: ctx.config.renew.lead,
        rejected: &ledger.rejected,
        spent: &ledger.spent,
        abandoned: login.login.abandoned || killed && claude::begun_and_not_saved(place, login.login.meta.as_ref()),
        newer_copy: profiles().any(|profile| profile.login == Some(i) && profile.relation == Relation::Newer)
            || view.agents.iter().any(|agent| {
                crate::pass::plan(ctx, view, agent)
                    .heal
                    .is_some_and(|(login, _)| login == i)
            }),
        wanted: asked.by_hand
            || ctx.config.renew.always
            || profiles()
                .any(|profile| profile.login == Some(i) && profile.verdict.reason != Some(Reason::StoreRetired)),
        force: asked.force,
        record,
        child_alive: delegate::child_alive(record, view.now),
    }
}

/// What passes before left: new tokens that wait in `rescue/` are saved in their place, fences are settled from what the files hold
/// now, and one that cannot be settled becomes an unknown outcome. Goes before anything else touches a login.
pub async fn settle(ctx: &Ctx, ledger: &mut Ledger, view: &View) -> Vec<Done> {
    let mut done = own::settle(ctx, ledger, view).await;
    let mut waiting = Vec::new();
    for (path, rescue) in rescue::all(&ctx.state_dir) {
        let Some(login) = view.logins.iter().find(|login| login.id() == rescue.whom) else {
            continue;
        };
        let outcome = complete(ctx, &login.login.place, &rescue).await;
        let mut record = Record::of(ledger.renewals.get(&rescue.whom), rescue.spent);
        match &outcome {
            Completed::Saved | Completed::There | Completed::Superseded => {
                if let Err(error) = files::remove(&path) {
                    tracing::warn!("rescue: {}", files::io_words(&error));
                }
                record.stage = Stage::Idle;
                if ledger
                    .renewals
                    .get(&rescue.whom)
                    .is_some_and(|now| now.token == rescue.spent)
                {
                    ledger.renewals.remove(&rescue.whom);
                }
            }
            Completed::Not(why) => {
                waiting.push(rescue.spent);
                record.stage = Stage::Rescued {
                    at: ctx.clock.now(),
                    why: why.clone(),
                };
                ledger.renewals.insert(rescue.whom.clone(), record);
            }
        }
        let place = &login.login.place;
        let outcome = match outcome {
            Completed::There | Completed::Superseded => continue,
            Completed::Saved => Outcome::Renewed("from tokens that an earlier pass could not save".into()),
            Completed::Not(why) => Outcome::NotRenewed(direct::save_failed(&rescue.whom, &place.file(), &why)),
        };
        done.push(Done {
            whom: rescue.whom.clone(),
            path: place.file(),
            outcome,
        });
    }
    for login in &view.logins {
        let Some(record) = ledger.renewals.get(login.id()).cloned() else {
            continue;
        };
        let place = &login.login.place;
        let (expires, at, why) = match &record.stage {
            Stage::Idle | Stage::Running { .. } => continue,
            Stage::Rescued { .. } if waiting.contains(&record.token) => continue,
            Stage::Rescued { at, .. } => (None, *at, "its rescued tokens are gone".to_owned()),
            Stage::Sent { expires, at } => (*expires, *at, "the process died before the answer came".to_owned()),
            Stage::Unknown { expires, at, why } => (*expires, *at, why.clone()),
        };
        // read anew: a rescue may just have been completed
        let grant = match claude::look(&ctx.host, place).state {
            State::Unreadable { .. } => continue,
            State::SignedIn(grant) => Some(grant),
            State::Absent | State::SignedOut => None,
        };
        if rule::moved(record.token, expires, grant.as_ref()) && !matches!(record.stage, Stage::Rescued { .. })
            || grant
                .as_ref()
                .is_none_or(|grant| fingerprint(grant) != Some(record.token))
        {
            ledger.renewals.remove(login.id());
            continue;
        }
        if !matches!(record.stage, Stage::Unknown { .. }) {
            let problem = direct::unknown(login.id(), &place.file(), &why);
            let mut record = record;
            record.last = Some(rule::Failure {
                kind: problem.kind.into(),
                why: problem.message.clone(),
                at: ctx.clock.now(),
            });
            record.stage = Stage::Unknown { expires, at, why };
            ledger.renewals.insert(login.id().to_owned(), record);
            done.push(Done {
                whom: login.id().to_owned(),
                path: place.file(),
                outcome: Outcome::NotRenewed(problem),
            });
        }
    }
    done
}

fn fingerprint(grant: &claude::Grant) -> Option<Fingerprint> {
    grant.refresh.token().map(Secret::fingerprint)
}

enum Completed {
    /// Saved now.
    Saved,
    /// The login holds them already.
    There,
    /// The login holds something newer.
    Superseded,
    /// They still wait, and why.
    Not(String),
}

/// Saves rescued tokens in their place, if the login still holds the token they were given for, or was wiped meanwhile.
async fn complete(ctx: &Ctx, place: &Place, rescue: &Rescue) -> Completed {
    let stands = || match claude::look(&ctx.host, place) {
        login if login.source != Source::File => Err(Completed::Not("it is kept in the Keychain".into())),
        login => match &login.state {
            State::SignedIn(grant)
                if fingerprint(grant) == Some(rescue.new.refresh.fingerprint())
                    && grant.expires >= Some(rescue.new.expires) =>
            {
                Err(Completed::There)
            }
            _ if direct::superseded(place, rescue.spent) => Err(Completed::Superseded),
            State::SignedIn(grant) => Ok(grant.refresh.token().cloned().unwrap_or_else(|| Secret::new(""))),
            State::Unreadable { why, .. } => Err(Completed::Not(why.clone())),
            _ => Err(Completed::Not("its directory is gone".into())),
        },
    };
    if let Err(settled) = stands() {
        return match settled {
            // durable at last, or it would be tried again for ever
            Completed::There if files::sync_dir(&place.file()).is_err() => {
                Completed::Not("its directory cannot be synced".into())
            }
            other => other,
        };
    }
    let locks = match save::lock(place, PATIENCE).await {
        Ok(locks) => locks,
        Err(error) => return Completed::Not(error.to_string()),
    };
    let expected = match stands() {
        Ok(expected) => expected,
        Err(settled) => return settled,
    };
    let saved = match save::prepare(place) {
        Ok(ready) => ready.save(place, &expected, &rescue.new).await,
        Err(error) => Err(SaveError::Io(error)),
    };
    drop(locks);
    match saved {
        Ok(()) => match files::sync_dir(&place.file()) {
            Ok(()) => Completed::Saved,
            Err(error) => Completed::Not(files::io_words(&error)),
        },
        Err(error) => Completed::Not(error.to_string()),
    }
}

/// What holds for any answer of a token endpoint.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold_for_an_answer(reply: &crate::edge::http::Reply) {
    exchange::must_hold(reply);
}

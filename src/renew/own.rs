//! Renewal of a grant that one store owns alone: its own lineage, a provider of the table, `mode = "direct"`.
//!
//! The discipline is `direct`'s (fence, rescue, compare-and-set), the locks are the agents': every JSON generation holds
//! `<store>.lock` over the exchange, a directory or a file, and openclaw from 2026.4.20 on a lock of the grant around it
//! ([`families::refresh_lock_target`]). So both are held here, in that order. Where it cannot be told what the agents lock, the
//! store is left alone.

use super::direct::{self, HEARTBEAT};
use super::exchange::{self, Answer, Exchange};
use super::rescue::{self, Rescue};
use super::{Asked, Attempt, Seen, What, note_failure, problem, unfit};
use crate::ctx::Ctx;
use crate::edge::files::{self, Staged};
use crate::edge::locks::{self, Held, LockError, Terms};
use crate::edge::process;
use crate::edge::signals::Uninterrupted;
use crate::ledger::{self, Ledger};
use crate::look::{self, AgentView, View, copy_key};
use crate::pass::{Done, Outcome};
use crate::rules::neighbours::{self, Neighbours, Place};
use crate::rules::renew::{self as rule, Not, OwnCase, Record, Stage};
use crate::secret::{Fingerprint, SecretUrl};
use crate::sources::providers::{self, Provider};
use crate::stores::families::{self, Generation, LockKind, RefreshLocks, StateDir};
use crate::stores::store::{self, Edit, Put};
use crate::types::{Credential, Ms, Profile};
use std::path::{Path, PathBuf};

fn store_terms(state_dir: &StateDir) -> Result<Terms, LockError> {
    families::store_lock(&state_dir.generation).map_err(|why| LockError::Io(std::io::Error::other(why)))
}

/// What is held over the exchange. Fields are dropped in order: the store's lock before the grant's.
struct Locks {
    store: Held,
    grant: Option<Held>,
}

impl Locks {
    async fn acquire(state_dir: &StateDir, profile: &Profile, target: &Path) -> Result<Self, LockError> {
        let grant = match state_dir.refresh_locks {
            Ok(RefreshLocks::GrantThenStore) => {
                let path = grant_lock(state_dir, profile);
                // in the agents' state directory, which is theirs to make
                if files::is_dir(&state_dir.dir)
                    && let Some(dir) = path.parent()
                {
                    files::make_dirs(dir)?;
                }
                Some(locks::acquire(&path, families::GRANT_LOCK).await?)
            }
            _ => None,
        };
        let store = locks::acquire(&locks::lock_path(target), store_terms(state_dir)?).await?;
        Ok(Self { store, grant })
    }

    /// Whether one of them was somebody's who has stopped: see [`Held::was_taken_over`].
    fn were_taken_over(&self) -> bool {
        self.store.was_taken_over() || self.grant.as_ref().is_some_and(Held::was_taken_over)
    }

    /// Keeps them fresh; `false` where one of them is no longer ours.
    fn touch(&mut self) -> bool {
        let grant = self.grant.as_mut().is_none_or(Held::touch);
        self.store.touch() && grant
    }
}

fn grant_lock(state_dir: &StateDir, profile: &Profile) -> PathBuf {
    locks::lock_path(&families::refresh_lock_target(
        &state_dir.dir,
        &profile.provider,
        &profile.id,
    ))
}

/// Renews what is due.
pub(super) async fn renew(ctx: &Ctx, ledger: &mut Ledger, view: &View, asked: &Asked, dry_run: bool) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut taken_over = Vec::new();
    for agent in &view.agents {
        let label = agent.agent.agent.label();
        for profile in &agent.profiles {
            let key = copy_key(&label, &profile.profile.id);
            let named = asked.login.as_ref().is_none_or(|id| *id == key);
            let Some(provider) = providers::provider(&profile.profile.provider) else {
                continue;
            };
            let Some(token) = profile.profile.credential.refresh_fingerprint() else {
                continue;
            };
            if profile.login.is_some() || !named {
                continue;
            }
            let due = rule::own_due(
                &case(ctx, ledger, view, agent, &profile.profile.credential, &key, asked),
                view.now,
            );
            let unfit = || unfit(ctx, "store_not_written", &key, &agent.path);
            let what = match due {
                Err(why) => {
                    let end = profile.profile.credential.expires();
                    if end.is_some_and(|end| end - ctx.config.renew.lead <= view.now) {
                        remember(ledger, &key, token, &why, view.now);
                    }
                    What::Not(why)
                }
                Ok(_) if let Some(problem) = unfit() => {
                    if !dry_run {
                        note_failure(ctx, ledger, &key, token, &problem, None);
                    }
                    What::Failed(problem)
                }
                Ok(_) if dry_run => What::Would("directly, under its agents' locks".into()),
                // whoever held the store's lock may have posted any of its grants
                Ok(_) if taken_over.contains(&&agent.path) => What::Not(Not::TakenOver),
                Ok(_) => match one(ctx, ledger, view, agent, &profile.profile, provider, asked).await {
                    Attempt::Renewed { expires, by } => {
                        if !ledger.renewals.get(&key).is_some_and(Record::stuck) {
                            ledger.renewals.remove(&key);
                        }
                        What::Renewed { expires, by }
                    }
                    Attempt::Not(why) => {
                        if why == Not::TakenOver {
                            taken_over.push(&agent.path);
                        }
                        What::Not(why)
                    }
                    Attempt::Failed { problem, retry_after } => {
                        note_failure(ctx, ledger, &key, token, &problem, retry_after);
                        What::Failed(problem)
                    }
                },
            };
            all.push(Seen {
                whom: key,
                path: agent.path.clone(),
                what,
            });
        }
    }
    all
}

fn case<'a>(
    ctx: &Ctx,
    ledger: &'a Ledger,
    view: &'a View,
    agent: &'a AgentView,
    credential: &'a Credential,
    key: &str,
    asked: &Asked,
) -> OwnCase<'a> {
    let token = credential.refresh_fingerprint();
    let holders = view
        .agents
        .iter()
        .flat_map(|agent| &agent.profiles)
        .filter(|other| other.profile.credential.refresh_fingerprint() == token)
        .count();
    OwnCase {
        credential,
        lead: ctx.config.renew.lead,
        shared: holders > 1,
        writable: agent.writable.as_ref().copied().map_err(String::as_str),
        known_locks: known_locks(&view.state_dirs[agent.agent.state_dir]),
        rejected: &ledger.rejected,
        spent: &ledger.spent,
        force: asked.force,
        record: ledger.renewals.get(key),
    }
}

/// Keeps why a grant is left alone although it is due, so that the alert of its end can say it.
fn remember(ledger: &mut Ledger, key: &str, token: Fingerprint, why: &Not, now: Ms) {
    let Not::OtherLock(_) = why else { return };
    let why = why.words(&|_| String::new());
    let mut record = Record::of(ledger.renewals.get(key), token);
    if record.last.as_ref().is_none_or(|last| last.why != why) {
        let kind = "locks_not_seen".into();
        record.last = Some(rule::Failure { kind, why, at: now });
        ledger.renewals.insert(key.to_owned(), record);
    }
}

/// Whether it is known what this store's agents lock, and whether a holder can be told from a dead one.
fn known_locks(state_dir: &StateDir) -> Result<(), &str> {
    state_dir.refresh_locks.as_ref().map_err(String::as_str)?;
    match state_dir.generation {
        Generation::Json(LockKind::File) => neighbours::seen(openclaw()),
        _ => Ok(()),
    }
}

/// What the process list shows of OpenClaw, by the names that its processes have: `openclaw`, `openclaw-gateway`, or node with the
/// package's own file.
fn openclaw() -> Neighbours {
    let levels = process::levels(|command| {
        let mut words = command.split(|byte| *byte == 0).take(2).map(String::from_utf8_lossy);
        words.any(|word| {
            let name = word.rsplit('/').next().unwrap_or_default();
            name.starts_with("openclaw") || word.contains("/node_modules/openclaw/")
        })
    });
    Neighbours {
        place: match (process::place(), process::others_are_hidden()) {
            (process::Place::Below, _) => Place::Container,
            (process::Place::Host, true) => Place::HostHidden,
            (process::Place::Host, false) => Place::Host,
        },
        here: levels.iter().filter(|level| **level == 0).count(),
        below: levels.iter().filter(|level| **level > 0).count(),
    }
}

async fn one(
    ctx: &Ctx,
    ledger: &mut Ledger,
    view: &View,
    agent: &AgentView,
    profile: &Profile,
    provider: &'static Provider,
    asked: &Asked,
) -> Attempt {
    let key = copy_key(&agent.agent.agent.label(), &profile.id);
    let not_writable = |what: &str, error: &std::io::Error| {
        Attempt::failed(problem(
            "store_not_written",
            &agent.path,
            format!("`{key}` was not renewed, since {what}: {}", files::io_words(error)),
            "make room, and make the store writable for the user who runs nolapse",
        ))
    };
    let busy = || {
        Attempt::failed(problem(
            "store_locked",
            locks::lock_path(&agent.path),
            format!("`{key}` was not renewed: it or its store is locked by another process"),
            "nothing to do if it passes",
        ))
    };
    let target = match files::real_target(&agent.path) {
        Ok(target) => target,
        Err(error) => return not_writable("its store is gone", &error),
    };
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let mut lock = match Locks::acquire(state_dir, profile, &target).await {
        Ok(lock) => lock,
        Err(LockError::Held(_)) => return busy(),
        Err(LockError::Io(error)) => return not_writable("its store cannot be locked", &error),
    };
    if lock.were_taken_over() {
        return Attempt::Not(Not::TakenOver);
    }
    // everything again, the other stores as well: another may hold this token by now
    let now = look::look(ctx, ledger);
    let found = now
        .agents
        .iter()
        .find(|other| other.path == agent.path)
        .and_then(|agent| {
            let profile = agent.profiles.iter().find(|other| other.profile.id == profile.id)?;
            Some((agent, profile))
        });
    let Some((agent, found)) = found.filter(|(_, profile)| profile.login.is_none()) else {
        return Attempt::Not(Not::SignedOut);
    };
    // what was locked is no longer what would have to be
    let again = &now.state_dirs[agent.agent.state_dir];
    let other_kind = (&again.generation, &again.refresh_locks) != (&state_dir.generation, &state_dir.refresh_locks);
    if other_kind || found.profile.provider != profile.provider {
        return busy();
    }
    let credential = &found.profile.credential;
    let refresh = match rule::own_due(&case(ctx, ledger, &now, agent, credential, &key, asked), now.now) {
        Ok(refresh) => refresh.clone(),
        Err(why) => return Attempt::Not(why),
    };
    let (token, expires) = (refresh.fingerprint(), credential.expires());
    let staged = match stage(&target) {
        Ok(staged) => staged,
        Err(error) => return not_writable("its new tokens could not be saved", &error),
    };
    let slot = match rescue::open(&ctx.state_dir, token) {
        Ok(slot) => slot,
        Err(error) => return not_writable("there is no second place for its new tokens", &error),
    };
    if let Err(why) = ctx.http.warm() {
        return Attempt::failed(direct::unreachable(&key, &agent.path, &why.to_string()));
    }
    let _whole = Uninterrupted::begin();
    let mut record = Record::of(ledger.renewals.get(&key), token);
    let sent_at = ctx.clock.now();
    record.stage = Stage::Sent { expires, at: sent_at };
    let remembered = ledger.renewals.insert(key.clone(), record.clone());
    if let Err(error) = ledger::save_durably(&ctx.state_dir, ledger) {
        match remembered {
            Some(before) => ledger.renewals.insert(key.clone(), before),
            None => ledger.renewals.remove(&key),
        };
        return not_writable("nothing could be written down about it", &error);
    }
    record.stage = Stage::Idle;
    if !lock.touch() {
        ledger.renewals.insert(key.clone(), record);
        direct::clear(ctx, ledger);
        return busy();
    }
    let default_url = SecretUrl::new(provider.token_url);
    let config = &ctx.config.renew;
    let anthropic = provider.name == providers::ANTHROPIC.name;
    let ask = Exchange {
        provider,
        url: if anthropic { &config.token_url } else { &default_url },
        client_id: if anthropic {
            &config.client_id
        } else {
            provider.client_id
        },
        refresh: &refresh,
        // the scopes of a store's own grant are not on record: what it was given is what it gets
        scope: None,
        other_scope: None,
        timeout: config.timeout,
    };
    let answer = keeping(&mut lock, exchange::exchange(ctx, &ask)).await;
    let attempt = match answer {
        Answer::Tokens(tokens) => {
            let rescue = Rescue {
                whom: key.clone(),
                spent: token,
                new: direct::new_tokens(ctx, tokens, &refresh, provider.margin),
            };
            let stored = slot.write(&rescue);
            let saved = match save(&target, &profile.id, &rescue, staged) {
                Err(Unsaved::Refused(_)) => match stage(&target) {
                    Ok(staged) => save(&target, &profile.id, &rescue, staged),
                    Err(error) => Err(Unsaved::Refused(files::io_words(&error))),
                },
                other => other,
            };
            match (saved, stored) {
                (Ok(()), _) => {
                    direct::forget(ctx, token);
                    Attempt::Renewed {
                        expires: rescue.new.expires,
                        by: "directly",
                    }
                }
                (Err(Unsaved::Changed), _) => {
                    direct::forget(ctx, token);
                    Attempt::failed(problem(
                        "profile_changed",
                        &agent.path,
                        format!("`{key}` was changed by somebody else while it was renewed; theirs stands"),
                        "nothing to do",
                    ))
                }
                (Err(Unsaved::Refused(why)), Ok(())) => {
                    record.stage = Stage::Rescued {
                        at: ctx.clock.now(),
                        why: why.clone(),
                    };
                    Attempt::failed(direct::save_failed(&key, &agent.path, &why))
                }
                (Err(Unsaved::Refused(why)), Err(error)) => {
                    let why = format!(
                        "the answer came and could be saved nowhere ({why}; {})",
                        files::io_words(&error)
                    );
                    record.stage = Stage::Unknown {
                        expires,
                        at: sent_at,
                        why: why.clone(),
                    };
                    Attempt::failed(direct::unknown(&key, &agent.path, &why))
                }
            }
        }
        other => direct::without_tokens(ledger, &mut record, other, &key, &agent.path, expires, sent_at),
    };
    ledger.renewals.insert(key, record);
    direct::clear(ctx, ledger);
    drop(lock);
    attempt
}

fn stage(target: &Path) -> std::io::Result<Staged> {
    let keep = files::stat(target);
    let staged = files::stage(target, keep.as_ref())?;
    staged.reserve(keep.map_or(0, |meta| meta.size) + (16 << 10))?;
    Ok(staged)
}

async fn keeping<F: Future>(lock: &mut Locks, answer: F) -> F::Output {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(HEARTBEAT) => {
                if !lock.touch() {
                    tracing::warn!("a lock was lost while waiting for the answer");
                }
            }
        }
    }
}

enum Unsaved {
    /// The profile holds another grant by now.
    Changed,
    /// It could not be written.
    Refused(String),
}

/// Writes the new tokens into the profile if it still holds the spent one. The caller holds the store's lock. The agents' own sync
/// writes without it, so what was written is looked at again.
fn save(target: &Path, id: &str, rescue: &Rescue, staged: Staged) -> Result<(), Unsaved> {
    let refused = |error: std::io::Error| Unsaved::Refused(files::io_words(&error));
    let edit = Edit {
        id: id.to_owned(),
        provider: String::new(),
        put: Put::Oauth {
            access: rescue.new.access.clone(),
            refresh: rescue.new.refresh.clone(),
            expires: rescue.new.expires,
        },
    };
    let mut staged = Some(staged);
    for _ in 0..3 {
        let (state, text, _) = store::read(target);
        let store::State::Read(profiles) = &state else {
            return Err(Unsaved::Refused("the store cannot be read".into()));
        };
        match holds(profiles, id) {
            Some(token) if token == rescue.spent => {}
            _ => return Err(Unsaved::Changed),
        }
        let patched = store::patch(text.as_deref(), std::slice::from_ref(&edit)).map_err(Unsaved::Refused)?;
        let staged = match staged.take() {
            Some(staged) => staged,
            None => stage(target).map_err(refused)?,
        };
        staged.commit(patched.as_bytes()).map_err(refused)?;
        files::sync_dir(target).map_err(refused)?;
        if files::read(target).is_ok_and(|read| read.bytes == patched.as_bytes()) {
            return Ok(());
        }
    }
    Err(Unsaved::Refused("somebody else wrote the store each time".into()))
}

fn holds(profiles: &[Profile], id: &str) -> Option<Fingerprint> {
    let profile = profiles.iter().find(|profile| profile.id == id)?;
    profile.credential.refresh_fingerprint()
}

/// What passes before left of such renewals: rescued tokens are saved in their place, fences are settled.
pub(super) async fn settle(ctx: &Ctx, ledger: &mut Ledger, view: &View) -> Vec<Done> {
    let mut done = Vec::new();
    let rescues = rescue::all(&ctx.state_dir);
    for agent in &view.agents {
        if agent.sqlite || !matches!(agent.store, store::State::Read(_)) {
            continue;
        }
        let label = agent.agent.agent.label();
        let keys: Vec<String> = agent.profiles.iter().map(|p| copy_key(&label, &p.profile.id)).collect();
        for (profile, key) in agent.profiles.iter().zip(keys) {
            let rescued = rescues.iter().find(|(_, rescue)| rescue.whom == key);
            let record = ledger.renewals.get(&key).cloned();
            let now = (
                profile.profile.credential.refresh_fingerprint(),
                profile.profile.credential.expires(),
            );
            let say = |outcome| Done {
                whom: key.clone(),
                path: agent.path.clone(),
                outcome,
            };
            if let Some((path, rescue)) = rescued {
                match complete(view, agent, &profile.profile.id, rescue).await {
                    Ok(saved) => {
                        if let Err(error) = files::remove(path) {
                            tracing::warn!("rescue: {}", files::io_words(&error));
                        }
                        ledger.renewals.remove(&key);
                        if saved {
                            let how = "from tokens that an earlier pass could not save";
                            done.push(say(Outcome::Renewed(how.into())));
                        }
                    }
                    Err(why) => {
                        let mut record = Record::of(record.as_ref(), rescue.spent);
                        record.stage = Stage::Rescued {
                            at: ctx.clock.now(),
                            why: why.clone(),
                        };
                        ledger.renewals.insert(key.clone(), record);
                        done.push(say(Outcome::NotRenewed(direct::save_failed(&key, &agent.path, &why))));
                    }
                }
                continue;
            }
            let Some(mut record) = record else { continue };
            let (expires, at, why) = match &record.stage {
                Stage::Idle | Stage::Running { .. } => continue,
                Stage::Sent { expires, at } => (*expires, *at, "the process died before the answer came".to_owned()),
                Stage::Unknown { expires, at, why } => (*expires, *at, why.clone()),
                Stage::Rescued { at, .. } => (now.1, *at, "its rescued tokens are gone".to_owned()),
            };
            if now != (Some(record.token), expires) {
                ledger.renewals.remove(&key);
            } else if !matches!(record.stage, Stage::Unknown { .. }) {
                let problem = direct::unknown(&key, &agent.path, &why);
                record.stage = Stage::Unknown { expires, at, why };
                ledger.renewals.insert(key.clone(), record);
                done.push(say(Outcome::NotRenewed(problem)));
            }
        }
    }
    done
}

/// `Ok(true)` where the tokens were saved now, `Ok(false)` where they need not be any more.
async fn complete(view: &View, agent: &AgentView, id: &str, rescue: &Rescue) -> Result<bool, String> {
    let target = files::real_target(&agent.path).map_err(|error| files::io_words(&error))?;
    let terms = store_terms(&view.state_dirs[agent.agent.state_dir]).map_err(|error| error.to_string())?;
    let lock = locks::acquire(&locks::lock_path(&target), terms)
        .await
        .map_err(|error| error.to_string())?;
    let (state, ..) = store::read(&target);
    let there = state.profiles().iter().find(|profile| profile.id == id);
    let new = Some(rescue.new.refresh.fingerprint());
    let saved = match there.map(|profile| &profile.credential) {
        Some(now) if now.refresh_fingerprint() == new && now.expires() >= Some(rescue.new.expires as Ms) => Ok(false),
        _ => stage(&target)
            .map_err(|error| Unsaved::Refused(files::io_words(&error)))
            .and_then(|staged| save(&target, id, rescue, staged))
            .map(|()| true),
    };
    drop(lock);
    match saved {
        Ok(saved) => Ok(saved),
        Err(Unsaved::Changed) => Ok(false),
        Err(Unsaved::Refused(why)) => Err(why),
    }
}

//! Renewal of a grant that one store owns alone: its own lineage, a provider of the table, `mode = "direct"`.
//!
//! The [`engine`] does it, the locks are the agents': every JSON generation holds
//! `<store>.lock` over the exchange, a directory or a file, and openclaw from 2026.4.20 on a lock of the grant around it
//! ([`families::refresh_lock_target`]). So both are held here, in that order. Where it cannot be told what the agents lock, the
//! store is not touched.

use super::engine::{self, Grant, Now, Spend};
use super::exchange::Exchange;
use super::rescue::Rescue;
use crate::ctx::Ctx;
use crate::edge::host::{monotonic, since};
use crate::edge::locks::{self, Group, LockError, PATIENCE, Terms};
use crate::edge::replace::{self, Planned};
use crate::edge::{files, process, step};
use crate::look::{self, World};
use crate::outcome::{Asked, Done, Seen, What};
use crate::renew::{Attempt, note_failure, problem, unfit};
use crate::rules::agent::{Edit, Generation, Put, RefreshLocks, StateDir};
use crate::rules::memory::Ledger;
use crate::rules::neighbours::{self, Neighbours, Sight};
use crate::rules::renew::{self as rule, Not, OwnCase, Record};
use crate::rules::view::{AgentView, View, copy_key};
use crate::rules::{agent, login};
use crate::secret::{Fingerprint, SecretUrl};
use crate::sources::owner;
use crate::sources::providers::{self, Provider};
use crate::sources::save::{self, Ready, SaveError};
use crate::stores::{families, store};
use crate::types::{Credential, LockKind, Moment, Problem, Profile};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A store's own grant as the engine sees it.
struct StoreGrant<'a> {
    key: String,
    agent: &'a AgentView,
    state_dir: &'a StateDir,
    profile: &'a Profile,
}

impl<'a> StoreGrant<'a> {
    fn new(view: &'a View, agent: &'a AgentView, profile: &'a Profile) -> Self {
        Self {
            key: copy_key(&agent.label(), &profile.id),
            agent,
            state_dir: &view.state_dirs[agent.agent.state_dir],
            profile,
        }
    }

    fn grant_lock(&self) -> PathBuf {
        locks::lock_path(&families::refresh_lock_target(
            &self.state_dir.dir,
            &self.profile.provider,
            &self.profile.id,
        ))
    }

    fn target(&self) -> io::Result<PathBuf> {
        files::real_target(&self.agent.path)
    }

    async fn lock_all(&self, wait: Duration) -> Result<Group, LockError> {
        let mut group = Group::default();
        if let Ok(RefreshLocks::GrantThenStore) = self.state_dir.refresh_locks {
            let path = self.grant_lock();
            // in the agents' state directory, which is theirs to make
            if files::is_dir(&self.state_dir.dir)
                && let Some(dir) = path.parent()
            {
                files::make_dirs(dir)?;
            }
            let terms = Terms {
                wait,
                ..families::GRANT_LOCK
            };
            group.add(locks::acquire(&path, terms).await?);
        }
        let store = locks::lock_path(&self.target()?);
        let terms = families::store_lock(&self.state_dir.generation).map_err(io::Error::other)?;
        group.add(locks::acquire(&store, Terms { wait, ..terms }).await?);
        Ok(group)
    }

    /// Puts the new tokens into the profile if it still holds the spent one.
    fn planned(&self, target: &Path, rescue: &Rescue) -> Result<Option<Planned>, SaveError> {
        let (state, before, keep) = store::read(target);
        let agent::Store::Read(profiles) = &state else {
            return Err(SaveError::NotPatchable("the store cannot be read".into()));
        };
        let there = profiles.iter().find(|profile| profile.id == self.profile.id);
        let there = there.map(|profile| &profile.credential);
        let new = rescue.new.refresh.fingerprint();
        match there.and_then(Credential::refresh_fingerprint) {
            // an agent wrote the store once more, and kept what we had saved
            Some(token) if token == new && there.and_then(Credential::expires) >= Some(rescue.new.expires) => {
                return Ok(None);
            }
            Some(token) if token == rescue.spent || token == new => {}
            _ => return Err(SaveError::Changed),
        }
        let edit = Edit {
            id: self.profile.id.clone(),
            provider: String::new(),
            put: Put::Oauth {
                access: rescue.new.access.clone(),
                refresh: rescue.new.refresh.clone(),
                expires: rescue.new.expires,
            },
        };
        let after = store::patch(before.as_deref(), &[edit]).map_err(SaveError::NotPatchable)?;
        Ok(Some(Planned { before, after, keep }))
    }
}

impl Grant for StoreGrant<'_> {
    fn key(&self) -> &str {
        &self.key
    }

    fn file(&self) -> &Path {
        &self.agent.path
    }

    fn owner_record(&self) -> PathBuf {
        let target = self.target().unwrap_or_else(|_| self.agent.path.clone());
        login::owner_beside(&locks::lock_path(&target))
    }

    async fn lock(&self) -> Result<Group, LockError> {
        let begun = monotonic();
        // the recorded holder may be stopped, with an answer on its way
        while owner::is_held(&self.owner_record()) {
            if since(begun) >= PATIENCE {
                return Err(LockError::Busy(PATIENCE));
            }
            step::pause(Duration::from_millis(200)).await;
        }
        self.lock_all(PATIENCE.saturating_sub(since(begun))).await
    }

    fn prepare(&self) -> io::Result<Ready> {
        save::prepare(&self.agent.path)
    }

    /// The agents' own sync writes without the lock, so what was written is looked at again.
    async fn save(&self, ready: Ready, locks: &Group, rescue: &Rescue) -> Result<(), SaveError> {
        let (staged, target) = ready.parts();
        let mut staged = Some(staged);
        for _ in 0..3 {
            let plan = || self.planned(&target, rescue);
            match replace::edit(&target, staged.take(), plan, &|| locks.are_ours())? {
                None => return Ok(()),
                Some(synced) => synced?,
            }
            if matches!(self.planned(&target, rescue), Ok(None)) {
                return Ok(());
            }
        }
        Err(SaveError::Crowded)
    }

    fn now(&self, _: &Ctx) -> Now {
        let (state, ..) = store::read(&self.agent.path);
        match &state {
            agent::Store::Read(profiles) => {
                let profile = profiles.iter().find(|profile| profile.id == self.profile.id);
                match profile.map(|profile| &profile.credential) {
                    Some(now) => now
                        .refresh_fingerprint()
                        .map_or(Now::Gone, |token| Now::Holds(token, now.expires())),
                    None => Now::Gone,
                }
            }
            state => state.unread().map_or(Now::Gone, |why| Now::Unreadable(why.to_owned())),
        }
    }

    fn not_writable(&self, what: &str, error: &io::Error) -> Problem {
        problem(
            "store_not_written",
            &self.agent.path,
            format!(
                "`{}` was not renewed, since {what}: {}",
                self.key,
                files::io_words(error)
            ),
            "make room, and make the store writable for the user who runs nolapse",
        )
    }

    fn busy(&self) -> Problem {
        problem(
            "store_locked",
            locks::lock_path(&self.agent.path),
            format!(
                "`{}` was not renewed: it or its store is locked by another process",
                self.key
            ),
            "nothing to do if it passes",
        )
    }
}

/// Renews what is due.
pub(super) async fn renew(ctx: &Ctx, ledger: &mut Ledger, view: &View, asked: &Asked, dry_run: bool) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut taken_over = Vec::new();
    for agent in &view.agents {
        let label = agent.label();
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
            let world = World::of(ctx, ledger, view);
            let case = case(world, agent, &profile.profile.credential, &key, asked);
            let due = rule::own_due(&case, view.now);
            let unfit = match due {
                Ok(_) => unfit(ctx, "store_not_written", &key, &agent.path),
                Err(_) => None,
            };
            let what = match (due, unfit) {
                (Err(why), _) => {
                    let end = profile.profile.credential.expires();
                    if end.is_some_and(|end| end - ctx.config.renew.lead <= view.now) {
                        remember(ledger, &key, token, &why, view.now);
                    }
                    What::Not(why)
                }
                (Ok(_), Some(problem)) if dry_run => What::Failed(problem),
                (Ok(_), Some(problem)) => note_failure(ctx, ledger, &key, token, problem.into()),
                (Ok(_), None) if dry_run => What::Would("directly, under its agents' locks".into()),
                // whoever held the store's lock may have posted any of its grants
                (Ok(_), None) if taken_over.contains(&&agent.path) => What::Not(Not::TakenOver),
                (Ok(_), None) => match one(
                    ctx,
                    ledger,
                    &StoreGrant::new(view, agent, &profile.profile),
                    provider,
                    asked,
                )
                .await
                {
                    Attempt::Renewed { expires, by } => {
                        ledger.renewals.remove(&key);
                        What::Renewed { expires, by }
                    }
                    Attempt::Not(why) => {
                        if why == Not::TakenOver {
                            taken_over.push(&agent.path);
                        }
                        What::Not(why)
                    }
                    Attempt::Failed(failed) => note_failure(ctx, ledger, &key, token, failed),
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

/// What may be due, by key: neither its store nor its agents' locks are asked.
pub(super) fn due<'a>(
    ctx: &'a Ctx,
    ledger: &'a Ledger,
    view: &'a View,
    asked: &'a Asked,
) -> impl Iterator<Item = String> + 'a {
    let all = view
        .agents
        .iter()
        .flat_map(|agent| agent.profiles.iter().map(move |one| (agent, one)));
    all.filter(|(_, one)| one.login.is_none() && providers::provider(&one.profile.provider).is_some())
        .filter_map(|(agent, one)| {
            let key = copy_key(&agent.label(), &one.profile.id);
            let case = OwnCase {
                credential: &one.profile.credential,
                lead: ctx.config.renew.lead,
                shared: false,
                writable: Ok(()),
                known_locks: Ok(()),
                rejected: &ledger.rejected,
                spent: &ledger.spent,
                force: asked.force,
                record: ledger.renewals.get(&key),
            };
            rule::own_due(&case, view.now).is_ok().then_some(key)
        })
}

fn case<'a>(
    World { ctx, ledger, view }: World<'a>,
    agent: &'a AgentView,
    credential: &'a Credential,
    key: &str,
    asked: &Asked,
) -> OwnCase<'a> {
    let token = credential.refresh_fingerprint();
    let holders = view
        .profiles()
        .filter(|other| other.profile.credential.refresh_fingerprint() == token)
        .count();
    OwnCase {
        credential,
        lead: ctx.config.renew.lead,
        shared: holders > 1,
        writable: agent.writable.as_ref().copied(),
        known_locks: known_locks(
            &view.state_dirs[agent.agent.state_dir],
            || neighbours::seen(&openclaw()),
        ),
        rejected: &ledger.rejected,
        spent: &ledger.spent,
        force: asked.force,
        record: ledger.renewals.get(key),
    }
}

/// Keeps why a grant is not renewed although it is due, so that the alert of its end can say it.
fn remember(ledger: &mut Ledger, key: &str, token: Fingerprint, why: &Not, now: Moment) {
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
fn known_locks(state_dir: &StateDir, seen: impl FnOnce() -> Result<(), &'static str>) -> Result<(), &str> {
    state_dir.refresh_locks.as_ref().map_err(String::as_str)?;
    match state_dir.generation {
        Generation::Json(LockKind::File) => seen(),
        _ => Ok(()),
    }
}

/// What the process list shows of OpenClaw.
fn openclaw() -> Neighbours {
    Neighbours {
        place: match (process::place(), process::others_are_hidden()) {
            (process::PidSpace::Below, _) => Sight::Container,
            (process::PidSpace::Host, true) => Sight::HostHidden,
            (process::PidSpace::Host, false) => Sight::Host,
        },
        levels: process::levels(neighbours::is_openclaw),
    }
}

async fn one(
    ctx: &Ctx,
    ledger: &mut Ledger,
    before: &StoreGrant<'_>,
    provider: &'static Provider,
    asked: &Asked,
) -> Attempt {
    let locks = match before.lock().await {
        Ok(locks) => locks,
        Err(LockError::Busy(_)) => return Attempt::failed(before.busy()),
        Err(LockError::Io(error)) => {
            return Attempt::failed(before.not_writable("its store cannot be locked", &error));
        }
    };
    if locks.were_taken_over() {
        return Attempt::Not(Not::TakenOver);
    }
    // everything again, the other stores as well: another may hold this token by now
    let view = look::look(ctx, ledger);
    let found = view
        .agents
        .iter()
        .find(|other| other.path == before.agent.path)
        .and_then(|agent| {
            let profile = agent
                .profiles
                .iter()
                .find(|other| other.profile.id == before.profile.id)?;
            Some((agent, profile))
        });
    let Some((agent, found)) = found.filter(|(_, profile)| profile.login.is_none()) else {
        return Attempt::Not(Not::SignedOut);
    };
    let now = StoreGrant::new(&view, agent, &found.profile);
    // what was locked is no longer what would have to be
    let lock_of = |grant: &StoreGrant<'_>| {
        (
            grant.state_dir.generation.clone(),
            grant.state_dir.refresh_locks.clone(),
        )
    };
    if lock_of(&now) != lock_of(before) || now.profile.provider != before.profile.provider {
        return Attempt::failed(before.busy());
    }
    let credential = &found.profile.credential;
    let case = case(World::of(ctx, ledger, &view), agent, credential, &now.key, asked);
    let refresh = match rule::own_due(&case, view.now) {
        Ok(refresh) => refresh.clone(),
        Err(why) => return Attempt::Not(why),
    };
    // a process that ended, or gave up, posted it
    if owner::begun_and_not_saved(&now.owner_record(), Some(refresh.fingerprint()), agent.meta.as_ref()) {
        return Attempt::Not(Not::Abandoned);
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
    let spend = Spend {
        ask,
        expires: credential.expires(),
        margin: provider.margin,
    };
    engine::renew(ctx, ledger, &now, locks, spend).await
}

/// What passes before left of such renewals.
pub(super) async fn settle(ctx: &Ctx, ledger: &mut Ledger, view: &View, rescues: &[(PathBuf, Rescue)]) -> Vec<Done> {
    let mut done = Vec::new();
    for agent in &view.agents {
        if agent.sqlite {
            continue;
        }
        for profile in &agent.profiles {
            let grant = StoreGrant::new(view, agent, &profile.profile);
            let outcomes = engine::settle(ctx, ledger, &grant, rescues).await;
            done.extend(outcomes.into_iter().map(|outcome| Done {
                whom: grant.key.clone(),
                path: agent.path.clone(),
                outcome,
            }));
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::{HttpError, Reply};
    use crate::edge::step::hold::{self, Hold, Next};
    use crate::secret::Secret;
    use crate::sources::claude::NewTokens;
    use crate::trials::actors::block_on;
    use crate::trials::turns::alone;
    use crate::trials::world::{NOW, World as Home, oauth, refresh};
    use crate::types::{HOUR, MINUTE, Ms, SECOND};
    use serde_json::{Value, json};
    use std::cell::Cell;
    use std::fs;
    use std::rc::Rc;
    use std::time::SystemTime;

    const WORK: &str = "clawdbot/main#anthropic:work";
    const OTHER: &str = "clawdbot/main#anthropic:other";

    fn home(profiles: &Value) -> Home {
        let home = Home::new();
        Home::write(&home.store(), &json!({"version": 1, "profiles": profiles}));
        home
    }

    fn print(name: &str) -> Fingerprint {
        Secret::new(refresh(name)).fingerprint()
    }

    /// An agent of OpenClaw with one grant of its own.
    fn openclaw_home(version: Option<&str>, ends: Ms) -> Home {
        let home = Home::new();
        let config = version.map_or(json!({}), |version| json!({"meta": {"lastTouchedVersion": version}}));
        Home::write(&home.at(".openclaw/openclaw.json"), &config);
        let store = json!({"version": 1, "profiles": {"anthropic:work": oauth("0001", NOW + ends)}});
        Home::write(&home.at(".openclaw/agents/main/agent/auth-profiles.json"), &store);
        home
    }

    fn grant(view: &View) -> StoreGrant<'_> {
        let agent = &view.agents[0];
        let work = agent.profiles.iter().find(|one| one.profile.id == "anthropic:work");
        StoreGrant::new(view, agent, &work.unwrap().profile)
    }

    /// How it went with each grant, by its key.
    fn renewed(home: &Home, ledger: &mut Ledger, asked: &Asked, dry_run: bool) -> Vec<(String, String)> {
        let ctx = home.ctx("state", NOW);
        fs::create_dir_all(&ctx.state_dir).unwrap();
        let view = look::look(&ctx, ledger);
        let all = alone(&home.network, || block_on(renew(&ctx, ledger, &view, asked, dry_run)));
        all.into_iter().map(|seen| (seen.whom, said(&seen.what))).collect()
    }

    fn said(what: &What) -> String {
        match what {
            What::Renewed { .. } => "renewed".into(),
            What::Would(_) => "would".into(),
            What::Not(why) => format!("{why:?}"),
            What::Off => "off".into(),
            What::Failed(problem) => problem.kind.into(),
        }
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|(whom, what)| ((*whom).into(), (*what).into()))
            .collect()
    }

    #[test]
    fn of_a_stores_grants_those_are_renewed_that_are_its_own_and_asked_for() {
        let [login, work, other, strange] = ["0001", "0002", "0003", "0004"];
        let due = NOW - MINUTE;
        let mut unknown = oauth(strange, due);
        unknown["provider"] = "mystery".into();
        let home = home(&json!({
            "anthropic:claude-cli": oauth(login, due), "anthropic:other": oauth(other, due),
            "anthropic:work": oauth(work, due), "mystery:x": unknown,
        }));
        for name in [login, work, other, strange] {
            assert_eq!(home.network.sign_in(), name);
        }
        home.login(login, due);
        let (ctx, mut ledger) = (home.ctx("state", NOW), Ledger::default());
        let view = look::look(&ctx, &ledger);
        look::remember(&view, &mut ledger);
        let (view, none) = (look::look(&ctx, &ledger), Asked::default());
        assert!(due_keys(&ctx, &ledger, &view).eq([OTHER, WORK]));
        assert_eq!(
            renewed(&home, &mut ledger, &none, true),
            pairs(&[(OTHER, "would"), (WORK, "would")])
        );
        let of = |key: &str| Asked {
            login: Some(key.into()),
            ..Asked::default()
        };
        for key in [
            "claude",
            "clawdbot/main#anthropic:claude-cli",
            "clawdbot/main#mystery:x",
        ] {
            assert_eq!(renewed(&home, &mut ledger, &of(key), false), [], "{key}");
        }
        let live = |name: &str| home.network.is_live(name);
        assert!([login, work, other, strange].into_iter().all(live));
        assert_eq!(
            renewed(&home, &mut ledger, &of(WORK), false),
            pairs(&[(WORK, "renewed")])
        );
        assert!(!live(work) && live(other));
        let again = renewed(&home, &mut ledger, &none, false);
        assert_eq!(again[0], (OTHER.to_owned(), "renewed".to_owned()));
        assert!(again[1].1.starts_with("Fresh") && again.len() == 2, "{again:?}");
        assert!(ledger.renewals.is_empty() && !live(other) && live(login));
    }

    fn due_keys<'a>(ctx: &'a Ctx, ledger: &'a Ledger, view: &'a View) -> impl Iterator<Item = String> + 'a {
        static NONE: std::sync::LazyLock<Asked> = std::sync::LazyLock::new(Asked::default);
        due(ctx, ledger, view, &NONE)
    }

    #[test]
    fn what_cannot_be_saved_is_not_posted_and_counts_as_a_failure_unless_it_was_only_asked() {
        for dry_run in [true, false] {
            let home = home(&json!({"anthropic:work": oauth("0001", NOW - MINUTE)}));
            assert_eq!(home.network.sign_in(), "0001");
            let (ctx, mut ledger) = (home.ctx("state", NOW), Ledger::default());
            let view = look::look(&ctx, &ledger);
            // since it was looked at
            fs::remove_file(home.store()).unwrap();
            fs::create_dir(home.store()).unwrap();
            let work = || block_on(renew(&ctx, &mut ledger, &view, &Asked::default(), dry_run));
            let seen = alone(&home.network, work);
            assert_eq!((seen.len(), said(&seen[0].what)), (1, "store_not_written".to_owned()));
            assert_eq!(ledger.renewals.contains_key(WORK), !dry_run);
            assert!(home.network.is_live("0001"));
        }
    }

    #[test]
    fn what_the_last_holder_of_a_stores_lock_may_have_posted_waits_for_the_next_pass() {
        let due = NOW - MINUTE;
        let home = home(&json!({"anthropic:other": oauth("0001", due), "anthropic:work": oauth("0002", due)}));
        let names = [home.network.sign_in(), home.network.sign_in()];
        let lock = locks::lock_path(&home.store());
        fs::create_dir(&lock).unwrap();
        let old = SystemTime::now() - Duration::from_secs(90);
        fs::File::open(&lock).unwrap().set_modified(old).unwrap();
        let (mut ledger, none) = (Ledger::default(), Asked::default());
        for (how, live) in [("TakenOver", true), ("renewed", false)] {
            let all = renewed(&home, &mut ledger, &none, false);
            assert_eq!(all, pairs(&[(OTHER, how), (WORK, how)]));
            assert!(names.iter().all(|name| home.network.is_live(name) == live), "{how}");
        }
    }

    #[test]
    fn that_locks_are_not_known_is_remembered_once_a_grant_is_due() {
        const LEAD: Ms = 15 * MINUTE;
        for (ends, remembered) in [(LEAD + 1, false), (LEAD, true), (0, true), (-HOUR, true)] {
            let home = openclaw_home(None, ends);
            let mut ledger = Ledger::default();
            let all = renewed(&home, &mut ledger, &Asked::default(), false);
            assert!(all[0].1.starts_with("OtherLock"), "{all:?}");
            let last = ledger.renewals.values().next().and_then(|record| record.last.as_ref());
            assert_eq!(
                last.map(|last| &*last.kind),
                remembered.then_some("locks_not_seen"),
                "{ends}"
            );
        }
    }

    #[test]
    fn why_a_grant_is_not_renewed_is_remembered_from_when_it_was_first_so() {
        let (mut ledger, token) = (Ledger::default(), print("0001"));
        let other = |why: &str| Not::OtherLock(why.into());
        for (at, why, since) in [
            (1, Not::Shared, None),
            (2, other("one"), Some(2)),
            (3, other("one"), Some(2)),
            (4, other("two"), Some(4)),
            (5, Not::Shared, Some(4)),
        ] {
            remember(&mut ledger, WORK, token, &why, Moment::at(at));
            let last = ledger.renewals.get(WORK).and_then(|record| record.last.as_ref());
            assert_eq!(last.map(|last| last.at.ms()), since, "{at}");
        }
    }

    #[test]
    fn who_locks_with_files_must_be_seen() {
        let home = home(&json!({}));
        let view = look::look(&home.ctx("state", NOW), &Ledger::default());
        let (store, unseen) = (Ok(RefreshLocks::Store), Err("hidden"));
        for (locks, generation, seen, want) in [
            (store.clone(), Generation::Json(LockKind::File), Ok(()), Ok(())),
            (store.clone(), Generation::Json(LockKind::File), unseen, Err("hidden")),
            (store, Generation::Json(LockKind::Directory), unseen, Ok(())),
            (Err("new".into()), Generation::Json(LockKind::File), Ok(()), Err("new")),
        ] {
            let state_dir = StateDir {
                refresh_locks: locks,
                generation,
                ..view.state_dirs[0].clone()
            };
            assert_eq!(known_locks(&state_dir, || seen), want, "{state_dir:?}");
        }
    }

    #[test]
    fn new_tokens_go_into_the_profile_that_holds_the_spent_one_or_an_older_end_of_theirs() {
        const NEXT: Moment = Moment::at(NOW.ms() + 8 * HOUR);
        let home = home(&json!({"anthropic:work": oauth("0001", NOW)}));
        let view = look::look(&home.ctx("state", NOW), &Ledger::default());
        let rescue = Rescue {
            whom: WORK.into(),
            spent: print("0001"),
            until: Some(NOW),
            new: NewTokens {
                access: Secret::new("A2"),
                refresh: Secret::new(refresh("0002")),
                expires: NEXT,
                deadline: None,
            },
        };
        #[derive(Debug, PartialEq)]
        enum Plan {
            There,
            Write,
            Changed,
            NotPatchable,
        }
        let planned = || match grant(&view).planned(&home.store(), &rescue) {
            Ok(None) => Plan::There,
            Ok(Some(plan)) => {
                assert!(plan.after.contains("REFRESH-0002") && plan.after.contains(&NEXT.ms().to_string()));
                Plan::Write
            }
            Err(SaveError::Changed) => Plan::Changed,
            Err(_) => Plan::NotPatchable,
        };
        for (id, name, ends, want) in [
            ("work", "0001", NOW, Plan::Write),
            ("work", "0001", NEXT, Plan::Write),
            ("work", "0002", NEXT, Plan::There),
            ("work", "0002", NEXT + 1, Plan::There),
            ("work", "0002", NEXT - 1, Plan::Write),
            ("work", "0003", NEXT, Plan::Changed),
            ("work", "0003", NOW, Plan::Changed),
            ("else", "0001", NOW, Plan::Changed),
        ] {
            let profiles = json!({format!("anthropic:{id}"): oauth(name, ends), "anthropic:third": oauth("0009", NOW)});
            Home::write(&home.store(), &json!({"version": 1, "profiles": profiles}));
            assert_eq!(planned(), want, "{id} {name} {ends}");
        }
        fs::write(home.store(), "{").unwrap();
        assert_eq!(planned(), Plan::NotPatchable);
    }

    /// Time that passes as it is waited, until something happens.
    struct Waits<F> {
        waited: Cell<Duration>,
        at: Duration,
        then: F,
    }

    impl<F: Fn()> Hold for Waits<F> {
        fn step(&self, _: step::At, _: &Path) -> Next {
            Next::Go
        }

        fn pause(&self, time: Duration) {
            self.waited.set(self.waited.get() + time);
            if self.waited.get() >= self.at {
                (self.then)();
            }
        }

        fn ahead(&self) -> Duration {
            self.waited.get()
        }

        fn answer(&self, _: &str, _: &[u8]) -> Result<Reply, HttpError> {
            unreachable!("nothing is asked")
        }
    }

    #[test]
    fn a_recorded_holder_and_its_locks_are_waited_for_and_no_longer_than_patience() {
        const EVER: Ms = HOUR;
        const NEITHER: &[&str] = &[];
        let by_file = Some("2026.5.12");
        for (version, ends, held, taken) in [
            (None, 3 * SECOND, NEITHER, true),
            (None, EVER, NEITHER, false),
            (None, 15 * SECOND, &["store"], false),
            (by_file, 3 * SECOND, NEITHER, true),
            (by_file, 15 * SECOND, &["store"], false),
            (by_file, 15 * SECOND, &["grant"], false),
        ] {
            let what = format!("{version:?} {ends} {held:?}");
            let home = match version {
                None => self::home(&json!({"anthropic:work": oauth("0001", NOW)})),
                version => openclaw_home(version, 0),
            };
            let view = look::look(&home.ctx("state", NOW), &Ledger::default());
            let grant = grant(&view);
            // whoever started this test lives as long as it
            let holder = owner::tests::of(std::os::unix::process::parent_id());
            fs::write(grant.owner_record(), &holder).unwrap();
            for lock in held {
                let lock = match *lock {
                    "grant" => grant.grant_lock(),
                    _ => locks::lock_path(&grant.target().unwrap()),
                };
                fs::create_dir_all(lock.parent().unwrap()).unwrap();
                match version {
                    None => fs::create_dir(lock).unwrap(),
                    Some(_) => fs::write(lock, &holder).unwrap(),
                }
            }
            let record = grant.owner_record();
            let waits = Rc::new(Waits {
                waited: Cell::default(),
                at: Duration::from_millis(ends.unsigned_abs()),
                then: move || drop(fs::remove_file(&record)),
            });
            let hold: Rc<dyn Hold> = Rc::clone(&waits) as _;
            let locks = hold::of(hold, || block_on(grant.lock())).unwrap();
            assert_eq!(locks.is_ok(), taken, "{what}");
            let waited = waits.waited.get();
            assert!(waited <= PATIENCE + Duration::from_secs(2), "{what}: {waited:?}");
            assert!(taken || waited >= PATIENCE / 2, "{what}: {waited:?}");
        }
    }
}

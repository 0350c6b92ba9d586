//! What a pass does to files: logins healed from newer copies, stores brought up to date from their logins. Nothing is written that was
//! not read again under its lock just before.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::host;
use crate::edge::locks::{self, LockError, Terms};
use crate::edge::replace::{self, NotPut, Planned};
use crate::json::{Doc, Layout};
use crate::look::{self, World};
use crate::outcome::{Done, Outcome};
use crate::rules::agent::{Edit, Generation};
use crate::rules::login::{self, Source};
use crate::rules::memory::Ledger;
use crate::rules::plan;
use crate::rules::view::{AgentView, LoginView, View};
use crate::secret::Secret;
use crate::sources::claude::{self, NewTokens};
use crate::sources::save;
use crate::stores::{families, store};
use crate::types::{Credential, LockKind, Problem, Profile};
use std::path::Path;
use std::time::Duration;

/// How long a pass waits for held store locks, all together: the agents hold theirs for a refresh, seconds.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(25);

/// Removes what killed passes left beside what they wrote.
pub(crate) fn sweep(state_dir: &Path, view: &View) {
    let none = |_: &Path| false;
    replace::sweep(state_dir, none);
    for login in view.logins.iter().filter(|login| login.login.source == Source::File) {
        replace::sweep(&login.login.place.dir, none);
    }
    for dir in &view.state_dirs {
        replace::sweep(&dir.dir.join(families::GRANT_LOCKS), none);
    }
    for agent in view.agents.iter().filter(|agent| agent.writable.is_ok()) {
        replace::sweep(&agent.agent.agent.dir, none);
        if view.state_dirs[agent.agent.state_dir].generation == Generation::Json(LockKind::File) {
            let real = files::real(&agent.path).unwrap_or_else(|| agent.path.clone());
            for path in locks::leftovers(&locks::lock_path(&real)) {
                let _ = files::remove(&path);
            }
        }
        // what was written is what a link leads to
        if agent.meta.as_ref().is_some_and(|meta| meta.link)
            && let Some(dir) = files::real(&agent.path).as_deref().and_then(Path::parent)
        {
            replace::sweep(dir, none);
        }
    }
}

/// Whether a login is to be healed from a copy.
pub(crate) fn heals(ctx: &Ctx, view: &View) -> bool {
    let mut agents = view.agents.iter();
    ctx.config.sync.enabled && agents.any(|agent| plan::store(&ctx.config.sync, view, agent).heal.is_some())
}

/// Heals logins from newer copies, and looks again. Returns what was done.
pub(crate) async fn heal_logins(ctx: &Ctx, ledger: &Ledger, view: &mut View, dry_run: bool) -> Vec<Done> {
    let mut done = Vec::new();
    if ctx.config.sync.enabled && heal(ctx, view, dry_run, &mut done).await {
        *view = look::look(ctx, ledger);
    }
    done
}

/// Brings every store up to date, and looks again. Returns what was done.
pub(crate) async fn write_stores(ctx: &Ctx, ledger: &Ledger, view: &mut View, dry_run: bool) -> Vec<Done> {
    let mut done = Vec::new();
    if !ctx.config.sync.enabled {
        return done;
    }
    let mut waiting = Vec::new();
    // somebody else brought one up to date: what was seen before that is no cause to ring
    let mut moved = false;
    for agent in &view.agents {
        let plan = plan::store(&ctx.config.sync, view, agent);
        if plan.edits.is_empty() || agent.writable.is_err() {
            continue;
        }
        if dry_run {
            let outcome = match change(agent, &plan.edits) {
                Ok(diff) => Outcome::WouldWrite(diff),
                Err(why) => Outcome::Failed(not_written(ctx, agent, &why)),
            };
            done.push(Done {
                whom: agent.label(),
                path: agent.path.clone(),
                outcome,
            });
            continue;
        }
        match write_store(World::of(ctx, ledger, view), agent, Duration::ZERO).await {
            // another program is working on it: the others first
            Err(Refused::Busy) => waiting.push(agent),
            other => {
                moved |= other.as_ref().is_ok_and(Vec::is_empty);
                done.extend(report(ctx, agent, other));
            }
        }
    }
    let begun = host::monotonic();
    for agent in waiting {
        let left = STORE_PATIENCE
            .saturating_sub(host::since(begun))
            .max(Duration::from_millis(200));
        let outcome = write_store(World::of(ctx, ledger, view), agent, left).await;
        moved |= outcome.as_ref().is_ok_and(Vec::is_empty);
        done.extend(report(ctx, agent, outcome));
    }
    if moved
        || done
            .iter()
            .any(|done| matches!(done.outcome, Outcome::Written(_) | Outcome::Failed(_)))
    {
        *view = look::look(ctx, ledger);
    }
    if write_back(ctx, ledger, view, &done).await {
        *view = look::look(ctx, ledger);
    }
    done
}

/// Writes once more what an agent that takes no lock had read before and put back since: it rings only if that goes on.
async fn write_back(ctx: &Ctx, ledger: &Ledger, view: &View, done: &[Done]) -> bool {
    let written = |agent: &AgentView| {
        let of = |done: &Done| done.path == agent.path && matches!(done.outcome, Outcome::Written(_));
        done.iter().any(of)
    };
    let mut again = false;
    for agent in view.agents.iter().filter(|agent| written(agent)) {
        if !plan::store(&ctx.config.sync, view, agent).edits.is_empty() {
            let wrote = write_store(World::of(ctx, ledger, view), agent, Duration::ZERO).await;
            again |= wrote.is_ok();
        }
    }
    again
}

fn report(ctx: &Ctx, agent: &AgentView, outcome: Result<Vec<String>, Refused>) -> Option<Done> {
    let outcome = match outcome {
        Ok(ids) if ids.is_empty() => return None,
        Ok(ids) => Outcome::Written(ids),
        Err(Refused::Busy) => Outcome::Failed(Problem::at(
            "store_locked",
            locks::lock_path(&agent.path),
            format!("the store of {} stayed locked by another process", agent.label()),
            "nothing to do if this goes away; otherwise find out which process holds the lock",
        )),
        Err(Refused::Other(why)) => Outcome::Failed(not_written(ctx, agent, &why)),
    };
    Some(Done {
        whom: agent.label(),
        path: agent.path.clone(),
        outcome,
    })
}

fn not_written(ctx: &Ctx, agent: &AgentView, why: &str) -> Problem {
    Problem::at(
        "store_not_written",
        &agent.path,
        format!("`{}` was not written: {why}", ctx.host.tilde(&agent.path)),
        "make it writable for the user who runs nolapse, or exclude it with `sync.exclude_agents`",
    )
}

/// Why a store was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another process held its lock all the time.
    Busy,
    /// Anything else, in words.
    Other(String),
}

impl From<NotPut> for Refused {
    fn from(error: NotPut) -> Self {
        match error {
            NotPut::Lost => Self::Busy,
            NotPut::Changed => Self::Other("another program kept writing it".into()),
            NotPut::Io(error) => Self::Other(files::io_words(&error)),
        }
    }
}

/// A store's new text, and the profiles that differ in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The whole text.
    pub(crate) text: String,
    /// The ids.
    pub(crate) ids: Vec<String>,
}

/// Brings one agent's store up to date from its login. Returns the ids written.
async fn write_store(world: World<'_>, agent: &AgentView, wait: Duration) -> Result<Vec<String>, Refused> {
    edit_store(world, agent, wait, |now, text| {
        let plan = plan::store(&world.ctx.config.sync, now, &now.agents[0]);
        if plan.edits.is_empty() {
            return Ok(None);
        }
        let text = store::patch(text, &plan.edits)?;
        let ids = plan.edits.into_iter().map(|edit| edit.id).collect();
        Ok(Some(Change { text, ids }))
    })
    .await
}

/// The one way an agent's store is written: lock, re-read login and store, `decide` from that alone, write, re-read.
/// `decide` gets the view with that agent only and the store's text; it returns `None` if there is nothing to change.
/// Returns the ids written.
///
/// # Errors
/// [`Refused`]; the store is then as it was.
pub(crate) async fn edit_store(
    world: World<'_>,
    agent: &AgentView,
    wait: Duration,
    decide: impl Fn(&View, Option<&str>) -> Result<Option<Change>, String>,
) -> Result<Vec<String>, Refused> {
    let other = |error: std::io::Error| Refused::Other(files::io_words(&error));
    files::make_dirs(&agent.agent.agent.dir).map_err(other)?;
    let target = files::real_target(&agent.path).map_err(other)?;
    let terms =
        families::store_lock(&world.view.state_dirs[agent.agent.state_dir].generation).map_err(Refused::Other)?;
    let terms = Terms { wait, ..terms };
    let lock = locks::acquire(&locks::lock_path(&target), terms)
        .await
        .map_err(|error| match error {
            LockError::Busy(_) => Refused::Busy,
            LockError::Io(error) => Refused::Other(format!("its lock: {}", files::io_words(&error))),
        })?;
    let mut written = Vec::new();
    // clawdbot's own sync writes without the lock: what we wrote is looked at again, and written again if it is gone
    for _ in 0..3 {
        let (mut text, mut ids) = (String::new(), Vec::new());
        let plan = || {
            let (now, before) = look::again(world, agent);
            let fresh = &now.agents[0];
            fresh.writable.clone().map_err(|why| Refused::Other(why.to_string()))?;
            let Some(change) = decide(&now, before.as_deref()).map_err(Refused::Other)? else {
                return Ok::<_, Refused>(None);
            };
            text.clone_from(&change.text);
            ids = change.ids;
            Ok(Some(Planned {
                before,
                after: change.text,
                keep: fresh.meta.clone(),
            }))
        };
        match replace::edit(&target, None, plan, &|| lock.is_ours())? {
            None => break,
            Some(Err(error)) => {
                tracing::warn!(file = %target.display(), "may not survive a power cut: {}", files::io_words(&error));
            }
            Some(Ok(())) => {}
        }
        for id in ids {
            tracing::info!(agent = %agent.label(), profile = %id, "brought up to date");
            if !written.contains(&id) {
                written.push(id);
            }
        }
        if files::read(&target).is_ok_and(|read| read.bytes == text.as_bytes()) {
            break;
        }
    }
    drop(lock);
    Ok(written)
}

/// Brings logins up to date from copies that their agents renewed. Without it Claude Code would post the spent token next,
/// and be logged out.
async fn heal(ctx: &Ctx, view: &View, dry_run: bool, done: &mut Vec<Done>) -> bool {
    let mut healed = false;
    for (i, login) in view.logins.iter().enumerate() {
        let newest = view
            .agents
            .iter()
            .filter_map(|agent| {
                let (at, id) = plan::store(&ctx.config.sync, view, agent).heal?;
                let profile = agent.profiles.iter().find(|p| at == i && p.profile.id == id)?;
                Some((profile.profile.credential.expires(), agent, profile))
            })
            .max_by_key(|(expires, ..)| *expires);
        let Some((_, agent, profile)) = newest else { continue };
        let label = agent.label();
        let outcome = if dry_run {
            Outcome::WouldHeal(label)
        } else {
            match heal_from(login, agent, &profile.profile).await {
                Ok(()) => {
                    healed = true;
                    tracing::info!(login = login.id(), from = %label, "healed the login from a newer copy");
                    Outcome::Healed(label)
                }
                Err(why) => Outcome::Failed(Problem::at(
                    "login_not_healed",
                    login.login.place.file(),
                    format!(
                        "{label} renewed the login `{}`, and its own file could not be updated: {why}",
                        login.id()
                    ),
                    "the next pass will retry; until then Claude Code may be logged out",
                )),
            }
        };
        done.push(Done {
            whom: login.id().to_owned(),
            path: login.login.place.file(),
            outcome,
        });
    }
    healed
}

async fn heal_from(login: &LoginView, agent: &AgentView, copy: &Profile) -> Result<(), String> {
    let Credential::Oauth {
        access: Some(access),
        refresh: Some(refresh),
        expires: Some(expires),
    } = &copy.credential
    else {
        return Err("the copy is not complete".into());
    };
    if login.login.source != Source::File {
        return Err("it is kept in the Keychain, which nolapse does not write".into());
    }
    let place = &login.login.place;
    let locks = save::lock(place, locks::PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    // its agent may have renewed it once more while the locks were waited for: what was read before is then a spent token
    if !look::profiles_again(agent).contains(copy) {
        return Err("the copy was changed meanwhile".into());
    }
    // what we knew about the login must still hold: its tokens have not changed, or it was blanked meanwhile
    let (state, _) = claude::read(place);
    let login::State::SignedIn(now) = &state else {
        return Err("the login is gone".into());
    };
    // another pass was quicker, with its state elsewhere
    if now.refresh.token() == Some(refresh) && now.expires >= Some(*expires) {
        return Ok(());
    }
    let before = login.login.grant();
    let same = now.blanked || before.is_some_and(|before| before.refresh == now.refresh);
    if !same {
        return Err("the login was changed meanwhile".into());
    }
    if !now.blanked && now.expires.is_some_and(|at| at >= *expires) {
        return Err("the login is as new as the copy".into());
    }
    let expected = now.refresh.token().map_or(refresh.fingerprint(), Secret::fingerprint);
    let ready = save::prepare(&place.file()).map_err(|error| files::io_words(&error))?;
    let new = NewTokens {
        access: access.clone(),
        refresh: refresh.clone(),
        expires: *expires,
        deadline: None,
    };
    ready
        .save(place, &locks, expected, &new)
        .await
        .map_err(|error| error.to_string())
}

/// The exact change of a store as a diff, every secret as its fingerprint.
///
/// # Errors
/// Where the store cannot be patched.
pub(crate) fn change(agent: &AgentView, edits: &[Edit]) -> Result<String, String> {
    let (_, text, _) = store::read(&agent.path);
    let after = store::patch(text.as_deref(), edits)?;
    let shown = |text: &str| -> Result<String, String> {
        let mut doc = Doc::parse(text)?;
        redact(&mut doc);
        Ok(doc.to_text(Layout::Pretty))
    };
    let before = text.as_deref().map(shown).transpose()?.unwrap_or_default();
    let after = shown(&after)?;
    let diff = similar::TextDiff::from_lines(&before, &after);
    Ok(diff.unified_diff().context_radius(2).to_string())
}

/// Replaces every string by its fingerprint, except where it is known to be harmless.
fn redact(doc: &mut Doc) {
    const SHOWN: [&str; 6] = ["type", "provider", "email", "accountId", "lastGood", "order"];
    match doc {
        Doc::Object(members) => {
            for (key, value) in members {
                if !SHOWN.contains(&key.trim_matches('"')) {
                    redact(value);
                }
            }
        }
        Doc::Array(items) => items.iter_mut().for_each(redact),
        Doc::Scalar(text) if text.starts_with('"') => {
            let fingerprint = Secret::new(text.trim_matches('"')).fingerprint();
            *text = format!("\"#{fingerprint}\"");
        }
        Doc::Scalar(_) => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::edge::host::{Clock, Host};
    use crate::edge::http::Http;
    use crate::types::{HOUR, Moment};
    use std::collections::BTreeMap;

    pub(crate) const NOW: Moment = Moment::at(1_769_000_000_000);

    pub(crate) fn ctx(home: &Path) -> Ctx {
        let host = Host {
            home: home.into(),
            env: BTreeMap::new(),
            cwd: home.into(),
            name: "t".into(),
            macos: false,
            own: vec!["nolapse".into()],
        };
        Ctx {
            host,
            clock: Clock::Fixed(NOW),
            config: Config::default(),
            state_dir: home.join("state"),
            http: Http::new(&BTreeMap::new()),
        }
    }

    /// The agent's copy as it stood when it was looked at is healed from only if it still stands so under the locks.
    #[tokio::test(flavor = "current_thread")]
    async fn a_login_is_never_healed_from_a_copy_that_moved_on() {
        let home = tempfile::tempdir().unwrap();
        let login = |token: &str| {
            let end = NOW + 1000;
            format!(
                r#"{{"claudeAiOauth":{{"accessToken":"a","refreshToken":"{token}","expiresAt":{end},"scopes":[]}}}}"#
            )
        };
        let copy = |token: &str| {
            let end = NOW + 9000;
            format!(
                r#"{{"profiles":{{"anthropic:claude-cli":{{"type":"oauth","provider":"anthropic","access":"b","refresh":"{token}","expires":{end}}}}}}}"#
            )
        };
        let (file, dir) = (
            home.path().join(".claude"),
            home.path().join(".clawdbot/agents/main/agent"),
        );
        std::fs::create_dir_all(&file).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        let (file, store) = (file.join(".credentials.json"), dir.join(store::FILE_NAME));
        std::fs::write(&file, login("R1")).unwrap();
        std::fs::write(&store, copy("R2")).unwrap();
        let ctx = ctx(home.path());
        let view = look::look(&ctx, &Ledger::default());
        let (login_view, agent) = (&view.logins[0], &view.agents[0]);
        let seen = agent.profiles[0].profile.clone();

        std::fs::write(&store, copy("R3")).unwrap();
        assert!(heal_from(login_view, agent, &seen).await.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), login("R1"));

        std::fs::write(&store, copy("R2")).unwrap();
        // somebody signed in again meanwhile, or renewed without a new refresh token
        let signed_in = login("R9");
        let renewed = login("R1").replace(&(NOW + 1000).to_string(), &(NOW + 9000).to_string());
        let newer = renewed.replace(&(NOW + 9000).to_string(), &(NOW + 9001).to_string());
        for theirs in [&signed_in, &renewed, &newer] {
            std::fs::write(&file, theirs).unwrap();
            assert!(heal_from(login_view, agent, &seen).await.is_err(), "{theirs}");
            assert_eq!(&std::fs::read_to_string(&file).unwrap(), theirs);
        }

        std::fs::write(&file, login("R1")).unwrap();
        heal_from(login_view, agent, &seen).await.unwrap();
        let healed = std::fs::read_to_string(&file).unwrap();
        assert!(healed.contains("R2"));
        // another pass was quicker
        heal_from(login_view, agent, &seen).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), healed);
    }

    fn access(n: u8) -> String {
        format!("sk-ant-oat01-{n:a<90}")
    }

    /// A login with that access token.
    fn fresh(n: u8, end: Moment) -> String {
        let token = access(n);
        format!(
            r#"{{"claudeAiOauth":{{"accessToken":"{token}","refreshToken":"R2","expiresAt":{end},"scopes":["a"]}}}}"#
        )
    }

    /// A store that holds that access token.
    fn copy(n: u8, end: Moment) -> String {
        let token = access(n);
        format!(
            r#"{{"version":1,"profiles":{{"anthropic:claude-cli":{{"type":"token","provider":"anthropic","token":"{token}","expires":{end}}}}}}}"#
        )
    }

    /// Whoever holds a store's lock may bring it up to date meanwhile: nobody is to hear of the copy that was seen before.
    #[tokio::test(flavor = "current_thread")]
    async fn a_store_that_somebody_else_brought_up_to_date_is_looked_at_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let (store, lock) = (dir.join(store::FILE_NAME), dir.join("auth-profiles.json.lock"));
        let end = NOW + HOUR;
        std::fs::write(home.path().join(".claude/.credentials.json"), fresh(2, end)).unwrap();
        std::fs::write(&store, copy(1, NOW - HOUR)).unwrap();
        let (ctx, mut ledger) = (ctx(home.path()), Ledger::default());
        let mut view = look::look(&ctx, &ledger);
        look::remember(&view, &mut ledger);
        let expired = |view: &View| view.agents[0].profiles[0].verdict.health == crate::types::Health::Expired;
        assert!(expired(&view));
        std::fs::create_dir(&lock).unwrap();
        let other = async {
            std::fs::write(&store, copy(2, end)).unwrap();
            std::fs::remove_dir(&lock).unwrap();
        };
        let (done, ()) = tokio::join!(write_stores(&ctx, &ledger, &mut view, false), other);
        assert!(done.is_empty() && !expired(&view), "{done:?}");
        // nor where that was over before anybody waited for the lock
        std::fs::write(&store, copy(1, NOW - HOUR)).unwrap();
        view = look::look(&ctx, &ledger);
        assert!(expired(&view));
        std::fs::write(&store, copy(2, end)).unwrap();
        let done = write_stores(&ctx, &ledger, &mut view, false).await;
        assert!(done.is_empty() && !expired(&view), "{done:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_a_store_that_was_written_is_written_back() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        std::fs::write(home.path().join(".claude/.credentials.json"), fresh(2, NOW + HOUR)).unwrap();
        let old = copy(1, NOW - HOUR);
        let stores = ["main", "work", "busy"].map(|agent| {
            let dir = home.path().join(format!(".clawdbot/agents/{agent}/agent"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(store::FILE_NAME), &old).unwrap();
            dir.join(store::FILE_NAME)
        });
        let (ctx, mut ledger) = (ctx(home.path()), Ledger::default());
        let view = look::look(&ctx, &ledger);
        look::remember(&view, &mut ledger);
        let done = |path: &Path, outcome| Done {
            whom: "x".into(),
            path: path.to_owned(),
            outcome,
        };
        let busy = Problem::at("store_locked", &stores[2], "m", "h");
        let done = [
            done(&stores[0], Outcome::Written(vec!["x".into()])),
            done(&stores[2], Outcome::Failed(busy)),
        ];
        assert!(!write_back(&ctx, &ledger, &view, &done[1..]).await);
        assert!(write_back(&ctx, &ledger, &view, &done).await);
        let written = stores.map(|store| std::fs::read_to_string(store).unwrap() != old);
        assert_eq!(written, [true, false, false]);
    }

    /// Whoever took our lock meanwhile writes by it: nothing of ours is written then.
    #[tokio::test(flavor = "current_thread")]
    async fn a_store_is_not_written_once_its_lock_is_lost() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        let (store, lock) = (dir.join(store::FILE_NAME), dir.join("auth-profiles.json.lock"));
        std::fs::write(&store, r#"{"profiles":{}}"#).unwrap();
        let ctx = ctx(home.path());
        let ledger = Ledger::default();
        let view = look::look(&ctx, &ledger);
        let world = World::of(&ctx, &ledger, &view);
        for (lost, written) in [(true, false), (false, true)] {
            let done = edit_store(world, &view.agents[0], Duration::ZERO, |_, before| {
                if lost {
                    std::fs::remove_dir(&lock).unwrap();
                    std::fs::create_dir(&lock).unwrap();
                }
                let change = Change {
                    text: r#"{"profiles":{},"ours":1}"#.into(),
                    ids: vec!["x".into()],
                };
                Ok((before != Some(change.text.as_str())).then_some(change))
            })
            .await;
            assert_eq!(done.is_ok(), written, "{done:?}");
            assert_eq!(std::fs::read_to_string(&store).unwrap().contains("ours"), written);
            let _ = std::fs::remove_dir(&lock);
        }
    }

    /// A store with a key before the copy of the login.
    fn store_of(copy: &str, end: Moment) -> String {
        format!(
            r#"{{"version":1,"profiles":{{"other:key":{{"type":"api_key","provider":"other","key":"K"}},"anthropic:claude-cli":{{"type":"oauth","provider":"anthropic","access":"{copy}","refresh":"{copy}","expires":{end}}}}}}}"#
        )
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_login_is_healed_from_the_copy_that_moved_on_where_that_is_wanted() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let (file, store) = (
            home.path().join(".claude/.credentials.json"),
            dir.join(store::FILE_NAME),
        );
        let end = NOW + HOUR;
        let login = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"R1","refreshToken":"R1","expiresAt":{end},"scopes":["a"]}}}}"#
        );
        std::fs::write(&file, &login).unwrap();
        std::fs::write(&store, store_of("R1", end)).unwrap();
        let (mut ctx, mut ledger) = (ctx(home.path()), Ledger::default());
        let mut view = look::look(&ctx, &ledger);
        look::remember(&view, &mut ledger);
        assert!(!heals(&ctx, &view));
        assert!(heal_logins(&ctx, &ledger, &mut view, false).await.is_empty());

        std::fs::write(&store, store_of("R2", end + HOUR)).unwrap();
        for (enabled, dry_run) in [(false, false), (true, true), (true, false)] {
            ctx.config.sync.enabled = enabled;
            let mut view = look::look(&ctx, &ledger);
            assert_eq!(heals(&ctx, &view), enabled);
            let done = heal_logins(&ctx, &ledger, &mut view, dry_run).await;
            let right = match (enabled, dry_run) {
                (false, _) => done.is_empty(),
                (_, true) => matches!(
                    &done[..],
                    [Done {
                        outcome: Outcome::WouldHeal(_),
                        ..
                    }]
                ),
                _ => matches!(
                    &done[..],
                    [Done {
                        outcome: Outcome::Healed(_),
                        ..
                    }]
                ),
            };
            assert!(right, "{enabled} {dry_run}: {done:?}");
            let healed = enabled && !dry_run;
            assert_eq!(std::fs::read_to_string(&file).unwrap() != login, healed);
            // it was looked at again
            assert_eq!(heals(&ctx, &view), enabled && !healed);
        }
    }

    #[test]
    fn each_copy_of_a_login_is_followed_whatever_its_name() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let login = |n: u8| {
            let end = NOW + i64::from(n) * HOUR;
            let text = format!(
                r#"{{"claudeAiOauth":{{"accessToken":"A{n}","refreshToken":"R{n}","expiresAt":{end},"scopes":["a"]}}}}"#
            );
            std::fs::write(home.path().join(".claude/.credentials.json"), text).unwrap();
        };
        let copy = format!(
            r#"{{"type":"oauth","provider":"anthropic","access":"A1","refresh":"R1","expires":{}}}"#,
            NOW + HOUR
        );
        let text = format!(r#"{{"profiles":{{"anthropic:claude-cli":{copy},"mine":{copy}}}}}"#);
        std::fs::write(dir.join(store::FILE_NAME), text).unwrap();
        let (ctx, mut ledger) = (ctx(home.path()), Ledger::default());
        for (n, edited) in [(1, &[][..]), (2, &["anthropic:claude-cli", "mine"])] {
            login(n);
            let view = look::look(&ctx, &ledger);
            look::remember(&view, &mut ledger);
            let view = look::look(&ctx, &ledger);
            let plan = plan::store(&ctx.config.sync, &view, &view.agents[0]);
            let ids: Vec<&str> = plan.edits.iter().map(|edit| edit.id.as_str()).collect();
            assert_eq!((&ids[..], plan.kept.len()), (edited, 2 - edited.len()), "{plan:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_still_there_after_it_was_written_is_not_written_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(store::FILE_NAME), r#"{"profiles":{}}"#).unwrap();
        let (ctx, ledger) = (ctx(home.path()), Ledger::default());
        let view = look::look(&ctx, &ledger);
        let planned = std::cell::Cell::new(0);
        let done = edit_store(
            World::of(&ctx, &ledger, &view),
            &view.agents[0],
            Duration::ZERO,
            |_, _| {
                planned.set(planned.get() + 1);
                Ok(Some(Change {
                    text: r#"{"profiles":{},"ours":1}"#.into(),
                    ids: vec!["x".into()],
                }))
            },
        );
        assert_eq!(done.await, Ok(vec!["x".to_owned()]));
        assert_eq!(planned.get(), 1);
    }

    #[test]
    fn what_killed_passes_left_is_swept_wherever_they_write() {
        let home = tempfile::tempdir().unwrap();
        let old = home.path().join(".clawdbot/agents/main/agent");
        let new = home.path().join(".openclaw/agents/main/agent");
        let claude = home.path().join(".claude");
        let state = home.path().join("state");
        for dir in [&old, &new, &claude, &state] {
            std::fs::create_dir_all(dir).unwrap();
        }
        for dir in [&old, &new] {
            std::fs::write(dir.join(store::FILE_NAME), r#"{"profiles":{}}"#).unwrap();
        }
        std::fs::write(new.join("auth-state.json"), "{}").unwrap();
        let login = r#"{"claudeAiOauth":{"accessToken":"a","refreshToken":"R1","expiresAt":1,"scopes":["a"]}}"#;
        std::fs::write(claude.join(".credentials.json"), login).unwrap();
        let left = ".x.0123456789abcdef.nolapse-tmp";
        let lock = format!("{}.lock.77", store::FILE_NAME);
        let mut there = Vec::new();
        for (dir, name) in [
            (&old, left),
            (&new, left),
            (&claude, left),
            (&state, left),
            (&new, &lock),
            (&old, &lock),
        ] {
            let path = dir.join(name);
            let file = std::fs::File::create(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            there.push(path);
        }
        let ctx = ctx(home.path());
        sweep(&ctx.state_dir, &look::look(&ctx, &Ledger::default()));
        there.retain(|path| files::exists(path));
        // where a lock is a directory, such a file is not ours
        assert_eq!(there, [old.join(&lock)]);
    }

    #[test]
    fn every_text_is_shown_as_its_fingerprint_but_what_is_known_to_be_harmless() {
        let text =
            r#"{"type":"token","token":"T","expires":7,"whole":true,"none":null,"more":["T",1],"order":{"p":["a"]}}"#;
        let mut doc = Doc::parse(text).unwrap();
        redact(&mut doc);
        let wanted = format!("\"#{}\"", Secret::new("T").fingerprint());
        let wanted = text.replace(r#""T""#, &wanted);
        assert_eq!(
            doc.to_text(Layout::Compact),
            Doc::parse(&wanted).unwrap().to_text(Layout::Compact)
        );
    }

    /// Lets time pass where somebody waits, and notes it.
    #[derive(Default)]
    struct Waited(std::cell::Cell<Duration>);

    impl crate::edge::step::hold::Hold for Waited {
        fn step(&self, _: crate::edge::step::At, _: &Path) -> crate::edge::step::hold::Next {
            crate::edge::step::hold::Next::Go
        }

        fn pause(&self, time: Duration) {
            self.0.set(self.0.get() + time);
        }

        fn ahead(&self) -> Duration {
            self.0.get()
        }
    }

    #[test]
    fn a_held_store_is_waited_for_no_longer_than_was_said() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(store::FILE_NAME), r#"{"profiles":{}}"#).unwrap();
        let (ctx, ledger) = (ctx(home.path()), Ledger::default());
        let view = look::look(&ctx, &ledger);
        std::fs::create_dir(dir.join("auth-profiles.json.lock")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let waited = std::rc::Rc::new(Waited::default());
        let done = crate::edge::step::hold::of(waited.clone(), || {
            runtime.block_on(write_store(
                World::of(&ctx, &ledger, &view),
                &view.agents[0],
                Duration::ZERO,
            ))
        });
        // nothing is to be written, which is known only under the lock
        assert_eq!(done.unwrap(), Err(Refused::Busy));
        assert_eq!(waited.0.get(), Duration::ZERO);
    }
}

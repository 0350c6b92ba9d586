//! Who works in a home: our own code as it is, and the programs beside it as they write.

use super::turns::{Ran, Work};
use super::world::{LIFE, World, access, name, oauth, refresh, stored};
use crate::by_hand::{self, Wanted};
use crate::ctx::Ctx;
use crate::edge::step::{self, At, hold, step};
use crate::pass::{self, Scope};
use crate::rules::login::SetupToken;
use crate::secret::Secret;
use crate::sources::owner;
use crate::stores::store::Recorded;
use crate::types::{DAY, MINUTE, Moment, SECOND};
use crate::{ledger, look};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a program replaces a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Puts {
    /// A new file is renamed over it.
    Renames,
    /// It is emptied and written.
    InPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// A whole pass with its state in this directory.
    Pass(&'static str),
    /// A person records a key and the dates of a setup token.
    Record,
    /// An agent puts a key into its store without a lock, as `paste-token` does.
    Key(Puts),
    /// An agent renews the grant in its store, under the store's lock.
    Renew,
    /// Claude Code renews its login.
    Cli,
    /// A person signs in.
    SignIn,
    /// Nobody is there.
    Nothing,
}

/// Whether an actor came to its end.
pub(super) type Finished = Arc<AtomicBool>;

/// Whether this actor was killed with an answer in hand that is nowhere else.
pub(super) fn lost_an_answer(ran: &Ran, who: usize, act: Act) -> bool {
    let last = ran.log.iter().rev().find(|(one, ..)| *one == who);
    // other programs keep it there until they have saved it
    let in_hand = matches!(act, Act::Cli | Act::Renew) || last.is_some_and(|(_, at, _)| *at == At::Ask);
    ran.killed[who] && in_hand
}

/// What an actor does in this home.
pub(super) fn work(act: Act, world: &World) -> (Work, Finished) {
    let finished = Finished::default();
    let (end, network) = (Arc::clone(&finished), Arc::clone(&world.network));
    let (credentials, store, now) = (world.credentials(), world.store(), world.now);
    let work: Work = match act {
        Act::Pass(state) => {
            let ctx = world.ctx(state, now);
            Box::new(move || {
                let report = block_on(pass::run(&ctx, Scope::Whole));
                end.store(report.good(), Ordering::SeqCst);
            })
        }
        Act::Record => {
            let ctx = world.ctx("state", now);
            Box::new(move || end.store(block_on(record(&ctx)), Ordering::SeqCst))
        }
        Act::Nothing => Box::new(|| ()),
        Act::Key(puts) => Box::new(move || {
            add_key(&store, puts);
            end.store(true, Ordering::SeqCst);
        }),
        Act::Renew => Box::new(move || {
            let posted = |name: &str| network.exchange(name);
            end.store(renew_copy(&store, now, posted), Ordering::SeqCst);
        }),
        Act::Cli => Box::new(move || {
            let posted = |name: &str| network.exchange(name);
            end.store(
                cli(&credentials, now, || network.somebody_died(), posted),
                Ordering::SeqCst,
            );
        }),
        Act::SignIn => Box::new(move || {
            sign_in(&credentials, now, &network.sign_in());
            end.store(true, Ordering::SeqCst);
        }),
    };
    (work, finished)
}

pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(work)
}

pub(super) const HAND: &str = "openai:hand";
pub(super) const NEW: &str = "openai:new";

/// The setup token whose dates are recorded.
pub(super) fn setup_token() -> Secret {
    Secret::new(access("setup"))
}

async fn record(ctx: &Ctx) -> bool {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let wanted = Wanted {
        id: HAND.into(),
        provider: "openai".into(),
        credential: Recorded::ApiKey(Secret::new("sk-proj-by-hand-0123456789abcdef012345678")),
        replace: false,
    };
    let added = by_hand::add(look::World::of(ctx, &ledger, &view), &view.agents[0], &wanted).await;
    let setup = SetupToken {
        issued_at: ctx.clock.now(),
        expires_at: ctx.clock.now() + 300 * DAY,
        kept: None,
    };
    let remembered = by_hand::remember(ctx, &setup_token(), setup).await;
    added.is_ok() && remembered.is_ok()
}

fn read(path: &Path) -> Option<Value> {
    step(At::Look, path);
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn put(path: &Path, value: &Value, puts: Puts) {
    let text = format!("{value:#}\n");
    match puts {
        Puts::Renames => {
            let temp = path.with_extension("theirs");
            fs::write(&temp, text).expect("written");
            step(At::Change, path);
            fs::rename(temp, path).expect("renamed");
        }
        Puts::InPlace => {
            step(At::Change, path);
            let mut file = fs::File::create(path).expect("opened");
            step(At::Change, path);
            std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
        }
    }
}

fn add_key(store: &Path, puts: Puts) {
    let mut value = read(store).expect("its own store");
    value["profiles"][NEW] =
        json!({"type": "api_key", "provider": "openai", "key": "sk-proj-new-key-0123456789abcdef01234"});
    put(store, &value, puts);
}

/// A lock that is a directory, as `proper-lockfile` makes it.
struct Dir(PathBuf);

impl Dir {
    fn take(path: PathBuf, stale: Duration) -> Option<Self> {
        step(At::Lock, &path);
        if fs::create_dir(&path).is_ok() {
            return Some(Self(path));
        }
        let touched = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
        let age = step::wall().duration_since(touched).unwrap_or_default();
        if age > stale {
            step(At::Change, &path);
            let _ = fs::remove_dir(&path);
        }
        None
    }

    fn wait(path: &Path, stale: Duration) -> Option<Self> {
        for _ in 0..100 {
            if let Some(held) = Self::take(path.to_owned(), stale) {
                return Some(held);
            }
            step::pause_thread(Duration::from_millis(200));
        }
        None
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !hold::dead() {
            step(At::Release, &self.0);
            let _ = fs::remove_dir(&self.0);
        }
    }
}

fn lock_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.lock", path.display()))
}

/// Clawdbot's own refresh: under the store's lock it reads, posts and writes.
fn renew_copy(store: &Path, now: Moment, post: impl Fn(&str) -> Option<String>) -> bool {
    let Some(_lock) = Dir::wait(&lock_of(store), Duration::from_secs(30)) else {
        return false;
    };
    let Some(mut value) = read(store) else { return false };
    let profile = &mut value["profiles"]["anthropic:claude-cli"];
    step(At::Ask, Path::new("network"));
    let Some(new) = post(&name(&profile["refresh"])) else {
        return false;
    };
    *profile = oauth(&new, now + LIFE + MINUTE);
    put(store, &value, Puts::Renames);
    true
}

/// Claude Code's own refresh: two locks, read, post, and a third lock around the save, which is made if the file still holds the token
/// that was posted.
fn cli(
    credentials: &Path,
    now: Moment,
    somebody_died: impl Fn() -> bool,
    post: impl Fn(&str) -> Option<String>,
) -> bool {
    let dir = credentials.parent().expect("a directory");
    let stale = Duration::from_secs(60);
    let (first, second) = (dir.join(".oauth_refresh.lock"), lock_of(dir));
    let record = dir.join(".oauth_refresh.lock.owner");
    let mut held = None;
    for _ in 0..100 {
        step(At::Look, &record);
        // a lock whose recorded owner lives is waited for, however old it is
        let stale = if record.exists() && !somebody_died() {
            Duration::MAX
        } else {
            stale
        };
        let Some(one) = Dir::take(first.clone(), stale) else {
            step::pause_thread(Duration::from_millis(200));
            continue;
        };
        if let Some(two) = Dir::take(second.clone(), stale) {
            held = Some((two, one));
            break;
        }
        drop(one);
        step::pause_thread(Duration::from_millis(200));
    }
    let Some(_held) = held else { return false };
    step(At::Look, credentials);
    let Some((_, posted, expires)) = stored(credentials) else {
        return false;
    };
    if expires > now + 5 * MINUTE {
        return true;
    }
    step(At::Change, &record);
    fs::write(&record, owner::tests::of(std::process::id())).expect("written");
    step(At::Ask, Path::new("network"));
    let new = post(&posted);
    step(At::Ask, Path::new("network"));
    let saved = new.is_some_and(|new| save(credentials, now, &posted, &new));
    step(At::Change, &record);
    let _ = fs::remove_file(record);
    saved
}

fn save(credentials: &Path, now: Moment, posted: &str, new: &str) -> bool {
    let dir = credentials.parent().expect("a directory");
    let Some(_save) = Dir::wait(&dir.join(".storage-write.lock"), Duration::from_secs(15)) else {
        return false;
    };
    let Some(mut value) = read(credentials) else {
        return false;
    };
    let oauth = &mut value["claudeAiOauth"];
    if name(&oauth["refreshToken"]) == posted {
        oauth["accessToken"] = access(new).into();
        oauth["refreshToken"] = refresh(new).into();
        oauth["expiresAt"] = (now + LIFE - 30 * SECOND).ms().into();
        put(credentials, &value, Puts::Renames);
    }
    true
}

/// Takes no lock: a person may sign in at any time.
pub(super) fn sign_in(credentials: &Path, now: Moment, new: &str) {
    let mut value = read(credentials).unwrap_or_else(|| json!({}));
    value["claudeAiOauth"] = json!({
        "accessToken": access(new), "refreshToken": refresh(new), "expiresAt": now + LIFE + 2 * MINUTE, "scopes": ["user:inference"],
        "subscriptionType": "max", "refreshTokenExpiresAt": now + 30 * DAY,
    });
    put(credentials, &value, Puts::Renames);
}

//! One renewal by our own exchange: fence, post, rescue, save, settle. What is locked and how it is saved are its parameters
//! ([`Grant`]): a login under Claude Code's locks, a store's own grant under its agents'.
//!
//! The order, each step there for a way in which a login was lost before; the caller has taken the locks, and read and decided
//! everything again under them:
//! 1. the temp file in the grant's place and the rescue file are opened and have room set aside: two places for the answer;
//! 2. the fence is durable in the ledger: a pass that dies after this is recognised;
//! 3. who posts which token is on record beside the lock, for other processes: a lock whose owner lives is not taken over, and
//!    what an owner left that died is not posted by others;
//! 4. the refresh token is posted, once, while the locks are kept fresh;
//! 5. the answer is written to the rescue file and synced;
//! 6. it is saved in its place, compare-and-set, if every lock is still ours;
//! 7. it is read back from there; then the rescue file and the record go, the fence is cleared, the locks are released.
//!
//! From 2 to 7 no signal ends the process.

use super::exchange::{self, Answer, Exchange, Tokens};
use super::rescue::{self, Rescue, Slot};
use super::{Attempt, Failed, problem};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{Group, LockError};
use crate::edge::signals::Uninterrupted;
use crate::ledger;
use crate::outcome::Outcome;
use crate::rules::memory::Ledger;
use crate::rules::renew::{self as rule, Not, Record, Stage};
use crate::secret::Fingerprint;
use crate::sources::claude::NewTokens;
use crate::sources::owner;
use crate::sources::save::{Ready, SaveError};
use crate::types::{Moment, Ms, Problem};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Claude Code's holders touch their locks every 5 s.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What a grant's place holds now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// This refresh token, whose access token is good until then.
    Holds(Fingerprint, Option<Moment>),
    /// Its tokens were wiped.
    Blank,
    /// There is deliberately no grant: signed out, removed, of another kind.
    Gone,
    /// It cannot be read, or not be written by us; why.
    Unreadable(String),
}

/// What is renewed.
pub(super) trait Grant {
    /// Its key in the ledger, which is its name for people too.
    fn key(&self) -> &str;
    /// The file that holds it.
    fn file(&self) -> &Path;
    /// Where the owner of its lock is recorded.
    fn owner_record(&self) -> PathBuf;
    /// Takes the locks of a refresh.
    async fn lock(&self) -> Result<Group, LockError>;
    /// Opens a temp file in its place.
    fn prepare(&self) -> io::Result<Ready>;
    /// Saves new tokens, compare-and-set, if the locks are still ours.
    async fn save(&self, ready: Ready, locks: &Group, rescue: &Rescue) -> Result<(), SaveError>;
    /// What its place holds now.
    fn now(&self, ctx: &Ctx) -> Now;
    /// The message if its place, or ours, cannot be written.
    fn not_writable(&self, what: &str, error: &io::Error) -> Problem;
    /// The message if another program holds its lock.
    fn busy(&self) -> Problem;
}

/// What is posted.
pub(super) struct Spend<'a> {
    pub(crate) ask: Exchange<'a>,
    /// Until when its access token is good.
    pub(crate) expires: Option<Moment>,
    /// What its agents take off the end, [`Ms`].
    pub(crate) margin: Ms,
}

/// Renews a grant. The caller holds its locks and has decided under them.
pub(super) async fn renew<G: Grant>(
    ctx: &Ctx,
    ledger: &mut Ledger,
    grant: &G,
    mut locks: Group,
    spend: Spend<'_>,
) -> Attempt {
    let token = spend.ask.refresh.fingerprint();
    let not_writable = |what: &str, error: &io::Error| Attempt::failed(grant.not_writable(what, error));
    let ready = match grant.prepare() {
        Ok(ready) => ready,
        Err(error) => return not_writable("its new tokens could not be saved", &error),
    };
    let slot = match rescue::open(&ctx.state_dir, token) {
        Ok(slot) => slot,
        Err(error) => return not_writable("there is no second place for its new tokens", &error),
    };
    // between the fence and the request there is nothing that takes time
    if let Err(why) = ctx.http.warm() {
        return Attempt::failed(unreachable(grant, &why.to_string()));
    }
    let _whole = Uninterrupted::begin();
    let mut fence = match Fence::raise(ctx, ledger, grant.key(), token, spend.expires) {
        Ok(fence) => fence,
        Err(error) => return not_writable("nothing could be recorded about it", &error),
    };
    let recorded = record_owner(grant, &locks, token);
    let owner = match recorded {
        Ok(owner) if locks.touch() => owner,
        other => {
            let attempt = match other {
                Ok(owner) => {
                    owner.remove();
                    Attempt::failed(grant.busy())
                }
                Err(error) => not_writable("its lock's owner could not be recorded", &error),
            };
            fence.lower(ctx, ledger);
            return attempt;
        }
    };
    let answer = keeping(&mut locks, exchange::exchange(ctx, &spend.ask)).await;
    let attempt = match answer {
        Answer::Tokens(tokens) => {
            let rescue = Rescue {
                whom: grant.key().to_owned(),
                spent: token,
                new: new_tokens(ctx, tokens, &spend),
                until: spend.expires,
            };
            let places = Places { ready, slot, locks };
            keep(ctx, grant, places, &rescue, &mut fence).await
        }
        other => without_tokens(ledger, &mut fence, other, grant),
    };
    // what may have been spent and is not in its place stays on record, for all who could post it again
    if !fence.record.stuck() {
        owner.remove();
    }
    fence.lower(ctx, ledger);
    attempt
}

fn record_owner<G: Grant>(grant: &G, locks: &Group, token: Fingerprint) -> io::Result<owner::Record> {
    let mut paths = locks.paths();
    let (first, second) = (paths.next(), paths.next());
    owner::Record::write(&grant.owner_record(), first.unwrap_or(grant.file()), second, token)
}

/// What is remembered of a token from before it is posted until its outcome is known.
struct Fence {
    key: String,
    record: Record,
    expires: Option<Moment>,
    sent_at: Moment,
}

impl Fence {
    fn raise(
        ctx: &Ctx,
        ledger: &mut Ledger,
        key: &str,
        token: Fingerprint,
        expires: Option<Moment>,
    ) -> io::Result<Self> {
        let sent_at = ctx.clock.now();
        let mut record = Record::of(ledger.renewals.get(key), token);
        record.stage = Stage::Sent { expires, at: sent_at };
        let remembered = ledger.renewals.insert(key.to_owned(), record.clone());
        if let Err(error) = ledger::save_durably(&ctx.state_dir, ledger) {
            match remembered {
                Some(before) => ledger.renewals.insert(key.to_owned(), before),
                None => ledger.renewals.remove(key),
            };
            return Err(error);
        }
        record.stage = Stage::Idle;
        Ok(Self {
            key: key.to_owned(),
            record,
            expires,
            sent_at,
        })
    }

    fn unknown(&mut self, at: Moment, why: &str) {
        self.record.stage = Stage::Unknown {
            expires: self.expires,
            at,
            why: why.to_owned(),
        };
    }

    /// Makes the end of an exchange known to the next pass. Should that fail, the fence is found there and settled from the files.
    fn lower(self, ctx: &Ctx, ledger: &mut Ledger) {
        ledger.renewals.insert(self.key, self.record);
        if let Err(error) = ledger::save_durably(&ctx.state_dir, ledger) {
            tracing::warn!("the fence could not be cleared: {}", files::io_words(&error));
        }
    }
}

/// The two places for an answer, and the locks under which the first is written.
struct Places {
    ready: Ready,
    slot: Slot,
    locks: Group,
}

/// Keeps an answer: in `rescue/` first, then in its place.
async fn keep<G: Grant>(ctx: &Ctx, grant: &G, places: Places, rescue: &Rescue, fence: &mut Fence) -> Attempt {
    let stored = places.slot.write(rescue);
    let renewed = Attempt::Renewed {
        expires: rescue.new.expires,
        by: "directly",
    };
    let first = match grant.save(places.ready, &places.locks, rescue).await {
        // what is saved exists nowhere else in its place: once more from the start where the system refused
        Err(error @ (SaveError::Io(_) | SaveError::Lock(_) | SaveError::Crowded)) => {
            tracing::warn!("saving the new tokens: {error}; once more");
            match grant.prepare() {
                Ok(ready) => grant.save(ready, &places.locks, rescue).await,
                Err(error) => Err(SaveError::Io(error)),
            }
        }
        other => other,
    };
    let outcome = match first {
        Ok(()) => there(ctx, grant, rescue),
        Err(SaveError::Changed) => stands(ctx, grant, rescue),
        // stopped for long, and another program took the locks: they are taken again, and everything is read again
        Err(SaveError::Lost) => {
            drop(places.locks);
            complete(ctx, grant, rescue).await
        }
        Err(error) => Completed::Not(error.to_string()),
    };
    match outcome {
        Completed::Saved | Completed::There => {
            forget(ctx, rescue.spent);
            renewed
        }
        // what was rescued is compared with the file at the next pass, and removed then
        Completed::NotSynced(why) => {
            tracing::warn!("the save may not survive a power cut: {why}");
            renewed
        }
        Completed::Superseded => {
            forget(ctx, rescue.spent);
            Attempt::failed(problem(
                "login_changed",
                grant.file(),
                format!(
                    "`{}` was changed by another program while it was renewed; that change is kept",
                    grant.key()
                ),
                "nothing to do",
            ))
        }
        Completed::Not(why) => match stored {
            Ok(()) => {
                fence.record.stage = Stage::Rescued {
                    at: ctx.clock.now(),
                    why: why.clone(),
                };
                Attempt::failed(save_failed(grant, &why))
            }
            Err(error) => {
                let why = format!(
                    "the answer could not be saved anywhere ({why}; {})",
                    files::io_words(&error)
                );
                fence.unknown(ctx.clock.now(), &why);
                Attempt::failed(unknown(grant, &why))
            }
        },
    }
}

/// What follows from an answer that brings no tokens.
fn without_tokens<G: Grant>(ledger: &mut Ledger, fence: &mut Fence, answer: Answer, grant: &G) -> Attempt {
    let (key, file) = (grant.key(), grant.file());
    match answer {
        // handled where they are kept
        Answer::Tokens(_) => Attempt::Not(Not::OutcomeUnknown),
        Answer::NotSent(why) => Attempt::failed(unreachable(grant, &why)),
        Answer::Unknown(why) => {
            fence.unknown(fence.sent_at, &why);
            Attempt::failed(unknown(grant, &why))
        }
        Answer::Rejected(why) => {
            if !ledger.rejected.contains(&fence.record.token) {
                ledger.rejected.push(fence.record.token);
            }
            Attempt::failed(problem(
                "rejected",
                file,
                format!("the refresh token of `{key}` was permanently refused: {why}"),
                "sign in again, for Claude Code with `claude auth login`",
            ))
        }
        Answer::NoVerdict { kind, why, retry_after } => Attempt::Failed(Failed {
            problem: problem(
                kind,
                file,
                format!("`{key}` was not renewed: {why}; its token is kept"),
                match kind {
                    "endpoint_blocked" => "see whether a proxy, a VPN or the server's filter stands in between",
                    _ => "nothing to do: it is tried again later",
                },
            ),
            retry_after,
        }),
    }
}

fn unreachable<G: Grant>(grant: &G, why: &str) -> Problem {
    problem(
        "endpoint_unreachable",
        grant.file(),
        format!("`{}` was not renewed: {why}", grant.key()),
        "see whether this host reaches the token endpoint; the next pass will retry",
    )
}

/// The message if no answer came.
fn unknown<G: Grant>(grant: &G, why: &str) -> Problem {
    problem(
        "unknown_outcome",
        grant.file(),
        format!(
            "the refresh token of `{}` was posted and what the server did is not known: {why}; it is not posted again",
            grant.key()
        ),
        "use `claude` once: it works, or it asks you to sign in; `claude auth login` helps in any case",
    )
}

/// The message if new tokens are only in `rescue/`.
fn save_failed<G: Grant>(grant: &G, why: &str) -> Problem {
    problem(
        "save_failed",
        grant.file(),
        format!(
            "the new tokens of `{}` could not be saved in their place: {why}; they are kept in `rescue/`",
            grant.key()
        ),
        "make its directory writable, then run `nolapse refresh`; do not use `claude` before that",
    )
}

/// Waits for the answer and keeps the locks fresh. The token has left: a lock that is lost meanwhile is found when the answer is
/// saved.
async fn keeping<F: Future>(locks: &mut Group, answer: F) -> F::Output {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(HEARTBEAT) => {
                if !locks.touch() {
                    tracing::warn!("a lock was lost while waiting for the answer");
                }
            }
        }
    }
}

fn new_tokens(ctx: &Ctx, tokens: Tokens, spend: &Spend<'_>) -> NewTokens {
    let now = ctx.clock.now();
    NewTokens {
        access: tokens.access,
        refresh: tokens.refresh.unwrap_or_else(|| spend.ask.refresh.clone()),
        expires: now + tokens.expires_in - spend.margin,
        deadline: tokens.login_ends_in.map(|span| now + span),
    }
}

/// Removes what was rescued. A file that stays is compared at the next pass.
fn forget(ctx: &Ctx, spent: Fingerprint) {
    if let Err(error) = files::remove(&rescue::path(&ctx.state_dir, spent)) {
        tracing::warn!("rescue: {}", files::io_words(&error));
    }
}

/// How it stands with rescued tokens.
#[derive(Debug, PartialEq, Eq)]
enum Completed {
    /// Saved now.
    Saved,
    /// Their place holds them already.
    There,
    /// Their place holds them, and may lose them in a power cut; why.
    NotSynced(String),
    /// Their place holds something newer, or was emptied on purpose.
    Superseded,
    /// They still wait, and why.
    Not(String),
}

/// Reads new tokens back from their place and makes them durable there.
fn there<G: Grant>(ctx: &Ctx, grant: &G, rescue: &Rescue) -> Completed {
    match stands(ctx, grant, rescue) {
        Completed::There => match files::real_target(grant.file()).and_then(|file| files::sync_dir(&file)) {
            Ok(()) => Completed::There,
            Err(error) => Completed::NotSynced(files::io_words(&error)),
        },
        other => other,
    }
}

/// Compares rescued tokens with their place; [`Completed::Not`] where they still have to be saved, or cannot be.
fn stands<G: Grant>(ctx: &Ctx, grant: &G, rescue: &Rescue) -> Completed {
    match grant.now(ctx) {
        Now::Holds(token, end) if token == rescue.new.refresh.fingerprint() && end >= Some(rescue.new.expires) => {
            Completed::There
        }
        Now::Holds(token, _) if token == rescue.spent => Completed::Not("it was not written".into()),
        Now::Holds(_, end) if rule::is_newer(end, rescue.until) => Completed::Superseded,
        Now::Holds(..) => Completed::Not("an older state of the file was restored".into()),
        Now::Blank => Completed::Not("it was wiped".into()),
        Now::Gone => Completed::Superseded,
        Now::Unreadable(why) => Completed::Not(why),
    }
}

/// Saves rescued tokens in their place, if that still holds the token they were given for, or was wiped meanwhile.
async fn complete<G: Grant>(ctx: &Ctx, grant: &G, rescue: &Rescue) -> Completed {
    let before = there(ctx, grant, rescue);
    if !matches!(before, Completed::Not(_)) {
        return before;
    }
    let locks = match grant.lock().await {
        Ok(locks) => locks,
        Err(error) => return Completed::Not(error.to_string()),
    };
    let saved = match grant.prepare() {
        Ok(ready) => grant.save(ready, &locks, rescue).await,
        Err(error) => Err(SaveError::Io(error)),
    };
    let outcome = match (saved, there(ctx, grant, rescue)) {
        (Ok(()), Completed::There) => Completed::Saved,
        (Ok(()) | Err(SaveError::Changed), other) => other,
        (Err(error), _) => Completed::Not(error.to_string()),
    };
    drop(locks);
    outcome
}

/// What earlier passes left of one grant: rescued tokens are saved in their place, a fence is settled from what its place holds
/// now, and one that cannot be becomes an unknown outcome. Says what is worth saying.
pub(super) async fn settle<G: Grant>(
    ctx: &Ctx,
    ledger: &mut Ledger,
    grant: &G,
    rescues: &[(PathBuf, Rescue)],
) -> Vec<Outcome> {
    let mut said = Vec::new();
    let mut waiting = false;
    for (path, rescue) in rescues.iter().filter(|(_, rescue)| rescue.whom == grant.key()) {
        let outcome = complete(ctx, grant, rescue).await;
        let saved = matches!(outcome, Completed::Saved);
        match outcome {
            Completed::Saved | Completed::There | Completed::Superseded => {
                if let Err(error) = files::remove(path) {
                    tracing::warn!("rescue: {}", files::io_words(&error));
                }
                if ledger
                    .renewals
                    .get(grant.key())
                    .is_some_and(|now| now.token == rescue.spent)
                {
                    ledger.renewals.remove(grant.key());
                }
                owner::forget(&grant.owner_record(), rescue.spent);
                if saved {
                    said.push(Outcome::Renewed(
                        "from tokens that an earlier pass could not save".into(),
                    ));
                }
            }
            Completed::Not(why) | Completed::NotSynced(why) => {
                waiting = true;
                let mut record = Record::of(ledger.renewals.get(grant.key()), rescue.spent);
                record.stage = Stage::Rescued {
                    at: ctx.clock.now(),
                    why: why.clone(),
                };
                ledger.renewals.insert(grant.key().to_owned(), record);
                said.push(Outcome::NotRenewed(save_failed(grant, &why)));
            }
        }
    }
    if !waiting {
        said.extend(settle_fence(ctx, ledger, grant));
    }
    said
}

fn settle_fence<G: Grant>(ctx: &Ctx, ledger: &mut Ledger, grant: &G) -> Option<Outcome> {
    let mut record = ledger.renewals.get(grant.key()).cloned()?;
    let (expires, at, why) = match &record.stage {
        Stage::Idle | Stage::Running { .. } => return None,
        Stage::Rescued { at, .. } => (None, *at, "its rescued tokens are gone".to_owned()),
        Stage::Sent { expires, at } => (*expires, *at, "the process died before the answer came".to_owned()),
        Stage::Unknown { expires, at, why } => (*expires, *at, why.clone()),
    };
    let moved = match (grant.now(ctx), &record.stage) {
        (Now::Unreadable(_), _) => return None,
        // of rescued tokens the end is not known: only another token tells
        (Now::Holds(token, _), Stage::Rescued { .. }) => token != record.token,
        (Now::Holds(token, end), _) if token == record.token => end != expires,
        // an older state may hold what is used up as well
        (Now::Holds(_, end), _) => rule::is_newer(end, expires),
        (Now::Blank | Now::Gone, _) => true,
    };
    if moved {
        owner::forget(&grant.owner_record(), record.token);
        ledger.renewals.remove(grant.key());
        return None;
    }
    if matches!(record.stage, Stage::Unknown { .. }) {
        return None;
    }
    let problem = unknown(grant, &why);
    record.last = Some(rule::Failure {
        kind: problem.kind.into(),
        why: problem.message.clone(),
        at: ctx.clock.now(),
    });
    record.stage = Stage::Unknown { expires, at, why };
    ledger.renewals.insert(grant.key().to_owned(), record);
    Some(Outcome::NotRenewed(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::ctx;
    use crate::renew::direct::Login;
    use crate::rules::login::Place;
    use crate::secret::Secret;
    use std::fs;

    const UNTIL: i64 = 1_000;
    const NEXT: i64 = 9_000;

    fn print(token: &str) -> Fingerprint {
        Secret::new(token).fingerprint()
    }

    /// Tokens that R1 was spent for.
    fn rescue(whom: &str) -> Rescue {
        Rescue {
            whom: whom.into(),
            spent: print("R1"),
            until: Some(Moment::at(UNTIL)),
            new: NewTokens {
                access: Secret::new("A2"),
                refresh: Secret::new("R2"),
                expires: Moment::at(NEXT),
                deadline: None,
            },
        }
    }

    struct Held {
        home: tempfile::TempDir,
        place: Place,
    }

    impl Held {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let place = Place::new("claude", home.path().join(".claude"), true);
            fs::create_dir(&place.dir).unwrap();
            fs::create_dir(home.path().join("state")).unwrap();
            Self { home, place }
        }

        fn ctx(&self) -> Ctx {
            ctx(self.home.path())
        }

        fn login(&self) -> Login<'_> {
            Login::new("claude", &self.place)
        }

        /// A login with this refresh token, whose access token ends then.
        fn holds(&self, refresh: &str, end: i64) -> &Self {
            let end = if end == 0 { "null".into() } else { end.to_string() };
            let access = if refresh.is_empty() { "" } else { "A" };
            self.file(&format!(
                r#"{{"claudeAiOauth":{{"accessToken":"{access}","refreshToken":"{refresh}","expiresAt":{end},"scopes":[]}}}}"#
            ))
        }

        fn file(&self, text: &str) -> &Self {
            fs::write(self.place.file(), text).unwrap();
            self
        }
    }

    #[test]
    fn rescued_tokens_are_told_from_what_stands_in_their_place() {
        let not = |why: &str| Completed::Not(why.into());
        let (spent, older) = ("it was not written", "an older state of the file was restored");
        let held = Held::new();
        for (token, end, want) in [
            ("R2", NEXT, Completed::There),
            ("R2", NEXT + 1, Completed::There),
            // with an older access token it is one of before
            ("R2", UNTIL, not(older)),
            ("R2", 0, not(older)),
            ("R1", UNTIL, not(spent)),
            ("R1", UNTIL + 1, not(spent)),
            ("R3", UNTIL, not(older)),
            ("R3", UNTIL + 1, Completed::Superseded),
            ("R3", NEXT + 1, Completed::Superseded),
            ("", 0, not("it was wiped")),
        ] {
            held.holds(token, end);
            let found = stands(&held.ctx(), &held.login(), &rescue("claude"));
            assert_eq!(found, want, "{token} {end}");
        }
        held.file("{}");
        let found = |held: &Held| stands(&held.ctx(), &held.login(), &rescue("claude"));
        assert_eq!(found(&held), Completed::Superseded);
        held.file("{");
        assert!(matches!(found(&held), Completed::Not(_)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn rescued_tokens_are_saved_for_their_own_grant_and_end_the_record_of_the_token_they_were_given_for() {
        for (whom, recorded, saved, stays) in [
            ("claude", "R1", true, false),
            ("claude", "R9", true, true),
            ("other", "R1", false, true),
        ] {
            let held = Held::new();
            held.holds("R1", UNTIL);
            let (ctx, mut ledger) = (held.ctx(), Ledger::default());
            let spent = print("R1");
            rescue::open(&ctx.state_dir, spent)
                .unwrap()
                .write(&rescue(whom))
                .unwrap();
            ledger.renewals.insert("claude".into(), Record::new(print(recorded)));
            let said = settle(&ctx, &mut ledger, &held.login(), &rescue::all(&ctx.state_dir)).await;
            assert_eq!(
                matches!(said[..], [Outcome::Renewed(_)]),
                saved,
                "{whom} {recorded}: {said:?}"
            );
            assert_eq!(ledger.renewals.contains_key("claude"), stays, "{whom} {recorded}");
            assert_eq!(rescue::all(&ctx.state_dir).is_empty(), saved, "{whom} {recorded}");
            let now = held.login().now(&ctx);
            let wanted = match saved {
                true => Now::Holds(print("R2"), Some(Moment::at(NEXT))),
                false => Now::Holds(spent, Some(Moment::at(UNTIL))),
            };
            assert_eq!(now, wanted, "{whom} {recorded}");
        }
    }

    #[test]
    fn a_fence_is_settled_by_what_its_place_holds_now() {
        #[derive(Debug, PartialEq)]
        enum Left {
            Nothing,
            AsItWas,
            Unknown,
        }
        use Left::{AsItWas, Nothing, Unknown};
        let at = Moment::at(1);
        let expires = Some(Moment::at(UNTIL));
        let why = String::new;
        let sent = || Stage::Sent { expires, at };
        let rescued = || Stage::Rescued { at, why: why() };
        let unknown = || Stage::Unknown {
            expires,
            at,
            why: why(),
        };
        let running = || Stage::Running {
            pid: 1,
            start: None,
            boot: None,
            at,
        };
        let held = Held::new();
        let ctx = held.ctx();
        let left = |stage: &Stage| {
            let (mut ledger, mut record) = (Ledger::default(), Record::new(print("R1")));
            record.stage = stage.clone();
            ledger.renewals.insert("claude".into(), record.clone());
            let said = settle_fence(&ctx, &mut ledger, &held.login());
            let left = match ledger.renewals.get("claude") {
                None => Nothing,
                Some(now) if *now == record => AsItWas,
                Some(now) if matches!(now.stage, Stage::Unknown { .. }) && now.last.is_some() => Unknown,
                Some(now) => panic!("{now:?}"),
            };
            assert_eq!(said.is_some(), left == Unknown, "{stage:?}");
            left
        };
        for (token, end, stage, want) in [
            // nothing was posted
            ("R2", NEXT, Stage::Idle, AsItWas),
            ("R2", NEXT, running(), AsItWas),
            ("R1", UNTIL, sent(), Unknown),
            ("R1", UNTIL, unknown(), AsItWas),
            // somebody saved an answer without a new refresh token
            ("R1", NEXT, sent(), Nothing),
            ("R1", UNTIL - 1, sent(), Nothing),
            ("R1", NEXT, unknown(), Nothing),
            ("R2", NEXT, sent(), Nothing),
            ("R2", NEXT, unknown(), Nothing),
            // put back from before
            ("R0", UNTIL, sent(), Unknown),
            ("R0", UNTIL - 1, sent(), Unknown),
            ("R0", UNTIL - 1, unknown(), AsItWas),
            ("R1", NEXT, rescued(), Unknown),
            ("R0", UNTIL - 1, rescued(), Nothing),
            ("", 0, sent(), Nothing),
        ] {
            held.holds(token, end);
            assert_eq!(left(&stage), want, "{token} {end} {stage:?}");
        }
        held.file("{}");
        assert_eq!(left(&sent()), Nothing);
        held.file("{");
        assert_eq!(left(&sent()), AsItWas);
    }

    #[test]
    fn what_blocks_the_way_is_a_matter_for_a_person_and_a_bad_answer_for_later() {
        let held = Held::new();
        for (kind, stands_between) in [("endpoint_blocked", true), ("server_error", false)] {
            let answer = Answer::NoVerdict {
                kind,
                why: "403".into(),
                retry_after: Some(7),
            };
            let mut fence = Fence {
                key: "claude".into(),
                record: Record::new(print("R1")),
                expires: None,
                sent_at: Moment::at(1),
            };
            let attempt = without_tokens(&mut Ledger::default(), &mut fence, answer, &held.login());
            let Attempt::Failed(failed) = attempt else {
                panic!("{kind}")
            };
            assert_eq!((failed.problem.kind, failed.retry_after), (kind, Some(7)));
            assert_eq!(failed.problem.hint.contains("a proxy"), stands_between, "{kind}");
            assert!(!fence.record.stuck(), "{kind}: its token is kept");
        }
    }
}

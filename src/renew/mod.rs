//! Renewal: what can be renewed without a human, is; and never at the cost of a login.
//!
//! The decision is `rules::renew`; [`delegate`] and the `engine` carry it out; [`settle`] makes good what a pass that died, or could
//! not save, has left. docs/renewal.md tells the whole story.

pub(crate) mod delegate;
mod direct;
mod engine;
mod exchange;
mod rescue;
mod store_grant;

use crate::ctx::Ctx;
use crate::edge::target;
use crate::look::World;
use crate::outcome::{Asked, Done, Seen, What};
use crate::rules::lineage::Relation;
use crate::rules::login::{self, Source};
use crate::rules::memory::Ledger;
use crate::rules::policy::RenewMode;
use crate::rules::renew::{self as rule, Case, Not, Record, Stage, Way};
use crate::rules::spent;
use crate::rules::view::{LoginView, View};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude;
use crate::types::{Moment, Ms, Problem, Reason};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What waits in `rescue/`: files that hold new tokens which could not be saved yet.
pub(crate) fn rescued(state_dir: &std::path::Path) -> Vec<PathBuf> {
    rescue::all(state_dir).into_iter().map(|(path, _)| path).collect()
}

/// How one attempt went.
enum Attempt {
    Renewed { expires: Moment, by: &'static str },
    Not(Not),
    Failed(Failed),
}

/// What stood against it.
struct Failed {
    problem: Problem,
    /// The server's wish, [`Ms`] from now.
    retry_after: Option<Ms>,
}

impl Attempt {
    fn failed(problem: Problem) -> Self {
        Self::Failed(problem.into())
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self {
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
pub(crate) async fn renew(ctx: &Ctx, ledger: &mut Ledger, view: &View, asked: &Asked, dry_run: bool) -> Vec<Seen> {
    let mut all = Vec::new();
    for (i, login) in view.logins.iter().enumerate() {
        if asked.login.as_ref().is_some_and(|id| id != login.id()) {
            continue;
        }
        let place = &login.login.place;
        let what = match way(ctx) {
            None => What::Off,
            Some(way) => match rule::due(&case(World::of(ctx, ledger, view), i, way, asked), view.now) {
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
        all.extend(store_grant::renew(ctx, ledger, view, asked, dry_run).await);
    }
    all
}

/// Whose renewal is due: logins by id, and stores' grants by key. Of a grant that is left alone for its store or its agents' locks this
/// is not told: who asks only wants to know what a pass may change.
pub(crate) fn due(ctx: &Ctx, ledger: &Ledger, view: &View, asked: &Asked) -> BTreeSet<String> {
    let Some(way) = way(ctx) else {
        return BTreeSet::new();
    };
    let named = |whom: &str| asked.login.as_ref().is_none_or(|id| id == whom);
    let logins = (0..view.logins.len()).filter(|i| {
        named(view.logins[*i].id()) && rule::due(&case(World::of(ctx, ledger, view), *i, way, asked), view.now).is_ok()
    });
    let mut due: BTreeSet<String> = logins.map(|i| view.logins[i].id().to_owned()).collect();
    if way == Way::Direct {
        due.extend(store_grant::due(ctx, ledger, view, asked).filter(|key| named(key)));
    }
    due
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
            ledger.renewals.remove(id);
            used_up(ctx, ledger, login);
            What::Renewed { expires, by }
        }
        Attempt::Not(why) => What::Not(why),
        Attempt::Failed(failed) => match login.login.grant().and_then(fingerprint) {
            Some(token) => note_failure(ctx, ledger, id, token, failed),
            None => What::Failed(failed.problem),
        },
    }
}

/// Remembers the token of a login that was just renewed, if another one stands in its place: the next login may hold it as well.
fn used_up(ctx: &Ctx, ledger: &mut Ledger, before: &LoginView) {
    let now = claude::look(&ctx.host, &before.login.place);
    let (old, new) = (before.login.grant(), now.grant().and_then(fingerprint));
    if let Some(old) = old
        && let Some(token) = fingerprint(old).and_then(|posted| spent::replaced(posted, new, &ledger.spent))
    {
        spent::note(&mut ledger.spent, token, old.deadline, ctx.clock.now());
    }
}

fn note_failure(ctx: &Ctx, ledger: &mut Ledger, key: &str, token: Fingerprint, failed: Failed) -> What {
    let Failed { problem, retry_after } = failed;
    let mut record = Record::of(ledger.renewals.get(key), token);
    record.failed(problem.kind, &problem.message, retry_after, ctx.clock.now());
    ledger.renewals.insert(key.to_owned(), record);
    What::Failed(problem)
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
fn case<'a>(World { ctx, ledger, view }: World<'a>, i: usize, way: Way, asked: &Asked) -> Case<'a> {
    let login = &view.logins[i];
    let place = &login.login.place;
    let token = login.login.grant().and_then(fingerprint);
    let record = of_token(ledger, login.id(), token);
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
        put_back: login.verdict.reason == Some(Reason::OlderState)
            || token.is_some_and(|token| ledger.spent.contains_key(&token)),
        abandoned: login.login.abandoned
            || killed && claude::begun_and_not_saved(place, &login.login.state, login.login.meta.as_ref()),
        newer_copy: view
            .profiles()
            .any(|profile| profile.login == Some(i) && profile.relation == Relation::Newer)
            || view.agents.iter().any(|agent| {
                crate::rules::plan::store(&ctx.config.sync, view, agent)
                    .heal
                    .is_some_and(|(login, _)| login == i)
            }),
        wanted: asked.by_hand
            || ctx.config.renew.always
            || view
                .profiles()
                .any(|profile| profile.login == Some(i) && profile.verdict.reason != Some(Reason::StoreRetired)),
        force: asked.force,
        record,
        child_alive: delegate::child_alive(record, view.now),
    }
}

/// What is remembered of a login; where nothing of it is under way, what is under way with the same token in another's file: a
/// directory that was copied holds it twice.
fn of_token<'a>(ledger: &'a Ledger, id: &str, token: Option<Fingerprint>) -> Option<&'a Record> {
    let under_way = |record: &&Record| record.stage != Stage::Idle;
    let own = ledger.renewals.get(id);
    let same = |record: &&Record| under_way(record) && Some(record.token) == token;
    own.filter(under_way)
        .or_else(|| ledger.renewals.values().find(same))
        .or(own)
}

/// What passes before left: new tokens that wait in `rescue/` are saved in their place, fences are settled from what the files hold
/// now, and one that cannot be settled becomes an unknown outcome. Goes before anything else touches a login.
pub(crate) async fn settle(ctx: &Ctx, ledger: &mut Ledger, view: &View) -> Vec<Done> {
    rescue::sweep(&ctx.state_dir);
    let rescues = rescue::all(&ctx.state_dir);
    let mut done = store_grant::settle(ctx, ledger, view, &rescues).await;
    for login in &view.logins {
        let grant = direct::Login::new(login.id(), &login.login.place);
        let outcomes = engine::settle(ctx, ledger, &grant, &rescues).await;
        done.extend(outcomes.into_iter().map(|outcome| Done {
            whom: login.id().to_owned(),
            path: login.login.place.file(),
            outcome,
        }));
    }
    done
}

fn fingerprint(grant: &login::Grant) -> Option<Fingerprint> {
    grant.refresh.token().map(Secret::fingerprint)
}

/// What holds for any answer of a token endpoint.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold_for_an_answer(reply: &crate::edge::http::Reply) {
    exchange::must_hold(reply);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look;
    use crate::rules::lineage::Relation;
    use crate::rules::policy::LoginConfig;
    use crate::trials::world::{NOW, World as Home, access, oauth, refresh, token};
    use crate::types::MINUTE;
    use serde_json::{Value, json};

    const KEY: &str = "clawdbot/main#anthropic:work";

    fn print(name: &str) -> Fingerprint {
        Secret::new(refresh(name)).fingerprint()
    }

    /// A login that ends so long after now, and what stands in an agent's store.
    fn home(ends: Ms, profiles: &Value) -> Home {
        let home = Home::new();
        home.login("0001", NOW + ends);
        Home::write(&home.store(), &json!({"version": 1, "profiles": profiles}));
        home
    }

    #[test]
    fn whose_renewal_is_due_is_told_before_it_is_done() {
        const DUE: Ms = 15 * MINUTE;
        let copied = |ends: Ms| json!({"anthropic:claude-cli": token("0001", NOW + ends)});
        let own = |ends: Ms| json!({"anthropic:work": oauth("0002", NOW + ends)});
        let both = |ends: Ms| json!({"anthropic:claude-cli": token("0001", NOW + ends), "anthropic:work": oauth("0002", NOW + ends)});
        let asked = |login: Option<&str>, force: bool| Asked {
            login: login.map(Into::into),
            force,
            ..Asked::default()
        };
        let direct = RenewMode::Direct;
        for (ends, store, mode, asked, want) in [
            (DUE, both(DUE), direct, asked(None, false), &["claude", KEY][..]),
            (DUE + 1, both(DUE + 1), direct, asked(None, false), &[]),
            (DUE + 1, both(DUE + 1), direct, asked(None, true), &["claude", KEY]),
            (DUE, both(DUE), direct, asked(Some("claude"), false), &["claude"]),
            (DUE, both(DUE), direct, asked(Some(KEY), false), &[KEY]),
            (DUE, both(DUE), direct, asked(Some("x"), false), &[]),
            (DUE, both(DUE), RenewMode::Delegate, asked(None, false), &["claude"]),
            (DUE, both(DUE), RenewMode::Off, asked(None, false), &[]),
            // nobody needs it
            (DUE, own(DUE + 1), direct, asked(None, false), &[]),
            (DUE, copied(DUE), direct, asked(None, false), &["claude"]),
        ] {
            let home = home(ends, &store);
            let mut ctx = home.ctx("state", NOW);
            ctx.config.renew.mode = mode;
            let ledger = Ledger::default();
            let view = look::look(&ctx, &ledger);
            let found = due(&ctx, &ledger, &view, &asked);
            assert!(found.iter().eq(want), "{ends} {mode:?} {asked:?}: {found:?}");
        }
    }

    /// One login and its copy, another login that nobody uses, and what a pass holds of them.
    struct Held {
        home: Home,
        ctx: Ctx,
        ledger: Ledger,
        view: View,
        asked: Asked,
    }

    impl Held {
        fn new(store: &Value) -> Self {
            let home = home(-MINUTE, store);
            std::fs::create_dir(home.at(".claude-b")).unwrap();
            std::fs::copy(home.credentials(), home.at(".claude-b/.credentials.json")).unwrap();
            let mut ctx = home.ctx("state", NOW);
            ctx.config.logins = vec![LoginConfig {
                dir: home.at(".claude-b"),
                name: None,
                agents: Some(Vec::new()),
                profile: None,
            }];
            let mut ledger = Ledger::default();
            look::remember(&look::look(&ctx, &ledger), &mut ledger);
            let view = look::look(&ctx, &ledger);
            Self {
                home,
                view,
                ctx,
                ledger,
                asked: Asked::default(),
            }
        }

        /// That somebody began to renew the first login.
        fn begun(&self) {
            let record = self.view.logins[0].login.place.owner_record();
            std::fs::write(record, "{}").unwrap();
        }

        fn dead(&mut self, lock: fn(&crate::rules::login::Place) -> PathBuf) {
            let login = &mut self.view.logins[0].login;
            login.dead_lock = Some((lock(&login.place), NOW));
        }
    }

    #[test]
    fn a_login_is_put_before_the_rule_as_it_stands() {
        type Row = (&'static str, fn(&mut Held), fn(&Case<'_>) -> bool, [bool; 2]);
        let put_back: fn(&Case<'_>) -> bool = |case| case.put_back;
        let abandoned: fn(&Case<'_>) -> bool = |case| case.abandoned;
        let newer: fn(&Case<'_>) -> bool = |case| case.newer_copy;
        let wanted: fn(&Case<'_>) -> bool = |case| case.wanted;
        let rows: [Row; 18] = [
            ("as it is", |_| (), put_back, [false, false]),
            (
                "put back",
                |held| held.view.logins[0].verdict.reason = Some(Reason::OlderState),
                put_back,
                [true, false],
            ),
            (
                "another reason",
                |held| held.view.logins[0].verdict.reason = Some(Reason::Rejected),
                put_back,
                [false, false],
            ),
            // renewed in this pass, with the other one that holds the same
            (
                "spent since",
                |held| held.ledger.spent.extend([(print("0001"), NOW)]),
                put_back,
                [true, true],
            ),
            ("as it is", |_| (), abandoned, [false, false]),
            (
                "looked abandoned",
                |held| held.view.logins[0].login.abandoned = true,
                abandoned,
                [true, false],
            ),
            ("begun since", |held| held.begun(), abandoned, [false, false]),
            (
                "a dead lock",
                |held| held.dead(|place| place.refresh_lock()),
                abandoned,
                [false, false],
            ),
            (
                "a dead lock and begun",
                |held| {
                    held.begun();
                    held.dead(|place| place.refresh_lock());
                },
                abandoned,
                [true, false],
            ),
            (
                "the directory's lock and begun",
                |held| {
                    held.begun();
                    held.dead(claude::dir_lock);
                },
                abandoned,
                [false, false],
            ),
            ("as it is", |_| (), newer, [false, false]),
            (
                "another token",
                |held| held.view.agents[0].profiles[0].relation = Relation::Newer,
                newer,
                [true, false],
            ),
            (
                "the same token, saved later",
                |held| {
                    let mut copy = oauth("0001", NOW + MINUTE);
                    copy["access"] = access("0002").into();
                    let store = json!({"version": 1, "profiles": {"anthropic:claude-cli": copy}});
                    Home::write(&held.home.store(), &store);
                    held.view = look::look(&held.ctx, &held.ledger);
                },
                newer,
                [true, false],
            ),
            ("as it is", |_| (), wanted, [true, false]),
            ("asked", |held| held.asked.by_hand = true, wanted, [true, true]),
            (
                "always",
                |held| held.ctx.config.renew.always = true,
                wanted,
                [true, true],
            ),
            (
                "nobody reads the copy",
                |held| held.view.agents[0].profiles[0].verdict.reason = Some(Reason::StoreRetired),
                wanted,
                [false, false],
            ),
            (
                "an agent of its own",
                |held| held.view.agents[0].profiles[0].login = None,
                wanted,
                [false, false],
            ),
        ];
        for (what, change, get, want) in rows {
            let mut held = Held::new(&json!({"anthropic:claude-cli": oauth("0001", NOW - MINUTE)}));
            assert_eq!(held.view.logins.len(), 2);
            change(&mut held);
            let world = World::of(&held.ctx, &held.ledger, &held.view);
            let found = [0, 1].map(|i| get(&case(world, i, Way::Direct, &held.asked)));
            assert_eq!(found, want, "{what}");
        }
    }

    #[test]
    fn what_is_under_way_with_a_token_is_known_of_every_login_that_holds_it() {
        let record = |token: &str, under_way: bool| {
            let mut record = Record::new(print(token));
            if under_way {
                record.stage = Stage::Sent { expires: None, at: NOW };
            }
            record
        };
        let (idle, sent) = (|token| record(token, false), |token| record(token, true));
        let (own, other) = (Some("claude"), Some("copy"));
        for (ours, theirs, token, want) in [
            (None, None, Some("1"), None),
            (Some(idle("1")), None, Some("1"), own),
            (Some(idle("1")), Some(idle("1")), Some("1"), own),
            (None, Some(idle("1")), Some("1"), None),
            (None, Some(sent("1")), Some("1"), other),
            (Some(idle("1")), Some(sent("1")), Some("1"), other),
            (Some(sent("1")), Some(sent("1")), Some("1"), own),
            (Some(sent("0")), None, Some("1"), own),
            (Some(idle("1")), Some(sent("2")), Some("1"), own),
            (None, Some(sent("2")), Some("1"), None),
            (None, Some(sent("2")), None, None),
        ] {
            let mut ledger = Ledger::default();
            for (id, record) in [("claude", &ours), ("copy", &theirs)] {
                ledger
                    .renewals
                    .extend(record.clone().map(|record| (id.to_owned(), record)));
            }
            let found = of_token(&ledger, "claude", token.map(print));
            let which = found.map(|found| {
                let is = |id: &&str| {
                    ledger
                        .renewals
                        .get(*id)
                        .is_some_and(|record| std::ptr::eq(record, found))
                };
                ["claude", "copy"].into_iter().find(is).unwrap()
            });
            assert_eq!(which, want, "{ours:?} {theirs:?} {token:?}");
        }
    }
}

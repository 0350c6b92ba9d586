//! Two actors in every order of their steps with one switch and with two: every lock and every file that both touch, and every
//! request. What a schedule is: who goes first, after how many of its steps it is stopped, and how.
//!
//! `scripts/trials` runs all of them and prints the counts.

use super::Tried;
use super::actors::{Act, Finished, HAND, NEW, Puts, lost_an_answer, setup_token, work};
use super::turns::{Manner, Points, Ran, Schedule, Turns, Until, alone, key};
use super::world::{LIFE, NOW, World, name, oauth, stored, token};
use crate::edge::step::At;
use crate::ledger;
use crate::pass::{self, Scope};
use crate::types::{Event, HOUR, MINUTE, Moment, Severity, Status};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the home is like when both begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The login is due.
    Renewal,
    /// The agent renewed the copy in its store; the login has the token that was used up for it.
    Heal,
    /// The copy is older than its login.
    Sync,
}

impl Case {
    fn world(self) -> World {
        let world = World::new();
        let first = world.network.sign_in();
        match self {
            Self::Renewal => {
                world.login(&first, NOW + 3 * MINUTE);
                world.copy(token(&first, NOW + 3 * MINUTE));
            }
            Self::Heal => {
                // a pass has seen both with the same token
                world.login(&first, NOW + HOUR);
                world.copy(oauth(&first, NOW + HOUR));
                quiet_pass(&world, "state", NOW - HOUR);
                quiet_pass(&world, "other", NOW - HOUR);
                let next = world.network.exchange(&first).expect("a new token");
                world.copy(oauth(&next, NOW + LIFE));
            }
            Self::Sync => {
                world.login(&first, NOW + 2 * HOUR);
                world.copy(token("old0", NOW - HOUR));
            }
        }
        world.network.heard();
        world
    }
}

const STATE: Act = Act::Pass("state");
const OTHER: Act = Act::Pass("other");

/// What is tried: where, and who meets whom.
const PAIRS: &[(Case, Act, Act)] = &[
    (Case::Renewal, STATE, OTHER),
    (Case::Renewal, STATE, STATE),
    (Case::Renewal, STATE, Act::Cli),
    (Case::Renewal, STATE, Act::SignIn),
    (Case::Renewal, STATE, Act::Key(Puts::Renames)),
    (Case::Renewal, STATE, Act::Record),
    (Case::Heal, STATE, OTHER),
    (Case::Heal, STATE, Act::Renew),
    (Case::Heal, STATE, Act::SignIn),
    (Case::Heal, STATE, Act::Key(Puts::InPlace)),
    (Case::Sync, STATE, OTHER),
    (Case::Sync, STATE, Act::Key(Puts::Renames)),
    (Case::Sync, STATE, Act::Key(Puts::InPlace)),
    (Case::Sync, STATE, Act::Cli),
    (Case::Sync, STATE, Act::Record),
    (Case::Sync, Act::Record, Act::Key(Puts::Renames)),
    (Case::Sync, Act::Record, Act::Key(Puts::InPlace)),
    (Case::Sync, Act::Record, Act::Record),
];

fn quiet_pass(world: &World, state: &str, now: Moment) {
    let ctx = world.ctx(state, now);
    alone(&world.network, || {
        super::actors::block_on(pass::run(&ctx, Scope::Whole))
    });
}

/// What there is once both have gone.
struct End<'a> {
    world: &'a World,
    acts: [Act; 2],
    finished: [Finished; 2],
    ran: &'a Ran,
}

impl End<'_> {
    fn finished(&self, wanted: fn(Act) -> bool) -> bool {
        let both = self.acts.iter().zip(&self.finished);
        both.into_iter()
            .any(|(act, finished)| wanted(*act) && finished.load(Ordering::SeqCst))
    }

    /// What must hold in the moment when both have gone, and after two passes with nobody beside them.
    fn judge(&self) -> Result<(), String> {
        self.intact()?;
        let states: &[&str] = if self.acts.contains(&OTHER) {
            &["state", "other"]
        } else {
            &["state"]
        };
        for state in states {
            quiet_pass(self.world, state, NOW + 11 * MINUTE);
        }
        self.intact()?;
        let mut heard = self.world.network.heard();
        self.current(&mut heard).or_else(|_| {
            // what a killed one left is made good by the second
            quiet_pass(self.world, "state", NOW + 12 * MINUTE);
            self.intact()?;
            self.current(&mut heard)
        })
    }

    /// An agent that writes without the lock had read its store before somebody else wrote it: that cannot be helped.
    fn outwritten(&self) -> bool {
        let agent = self.acts.iter().position(|act| matches!(act, Act::Key(_)));
        let at = |what: At, of_agent: bool| {
            let of_store = |(who, at, path): &&(usize, At, std::path::PathBuf)| {
                *at == what && path.ends_with("auth-profiles.json") && (Some(*who) == agent) == of_agent
            };
            let log = self.ran.log.iter().enumerate();
            log.filter(|(_, done)| of_store(done)).map(|(i, _)| i).next_back()
        };
        match (at(At::Look, true), at(At::Change, false), at(At::Change, true)) {
            (Some(read), Some(ours), Some(wrote)) => read < ours && ours < wrote,
            _ => false,
        }
    }

    /// Its own writer was killed over the store.
    fn half_written(&self) -> bool {
        let half = |who: usize| self.acts[who] == Act::Key(Puts::InPlace) && self.ran.killed[who];
        half(0) || half(1)
    }

    fn intact(&self) -> Result<(), String> {
        let world = self.world;
        let replayed = world.network.replayed();
        if !replayed.is_empty() {
            return Err(format!("posted again: {replayed:?}"));
        }
        if stored(&world.credentials()).is_none_or(|(access, refresh, _)| access.is_empty() || refresh.is_empty()) {
            return Err("the login was emptied".into());
        }
        let Some(store) = profiles(world) else {
            return match self.half_written() {
                true => Ok(()),
                false => Err("the store was emptied".into()),
            };
        };
        let wanted = [
            (true, "openai:own"),
            (self.finished(|act| matches!(act, Act::Key(_))), NEW),
            (self.finished(|act| act == Act::Record) && !self.outwritten(), HAND),
        ];
        for (due, id) in wanted {
            if due && store[id]["key"].as_str().is_none_or(str::is_empty) {
                return Err(format!("the key `{id}` is lost"));
            }
        }
        for state in ["state", "other"] {
            let loaded = ledger::load(&world.at(state));
            if let Some(problem) = loaded.problem {
                return Err(problem.message);
            }
            let due = state == "state" && self.finished(|act| act == Act::Record);
            if due && !loaded.ledger.setup_tokens.contains_key(&setup_token().fingerprint()) {
                return Err("the setup token's dates are lost".into());
            }
        }
        Ok(())
    }

    /// The login works, or a person has heard of it; every copy is as new as it, and nothing lies about.
    fn current(&self, heard: &mut Vec<Event>) -> Result<(), String> {
        let world = self.world;
        let (access, refresh, _) = stored(&world.credentials()).ok_or("no login")?;
        let killed = self.ran.killed != [false; 2];
        heard.extend(world.network.heard());
        if !world.network.is_live(&refresh) {
            // who takes over from one that is gone, or seems to be, may post what that one posted
            let taken_over = (killed || self.ran.stopped) && self.acts.contains(&Act::Cli);
            let lost = (0..2).any(|who| lost_an_answer(self.ran, who, self.acts[who])) || self.half_written();
            let excused = taken_over || lost;
            quiet_pass(world, "state", NOW + LIFE);
            heard.extend(world.network.heard());
            let told = heard.iter().any(|event| event.status == Status::Firing);
            return match excused && told {
                true => Ok(()),
                false => Err(format!("the login is lost; heard of it: {told}")),
            };
        }
        let Some(store) = profiles(world) else { return Ok(()) };
        let copy = &store["anthropic:claude-cli"];
        let held = if copy["type"] == "oauth" {
            &copy["access"]
        } else {
            &copy["token"]
        };
        // a grant of its own may stay
        let own = copy["type"] == "oauth" && world.network.is_live(&name(&copy["refresh"]));
        if name(held) != access && !own {
            return Err(format!("the login is at {access}, its copy at {}", name(held)));
        }
        if !killed {
            // that another one was quicker is no failure of a pass
            let moves = [Act::Renew, Act::SignIn];
            if !self.ran.stopped && !self.acts.iter().any(|act| moves.contains(act)) {
                let mut both = self.acts.iter().zip(&self.finished);
                if let Some((act, _)) = both.find(|(_, finished)| !finished.load(Ordering::SeqCst)) {
                    return Err(format!("{act:?} failed"));
                }
            }
            // a store that its own writer left empty for ten minutes is broken
            let torn = self.ran.stopped && self.acts.iter().any(|act| matches!(act, Act::Key(Puts::InPlace)));
            if !torn && !heard.iter().all(|event| event.severity < Severity::Warning) {
                return Err(format!("rang: {}", heard[0].title));
            }
            let left = left(world.home());
            if !left.is_empty() {
                return Err(format!("left behind: {left:?}"));
            }
        }
        Ok(())
    }
}

fn profiles(world: &World) -> Option<Value> {
    let value: Value = serde_json::from_slice(&fs::read(world.store()).ok()?).ok()?;
    value.get("profiles").filter(|profiles| profiles.is_object()).cloned()
}

/// Locks, records, temp files and rescued tokens.
fn left(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let rescued = path.parent().is_some_and(|dir| dir.ends_with("rescue"));
        let ends = [".lock", ".owner", "nolapse-tmp", ".theirs"];
        if rescued || name != "pass.lock" && ends.iter().any(|end| name.ends_with(end)) {
            found.push(name);
        } else if path.is_dir() {
            found.extend(left(&path));
        }
    }
    found
}

/// Tries one schedule: whether it is one of its own, and what is wrong.
fn one(case: Case, acts: [Act; 2], schedule: &Schedule) -> (bool, Result<(), String>) {
    at(case, acts, schedule, &None)
}

fn at(case: Case, acts: [Act; 2], schedule: &Schedule, points: &Points) -> (bool, Result<(), String>) {
    let world = case.world();
    let [a, b] = acts.map(|act| work(act, &world));
    let ran = Turns::run(schedule, points, &world.network, [a.0, b.0]);
    let end = End {
        world: &world,
        acts,
        finished: [a.1, b.1],
        ran: &ran,
    };
    let judged = match end.judge() {
        Ok(()) => Ok(()),
        Err(why) => {
            let log = ran.log.iter().map(|(who, at, path)| {
                let path = path.strip_prefix(world.home()).unwrap_or(path);
                format!("  {who} {at:?} {}", path.display())
            });
            let log: Vec<String> = log.collect();
            let kept = format!("{case:?} {acts:?} {schedule:?}\n  stopped before {:?}", ran.stops);
            Err(format!("{why}: {kept}\n{}", log.join("\n")))
        }
    };
    (ran.whole, judged)
}

/// How many schedules there were, and what was wrong with some.
#[derive(Default)]
struct Counted {
    by_kind: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Counted {
    /// `false` once the leg that was made longer is longer than the actor goes.
    fn count(&mut self, kind: &'static str, (own, judged): (bool, Result<(), String>)) -> bool {
        self.wrong.extend(judged.err());
        *self.by_kind.entry(kind).or_default() += usize::from(own);
        own
    }
}

/// Every `nth` schedule of a pair with one switch, in this manner.
fn one_switch(case: Case, acts: [Act; 2], manner: Manner, nth: usize, counted: &mut Counted) {
    let kind = match manner {
        Manner::Brief => "one switch",
        Manner::Stopped => "stopped for long",
        Manner::Killed => "killed",
    };
    for first in [0, 1] {
        for steps in (0..).step_by(nth) {
            let schedule = Schedule {
                first,
                legs: vec![(Until::Steps(steps), manner)],
            };
            if !counted.count(kind, one(case, acts, &schedule)) {
                break;
            }
        }
    }
}

/// Where it matters who comes first: what both touch and one changes. What only one touches, or both only read, may as well be
/// done before a switch as after it.
fn points(case: Case, acts: [Act; 2]) -> Points {
    let mut touched: [BTreeMap<String, bool>; 2] = Default::default();
    for first in [0, 1] {
        let world = case.world();
        let [a, b] = acts.map(|act| work(act, &world));
        let schedule = Schedule {
            first,
            legs: Vec::new(),
        };
        for (who, at, path) in Turns::run(&schedule, &None, &world.network, [a.0, b.0]).log {
            *touched[who].entry(key(&path)).or_default() |= at != At::Look;
        }
    }
    let [a, b] = &touched;
    let both = a
        .iter()
        .filter(|(key, changed)| b.get(*key).is_some_and(|too| **changed || *too));
    let mut points: BTreeSet<String> = both.map(|(key, _)| key.clone()).collect();
    // who sweeps touches the temp files of the other one only where they are there
    let all = a.keys().chain(b.keys());
    let swept =
        |key: &&String| key.ends_with("nolapse-tmp") && (key.starts_with("agent/") || key.starts_with(".claude/"));
    if acts.iter().any(|act| matches!(act, Act::Pass(_)))
        && acts.iter().all(|act| matches!(act, Act::Pass(_) | Act::Record))
    {
        points.extend(all.filter(swept).cloned());
    }
    Some(Arc::new(points))
}

fn two_switches(case: Case, acts: [Act; 2], counted: &mut Counted) {
    let points = points(case, acts);
    for first in [0, 1] {
        for steps in 1.. {
            let mut any = false;
            for more in 1.. {
                let schedule = Schedule {
                    first,
                    legs: vec![
                        (Until::Steps(steps), Manner::Brief),
                        (Until::Steps(more), Manner::Brief),
                    ],
                };
                if !counted.count("two switches", at(case, acts, &schedule, &points)) {
                    break;
                }
                any = true;
            }
            if !any {
                break;
            }
        }
    }
}

/// Where an actor was stopped, and how.
type Legs = &'static [(Until, Manner)];

/// What failed once.
const KEPT: &[(Case, Act, Act, Legs)] = &[
    // the agent renewed its copy once more after it was compared, and its login was healed to a spent token for good
    (
        Case::Heal,
        STATE,
        Act::Renew,
        &[(
            Until::Before(At::Change, ".credentials.json.*.nolapse-tmp", 1),
            Manner::Brief,
        )],
    ),
    // the same, by a pass that was killed before it could remember what it had healed
    (
        Case::Heal,
        STATE,
        Act::Renew,
        &[(Until::Before(At::Release, ".oauth_refresh.lock", 1), Manner::Killed)],
    ),
    // a store that another pass had brought up to date meanwhile rang as expired
    (
        Case::Sync,
        STATE,
        OTHER,
        &[(Until::Before(At::Lock, "auth-profiles.json.lock", 2), Manner::Brief)],
    ),
    (
        Case::Sync,
        STATE,
        OTHER,
        &[(Until::Before(At::Lock, "auth-profiles.json.lock", 2), Manner::Stopped)],
    ),
    // what had just been displaced was swept by another pass, and what was written counted as not
    (
        Case::Sync,
        STATE,
        OTHER,
        &[(
            Until::Before(At::Look, ".auth-profiles.json.*.nolapse-tmp", 1),
            Manner::Brief,
        )],
    ),
    // a temp file was swept before its maker had locked it
    (
        Case::Sync,
        Act::Record,
        STATE,
        &[(
            Until::Before(At::Lock, ".auth-profiles.json.*.nolapse-tmp", 1),
            Manner::Brief,
        )],
    ),
    // a login that another pass had healed meanwhile counted as one that could not be
    (
        Case::Heal,
        STATE,
        OTHER,
        &[(Until::Before(At::Lock, ".oauth_refresh.lock", 1), Manner::Brief)],
    ),
    // an agent put back what it had read before, in the moment before the pass looked at what it had written, and that rang
    (
        Case::Sync,
        Act::Key(Puts::Renames),
        STATE,
        &[
            (Until::Before(At::Change, "auth-profiles.json", 1), Manner::Brief),
            (Until::Before(At::Look, "auth-profiles.json", 7), Manner::Brief),
        ],
    ),
];

#[test]
fn what_failed_once_does_not_fail_again() {
    for &(case, a, b, legs) in KEPT {
        let schedule = Schedule {
            first: 0,
            legs: legs.to_vec(),
        };
        let (own, judged) = one(case, [a, b], &schedule);
        assert!(own, "{case:?} {a:?} {b:?} {schedule:?}: it does not come there");
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
}

/// Every schedule of a pair that there is time for.
fn pair((case, a, b): (Case, Act, Act), tried: Tried) -> Counted {
    let mut counted = Counted::default();
    for manner in [Manner::Brief, Manner::Stopped, Manner::Killed] {
        one_switch(
            case,
            [a, b],
            manner,
            if tried == Tried::Some { 29 } else { 1 },
            &mut counted,
        );
    }
    if tried == Tried::All {
        two_switches(case, [a, b], &mut counted);
    }
    let of_pair = counted.by_kind.iter().map(|(kind, n)| format!("{n} {kind}"));
    println!("{case:?} {a:?} {b:?}: {}", of_pair.collect::<Vec<_>>().join(", "));
    counted
}

#[test]
fn nothing_is_lost_in_any_order_of_two_actors() {
    let (mut counted, tried) = (Counted::default(), super::tried());
    let next = AtomicUsize::new(0);
    let all = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            while let Some(&one) = PAIRS.get(next.fetch_add(1, Ordering::SeqCst)) {
                done.push(pair(one, tried));
            }
            done
        };
        let threads = if tried == Tried::Some { 1 } else { 2 };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    for one in all {
        counted.wrong.extend(one.wrong);
        for (kind, n) in one.by_kind {
            *counted.by_kind.entry(kind).or_default() += n;
        }
    }
    println!("{:?}, {} wrong", counted.by_kind, counted.wrong.len());
    for wrong in counted.wrong.iter().skip(1) {
        println!("{}", wrong.lines().take(2).collect::<Vec<_>>().join("\n"));
    }
    if let Some(first) = counted.wrong.first() {
        panic!("{} wrong; the first: {first}", counted.wrong.len());
    }
}

//! Long random histories of one home beside a small model of what must hold of it. The model knows what people and servers know: which
//! token the endpoint would take, which alerts somebody was shown, which keys were written. It knows no lock, fence, rescued token or
//! ledger, and decides nothing as our code does.

use super::actors::{Act, HAND, NEW, Puts, block_on, lost_an_answer, work};
use super::turns::{Manner, Schedule, Turns, Until, alone};
use super::world::{Says, World, name, stored, token};
use super::{Tried, histories};
use crate::ledger;
use crate::outcome::Report;
use crate::pass::{self, Scope};
use crate::types::{DAY, Event, HOUR, MINUTE, Moment, Ms, Severity, Status};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A whole pass, with nobody beside it.
    Pass,
    /// Somebody else does something.
    Alone(Act),
    /// A pass is stopped after so many steps, and somebody else acts before it goes on, if it does.
    Meets(usize, Manner, Act),
    /// Somebody else is stopped, and a pass is made meanwhile.
    IsMet(usize, Manner, Act),
    /// Minutes go by.
    Wait(Ms),
    /// What the endpoint will say to the next request of ours.
    Says(Says),
    /// Whether the receiver of alerts can be reached.
    Deaf(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let acts = vec![
        Act::Pass("state"),
        Act::Pass("other"),
        Act::Record,
        Act::Key(Puts::Renames),
        Act::Key(Puts::InPlace),
        Act::Cli,
        Act::SignIn,
    ];
    let act = || prop::sample::select(acts.clone());
    let manner = || prop::sample::select(vec![Manner::Brief, Manner::Stopped, Manner::Killed]);
    let says = vec![Says::Good, Says::SameRefresh, Says::NotSent, Says::Lost, Says::Error];
    prop_oneof![
        6 => Just(Step::Pass),
        3 => act().prop_map(Step::Alone),
        4 => (0_usize..120, manner(), act()).prop_map(|(n, manner, act)| Step::Meets(n, manner, act)),
        2 => (0_usize..14, manner(), act()).prop_map(|(n, manner, act)| Step::IsMet(n, manner, act)),
        6 => prop::sample::select(vec![1, 10, 60, 7 * 60 + 50, 9 * 60]).prop_map(Step::Wait),
        2 => prop::sample::select(says).prop_map(Step::Says),
        1 => any::<bool>().prop_map(Step::Deaf),
    ]
}

/// What people and servers know.
#[derive(Default)]
struct Model {
    /// The keys that were written to the end.
    keys: BTreeSet<&'static str>,
    /// The login was lost by what nobody can help: an answer that never came, or a process that was killed with it.
    excused: bool,
    /// What the receiver was shown last of each alert, by who sent it.
    shown: BTreeMap<String, Event>,
    /// How often it was shown each event, and how often processes were killed, by each of which it may be shown one more.
    times: BTreeMap<String, usize>,
    kills: usize,
}

struct History {
    world: World,
    model: Model,
    begun: Moment,
}

impl super::History for History {
    type Step = Step;

    fn begin() -> Self {
        let world = World::new();
        let first = world.network.sign_in();
        world.login(&first, world.now + 2 * HOUR);
        world.copy(token(&first, world.now + 2 * HOUR));
        let mut begun = Self {
            begun: world.now,
            world,
            model: Model::default(),
        };
        begun.model.keys.insert("openai:own");
        begun
    }

    fn next(&mut self, step: Step) -> Result<(), String> {
        let held = self.holds();
        let mut killed = false;
        match step {
            Step::Wait(minutes) => self.wait(minutes),
            Step::Says(says) => self.world.network.script([says]),
            Step::Deaf(deaf) => self.world.network.deaf(deaf),
            Step::Pass => {
                let report = self.pass("state");
                self.hear()?;
                self.is_heard(&report)?;
            }
            Step::Alone(act) => killed = self.both([act, Act::Nothing], (0, Manner::Brief)),
            Step::Meets(steps, manner, act) => killed = self.both([Act::Pass("state"), act], (steps, manner)),
            Step::IsMet(steps, manner, act) => killed = self.both([act, Act::Pass("state")], (steps, manner)),
        }
        self.hear()?;
        let lost = held && !self.holds();
        if lost && !killed && !self.world.network.took_lost() {
            return Err("the login is lost".into());
        }
        self.model.excused |= lost;
        if matches!(step, Step::Alone(Act::SignIn)) {
            self.model.excused = false;
        }
        self.keeps()
    }

    /// Everybody can be reached, and passes are made with nobody beside them: all comes right, and then it is quiet.
    fn settles(&mut self) -> Result<(), String> {
        self.world.network.deaf(false);
        self.world.network.no_script();
        for _ in 0..40 {
            self.wait(15);
            self.next(Step::Pass)?;
        }
        if !self.holds() {
            if !self.model.excused || self.fire().is_empty() {
                return Err(format!(
                    "the login is lost, and nobody sees it; excused: {}",
                    self.model.excused
                ));
            }
            self.next(Step::Alone(Act::SignIn))?;
        } else if self.world.now - self.begun > 12 * DAY || self.model.kills > 0 && !self.fire().is_empty() {
            // nobody can know what a killed one had posted: that is for a person, who was asked
            self.next(Step::Alone(Act::SignIn))?;
        }
        for _ in 0..10 {
            self.wait(10);
            self.next(Step::Pass)?;
            self.pass("other");
            self.hear()?;
        }
        if let Some(event) = self.fire().first() {
            return Err(format!("all is well, and it still rings: {}", event.title));
        }
        let (access, ..) = stored(&self.world.credentials()).ok_or("no login")?;
        let store = profiles(&self.world).ok_or("no store")?;
        let copy = name(&store["anthropic:claude-cli"]["token"]);
        if copy != access {
            return Err(format!("the login is at {access}, its copy at {copy}"));
        }
        let before = self.model.times.clone();
        // the lock that a killed one left is taken in one pass, and only the next one renews: both have to come ahead of the end
        let (rounds, minutes) = if self.model.kills > 0 { (80, 7) } else { (8, 70) };
        for _ in 0..rounds {
            self.wait(minutes);
            self.next(Step::Pass)?;
        }
        let shown = self.model.shown.values();
        let more: Vec<&str> = shown
            .filter(|event| !before.contains_key(&event.event_id))
            .map(|event| event.title.as_str())
            .collect();
        match more.is_empty() {
            true => Ok(()),
            false => Err(format!("messages while all was well: {more:?}")),
        }
    }
}

impl History {
    fn wait(&mut self, minutes: Ms) {
        self.world.now = self.world.now + minutes * MINUTE;
        let ahead = self.world.network.ahead() + Duration::from_secs(60 * minutes.unsigned_abs());
        self.world.network.advance(ahead);
    }

    fn pass(&self, state: &str) -> Report {
        let ctx = self.world.ctx(state, self.world.now);
        alone(&self.world.network, || block_on(pass::run(&ctx, Scope::Whole)))
    }

    /// Two actors, of which the first is stopped. Whether one was killed that could have lost the login by that.
    fn both(&mut self, acts: [Act; 2], leg: (usize, Manner)) -> bool {
        let [a, b] = acts.map(|act| work(act, &self.world));
        let schedule = Schedule {
            first: 0,
            legs: vec![(Until::Steps(leg.0), leg.1)],
        };
        let ran = Turns::run(&schedule, &None, &self.world.network, [a.0, b.0]);
        self.model.kills += usize::from(ran.killed != [false; 2]);
        let killed = lost_an_answer(&ran, 0, acts[0]);
        if profiles(&self.world).is_none() {
            // its own writer died over it, and a person puts a new one there
            let (access, _, expires) = stored(&self.world.credentials()).unwrap_or_default();
            self.world.copy(token(&access, expires));
            self.model.keys = BTreeSet::from(["openai:own"]);
            return killed;
        }
        for (act, finished) in acts.iter().zip([a.1, b.1]) {
            match act {
                _ if !finished.load(Ordering::SeqCst) => false,
                Act::Key(_) => self.model.keys.insert(NEW),
                Act::Record => self.model.keys.insert(HAND),
                _ => false,
            };
        }
        killed
    }

    /// Whether a token that the endpoint would take is anywhere on disk.
    fn holds(&self) -> bool {
        let network = &self.world.network;
        let in_place = stored(&self.world.credentials()).is_some_and(|(_, refresh, _)| network.is_live(&refresh));
        let rescued = ["state", "other"].iter().any(|state| {
            let files = fs::read_dir(self.world.at(state).join("rescue"))
                .into_iter()
                .flatten()
                .flatten();
            files.into_iter().any(|file| {
                let value: Option<Value> = fs::read(file.path())
                    .ok()
                    .and_then(|text| serde_json::from_slice(&text).ok());
                value.is_some_and(|value| network.is_live(&name(&value["refresh"])))
            })
        });
        in_place || rescued
    }

    fn hear(&mut self) -> Result<(), String> {
        for event in self.world.network.heard() {
            let times = self.model.times.entry(event.event_id.clone()).or_default();
            *times += 1;
            if *times > 1 + self.model.kills {
                return Err(format!("{} was shown {times} times", event.title));
            }
            let key = format!("{} {}", event.host, event.alert_id);
            self.model.shown.insert(key, event);
        }
        Ok(())
    }

    /// The alerts that somebody sees firing now.
    fn fire(&self) -> Vec<&Event> {
        let loud = |event: &&Event| event.status == Status::Firing && event.severity >= Severity::Warning;
        self.model.shown.values().filter(loud).collect()
    }

    /// What has lapsed was shown to somebody, or the pass says that something is wrong.
    fn is_heard(&self, report: &Report) -> Result<(), String> {
        let Some((_, refresh, expires)) = stored(&self.world.credentials()) else {
            return Err("no login".into());
        };
        let lapsed = self.world.now > expires + 90 * MINUTE && !self.world.network.is_live(&refresh);
        let said = report
            .problems
            .iter()
            .any(|problem| problem.kind == crate::rules::heard::UNHEARD)
            || !report.good();
        match lapsed && !said && self.fire().is_empty() {
            true => Err("a login has lapsed, nobody saw it, and the pass did not end with 3".into()),
            false => Ok(()),
        }
    }

    /// What must hold at any time.
    fn keeps(&self) -> Result<(), String> {
        let replayed = self.world.network.replayed();
        if !replayed.is_empty() {
            return Err(format!("posted again: {replayed:?}"));
        }
        if stored(&self.world.credentials()).is_none_or(|(access, refresh, _)| access.is_empty() || refresh.is_empty())
        {
            return Err("the login was emptied".into());
        }
        let store = profiles(&self.world).ok_or("the store was emptied")?;
        if let Some(lost) = self
            .model
            .keys
            .iter()
            .find(|id| store[**id]["key"].as_str().is_none_or(str::is_empty))
        {
            return Err(format!("the key `{lost}` is lost"));
        }
        for state in ["state", "other"] {
            if let Some(problem) = ledger::load(&self.world.at(state)).problem {
                return Err(problem.message);
            }
        }
        Ok(())
    }
}

fn profiles(world: &World) -> Option<Value> {
    let value: Value = serde_json::from_slice(&fs::read(world.store()).ok()?).ok()?;
    value.get("profiles").filter(|profiles| profiles.is_object()).cloned()
}

/// What failed once.
const KEPT: &[&[Step]] = &[
    &[Step::Wait(470), Step::IsMet(5, Manner::Killed, Act::Cli)],
    &[
        Step::Says(Says::NotSent),
        Step::Wait(470),
        Step::Meets(28, Manner::Killed, Act::Pass("state")),
    ],
];

#[test]
fn no_history_loses_a_login_or_keeps_it_quiet() {
    let (seeds, length) = match super::tried() {
        Tried::Some => (0..4, 30),
        Tried::More => (0..200, 60),
        Tried::All => (0..1_000, 100),
    };
    histories::<History>("renewal", KEPT, seeds, prop::collection::vec(step(), 1..length));
}

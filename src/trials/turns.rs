//! Two actors, one thread each, of which one goes on at a time: who has the turn is decided at every step, never by the clock.

use super::world::Network;
use crate::edge::http::{HttpError, Reply};
use crate::edge::step::At;
use crate::edge::step::hold::{self, Hold, Killed, Next};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How an actor is stopped where it has to let the other one go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Manner {
    /// For a moment: whoever waits for it gets it going again.
    Brief,
    /// For ten minutes, in which nothing gets it going: its locks look stale.
    Stopped,
    /// For ever.
    Killed,
}

/// How long an actor is stopped that is.
const LONG: Duration = Duration::from_secs(600);

/// How far an actor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// So many steps.
    Steps(usize),
    /// Until it is about to do this for the nth time, to a file whose name ends so.
    Before(At, &'static str, usize),
}

/// Who goes first, and how far each goes before it stops; the last one goes on to its end, then the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) first: usize,
    pub(super) legs: Vec<(Until, Manner)>,
}

/// The files at which it matters who comes first, by [`key`]; every one where nothing is said.
pub(super) type Points = Option<Arc<BTreeSet<String>>>;

/// What became of it.
pub(super) struct Ran {
    /// Every leg was as long as was asked: a longer one is another schedule.
    pub(super) whole: bool,
    /// Which actors were killed.
    pub(super) killed: [bool; 2],
    /// One was stopped for long.
    pub(super) stopped: bool,
    /// Who did what, in order.
    pub(super) log: Vec<(usize, At, PathBuf)>,
    /// Before which steps actors were stopped, in a form that can be kept.
    pub(super) stops: Vec<Stop>,
}

/// Before which step an actor was stopped: how often it had come there is the last.
pub(super) type Stop = (At, String, usize);

struct State {
    turn: usize,
    done: [bool; 2],
    /// Not to be given a turn before the other one is done.
    stopped: [bool; 2],
    legs: VecDeque<(Until, Manner)>,
    /// The steps of this leg.
    taken: Vec<(At, String)>,
    stops: Vec<Stop>,
    ahead: Duration,
    waits: usize,
    log: Vec<(usize, At, PathBuf)>,
}

pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    network: Arc<Network>,
    points: Points,
}

/// What an actor does; its own thread and runtime are there.
pub(super) type Work = Box<dyn FnOnce() + Send>;

impl Turns {
    /// Lets both do their work by this schedule.
    pub(super) fn run(schedule: &Schedule, points: &Points, network: &Arc<Network>, works: [Work; 2]) -> Ran {
        let turns = Arc::new(Self {
            state: Mutex::new(State {
                turn: schedule.first,
                done: [false; 2],
                stopped: [false; 2],
                legs: schedule.legs.iter().copied().collect(),
                taken: Vec::new(),
                stops: Vec::new(),
                ahead: network.ahead(),
                waits: 0,
                log: Vec::new(),
            }),
            changed: Condvar::new(),
            network: Arc::clone(network),
            points: points.clone(),
        });
        let threads: Vec<_> = works
            .into_iter()
            .enumerate()
            .map(|(who, work)| {
                let turns = Arc::clone(&turns);
                std::thread::spawn(move || {
                    turns.wait(who);
                    let end = End(Arc::clone(&turns), who);
                    let done = hold::of(Rc::new(Actor(turns, who)), work);
                    drop(end);
                    matches!(done, Err(Killed))
                })
            })
            .collect();
        let killed: Vec<bool> = threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(killed) => killed,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect();
        let mut state = turns.lock();
        network.advance(state.ahead);
        Ran {
            whole: state.legs.is_empty(),
            killed: [killed[0], killed[1]],
            stopped: schedule.legs.iter().any(|(_, manner)| *manner == Manner::Stopped),
            log: std::mem::take(&mut state.log),
            stops: std::mem::take(&mut state.stops),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait(&self, who: usize) {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| state.turn != who);
        drop(waited.unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn give(&self, mut state: MutexGuard<'_, State>, to: usize) {
        state.turn = to;
        drop(state);
        self.changed.notify_all();
        self.wait(1 - to);
    }

    fn step(&self, who: usize, at: At, path: &Path) -> Next {
        let mut state = self.lock();
        let other = 1 - who;
        if self.points.as_ref().is_some_and(|points| !points.contains(&key(path))) {
            state.log.push((who, at, path.to_owned()));
            return Next::Go;
        }
        let name = named(path);
        let before = |taken: &[(At, String)]| taken.iter().filter(|done| **done == (at, name.clone())).count() + 1;
        let is_over = |until: Until| match until {
            Until::Steps(steps) => state.taken.len() >= steps,
            Until::Before(what, end, nth) => what == at && name.ends_with(end) && before(&state.taken) == nth,
        };
        if let Some((until, manner)) = state.legs.front().copied()
            && is_over(until)
            && !state.done[other]
        {
            state.legs.pop_front();
            let taken = std::mem::take(&mut state.taken);
            state.stops.push((at, name.clone(), before(&taken)));
            match manner {
                Manner::Brief => {}
                Manner::Stopped => {
                    state.stopped[who] = true;
                    state.ahead += LONG;
                }
                Manner::Killed => {
                    state.ahead += LONG;
                    self.network.dies();
                    return Next::Die;
                }
            }
            self.give(state, other);
            state = self.lock();
        }
        state.taken.push((at, name));
        state.log.push((who, at, path.to_owned()));
        assert!(state.log.len() < 100_000, "an actor goes round in circles");
        Next::Go
    }

    fn pause(&self, who: usize, time: Duration) {
        let mut state = self.lock();
        state.ahead += time;
        state.waits += 1;
        assert!(state.waits < 20_000, "both wait for each other");
        let other = 1 - who;
        if !state.done[other] && !state.stopped[other] {
            self.give(state, other);
        }
    }
}

/// Does the work with nobody beside it: time passes as it waits.
pub(crate) fn alone<T>(network: &Arc<Network>, work: impl FnOnce() -> T) -> T {
    let done = hold::of(Rc::new(Solo(Arc::clone(network))), work);
    done.unwrap_or_else(|Killed| unreachable!("nobody kills it"))
}

struct Solo(Arc<Network>);

impl Hold for Solo {
    fn step(&self, _: At, _: &Path) -> Next {
        Next::Go
    }

    fn pause(&self, time: Duration) {
        self.0.advance(self.0.ahead() + time);
    }

    fn ahead(&self) -> Duration {
        self.0.ahead()
    }

    fn answer(&self, url: &str, body: &[u8]) -> Result<Reply, HttpError> {
        self.0.answer(url, body)
    }
}

/// Ends an actor's part, however it ends.
struct End(Arc<Turns>, usize);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.done[self.1] = true;
        state.stopped = [false; 2];
        state.turn = 1 - self.1;
        drop(state);
        self.0.changed.notify_all();
    }
}

struct Actor(Arc<Turns>, usize);

impl Hold for Actor {
    fn step(&self, at: At, path: &Path) -> Next {
        match shared(path) {
            true => self.0.step(self.1, at, path),
            false => Next::Go,
        }
    }

    fn pause(&self, time: Duration) {
        self.0.pause(self.1, time);
    }

    fn ahead(&self) -> Duration {
        self.0.lock().ahead
    }

    fn answer(&self, url: &str, body: &[u8]) -> Result<Reply, HttpError> {
        self.0.network.answer(url, body)
    }
}

/// A file's name, without what differs from run to run in that of a temp file.
fn named(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix(".nolapse-tmp").and_then(|rest| rest.rsplit_once('.')) {
        Some((target, _)) => format!("{target}.*.nolapse-tmp"),
        None => name.into_owned(),
    }
}

/// A file by its name and its directory's.
pub(super) fn key(path: &Path) -> String {
    let above = path
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    format!(
        "{}/{}",
        if above.starts_with(".tmp") { "~" } else { &above },
        named(path)
    )
}

/// Whether anybody changes it: of what all only read every order is the same.
fn shared(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [
        ".lock",
        ".owner",
        "nolapse-tmp",
        ".credentials.json",
        "auth-profiles.json",
    ];
    ends.iter().any(|end| name.ends_with(end))
        || [
            "ledger.json",
            "fences.json",
            "passes.json",
            "history.jsonl",
            "network",
            "clawdbot.json",
        ]
        .contains(&&*name)
        || path.parent().is_some_and(|dir| dir.ends_with("rescue"))
}

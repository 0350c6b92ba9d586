//! Locks that exist: whose they are, and whether they are dead.

use super::super::wording::{quote, span};
use super::{Facts, Finding, Fix, Group, Level, Spot};
use crate::types::{MINUTE, Moment, Ms};
use std::time::Duration;

/// What a lock is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LockOf {
    /// A renewal by Claude Code, of this login.
    Refresh(String),
    /// A save by Claude Code, of this login.
    Save(String),
    /// A store, of this agent.
    Store(String),
    /// A renewal by the agents of one state directory.
    Grant,
}

/// A lock that exists.
#[derive(Clone, Debug)]
pub(crate) struct LockFact {
    /// Where.
    pub(crate) spot: Spot,
    /// What for.
    pub(crate) of: LockOf,
    /// A directory, or a file.
    pub(crate) is_dir: bool,
    /// Its last touch.
    pub(crate) touched: Moment,
    /// Nobody holds it any more.
    pub(crate) stale: bool,
    /// A directory that was not touched for this long is stale.
    pub(crate) limit: Duration,
    /// The process that it, or the record beside it, names; whether that lives; and its name.
    pub(crate) pid: Option<(u32, bool, Option<String>)>,
}

impl LockFact {
    /// Whose it is, in words.
    fn whose(&self) -> String {
        match &self.pid {
            Some((pid, true, Some(name))) => format!("process {pid} (`{name}`)"),
            Some((pid, true, None)) => format!("process {pid}"),
            Some((pid, false, _)) => format!("process {pid}, which is gone"),
            None => "a process that is not on record".to_owned(),
        }
    }
}

impl LockOf {
    /// What the lock is for, and why it matters that it goes.
    fn words(&self) -> (String, &'static str) {
        match self {
            Self::Refresh(id) => (
                format!("a renewal of the login `{id}`"),
                "Claude Code clears it when it next renews; until then it looks like a renewal in progress",
            ),
            Self::Save(id) => (
                format!("a save of the login `{id}`"),
                "Claude Code loses a login that it cannot save in time (2.1.330)",
            ),
            Self::Store(label) => (
                format!("the store of {label}"),
                "agents that use the other kind of lock wait for it forever: a file stops clawdbot, a directory hangs openclaw",
            ),
            Self::Grant => (
                "a renewal by the agents".to_owned(),
                "the agents of this state directory wait for it before they renew",
            ),
        }
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let locks = facts.locks.iter();
    locks.map(|lock| of_lock(lock, facts.now).at(&lock.spot.path)).collect()
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    Some(match facts.locks.len() {
        0 => "none held, none left over".to_owned(),
        n => format!("{n} held"),
    })
}

fn finding(kind: &str, level: Level, what: String, why: impl Into<String>) -> Finding {
    Finding::new(kind, Group::Locks, level, what, why)
}

fn of_lock(lock: &LockFact, now: Moment) -> Finding {
    let (here, age) = (&lock.spot.shown, now - lock.touched);
    let (what_for, whose) = (lock.of.words().0, lock.whose());
    match lock.pid {
        Some((pid, true, _)) if lock.stale && lock.is_dir => finding(
            "lock_stopped",
            Level::Warning,
            format!(
                "`{here}`, for {what_for}, is held by {whose}, which has not touched it for {}",
                span(age)
            ),
            "it is alive but stopped or hanging; others take the lock from it, and it may save a used-up token when it continues",
        )
        .run(format!("ps -o pid,stat,etime,args -p {pid}")),
        _ if lock.stale => dead(lock, age),
        _ if lock.is_dir && -age > MINUTE => finding(
            "lock_from_the_future",
            Level::Warning,
            format!("`{here}`, for {what_for}, was touched {} from now", span(-age)),
            "it looks fresh until then, so nobody clears it; the clock was set back, or is wrong",
        )
        .advice(format!(
            "not safe to remove while a `claude` or an agent runs; otherwise `rmdir {}`",
            quote(here)
        )),
        _ => finding(
            "lock_held",
            Level::Note,
            format!(
                "`{here}`, for {what_for}, is held by {whose}, last touched {} ago",
                span(age)
            ),
            match lock.pid {
                Some((_, true, _)) => "not safe to remove: its holder is alive".to_owned(),
                _ => format!(
                    "not safe to remove: its holder may be alive; it counts as held until it has not been touched for {} s",
                    lock.limit.as_secs()
                ),
            },
        )
        .advice("nothing to do; it goes when its holder is done"),
    }
}

fn dead(lock: &LockFact, age: Ms) -> Finding {
    let (what_for, matters) = lock.of.words();
    let proof = match (&lock.pid, lock.is_dir) {
        (Some((pid, ..)), false) => format!("process {pid} is gone"),
        (None, false) => format!("it names no process and has been there for {}", span(age)),
        (_, true) => format!(
            "its holder touches it every few seconds and has not for {}; the limit is {} s",
            span(age),
            lock.limit.as_secs()
        ),
    };
    let mut found = finding(
        "dead_lock",
        Level::Warning,
        format!(
            "`{}` was left behind {} ago by {}; it is for {what_for}",
            lock.spot.shown,
            span(age),
            lock.whose()
        ),
        format!("{matters}. Safe to remove: {proof}"),
    )
    .run("nolapse doctor --fix");
    found.fix = Some(Fix::Lock {
        path: lock.spot.path.clone(),
        stale_after: lock.limit,
    });
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    use crate::types::{DAY, HOUR};

    #[test]
    fn a_lock_is_removed_only_where_it_is_proven_dead() {
        let lock = |is_dir, stale, age: Ms, pid: Option<(u32, bool)>| LockFact {
            spot: spot("~/x.lock"),
            of: LockOf::Store("clawdbot/main".into()),
            is_dir,
            touched: NOW - age,
            stale,
            limit: Duration::from_secs(30),
            pid: pid.map(|(pid, lives)| (pid, lives, None)),
        };
        for (lock, kind, fixed) in [
            (lock(true, true, HOUR, None), "dead_lock", true),
            (lock(true, true, HOUR, Some((7, false))), "dead_lock", true),
            (lock(true, true, HOUR, Some((7, true))), "lock_stopped", false),
            (lock(true, false, 0, None), "lock_held", false),
            (lock(true, false, -HOUR, None), "lock_from_the_future", false),
            (lock(true, false, -MINUTE, None), "lock_held", false),
            (lock(false, true, HOUR, Some((7, false))), "dead_lock", true),
            (lock(false, true, HOUR, None), "dead_lock", true),
            (lock(false, false, DAY, Some((7, true))), "lock_held", false),
        ] {
            let found = super::super::examine(&Facts {
                locks: vec![lock.clone()],
                ..facts()
            });
            assert_eq!(
                (found[0].kind.as_str(), found[0].fix.is_some()),
                (kind, fixed),
                "{lock:?}"
            );
            if kind == "lock_held" {
                let known = lock.pid.is_some();
                assert_eq!(
                    found[0].why.contains("its holder may be alive"),
                    !known,
                    "{:?}",
                    found[0]
                );
                assert_eq!(found[0].why.ends_with("its holder is alive"), known, "{:?}", found[0]);
            }
        }
    }

    fn a_lock(facts: &mut Facts, of: LockOf, change: impl FnOnce(&mut LockFact)) {
        let mut lock = LockFact {
            spot: spot("~/x.lock"),
            of,
            is_dir: true,
            touched: NOW - HOUR,
            stale: true,
            limit: Duration::from_secs(60),
            pid: None,
        };
        change(&mut lock);
        facts.locks.push(lock);
    }

    const WORLDS: &[World] = &[
        (
            |facts| a_lock(facts, LockOf::Refresh("claude".into()), |_| ()),
            r#"
dead_lock warning /h/x.lock
`~/x.lock` was left behind 1 h ago by a process that is not on record; it is for a renewal of the login `claude`
Claude Code clears it when it next renews; until then it looks like a renewal in progress. Safe to remove: its holder touches it every few seconds and has not for 1 h; the limit is 60 s
$ nolapse doctor --fix | fix /h/x.lock"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Save("claude".into()), |lock| {
                    lock.pid = Some((7, false, None))
                })
            },
            r#"
dead_lock warning /h/x.lock
`~/x.lock` was left behind 1 h ago by process 7, which is gone; it is for a save of the login `claude`
Claude Code loses a login that it cannot save in time (2.1.330). Safe to remove: its holder touches it every few seconds and has not for 1 h; the limit is 60 s
$ nolapse doctor --fix | fix /h/x.lock"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Store("clawdbot/main".into()), |lock| {
                    lock.is_dir = false;
                    lock.pid = Some((7, false, Some("node".into())));
                })
            },
            r#"
dead_lock warning /h/x.lock
`~/x.lock` was left behind 1 h ago by process 7, which is gone; it is for the store of clawdbot/main
agents that use the other kind of lock wait for it forever: a file stops clawdbot, a directory hangs openclaw. Safe to remove: process 7 is gone
$ nolapse doctor --fix | fix /h/x.lock"#,
        ),
        (
            |facts| a_lock(facts, LockOf::Grant, |lock| lock.is_dir = false),
            r#"
dead_lock warning /h/x.lock
`~/x.lock` was left behind 1 h ago by a process that is not on record; it is for a renewal by the agents
the agents of this state directory wait for it before they renew. Safe to remove: it names no process and has been there for 1 h
$ nolapse doctor --fix | fix /h/x.lock"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Grant, |lock| {
                    lock.pid = Some((7, true, Some("node".into())))
                })
            },
            r#"
lock_stopped warning /h/x.lock
`~/x.lock`, for a renewal by the agents, is held by process 7 (`node`), which has not touched it for 1 h
it is alive but stopped or hanging; others take the lock from it, and it may save a used-up token when it continues
$ ps -o pid,stat,etime,args -p 7"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Grant, |lock| {
                    lock.stale = false;
                    lock.pid = Some((7, true, None));
                })
            },
            r#"
lock_held note /h/x.lock
`~/x.lock`, for a renewal by the agents, is held by process 7, last touched 1 h ago
not safe to remove: its holder is alive
nothing to do; it goes when its holder is done"#,
        ),
        (
            |facts| a_lock(facts, LockOf::Grant, |lock| lock.stale = false),
            r#"
lock_held note /h/x.lock
`~/x.lock`, for a renewal by the agents, is held by a process that is not on record, last touched 1 h ago
not safe to remove: its holder may be alive; it counts as held until it has not been touched for 60 s
nothing to do; it goes when its holder is done"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Grant, |lock| {
                    lock.stale = false;
                    lock.touched = NOW + HOUR;
                })
            },
            r#"
lock_from_the_future warning /h/x.lock
`~/x.lock`, for a renewal by the agents, was touched 1 h from now
it looks fresh until then, so nobody clears it; the clock was set back, or is wrong
not safe to remove while a `claude` or an agent runs; otherwise `rmdir ~/x.lock`"#,
        ),
        (
            |facts| {
                a_lock(facts, LockOf::Grant, |lock| {
                    lock.stale = false;
                    lock.is_dir = false;
                    lock.touched = NOW + HOUR;
                })
            },
            r#"
lock_held note /h/x.lock
`~/x.lock`, for a renewal by the agents, is held by a process that is not on record, last touched under a minute ago
not safe to remove: its holder may be alive; it counts as held until it has not been touched for 60 s
nothing to do; it goes when its holder is done"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}

//! Where tests take hold of what touches the world: just before a shared file is looked at or changed, a lock taken or released, a
//! request sent or its answer used. A test may let another actor go on there, or kill this one. In any other build a step is
//! nothing, a pause is a sleep and the time is the system's.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum At {
    /// A file is read, or looked at.
    Look,
    /// A file is made, written, renamed or removed.
    Change,
    /// A lock is taken, or kept fresh.
    Lock,
    /// A lock is released.
    Release,
    /// A request leaves, or its answer is used.
    Ask,
}

/// This is about to be done there.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step(_: At, _: &Path) {}

/// Whether a test killed this actor: what a killed process leaves is left, so nothing is released or removed on the way out.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn dead() -> bool {
    false
}

/// Waits for somebody else.
#[cfg(not(test))]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// [`pause`] where nothing else is to be done meanwhile.
#[cfg(not(test))]
pub(crate) fn pause_thread(time: Duration) {
    std::thread::sleep(time);
}

/// The system's time, as files bear it.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
pub(crate) use hold::{ahead, answer, dead, pause, pause_thread, step, wall};

#[cfg(test)]
pub(crate) mod hold {
    use super::{At, Duration, Path, SystemTime};
    use crate::edge::http::{HttpError, Reply};
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::rc::Rc;

    /// What becomes of an actor at a step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Next {
        Go,
        /// It is killed before it does what it was about to do.
        Die,
    }

    /// An actor was killed.
    #[derive(Debug)]
    pub(crate) struct Killed;

    /// Who has hold of this thread.
    pub(crate) trait Hold {
        fn step(&self, at: At, path: &Path) -> Next;
        /// Time passes, for the others too.
        fn pause(&self, _time: Duration) {}
        /// How far the time is ahead of the system's.
        fn ahead(&self) -> Duration {
            Duration::ZERO
        }
        /// What the network says.
        fn answer(&self, _url: &str, _body: &[u8]) -> Result<Reply, HttpError> {
            unreachable!("nothing is asked")
        }
    }

    thread_local! {
        static HOLD: RefCell<Option<Rc<dyn Hold>>> = const { RefCell::new(None) };
        static DEAD: Cell<bool> = const { Cell::new(false) };
    }

    /// Does the work with hold of it.
    pub(crate) fn of<T>(hold: Rc<dyn Hold>, work: impl FnOnce() -> T) -> Result<T, Killed> {
        let before = HOLD.replace(Some(hold));
        let done = catch_unwind(AssertUnwindSafe(work));
        HOLD.set(before);
        let killed = DEAD.replace(false);
        match done {
            Ok(_) if killed => Err(Killed),
            Ok(done) => Ok(done),
            Err(panic) if panic.is::<Killed>() => Err(Killed),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn hold() -> Option<Rc<dyn Hold>> {
        HOLD.with_borrow(Clone::clone)
    }

    pub(crate) fn step(at: At, path: &Path) {
        if std::thread::panicking() {
            return;
        }
        if !dead() && hold().is_some_and(|hold| hold.step(at, path) == Next::Die) {
            DEAD.set(true);
        }
        if dead() {
            resume_unwind(Box::new(Killed));
        }
    }

    pub(crate) fn dead() -> bool {
        DEAD.get()
    }

    pub(crate) async fn pause(time: Duration) {
        match paused(time) {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(time).await,
        }
    }

    pub(crate) fn pause_thread(time: Duration) {
        if !paused(time) {
            std::thread::sleep(time);
        }
    }

    fn paused(time: Duration) -> bool {
        hold().map(|hold| hold.pause(time)).is_some()
    }

    pub(crate) fn ahead() -> Duration {
        hold().map_or(Duration::ZERO, |hold| hold.ahead())
    }

    pub(crate) fn wall() -> SystemTime {
        SystemTime::now() + ahead()
    }

    /// The answer of a network that is made up; `None` where the real one is to be asked.
    pub(crate) fn answer(url: &str, body: &[u8]) -> Option<Result<Reply, HttpError>> {
        let answer = hold()?.answer(url, body);
        step(At::Ask, Path::new("network"));
        Some(answer)
    }

    /// Whether the network is made up.
    pub(crate) fn made_up() -> bool {
        hold().is_some()
    }
}

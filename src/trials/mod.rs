//! The real code on temporary homes in one process, in every order of its steps. `edge/step` is
//! where a trial takes hold of it; CONTRIBUTING.md says how all of it is run, and how what failed is kept.

mod actors;
mod schedules;
mod turns;
#[allow(dead_code, reason = "what histories need")]
mod world;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// What every run of the tests has time for.
    Some,
    /// Everything with one switch.
    More,
    /// Everything.
    All,
}

fn tried() -> Tried {
    match std::env::var("NOLAPSE_TRIALS").as_deref() {
        Ok("all") => Tried::All,
        Ok("more") => Tried::More,
        _ => Tried::Some,
    }
}

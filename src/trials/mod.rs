//! The real code on temporary homes in one process, in every order of its steps and through long random histories. `edge/step` is
//! where a trial takes hold of it; CONTRIBUTING.md says how all of it is run, and how what failed is kept.

pub(crate) mod actors;
mod delivery;
mod renewal;
mod schedules;
pub(crate) mod turns;
pub(crate) mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::fmt::Debug;
use std::ops::Range;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// What every run of the tests has time for.
    Some,
    /// Everything with one switch, and more histories.
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

/// Lives one history for each seed, and makes one that fails as short as it can be.
fn histories<S: Debug>(
    what: &str,
    seeds: Range<u64>,
    strategy: impl Strategy<Value = Vec<S>>,
    live: impl Fn(&[S]) -> Result<(), String>,
) {
    let (mut steps, mut failed) = (0, Vec::new());
    for seed in seeds.clone() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 300,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let lived = std::cell::Cell::new(None);
        let done = runner.run(&strategy, |history| {
            lived.set(lived.get().or(Some(history.len())));
            live(&history).map_err(TestCaseError::fail)
        });
        steps += lived.get().unwrap_or(0);
        if let Err(TestError::Fail(why, history)) = done {
            failed.push(format!("seed {seed}: {why}\n  keep: vec!{history:?}"));
        }
    }
    println!(
        "{what}: {} histories, {steps} steps, {} failed",
        seeds.end - seeds.start,
        failed.len()
    );
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

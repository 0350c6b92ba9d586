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

/// A world beside its model, and what can happen in it.
trait History {
    type Step: Copy + Debug;
    fn begin() -> Self;
    fn next(&mut self, step: Self::Step) -> Result<(), String>;
    /// What must hold once nothing more happens.
    fn settles(&mut self) -> Result<(), String>;
}

fn live<H: History>(steps: &[H::Step]) -> Result<(), String> {
    let mut history = H::begin();
    for (n, step) in steps.iter().enumerate() {
        history.next(*step).map_err(|why| format!("{why}, at step {n}"))?;
    }
    history.settles()
}

/// Lives what failed once, then one history for each seed, and makes one that fails as short as it can be.
fn histories<H: History>(
    what: &str,
    kept: &[&[H::Step]],
    seeds: Range<u64>,
    strategy: impl Strategy<Value = Vec<H::Step>>,
) {
    for steps in kept {
        live::<H>(steps).unwrap_or_else(|why| panic!("{why}: {steps:?}"));
    }
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
            live::<H>(&history).map_err(TestCaseError::fail)
        });
        steps += lived.get().unwrap_or(0);
        if (seed + 1) % 100 == 0 {
            println!("{what}: {} of {}", seed + 1, seeds.end);
        }
        if let Err(TestError::Fail(why, history)) = done {
            failed.push(format!("seed {seed}: {why}\n  keep: &{history:?}"));
        }
    }
    println!(
        "{what}: {} histories, {steps} steps, {} failed",
        seeds.end - seeds.start,
        failed.len()
    );
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

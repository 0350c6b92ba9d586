//! What a pass saw, did and said, and what was asked of it.

use crate::notify::{Receipt, SendError};
use crate::rules::alert::Alert;
use crate::rules::heard;
use crate::rules::memory::Outgoing;
use crate::rules::renew::Not;
use crate::rules::view::View;
use crate::types::{Moment, Problem};
use std::path::PathBuf;

/// What was done, or would be, to one store or login.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// The agent's label or the login's id.
    pub(crate) whom: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// How it went.
    pub(crate) outcome: Outcome,
}

/// How it went with one store or login.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Written: these profiles, or the login.
    Written(Vec<String>),
    /// Would be written; the exact change, secrets as fingerprints.
    WouldWrite(String),
    /// A login was healed from the copy of this agent.
    Healed(String),
    /// It would be.
    WouldHeal(String),
    /// A login was renewed, and how.
    Renewed(String),
    /// It would be, and how.
    WouldRenew(String),
    /// It was due and not renewed, and why; the next pass will retry.
    NotRenewed(Problem),
    /// Not written, and what was wrong.
    Failed(Problem),
}

/// What a pass saw and did.
#[derive(Debug)]
pub(crate) struct Report {
    /// The world after it.
    pub(crate) view: View,
    /// What was done to stores and logins.
    pub(crate) done: Vec<Done>,
    /// What needs a human.
    pub(crate) alerts: Vec<Alert>,
    /// What was sent to which channel, and how that went.
    pub(crate) told: Vec<(Outgoing, Result<Receipt, SendError>)>,
    /// What went wrong with the pass itself.
    pub(crate) problems: Vec<Problem>,
    /// How each login's renewal went, or why there was none.
    pub(crate) renewals: Vec<Seen>,
}

impl Report {
    /// Whether the pass could do its work and deliver its alerts, whatever it found.
    pub(crate) fn good(&self) -> bool {
        // that nobody has heard of an alert is no fault of the pass where no channel takes it; where one fails, that is said too
        self.failures().all(|problem| problem.kind == heard::UNHEARD)
    }

    /// What went wrong with the pass itself, and with what it was to write.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Problem> {
        let failed = self.done.iter().filter_map(|done| match &done.outcome {
            Outcome::Failed(problem) => Some(problem),
            _ => None,
        });
        self.problems.iter().chain(failed)
    }
}

/// What was asked for; a pass asks for nothing in particular.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// This login alone.
    pub(crate) login: Option<String>,
    /// Whether or not an agent needs it.
    pub(crate) by_hand: bool,
    /// Neither the clock nor a back-off holds it up.
    pub(crate) force: bool,
    /// Nobody waits for the end of the pass, so a mail server may take all the time it is due.
    pub(crate) at_leisure: bool,
}

/// How it went with one login.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The login's id.
    pub(crate) whom: String,
    /// Its file.
    pub(crate) path: PathBuf,
    /// What was done, or why not.
    pub(crate) what: What,
}

/// What was done, or why not.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Renewed; until when its access token is good now, and how.
    Renewed {
        /// The access token's end.
        expires: Moment,
        /// `by Claude Code`, `directly`.
        by: &'static str,
    },
    /// Would be renewed, and how.
    Would(String),
    /// Not now, and why.
    Not(Not),
    /// `renew.mode` is `off`.
    Off,
    /// It was tried, or could not be.
    Failed(Problem),
}

//! Which login is due for a renewal, and whether it may be renewed at all.
//!
//! A refresh token is single-use: what is posted twice can revoke the whole login. So every doubt is a reason to leave a login
//! alone, and each reason has its name.

use super::backoff::gap;
use super::health;
use super::spent::Spent;
use crate::rules::agent::NotWritten;
use crate::rules::login::{Grant, Refresh, Source, State};
use crate::secret::{Fingerprint, Secret};
use crate::types::{Credential, HOUR, MINUTE, Moment, Ms};
use serde::{Deserialize, Serialize};

/// How long before its access token ends a login is due, [`Ms`]: at least, where nothing is said, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) least: Ms,
    pub(crate) usual: Ms,
    pub(crate) most: Ms,
}

/// Claude Code itself renews in the last 5 min (2.1.330), so a delegated renewal must not come earlier. A direct one goes before it,
/// so that programs which renew at the end find a fresh token and do not race; a token lives for about 8 h.
pub(crate) const fn lead(way: Way) -> Lead {
    match way {
        Way::Delegate => Lead {
            least: MINUTE,
            usual: 4 * MINUTE,
            most: 4 * MINUTE,
        },
        Way::Direct => Lead {
            least: MINUTE,
            usual: 15 * MINUTE,
            most: HOUR,
        },
    }
}

/// A child of a delegated renewal that still runs is waited for at most this long: the CLI gives its exchange 30 s (2.1.330).
pub(crate) const CHILD_LIFE: Ms = 10 * MINUTE;

/// What is remembered of the renewals of one login or profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The refresh token this is about; another one in its place begins a new record.
    pub(crate) token: Fingerprint,
    /// How often in a row it failed.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Not to be tried before.
    #[serde(default)]
    pub(crate) next_at: Moment,
    /// Why it failed last.
    #[serde(default)]
    pub(crate) last: Option<Failure>,
    /// What is under way, or could not be finished.
    #[serde(default)]
    pub(crate) stage: Stage,
}

/// Why a renewal failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// A stable word: `endpoint_blocked`, `cli_not_found` …
    pub(crate) kind: String,
    /// In words; no secret.
    pub(crate) why: String,
    /// When.
    pub(crate) at: Moment,
}

/// How far a renewal has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The CLI was started for it.
    Running {
        /// Its process id.
        pid: u32,
        /// When it started, in the kernel's ticks since boot, if known.
        #[serde(default)]
        start: Option<u64>,
        /// The id of the boot, if known.
        #[serde(default)]
        boot: Option<String>,
        /// When.
        at: Moment,
    },
    /// The fence: made durable just before the refresh token is posted. Found by another pass, it says that a process died
    /// before it knew the answer.
    Sent {
        /// The access token's end when it was posted.
        expires: Option<Moment>,
        /// When.
        at: Moment,
    },
    /// Posted, and whether the server acted on it cannot be known. Never posted again while the login holds the same tokens.
    Unknown {
        /// The access token's end when it was posted.
        expires: Option<Moment>,
        /// When.
        at: Moment,
        /// In words.
        why: String,
    },
    /// The answer came and could not be saved in its place: it lies in `rescue/`.
    Rescued {
        /// When.
        at: Moment,
        /// Why it could not be saved.
        why: String,
    },
}

impl Record {
    /// A new record.
    pub(crate) fn new(token: Fingerprint) -> Self {
        Self {
            token,
            failures: 0,
            next_at: Moment::EPOCH,
            last: None,
            stage: Stage::Idle,
        }
    }

    /// The record of `token`: the one remembered if it is about this token, else a new one.
    pub(crate) fn of(remembered: Option<&Self>, token: Fingerprint) -> Self {
        match remembered {
            Some(record) if record.token == token => record.clone(),
            _ => Self::new(token),
        }
    }

    /// Notes a failure and when to try again. `retry_after` is the server's own wish, [`Ms`] from now.
    pub(crate) fn failed(&mut self, kind: &str, why: &str, retry_after: Option<Ms>, now: Moment) {
        self.failures += 1;
        self.next_at = now + gap(self.failures).max(retry_after.unwrap_or(0).min(24 * HOUR));
        self.last = Some(Failure {
            kind: kind.into(),
            why: why.into(),
            at: now,
        });
    }

    /// What stands against posting the token that is in its place now, whose access token ends then: another one of this
    /// place was posted, and that is not settled. A newer token settles it; an older one was put back, and is likely used up.
    fn forbids(&self, token: Fingerprint, expires: Option<Moment>) -> Option<Not> {
        match &self.stage {
            Stage::Idle | Stage::Running { .. } => None,
            // a newer one in its place would have ended this before anything is renewed
            Stage::Rescued { .. } => Some(Not::Rescued),
            Stage::Sent { expires: then, .. } | Stage::Unknown { expires: then, .. } => {
                (token == self.token || !is_newer(expires, *then)).then_some(Not::OutcomeUnknown)
            }
        }
    }

    /// Whether it needs a human to know: posted and unknown, or saved elsewhere.
    pub(crate) fn stuck(&self) -> bool {
        matches!(self.stage, Stage::Unknown { .. } | Stage::Rescued { .. })
    }
}

/// How a login would be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By Claude Code.
    Delegate,
    /// By our own exchange.
    Direct,
}

/// A login as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    /// What its file holds.
    pub(crate) state: &'a State,
    /// Where it is kept.
    pub(crate) source: Source,
    /// How it would be renewed.
    pub(crate) way: Way,
    /// How long before its access token ends it is due, [`Ms`].
    pub(crate) lead: Ms,
    /// Refresh tokens that the server refused for good.
    pub(crate) rejected: &'a [Fingerprint],
    /// An older state was put back: its token was used up.
    pub(crate) put_back: bool,
    /// A refresh was begun and never saved.
    pub(crate) abandoned: bool,
    /// An agent's copy is newer than the login itself.
    pub(crate) newer_copy: bool,
    /// A copy hangs on it, or somebody asked.
    pub(crate) wanted: bool,
    /// Asked with `--force`: neither the clock nor a back-off holds it up.
    pub(crate) force: bool,
    /// What is remembered of it.
    pub(crate) record: Option<&'a Record>,
    /// A child of an earlier pass still runs.
    pub(crate) child_alive: bool,
}

/// Why a login is not renewed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Not {
    /// There is no login.
    SignedOut,
    /// The environment's token lies nowhere on disk.
    InEnvironment,
    /// In the Keychain, which nolapse does not write.
    InKeychain,
    /// Wiped by Claude Code.
    Blanked,
    /// It has no refresh token.
    NoRefreshToken,
    /// The server refused this refresh token for good.
    Rejected,
    /// An older state was put back: its refresh token was used up before.
    Spent,
    /// It is past its deadline.
    PastDeadline,
    /// A refresh was begun and never saved: its token is probably spent.
    Abandoned,
    /// Posted before with an answer that never came.
    OutcomeUnknown,
    /// New tokens of it wait in `rescue/`.
    Rescued,
    /// A copy is newer: the login is healed first.
    NewerCopy,
    /// Its file does not say when its access token ends.
    NoClock,
    /// Its access token is good until then.
    Fresh(Moment),
    /// Nobody needs its access token now.
    Unneeded,
    /// The CLI that was started for it still runs.
    StillRunning,
    /// It failed, and is not tried again before then.
    BackOff(Moment),
    /// Another profile holds the same refresh token: renewing one would log the other out.
    Shared,
    /// Its store may not be written, and why.
    Unwritable(String),
    /// Whether its store's agents are at a refresh cannot be told by their locks, and why.
    OtherLock(String),
    /// A stale lock of it was cleared in this pass: its holder may be stopped with an exchange under way.
    TakenOver,
}

impl Not {
    /// In words; `when` shows a moment in the user's time zone.
    pub(crate) fn words(&self, when: &dyn Fn(Moment) -> String) -> String {
        match self {
            Self::SignedOut => "there is no login".into(),
            Self::InEnvironment => "a token in the environment cannot be renewed".into(),
            Self::InKeychain => "it is kept in the Keychain, which nolapse does not write".into(),
            Self::Blanked => "Claude Code has wiped it: only signing in again helps".into(),
            Self::NoRefreshToken => "it has no refresh token".into(),
            Self::Rejected => "the server permanently refused its refresh token: only signing in again helps".into(),
            Self::Spent => "an older file was put back, or another login's was copied; its refresh token has been used up and is not sent again".into(),
            Self::PastDeadline => "it is past its deadline: only signing in again helps".into(),
            Self::Abandoned => {
                "a renewal was begun by a process that died before saving it: its token is probably used up, and is not sent again".into()
            }
            Self::OutcomeUnknown => {
                "its refresh token was sent and no answer came: it is not sent again".into()
            }
            Self::Rescued => "its new tokens are still waiting to be saved".into(),
            Self::NewerCopy => "an agent's copy is newer: the login has to be updated from it first".into(),
            Self::NoClock => "its file does not say when its access token ends".into(),
            Self::Fresh(until) => format!("its access token is good until {}", when(*until)),
            Self::Unneeded => "no agent uses it".into(),
            Self::StillRunning => "the `claude` that was started for it is still running".into(),
            Self::Shared => "another profile holds the same refresh token, and renewing one would log the other out".into(),
            Self::Unwritable(why) => format!("its store is not written: {why}"),
            Self::OtherLock(why) => format!("its agents may be renewing it; their locks do not show: {why}"),
            Self::TakenOver => {
                "the program that held its lock has stopped and may have sent its token: the next pass renews it if that one did not".into()
            }
            Self::BackOff(until) => format!("it failed before and is not retried before {}", when(*until)),
        }
    }
}

/// Decides about a login. What forbids a renewal comes before what makes it unnecessary, so that `--force` cannot do harm.
///
/// # Errors
/// Why it is not renewed now; otherwise the grant to renew.
pub(crate) fn due<'a>(case: &Case<'a>, now: Moment) -> Result<&'a Grant, Not> {
    let grant = match case.state {
        State::SignedIn(grant) => grant,
        _ => return Err(Not::SignedOut),
    };
    match (case.source, case.way) {
        (Source::Env, _) => return Err(Not::InEnvironment),
        (Source::Keychain, Way::Direct) => return Err(Not::InKeychain),
        _ => {}
    }
    let refresh = match &grant.refresh {
        _ if grant.blanked => return Err(Not::Blanked),
        Refresh::Blank => return Err(Not::Blanked),
        Refresh::None => return Err(Not::NoRefreshToken),
        Refresh::Token(refresh) => refresh.fingerprint(),
    };
    // Claude Code takes a login without scopes for signed out and would not renew it
    if grant.scopes.is_none() {
        return Err(Not::SignedOut);
    }
    if case.rejected.contains(&refresh) {
        return Err(Not::Rejected);
    }
    if case.put_back {
        return Err(Not::Spent);
    }
    if health::deadline(grant, now).is_some_and(|at| now >= at) {
        return Err(Not::PastDeadline);
    }
    if let Some(why) = case.record.and_then(|record| record.forbids(refresh, grant.expires)) {
        return Err(why);
    }
    let record = case.record.filter(|record| record.token == refresh);
    if case.newer_copy {
        return Err(Not::NewerCopy);
    }
    if case.child_alive {
        return Err(Not::StillRunning);
    }
    let expires = grant.expires.ok_or(Not::NoClock)?;
    let near = expires - case.lead <= now;
    if case.abandoned && near {
        return Err(Not::Abandoned);
    }
    // the CLI renews by its own clock, whatever is asked of it
    let early = case.force && case.way == Way::Direct && !case.abandoned;
    if !near && !early {
        return Err(Not::Fresh(expires));
    }
    if !case.wanted && !case.force {
        return Err(Not::Unneeded);
    }
    if let Some(record) = record.filter(|record| record.next_at > now && !case.force) {
        return Err(Not::BackOff(record.next_at));
    }
    Ok(grant)
}

/// A profile whose grant is its store's own, as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnCase<'a> {
    /// What the store holds.
    pub(crate) credential: &'a Credential,
    /// How long before its access token ends it is due, [`Ms`].
    pub(crate) lead: Ms,
    /// Another profile holds the same refresh token.
    pub(crate) shared: bool,
    /// Whether the store may be written.
    pub(crate) writable: Result<(), &'a NotWritten>,
    /// Whether it is known what the store's agents lock over a refresh.
    pub(crate) known_locks: Result<(), &'a str>,
    /// Refresh tokens that the server refused for good.
    pub(crate) rejected: &'a [Fingerprint],
    /// Tokens that were used up.
    pub(crate) spent: &'a Spent,
    /// Asked with `--force`.
    pub(crate) force: bool,
    /// What is remembered of it.
    pub(crate) record: Option<&'a Record>,
}

/// Decides about a profile that hangs on no login.
///
/// # Errors
/// Why it is not renewed now; otherwise its refresh token.
pub(crate) fn own_due<'a>(case: &OwnCase<'a>, now: Moment) -> Result<&'a Secret, Not> {
    let Credential::Oauth {
        refresh: Some(refresh),
        expires,
        ..
    } = case.credential
    else {
        return Err(Not::NoRefreshToken);
    };
    let token = refresh.fingerprint();
    if case.rejected.contains(&token) {
        return Err(Not::Rejected);
    }
    if case.spent.contains_key(&token) {
        return Err(Not::Spent);
    }
    if let Some(why) = case.record.and_then(|record| record.forbids(token, *expires)) {
        return Err(why);
    }
    let record = case.record.filter(|record| record.token == token);
    if case.shared {
        return Err(Not::Shared);
    }
    case.writable.map_err(|why| Not::Unwritable(why.to_string()))?;
    case.known_locks.map_err(|why| Not::OtherLock(why.to_owned()))?;
    let expires = expires.ok_or(Not::NoClock)?;
    if expires - case.lead > now && !case.force {
        return Err(Not::Fresh(expires));
    }
    match record.filter(|record| record.next_at > now && !case.force) {
        Some(record) => Err(Not::BackOff(record.next_at)),
        None => Ok(refresh),
    }
}

/// Whether a token was given after another one of the same place, by the ends of their access tokens. One that ends no later
/// is of an older state that was put back.
pub(crate) fn is_newer(end: Option<Moment>, than: Option<Moment>) -> bool {
    than.is_none() || end > than
}

/// What became of a token that was posted (or is thought to have been), as the file tells it now: another refresh token, or
/// another expiry with the same one, means that somebody saved an answer.
pub(crate) fn moved(token: Fingerprint, expires: Option<Moment>, grant: Option<&Grant>) -> bool {
    match grant {
        None => true,
        Some(grant) => {
            grant.refresh.token().map(|refresh| refresh.fingerprint()) != Some(token) || grant.expires != expires
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DAY;

    const NOW: Moment = Moment::at(1_769_000_000_000);
    const LEAD: Ms = lead(Way::Direct).usual;

    static NONE_SPENT: Spent = Spent::new();

    fn grant() -> Grant {
        Grant {
            access: Some(Secret::new("A")),
            refresh: Refresh::Token(Secret::new("R")),
            expires: Some(NOW),
            deadline: Some(NOW + 20 * DAY),
            ended_by_limit: false,
            scopes: Some(Vec::new()),
            client_id: None,
            subscription: None,
            blanked: false,
        }
    }

    fn token() -> Fingerprint {
        Secret::new("R").fingerprint()
    }

    fn case(state: &State) -> Case<'_> {
        Case {
            state,
            source: Source::File,
            way: Way::Direct,
            lead: LEAD,
            rejected: &[],
            put_back: false,
            abandoned: false,
            newer_copy: false,
            wanted: true,
            force: false,
            record: None,
            child_alive: false,
        }
    }

    #[test]
    fn a_wait_and_a_lead_end_in_their_moment() {
        let plain = State::SignedIn(grant());
        let until = |at: Moment| Record {
            next_at: at,
            ..Record::new(token())
        };
        for (at, wanted) in [(NOW, Ok(())), (NOW + 1, Err(Not::BackOff(NOW + 1)))] {
            let record = until(at);
            let case = Case {
                record: Some(&record),
                ..case(&plain)
            };
            assert_eq!(due(&case, NOW).map(drop), wanted);
        }
        let own = |expires: Moment| Credential::Oauth {
            access: Some(Secret::new("A")),
            refresh: Some(Secret::new("R")),
            expires: Some(expires),
        };
        let (soon, ready, waits) = (NOW + LEAD, until(NOW), until(NOW + 1));
        for (expires, record, force, wanted) in [
            (soon, None, false, Ok(())),
            (soon + 1, None, false, Err(Not::Fresh(soon + 1))),
            (soon + 1, None, true, Ok(())),
            (soon, Some(&ready), false, Ok(())),
            (soon, Some(&waits), false, Err(Not::BackOff(NOW + 1))),
            (soon, Some(&waits), true, Ok(())),
        ] {
            let credential = own(expires);
            let case = OwnCase {
                credential: &credential,
                lead: LEAD,
                shared: false,
                writable: Ok(()),
                known_locks: Ok(()),
                rejected: &[],
                spent: &NONE_SPENT,
                force,
                record,
            };
            assert_eq!(own_due(&case, NOW).map(drop), wanted);
        }
    }

    #[test]
    fn a_blanked_login_is_one_whatever_is_left_of_its_refresh_token() {
        let blanked = State::SignedIn(Grant {
            blanked: true,
            ..grant()
        });
        assert_eq!(due(&case(&blanked), NOW).map(drop), Err(Not::Blanked));
    }

    #[test]
    fn a_human_must_know_of_what_is_unknown_or_saved_elsewhere() {
        let (at, why) = (NOW, String::new);
        for (stage, stuck) in [
            (Stage::Idle, false),
            (Stage::Sent { expires: None, at }, false),
            (
                Stage::Unknown {
                    expires: None,
                    at,
                    why: why(),
                },
                true,
            ),
            (Stage::Rescued { at, why: why() }, true),
        ] {
            let record = Record {
                stage,
                ..Record::new(token())
            };
            assert_eq!(record.stuck(), stuck, "{record:?}");
        }
    }

    #[test]
    fn every_reason_not_to_renew_has_its_case() {
        let in_state = |change: &dyn Fn(&mut Grant)| {
            let mut grant = grant();
            change(&mut grant);
            State::SignedIn(grant)
        };
        let plain = State::SignedIn(grant());
        let with = |stage| Record {
            stage,
            ..Record::new(token())
        };
        let sent = with(Stage::Sent {
            expires: Some(NOW),
            at: NOW - 1,
        });
        let unknown = with(Stage::Unknown {
            expires: Some(NOW),
            at: NOW - 1,
            why: String::new(),
        });
        let rescued = with(Stage::Rescued {
            at: NOW - 1,
            why: String::new(),
        });
        let mut waiting = Record::new(token());
        waiting.failed("k", "w", None, NOW - 1);
        let other = |stage| Record {
            stage,
            ..Record::new(Secret::new("another").fingerprint())
        };
        let fence = |expires| Stage::Sent {
            expires: Some(expires),
            at: NOW - 1,
        };
        let of_another = other(fence(NOW - 1));
        let of_a_newer = other(fence(NOW));
        let rescued_another = other(rescued.stage.clone());
        let rejected = [token()];
        let of_a_minute = in_state(&|g| g.expires = Some(NOW + LEAD + 1));
        let fresh = in_state(&|g| g.expires = Some(NOW + LEAD + 1));
        let blank = in_state(&|g| {
            g.refresh = Refresh::Blank;
            g.blanked = true;
        });
        let half_blank = in_state(&|g| g.refresh = Refresh::Blank);
        let no_refresh = in_state(&|g| g.refresh = Refresh::None);
        let past = in_state(&|g| g.deadline = Some(NOW));
        let in_slack = in_state(&|g| g.deadline = Some(NOW + 1));
        let no_clock = in_state(&|g| g.expires = None);
        let no_scopes = in_state(&|g| g.scopes = None);
        let c = |state| case(state);
        let table: Vec<(&str, Case<'_>, Result<(), Not>, bool)> = vec![
            // name, case, want, and whether --force changes nothing
            ("expired", c(&plain), Ok(()), true),
            (
                "in the server's slack it is tried to the last",
                c(&in_slack),
                Ok(()),
                true,
            ),
            ("signed out", c(&State::SignedOut), Err(Not::SignedOut), true),
            ("no scopes", c(&no_scopes), Err(Not::SignedOut), true),
            ("blank", c(&blank), Err(Not::Blanked), true),
            ("half blank", c(&half_blank), Err(Not::Blanked), true),
            ("no refresh token", c(&no_refresh), Err(Not::NoRefreshToken), true),
            ("past", c(&past), Err(Not::PastDeadline), true),
            ("no clock", c(&no_clock), Err(Not::NoClock), true),
            (
                "env",
                Case {
                    source: Source::Env,
                    ..c(&plain)
                },
                Err(Not::InEnvironment),
                true,
            ),
            (
                "keychain",
                Case {
                    source: Source::Keychain,
                    ..c(&plain)
                },
                Err(Not::InKeychain),
                true,
            ),
            (
                "rejected",
                Case {
                    rejected: &rejected,
                    ..c(&plain)
                },
                Err(Not::Rejected),
                true,
            ),
            (
                "spent",
                Case {
                    put_back: true,
                    ..c(&plain)
                },
                Err(Not::Spent),
                true,
            ),
            (
                "spent, by the CLI",
                Case {
                    put_back: true,
                    way: Way::Delegate,
                    ..c(&plain)
                },
                Err(Not::Spent),
                true,
            ),
            // forced or not, before its time as after it
            (
                "abandoned, and fresh",
                Case {
                    abandoned: true,
                    ..c(&of_a_minute)
                },
                Err(Not::Fresh(NOW + LEAD + 1)),
                true,
            ),
            (
                "abandoned",
                Case {
                    abandoned: true,
                    ..c(&plain)
                },
                Err(Not::Abandoned),
                true,
            ),
            (
                "sent",
                Case {
                    record: Some(&sent),
                    ..c(&plain)
                },
                Err(Not::OutcomeUnknown),
                true,
            ),
            (
                "unknown",
                Case {
                    record: Some(&unknown),
                    ..c(&plain)
                },
                Err(Not::OutcomeUnknown),
                true,
            ),
            (
                "rescued",
                Case {
                    record: Some(&rescued),
                    ..c(&plain)
                },
                Err(Not::Rescued),
                true,
            ),
            (
                "an older token's fence",
                Case {
                    record: Some(&of_another),
                    ..c(&plain)
                },
                Ok(()),
                true,
            ),
            (
                "an older token put back over a fence",
                Case {
                    record: Some(&of_a_newer),
                    ..c(&plain)
                },
                Err(Not::OutcomeUnknown),
                true,
            ),
            (
                "an older token put back while new ones wait",
                Case {
                    record: Some(&rescued_another),
                    ..c(&plain)
                },
                Err(Not::Rescued),
                true,
            ),
            (
                "newer copy",
                Case {
                    newer_copy: true,
                    ..c(&plain)
                },
                Err(Not::NewerCopy),
                true,
            ),
            (
                "child",
                Case {
                    child_alive: true,
                    ..c(&plain)
                },
                Err(Not::StillRunning),
                true,
            ),
            ("fresh", c(&fresh), Err(Not::Fresh(NOW + LEAD + 1)), false),
            (
                "fresh, by the CLI",
                Case {
                    way: Way::Delegate,
                    ..c(&fresh)
                },
                Err(Not::Fresh(NOW + LEAD + 1)),
                true,
            ),
            (
                "nobody",
                Case {
                    wanted: false,
                    ..c(&plain)
                },
                Err(Not::Unneeded),
                false,
            ),
            (
                "back-off",
                Case {
                    record: Some(&waiting),
                    ..c(&plain)
                },
                Err(Not::BackOff(NOW - 1 + MINUTE)),
                false,
            ),
        ];
        for (name, case, want, force_too) in table {
            assert_eq!(due(&case, NOW).map(drop), want, "{name}");
            let forced = due(&Case { force: true, ..case }, NOW).map(drop);
            assert_eq!(forced, if force_too { want } else { Ok(()) }, "{name}, forced");
        }
    }

    #[test]
    fn a_stores_own_grant_has_its_reasons_too() {
        let credential = Credential::Oauth {
            access: Some(Secret::new("A")),
            refresh: Some(Secret::new("R")),
            expires: Some(NOW),
        };
        let later = Credential::Oauth {
            access: Some(Secret::new("A")),
            refresh: Some(Secret::new("R")),
            expires: Some(NOW + LEAD + 1),
        };
        let of = |credential| OwnCase {
            lead: LEAD,
            credential,
            shared: false,
            writable: Ok(()),
            known_locks: Ok(()),
            rejected: &[],
            spent: &NONE_SPENT,
            force: false,
            record: None,
        };
        let with = |stage| Record {
            stage,
            ..Record::new(token())
        };
        let at = NOW - 1;
        let sent = with(Stage::Sent { expires: None, at });
        let why = String::new();
        let rescued = with(Stage::Rescued { at, why: why.clone() });
        let unknown = with(Stage::Unknown { expires: None, at, why });
        let of_a_newer = Record {
            token: Secret::new("another").fingerprint(),
            stage: Stage::Unknown {
                expires: Some(NOW),
                at,
                why: String::new(),
            },
            ..sent.clone()
        };
        let mut waiting = Record::new(token());
        waiting.failed("k", "w", None, at);
        let (rejected, spent) = ([token()], Spent::from([(token(), NOW)]));
        let plain = of(&credential);
        let record = |record| OwnCase {
            record: Some(record),
            ..plain
        };
        let table = [
            // name, case, want, and whether --force changes nothing
            ("expired", plain, Ok(()), true),
            ("sent", record(&sent), Err(Not::OutcomeUnknown), true),
            ("unknown", record(&unknown), Err(Not::OutcomeUnknown), true),
            ("rescued", record(&rescued), Err(Not::Rescued), true),
            (
                "put back over a fence",
                record(&of_a_newer),
                Err(Not::OutcomeUnknown),
                true,
            ),
            ("back-off", record(&waiting), Err(Not::BackOff(at + MINUTE)), false),
            ("fresh", of(&later), Err(Not::Fresh(NOW + LEAD + 1)), false),
            ("an API key", of(&Credential::ApiKey), Err(Not::NoRefreshToken), true),
            (
                "rejected",
                OwnCase {
                    rejected: &rejected,
                    ..plain
                },
                Err(Not::Rejected),
                true,
            ),
            ("spent", OwnCase { spent: &spent, ..plain }, Err(Not::Spent), true),
            ("shared", OwnCase { shared: true, ..plain }, Err(Not::Shared), true),
            (
                "not writable",
                OwnCase {
                    writable: Err(&NotWritten::from("w")),
                    ..plain
                },
                Err(Not::Unwritable("w".into())),
                true,
            ),
            (
                "unknown locks",
                OwnCase {
                    known_locks: Err("l"),
                    ..plain
                },
                Err(Not::OtherLock("l".into())),
                true,
            ),
        ];
        for (name, case, want, force_too) in table {
            assert_eq!(own_due(&case, NOW).map(drop), want, "{name}");
            let forced = own_due(&OwnCase { force: true, ..case }, NOW).map(drop);
            assert_eq!(forced, if force_too { want } else { Ok(()) }, "{name}, forced");
        }
    }

    #[test]
    fn a_back_off_grows_and_honours_the_server() {
        let mut record = Record::new(token());
        let gaps: Vec<Ms> = (0..8)
            .map(|_| {
                record.failed("k", "w", None, NOW);
                (record.next_at - NOW) / MINUTE
            })
            .collect();
        assert_eq!(gaps, [1, 2, 5, 10, 30, 60, 60, 60]);
        record.failed("rate_limited", "w", Some(3 * HOUR), NOW);
        assert_eq!(record.next_at - NOW, 3 * HOUR);
        record.failed("rate_limited", "w", Some(90 * DAY), NOW);
        assert_eq!(record.next_at - NOW, DAY);
        assert_eq!(
            Record::of(Some(&record), Secret::new("S").fingerprint()).next_at,
            Moment::EPOCH
        );
    }

    #[test]
    fn a_posted_token_is_settled_by_what_the_file_holds() {
        let same = grant();
        assert!(!moved(token(), Some(NOW), Some(&same)));
        assert!(moved(token(), Some(NOW - 1), Some(&same)), "renewed without rotation");
        assert!(moved(Secret::new("Q").fingerprint(), Some(NOW), Some(&same)));
        assert!(moved(token(), Some(NOW), None));
    }
}

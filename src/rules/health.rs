//! Health: the raw clock as the agents compute it, and the judgement.
//!
//! Two clocks run on a login. Its access token ends within hours and is renewed without a human, so its end alone is no
//! reason to alert; the login's own deadline, about a month after sign-in, needs a human.

use super::lineage::Relation;
use crate::rules::login::{Grant, Refresh, SetupToken, State};
use crate::rules::policy::{AlertsConfig, AsOf};
use crate::rules::shape::{self, KeptAs};
use crate::secret::{Fingerprint, Secret};
use crate::types::{Credential, DAY, Flaw, Health, Held, Moment, Ms, Profile, Reason};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The agents call a credential `expiring` with this much left or less (clawdbot 2026.1.24-3).
const CLOCK_WINDOW: Ms = DAY;

/// The server may end a login up to three days before `refreshTokenExpiresAt` (claude-swap#347).
pub(crate) const DEADLINE_SLACK: Ms = 3 * DAY;

/// 2025-01-01: Claude Code had no deadlines before that, so an earlier one is not one.
const EARLIEST_DEADLINE: Moment = Moment::at(1_735_689_600_000);

/// The raw clock of a profile, exactly as `models status` of clawdbot 2026.1.24-3 computes it.
pub(crate) fn clock(credential: &Credential, now: Moment) -> Health {
    match credential {
        Credential::ApiKey | Credential::Token { expires: None, .. } => Health::Static,
        Credential::Oauth { expires: None, .. } => Health::Missing,
        Credential::Token { expires: Some(end), .. } | Credential::Oauth { expires: Some(end), .. } => {
            match *end - now {
                ..=0 => Health::Expired,
                1..=CLOCK_WINDOW => Health::Expiring,
                _ => Health::Ok,
            }
        }
    }
}

/// A verdict on a login or a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its health.
    pub health: Health,
    /// Why.
    pub reason: Option<Reason>,
    /// Until when it works (ahead) or worked (behind) without a human, where that is known.
    pub ends: Option<Moment>,
}

impl Verdict {
    fn new(health: Health, reason: impl Into<Option<Reason>>, ends: Option<Moment>) -> Self {
        Self {
            health,
            reason: reason.into(),
            ends,
        }
    }

    /// Whether a human need not be told.
    pub(crate) fn fine(&self) -> bool {
        self.health.fine()
    }
}

/// What is known about a login beside its file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Refresh tokens that the server refused for good.
    pub rejected: &'a [Fingerprint],
    /// A refresh was begun and never saved.
    pub abandoned: bool,
    /// Its refresh token was used up before.
    pub spent: bool,
    /// nolapse is to renew it whether or not an agent uses it.
    pub kept: bool,
}

/// The deadline of a grant, where it is one: a moment between 2025 and ten years ahead, and not before the access token's
/// end by more than the slack.
pub(crate) fn deadline(grant: &Grant, now: Moment) -> Option<Moment> {
    grant
        .deadline
        .filter(|at| (EARLIEST_DEADLINE..=now + 3653 * DAY).contains(at))
        .filter(|at| grant.expires.is_none_or(|expires| expires <= *at + DEADLINE_SLACK))
}

/// Judges a login.
pub fn login(state: &State, known: Known<'_>, as_of: AsOf<'_>) -> Verdict {
    let AsOf { policy, now } = as_of;
    let grant = match state {
        State::Absent | State::SignedOut => return Verdict::new(Health::Missing, None, None),
        State::Unreadable { .. } => return Verdict::new(Health::Missing, Reason::Unreadable, None),
        State::SignedIn(grant) => grant,
    };
    let deadline = deadline(grant, now);
    let reached = deadline.is_some_and(|at| now >= at - DEADLINE_SLACK);
    if grant.blanked {
        let reason = match deadline {
            _ if grant.ended_by_limit || reached => Reason::LoginEnded,
            Some(_) => Reason::RaceLogout,
            None => Reason::Blanked,
        };
        return Verdict::new(Health::Expired, reason, None);
    }
    if grant.scopes.is_none() {
        return Verdict::new(Health::Missing, Reason::Unreadable, None);
    }
    let Some(access) = &grant.access else {
        return Verdict::new(Health::Missing, Reason::Blanked, None);
    };
    // Claude Code sends what stands there; one that is shorter than usual is not told from that of a later server
    if shape::flaw("anthropic", KeptAs::Token, access.expose()).is_some_and(|flaw| flaw != Flaw::Cut) {
        return Verdict::new(Health::Missing, Reason::NoToken, None);
    }
    let access_ended = grant.expires.is_some_and(|at| at <= now);
    let refresh = match &grant.refresh {
        Refresh::Token(refresh) => refresh,
        other => {
            let reason = if *other == Refresh::Blank {
                Reason::Blanked
            } else {
                Reason::NoRefreshToken
            };
            return match grant.expires.filter(|at| *at > Moment::EPOCH) {
                None => Verdict::new(Health::Static, Reason::IssueDateUnknown, None),
                Some(end) => Verdict::new(by_steps(end, as_of), reason, Some(end)),
            };
        }
    };
    let refused = known.rejected.contains(&refresh.fingerprint());
    if refused || known.spent {
        let health = if access_ended {
            Health::Expired
        } else {
            Health::Expiring
        };
        let reason = if refused { Reason::Rejected } else { Reason::OlderState };
        return Verdict::new(health, reason, grant.expires);
    }
    if let Some(at) = deadline {
        if now >= at && access_ended {
            return Verdict::new(Health::Expired, Reason::LoginEnded, Some(at));
        }
        if at - DEADLINE_SLACK - now <= first_step(policy) {
            return Verdict::new(Health::Expiring, Reason::LoginEndsSoon, Some(at - DEADLINE_SLACK));
        }
    }
    let overdue = grant.expires.is_some_and(|at| at + policy.grace <= now);
    if known.abandoned && overdue {
        return Verdict::new(Health::Expired, Reason::AbandonedRefresh, grant.expires);
    }
    // whatever held it up; where agents use a login, their copies say so
    if known.kept && overdue {
        return Verdict::new(Health::Expired, Reason::NotRenewed, grant.expires);
    }
    Verdict::new(Health::Ok, Reason::RenewsItself, deadline.map(|at| at - DEADLINE_SLACK))
}

fn first_step(policy: &AlertsConfig) -> Ms {
    policy.steps.first().copied().unwrap_or(0)
}

/// A credential that nobody renews: warned about from the first step on.
fn by_steps(end: Moment, AsOf { policy, now }: AsOf<'_>) -> Health {
    match end - now {
        ..=0 => Health::Expired,
        left if left <= first_step(policy) => Health::Expiring,
        _ => Health::Ok,
    }
}

/// The login that a profile hangs on.
#[derive(Clone, Copy, Debug)]
pub struct Hangs<'a> {
    /// The login's verdict.
    pub login: &'a Verdict,
    /// How the profile descends from it.
    pub relation: Relation,
}

/// Judges a profile of an agent. `agent_may_renew`: renewal by nolapse is switched off, so that an idle agent with a
/// refresh token of its own is left to renew when it is used.
pub fn profile(
    credential: &Credential,
    provider: &str,
    hangs: Option<Hangs<'_>>,
    agent_may_renew: bool,
    as_of: AsOf<'_>,
) -> Verdict {
    let AsOf { policy, now } = as_of;
    let (refresh, expires) = match credential {
        Credential::ApiKey => return Verdict::new(Health::Static, None, None),
        Credential::Token { token, expires: None } => {
            let setup = provider == "anthropic" && token.as_ref().is_some_and(|t| t.expose().starts_with("sk-ant-oat"));
            return Verdict::new(Health::Static, setup.then_some(Reason::IssueDateUnknown), None);
        }
        Credential::Oauth {
            refresh, expires: None, ..
        } => {
            return Verdict::new(
                Health::Missing,
                refresh.is_none().then_some(Reason::NoRefreshToken),
                None,
            );
        }
        Credential::Token { expires: Some(end), .. } => (false, *end),
        Credential::Oauth {
            refresh,
            expires: Some(end),
            ..
        } => (refresh.is_some(), *end),
    };
    let ended = expires <= now;
    let overdue = expires + policy.grace <= now;
    let Some(hangs) = hangs else {
        return match refresh {
            true if overdue && !agent_may_renew => Verdict::new(Health::Expired, Reason::CopyStale, Some(expires)),
            true => Verdict::new(Health::Ok, Reason::RenewsItself, None),
            false => {
                let health = by_steps(expires, as_of);
                Verdict::new(health, Reason::NoRefreshToken, Some(expires))
            }
        };
    };
    if hangs.relation == Relation::Unknown && refresh {
        // that it has a grant of its own is known only where both could be read
        let readable = hangs.login.health != Health::Missing;
        return match overdue {
            true if readable => Verdict::new(Health::Expired, Reason::CopyDiverged, Some(expires)),
            false if readable => Verdict::new(Health::Ok, Reason::CopyDiverged, Some(expires)),
            true if !agent_may_renew => Verdict::new(Health::Expired, hangs.login.reason, Some(expires)),
            _ => Verdict::new(Health::Ok, Reason::RenewsItself, None),
        };
    }
    if !hangs.login.fine() {
        // it works for as long as its own token does
        let health = match (ended, hangs.login.health) {
            (true, Health::Expiring) if !overdue => Health::Expiring,
            (true, _) => Health::Expired,
            (false, _) => Health::Expiring,
        };
        return Verdict::new(health, hangs.login.reason, Some(expires));
    }
    if overdue && !(refresh && agent_may_renew) {
        return Verdict::new(Health::Expired, Reason::CopyStale, Some(expires));
    }
    match hangs.login.reason {
        // a login that cannot be renewed lives as long as its token, and so does the copy
        Some(Reason::NoRefreshToken | Reason::Blanked) => {
            Verdict::new(by_steps(expires, as_of), Reason::NoRefreshToken, Some(expires))
        }
        _ => Verdict::new(Health::Ok, Reason::RenewsItself, None),
    }
}

/// The credential with its end filled in where the store has none and the ledger knows it: a setup token's text does not
/// tell when it ends, so who recorded it remembers.
pub(crate) fn with_known_end<'c>(
    credential: &'c Credential,
    known: &BTreeMap<Fingerprint, SetupToken>,
) -> Cow<'c, Credential> {
    match credential {
        Credential::Token {
            token: Some(token),
            expires: None,
        } => match known.get(&token.fingerprint()) {
            Some(known) => Cow::Owned(Credential::Token {
                token: Some(token.clone()),
                expires: Some(known.expires_at),
            }),
            None => Cow::Borrowed(credential),
        },
        _ => Cow::Borrowed(credential),
    }
}

/// Judges a token in the environment: it works until a day that only the ledger can know.
pub(crate) fn env_token(token: &Secret, known: Option<&SetupToken>, as_of: AsOf<'_>) -> Verdict {
    let flaw = shape::flaw("anthropic", KeptAs::Token, token.expose());
    match known {
        _ if flaw.is_some() => Verdict::new(Health::Missing, Reason::NoToken, None),
        None => Verdict::new(Health::Static, Reason::IssueDateUnknown, None),
        Some(known) => {
            let health = by_steps(known.expires_at, as_of);
            Verdict::new(health, Reason::NoRefreshToken, Some(known.expires_at))
        }
    }
}

/// A moment further ahead than anybody grants was written by hand: the year 2286 is 9999999999999 ms.
pub(super) const FARTHEST_END: Ms = 3653 * DAY;

/// The credential without an end that nobody issued.
pub(crate) fn without_made_up_end(credential: Cow<'_, Credential>, now: Moment) -> Cow<'_, Credential> {
    if credential.expires().is_none_or(|end| end - now <= FARTHEST_END) {
        return credential;
    }
    match credential.into_owned() {
        Credential::Token { token, .. } => Cow::Owned(Credential::Token { token, expires: None }),
        // its access token lives for hours; its agent, which believes the end, never renews it
        Credential::Oauth { access, .. } => Cow::Owned(Credential::Token {
            token: access,
            expires: None,
        }),
        Credential::ApiKey => Cow::Owned(Credential::ApiKey),
    }
}

/// Judges a profile by how it holds its secret alone, where that decides. `relation` and the end tell what a program copied:
/// that is never cut short.
pub(crate) fn held(profile: &Profile, relation: Relation, now: Moment) -> Option<Verdict> {
    match &profile.held {
        Held::Inline | Held::Runtime(_) => None,
        Held::Referenced(_) => Some(Verdict::new(Health::Referenced, None, None)),
        Held::Flawed(Flaw::Cut) if copied(profile, relation, now) => None,
        Held::Flawed(_) => Some(Verdict::new(Health::Missing, Reason::NoToken, None)),
    }
}

fn copied(profile: &Profile, relation: Relation, now: Moment) -> bool {
    let soon = profile.credential.expires().is_some_and(|end| end - now <= DAY);
    matches!(relation, Relation::Same | Relation::Older) || soon
}

/// The worst of several, [`Health::Missing`] of none.
pub(crate) fn worst(healths: impl IntoIterator<Item = Health>) -> Health {
    healths
        .into_iter()
        .max_by_key(|health| health.badness())
        .unwrap_or(Health::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::types::{HOUR, MINUTE};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn grant() -> Grant {
        Grant {
            access: Some(Secret::new("A")),
            refresh: Refresh::Token(Secret::new("R")),
            expires: Some(NOW + 8 * HOUR),
            deadline: Some(NOW + 27 * DAY),
            ended_by_limit: false,
            scopes: Some(Vec::new()),
            client_id: None,
            subscription: None,
            blanked: false,
        }
    }

    #[test]
    fn the_raw_clock_is_the_agents() {
        let token = |expires| Credential::Token {
            token: Some(Secret::new("T")),
            expires,
        };
        let oauth = |expires| Credential::Oauth {
            access: None,
            refresh: None,
            expires,
        };
        for (credential, want) in [
            (Credential::ApiKey, Health::Static),
            (token(None), Health::Static),
            (oauth(None), Health::Missing),
            (oauth(Some(NOW)), Health::Expired),
            (oauth(Some(NOW + 1)), Health::Expiring),
            (oauth(Some(NOW + DAY)), Health::Expiring),
            (token(Some(NOW + DAY + 1)), Health::Ok),
            (token(Some(Moment::MAX)), Health::Ok),
        ] {
            assert_eq!(clock(&credential, NOW), want, "{credential:?}");
        }
    }

    #[test]
    fn a_setup_token_is_judged_by_what_was_recorded() {
        let policy = AlertsConfig::default();
        let token = Secret::new(format!("sk-ant-oat01-{}", "T".repeat(95)));
        let bare = Credential::Token {
            token: Some(token.clone()),
            expires: None,
        };
        let judge = |left: Ms| {
            let setup = SetupToken {
                issued_at: NOW - DAY,
                expires_at: NOW + left,
                kept: None,
            };
            let known = BTreeMap::from([(token.fingerprint(), setup.clone())]);
            let verdict = profile(&with_known_end(&bare, &known), "anthropic", None, false, policy.at(NOW));
            assert_eq!(verdict, env_token(&token, Some(&setup), policy.at(NOW)));
            (verdict.health, verdict.reason)
        };
        let why = Some(Reason::NoRefreshToken);
        assert_eq!(judge(30 * DAY), (Health::Ok, why));
        assert_eq!(judge(7 * DAY), (Health::Expiring, why));
        assert_eq!(judge(0), (Health::Expired, why));
        assert_eq!(with_known_end(&bare, &BTreeMap::new()).as_ref(), &bare);
        assert_eq!(
            env_token(&token, None, policy.at(NOW)).reason,
            Some(Reason::IssueDateUnknown)
        );
        let cut = env_token(&Secret::new("sk-ant-oat01-TTT"), None, policy.at(NOW));
        assert_eq!((cut.health, cut.reason), (Health::Missing, Some(Reason::NoToken)));
    }

    #[test]
    fn a_number_that_can_be_no_deadline_is_not_believed() {
        for (name, stored, believed) in [
            ("zero", Moment::EPOCH, false),
            ("one", Moment::at(1), false),
            ("seconds", Moment::at(NOW.ms() / 1000), false),
            ("before 2025", EARLIEST_DEADLINE - 1, false),
            ("ten years ahead", NOW + 3653 * DAY, true),
            ("later than that", NOW + 3653 * DAY + 1, false),
            ("the year 9999", Moment::at(253_402_300_799_000), false),
            ("past", NOW - DAY, true),
            (
                "the access token outlives it within the slack",
                NOW + 8 * HOUR - DEADLINE_SLACK,
                true,
            ),
            (
                "the access token outlives it",
                NOW + 8 * HOUR - DEADLINE_SLACK - 1,
                false,
            ),
        ] {
            let grant = Grant {
                deadline: Some(stored),
                expires: (name != "past").then_some(NOW + 8 * HOUR),
                ..grant()
            };
            assert_eq!(deadline(&grant, NOW), believed.then_some(stored), "{name}");
        }
        // where nothing says when the access token ends, the year alone tells
        for (stored, believed) in [
            (Moment::at(1), false),
            (EARLIEST_DEADLINE - 1, false),
            (EARLIEST_DEADLINE, true),
        ] {
            let grant = Grant {
                deadline: Some(stored),
                expires: None,
                ..grant()
            };
            assert_eq!(deadline(&grant, NOW), believed.then_some(stored), "{stored}");
        }
    }

    #[test]
    fn logins_are_judged_by_both_clocks() {
        use Health::{Expired, Expiring, Missing, Ok, Static};
        use Reason as R;
        let policy = AlertsConfig::default();
        let fresh = grant();
        let rejected = [Secret::new("R").fingerprint()];
        let none = Known::default();
        let put_back = Known { spent: true, ..none };
        let abandoned = Known {
            abandoned: true,
            ..none
        };
        let refused = Known {
            rejected: &rejected,
            ..none
        };
        let kept = Known { kept: true, ..none };
        let blank = Grant {
            access: None,
            refresh: Refresh::Blank,
            expires: Some(Moment::EPOCH),
            blanked: true,
            ..grant()
        };
        let expired = Grant {
            expires: Some(NOW - 31 * MINUTE),
            ..grant()
        };
        for (name, grant, known, health, reason) in [
            ("fresh", fresh.clone(), none, Ok, R::RenewsItself),
            (
                "access expired, which needs nobody",
                expired.clone(),
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "access expired for days",
                Grant {
                    expires: Some(NOW - 5 * DAY),
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "in seconds",
                Grant {
                    expires: Some(Moment::at(1_769_000_000)),
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "ten days and a bit to the deadline",
                Grant {
                    deadline: Some(NOW + 10 * DAY + 1),
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "ten days to the deadline",
                Grant {
                    deadline: Some(NOW + 10 * DAY),
                    ..grant()
                },
                none,
                Expiring,
                R::LoginEndsSoon,
            ),
            (
                "in the slack",
                Grant {
                    deadline: Some(NOW + DAY),
                    ..grant()
                },
                none,
                Expiring,
                R::LoginEndsSoon,
            ),
            (
                "past it, still working",
                Grant {
                    deadline: Some(NOW - HOUR),
                    ..grant()
                },
                none,
                Expiring,
                R::LoginEndsSoon,
            ),
            (
                "past it",
                Grant {
                    deadline: Some(NOW - HOUR),
                    ..expired.clone()
                },
                none,
                Expired,
                R::LoginEnded,
            ),
            (
                "no deadline at all",
                Grant {
                    deadline: None,
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "a deadline that is none",
                Grant {
                    deadline: Some(Moment::at(12)),
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            (
                "access outlives the deadline",
                Grant {
                    deadline: Some(NOW + DAY),
                    expires: Some(NOW + 5 * DAY),
                    ..grant()
                },
                none,
                Ok,
                R::RenewsItself,
            ),
            ("race", blank.clone(), none, Expired, R::RaceLogout),
            (
                "time limit",
                Grant {
                    ended_by_limit: true,
                    ..blank.clone()
                },
                none,
                Expired,
                R::LoginEnded,
            ),
            (
                "blank near the deadline",
                Grant {
                    deadline: Some(NOW + 2 * DAY),
                    ..blank.clone()
                },
                none,
                Expired,
                R::LoginEnded,
            ),
            (
                "blank, no deadline",
                Grant {
                    deadline: None,
                    ..blank
                },
                none,
                Expired,
                R::Blanked,
            ),
            (
                "half blank",
                Grant {
                    refresh: Refresh::Blank,
                    ..grant()
                },
                none,
                Expiring,
                R::Blanked,
            ),
            (
                "half blank and over",
                Grant {
                    refresh: Refresh::Blank,
                    ..expired.clone()
                },
                none,
                Expired,
                R::Blanked,
            ),
            (
                "no refresh token, long",
                Grant {
                    refresh: Refresh::None,
                    expires: Some(NOW + 30 * DAY),
                    ..grant()
                },
                none,
                Ok,
                R::NoRefreshToken,
            ),
            (
                "no refresh token, short",
                Grant {
                    refresh: Refresh::None,
                    ..grant()
                },
                none,
                Expiring,
                R::NoRefreshToken,
            ),
            (
                "no end either",
                Grant {
                    refresh: Refresh::None,
                    expires: None,
                    ..grant()
                },
                none,
                Static,
                R::IssueDateUnknown,
            ),
            (
                "an end that is none",
                Grant {
                    refresh: Refresh::None,
                    expires: Some(Moment::EPOCH),
                    ..grant()
                },
                none,
                Static,
                R::IssueDateUnknown,
            ),
            (
                "no scopes is signed out",
                Grant {
                    scopes: None,
                    ..grant()
                },
                none,
                Missing,
                R::Unreadable,
            ),
            (
                "no access token",
                Grant {
                    access: None,
                    ..grant()
                },
                none,
                Missing,
                R::Blanked,
            ),
            (
                "put back, still working",
                fresh.clone(),
                put_back,
                Expiring,
                R::OlderState,
            ),
            ("put back", expired.clone(), put_back, Expired, R::OlderState),
            ("rejected, still working", fresh.clone(), refused, Expiring, R::Rejected),
            ("rejected", expired.clone(), refused, Expired, R::Rejected),
            ("abandoned, still working", fresh, abandoned, Ok, R::RenewsItself),
            ("abandoned", expired.clone(), abandoned, Expired, R::AbandonedRefresh),
            (
                "to be kept, in its grace",
                Grant {
                    expires: Some(NOW - 29 * MINUTE),
                    ..grant()
                },
                kept,
                Ok,
                R::RenewsItself,
            ),
            ("to be kept, and not renewed", expired, kept, Expired, R::NotRenewed),
        ] {
            let got = login(&State::SignedIn(grant), known, policy.at(NOW));
            assert_eq!((got.health, got.reason), (health, Some(reason)), "{name}");
        }
    }

    #[test]
    fn what_is_said_of_ends_and_secrets_is_of_those_that_have_them() {
        let policy = AlertsConfig::default();
        let as_of = policy.at(NOW);
        let fine = login(&State::SignedIn(grant()), Known::default(), as_of);
        assert_eq!(fine.ends, Some(NOW + 24 * DAY));
        let token = |text: &str| Credential::Token {
            token: Some(Secret::new(text)),
            expires: None,
        };
        for (provider, text, known) in [
            ("anthropic", "sk-ant-oat01-T", false),
            ("anthropic", "T", true),
            ("openai", "sk-ant-oat01-T", true),
        ] {
            let verdict = profile(&token(text), provider, None, false, as_of);
            assert_eq!(verdict.reason.is_none(), known, "{provider} {text}");
        }
        for (state, relation, missing) in [
            (Held::Inline, Relation::Unknown, false),
            (Held::Flawed(Flaw::Empty), Relation::Same, true),
            (Held::Flawed(Flaw::Cut), Relation::Same, false),
            (Held::Flawed(Flaw::Cut), Relation::Older, false),
            (Held::Flawed(Flaw::Cut), Relation::Unknown, true),
        ] {
            let one = Profile {
                account: None,
                id: "p".into(),
                provider: "anthropic".into(),
                credential: token("sk-ant-oat01-T"),
                held: state.clone(),
            };
            let verdict = held(&one, relation, NOW).map(|verdict| (verdict.health, verdict.reason));
            let wanted = missing.then_some((Health::Missing, Some(Reason::NoToken)));
            assert_eq!(verdict, wanted, "{state:?} {relation:?}");
        }
    }

    #[test]
    fn profiles_are_judged_with_their_login() {
        use Health::{Expired, Expiring, Missing, Ok, Static};
        use Reason as R;
        let policy = AlertsConfig::default();
        let fine = Verdict::new(Ok, R::RenewsItself, None);
        let ended = Verdict::new(Expired, R::LoginEnded, None);
        let soon = Verdict::new(Expiring, R::LoginEndsSoon, None);
        let bare = Verdict::new(Ok, R::NoRefreshToken, None);
        let unread = Verdict::new(Missing, R::Unreadable, None);
        let hangs = |login, relation| Some(Hangs { login, relation });
        let token = |expires| Credential::Token {
            token: Some(Secret::new("sk-ant-oat01-T")),
            expires: Some(expires),
        };
        let oauth = |expires| Credential::Oauth {
            access: Some(Secret::new("A")),
            refresh: Some(Secret::new("R")),
            expires: Some(expires),
        };
        let long_token = Credential::Token {
            token: Some(Secret::new("sk-ant-oat01-T")),
            expires: None,
        };
        let (just, over) = (NOW - 29 * MINUTE, NOW - 31 * MINUTE);
        for (name, credential, hangs, idle, health, reason) in [
            ("key", Credential::ApiKey, None, false, Static, None),
            (
                "setup token",
                long_token,
                None,
                false,
                Static,
                Some(R::IssueDateUnknown),
            ),
            (
                "oauth without end",
                Credential::Oauth {
                    access: None,
                    refresh: None,
                    expires: None,
                },
                None,
                false,
                Missing,
                Some(R::NoRefreshToken),
            ),
            (
                "copy, hours left",
                token(NOW + HOUR),
                hangs(&fine, Relation::Same),
                false,
                Ok,
                Some(R::RenewsItself),
            ),
            (
                "copy being renewed",
                token(just),
                hangs(&fine, Relation::Older),
                false,
                Ok,
                Some(R::RenewsItself),
            ),
            (
                "copy left behind",
                token(over),
                hangs(&fine, Relation::Older),
                false,
                Expired,
                Some(R::CopyStale),
            ),
            (
                "oauth left behind",
                oauth(over),
                hangs(&fine, Relation::Same),
                false,
                Expired,
                Some(R::CopyStale),
            ),
            (
                "oauth of an idle agent",
                oauth(over),
                hangs(&fine, Relation::Same),
                true,
                Ok,
                Some(R::RenewsItself),
            ),
            (
                "copy of an ended login, live",
                token(NOW + HOUR),
                hangs(&ended, Relation::Same),
                false,
                Expiring,
                Some(R::LoginEnded),
            ),
            (
                "copy of an ended login",
                token(just),
                hangs(&ended, Relation::Same),
                false,
                Expired,
                Some(R::LoginEnded),
            ),
            (
                "copy of an ending login",
                token(NOW + HOUR),
                hangs(&soon, Relation::Same),
                false,
                Expiring,
                Some(R::LoginEndsSoon),
            ),
            (
                "copy of an ending login, being renewed",
                token(just),
                hangs(&soon, Relation::Same),
                false,
                Expiring,
                Some(R::LoginEndsSoon),
            ),
            (
                "copy of an ending login, over",
                token(over),
                hangs(&soon, Relation::Same),
                false,
                Expired,
                Some(R::LoginEndsSoon),
            ),
            (
                "diverged, working",
                oauth(NOW + HOUR),
                hangs(&fine, Relation::Unknown),
                false,
                Ok,
                Some(R::CopyDiverged),
            ),
            (
                "diverged, over",
                oauth(over),
                hangs(&fine, Relation::Unknown),
                false,
                Expired,
                Some(R::CopyDiverged),
            ),
            (
                "beside a login that cannot be read",
                oauth(just),
                hangs(&unread, Relation::Unknown),
                false,
                Ok,
                Some(R::RenewsItself),
            ),
            (
                "beside a login that cannot be read, over",
                oauth(over),
                hangs(&unread, Relation::Unknown),
                false,
                Expired,
                Some(R::Unreadable),
            ),
            (
                "beside a login that cannot be read, idle",
                oauth(over),
                hangs(&unread, Relation::Unknown),
                true,
                Ok,
                Some(R::RenewsItself),
            ),
            (
                "copy of a bare token",
                token(NOW + DAY),
                hangs(&bare, Relation::Same),
                false,
                Expiring,
                Some(R::NoRefreshToken),
            ),
            (
                "own token, long",
                token(NOW + 30 * DAY),
                None,
                false,
                Ok,
                Some(R::NoRefreshToken),
            ),
            (
                "own token, a week",
                token(NOW + 7 * DAY),
                None,
                false,
                Expiring,
                Some(R::NoRefreshToken),
            ),
            (
                "own token, over",
                token(NOW),
                None,
                false,
                Expired,
                Some(R::NoRefreshToken),
            ),
            ("own grant", oauth(NOW + 1), None, false, Ok, Some(R::RenewsItself)),
            ("own grant, over", oauth(over), None, false, Expired, Some(R::CopyStale)),
        ] {
            let got = profile(&credential, "anthropic", hangs, idle, policy.at(NOW));
            assert_eq!((got.health, got.reason), (health, reason), "{name}");
        }
    }
}

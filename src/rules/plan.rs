//! What to write into a store, if anything.
//!
//! Asked once to plan and again under the store's lock. The source of truth is the login; the rules that keep a pass from
//! doing harm come first.

use super::agent::Edit;
use super::health::FARTHEST_END;
use super::lineage::{LONGEST_ACCESS, Relation};
use super::policy::SyncConfig;
use super::view::{AgentView, LoginView, View, mirror_id, mirrored_login};
use crate::rules::agent::{Put, Store};
use crate::rules::login::Grant;
use crate::rules::policy::{Create, Share};
use crate::rules::shape::{self, KeptAs};
use crate::secret::Secret;
use crate::types::{Credential, Flaw, Held, MINUTE, Moment, Ms, Profile, Reason};

/// Clawdbot's own sync leaves an oauth copy alone while it has more than 10 min left (2026.1.24-3).
const NEAR_EXPIRY: Ms = 10 * MINUTE;

/// What a login has to give.
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    /// `accessToken`.
    pub(crate) access: &'a Secret,
    /// `refreshToken`.
    pub(crate) refresh: Option<&'a Secret>,
    /// `expiresAt`, positive.
    pub(crate) expires: Moment,
}

impl<'a> Offer<'a> {
    /// The offer of a grant; `None` where it has no access token with a positive expiry, which the agents accept neither.
    pub(crate) fn of(grant: &'a Grant) -> Option<Self> {
        let expires = grant.expires.filter(|expires| *expires > Moment::EPOCH)?;
        Some(Self {
            access: grant.access.as_ref()?,
            refresh: grant.refresh.token(),
            expires,
        })
    }

    fn put(&self, share: Share) -> Put {
        match (share, self.refresh) {
            (Share::Full, Some(refresh)) => self.full(refresh),
            _ => Put::Token {
                token: self.access.clone(),
                expires: self.expires,
            },
        }
    }

    fn full(&self, refresh: &Secret) -> Put {
        Put::Oauth {
            access: self.access.clone(),
            refresh: refresh.clone(),
            expires: self.expires,
        }
    }
}

/// What to do with one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Write this.
    Write(Put),
    /// Leave it, and why.
    Keep(Keep),
    /// The copy is the newer one: bring the login's own file up to date from it.
    Heal,
}

/// Why a profile is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// There is no difference.
    UpToDate,
    /// The login has nothing usable to give.
    NothingToGive,
    /// It is an API key.
    ApiKey,
    /// It is not there, and its agent would not make it.
    NotMade,
    /// It belongs to another provider.
    OtherProvider,
    /// It is kept elsewhere (`tokenRef`).
    ByReference,
    /// It is `oauth`, and the login has no refresh token to give.
    NoDowngrade,
    /// It lives longer than what the login has.
    LongerLife,
    /// It is a token without an end, perhaps a setup token good for a year that exists nowhere else.
    StaticToken,
    /// Its descent is unknown and it still works: it is replaced when it is about to end.
    StillGood,
}

impl Keep {
    /// For people, after "not changed: ".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::NothingToGive => "the login has no usable token",
            Self::ApiKey => "it holds an API key",
            Self::NotMade => "it does not exist and its agent would not create it; `nolapse sync --create` does",
            Self::OtherProvider => "it belongs to another provider",
            Self::ByReference => "its token is stored elsewhere (`tokenRef`)",
            Self::NoDowngrade => "it is `oauth` and the login has no refresh token",
            Self::LongerLife => "its token expires later than the login's",
            Self::StaticToken => "its token has no end date, so it may be a one-year setup token",
            Self::StillGood => "it still works, and it is not known to come from this login",
        }
    }
}

/// Whether a profile that is not there is made. `reads_claude`: this generation of agent reads Claude Code's file itself.
/// `emptied`: another agent's store than the main one's, there and without a profile, as somebody left it.
pub(crate) fn makes(create: Create, reads_claude: bool, emptied: bool) -> bool {
    match create {
        Create::Always => true,
        Create::Never => false,
        Create::AsAgentsDo => reads_claude && !emptied,
    }
}

/// Decides about the profile that mirrors a login. `existing` is the valid entry under its id, if there is one.
pub(crate) fn mirror(
    offer: Option<&Offer<'_>>,
    existing: Option<&Profile>,
    relation: Relation,
    share: Share,
    now: Moment,
) -> Decision {
    use Decision::{Heal, Keep as K, Write};
    if relation == Relation::Newer {
        let newer = match (offer, existing.and_then(|p| p.credential.expires())) {
            (Some(offer), Some(expires)) => expires > offer.expires,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        // half of a copy cannot be what the login goes on with
        return match newer && existing.is_some_and(|p| is_complete(&p.credential)) {
            true => Heal,
            false => K(Keep::StillGood),
        };
    }
    let Some(offer) = offer else {
        return K(Keep::NothingToGive);
    };
    let Some(existing) = existing else {
        return Write(offer.put(share));
    };
    if existing.credential == Credential::ApiKey {
        return K(Keep::ApiKey);
    }
    // openclaw 2026.4.25 to 2026.5.12 calls the provider of its own copy `claude-cli`
    let known = matches!(relation, Relation::Same | Relation::Older);
    if !(existing.provider == "anthropic" || existing.provider == "claude-cli" && known) {
        return K(Keep::OtherProvider);
    }
    match &existing.credential {
        Credential::ApiKey => K(Keep::ApiKey),
        Credential::Token { token: None, .. } => K(Keep::ByReference),
        Credential::Token {
            token: Some(token),
            expires,
        } => match over_token(offer, (token, *expires), relation, share) {
            // nothing is lost that anybody could use
            K(keep)
                if keep != Keep::UpToDate
                    && matches!(
                        existing.held,
                        Held::Flawed(Flaw::Empty | Flaw::Placeholder | Flaw::Example)
                    ) =>
            {
                Write(offer.put(share))
            }
            decision => decision,
        },
        Credential::Oauth { access, expires, .. } => match offer.refresh {
            Some(refresh) => over_oauth(offer, refresh, (access.as_ref(), *expires), relation, now),
            None => K(Keep::NoDowngrade),
        },
    }
}

/// What becomes of a token without a refresh token.
fn over_token(
    offer: &Offer<'_>,
    (token, expires): (&Secret, Option<Moment>),
    relation: Relation,
    share: Share,
) -> Decision {
    use Decision::{Keep as K, Write};
    if token == offer.access && expires == Some(offer.expires) && !(share == Share::Full && offer.refresh.is_some()) {
        return K(Keep::UpToDate);
    }
    match (expires, relation) {
        // our own copy, known by its token: only its end was lost
        (None, Relation::Same) => Write(offer.put(share)),
        (None, _) => K(Keep::StaticToken),
        (Some(expires), _) if expires > offer.expires => K(Keep::LongerLife),
        (Some(expires), Relation::Unknown) if expires == offer.expires => K(Keep::LongerLife),
        _ => Write(offer.put(share)),
    }
}

/// What becomes of a copy that has a refresh token, where the login has one as well.
fn over_oauth(
    offer: &Offer<'_>,
    refresh: &Secret,
    (access, expires): (Option<&Secret>, Option<Moment>),
    relation: Relation,
    now: Moment,
) -> Decision {
    use Decision::{Heal, Keep as K, Write};
    match (relation, expires) {
        (Relation::Same, Some(expires)) if access == Some(offer.access) && expires == offer.expires => {
            K(Keep::UpToDate)
        }
        (Relation::Same, Some(expires)) if access == Some(offer.access) && expires > offer.expires => {
            K(Keep::LongerLife)
        }
        // the same refresh token with a later access token: renewed without rotation
        (Relation::Same, Some(expires))
            if expires > offer.expires && expires <= now + LONGEST_ACCESS && access.is_some() =>
        {
            Heal
        }
        (Relation::Same, Some(expires)) if expires > offer.expires && access.is_some() => K(Keep::LongerLife),
        // an end further ahead than any that is issued was written by hand
        (Relation::Older, Some(expires)) if expires > offer.expires && expires - now <= FARTHEST_END => {
            K(Keep::LongerLife)
        }
        (Relation::Unknown, Some(expires)) if expires >= offer.expires => K(Keep::LongerLife),
        (Relation::Unknown, Some(expires)) if expires - now > NEAR_EXPIRY => K(Keep::StillGood),
        _ => Write(offer.full(refresh)),
    }
}

fn is_complete(credential: &Credential) -> bool {
    matches!(
        credential,
        Credential::Oauth {
            access: Some(_),
            refresh: Some(_),
            expires: Some(_),
        }
    )
}

/// Decides about any other profile: only an `oauth` copy that is known to be of this login is followed up, since a spent
/// refresh token left in it would be posted by its agent one day.
pub(crate) fn follow(offer: Option<&Offer<'_>>, existing: &Profile, relation: Relation, now: Moment) -> Decision {
    match (&existing.credential, relation) {
        (Credential::Oauth { .. }, Relation::Same | Relation::Older | Relation::Newer) => {
            mirror(offer, Some(existing), relation, Share::Full, now)
        }
        _ => Decision::Keep(Keep::StillGood),
    }
}

/// What each login has to give.
pub(crate) fn offer(login: &LoginView) -> Option<Offer<'_>> {
    let grant = login.login.grant()?;
    let put_back = login.verdict.reason == Some(Reason::OlderState);
    // what is no token is given to nobody; a cut one is not told from a short one of a fake or a future server
    let flaw =
        |access: &Secret| shape::flaw("anthropic", KeptAs::Token, access.expose()).filter(|flaw| *flaw != Flaw::Cut);
    if grant.access.as_ref().and_then(flaw).is_some() {
        return None;
    }
    if put_back { None } else { Offer::of(grant) }
}

/// What to do with one agent's store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The changes.
    pub(crate) edits: Vec<Edit>,
    /// Profiles that are left as they are, and why.
    pub(crate) kept: Vec<(String, Keep)>,
    /// The login (by index) to be healed, from this profile.
    pub(crate) heal: Option<(usize, String)>,
}

/// Plans one agent's store from what was seen.
pub(crate) fn store(sync: &SyncConfig, view: &View, agent: &AgentView) -> Plan {
    let label = agent.label();
    let mut plan = Plan::default();
    let mirrored = mirrored_login(&view.logins, &label);
    let add = |plan: &mut Plan, id: &str, provider: &str, login: usize, decision: Decision| match decision {
        Decision::Write(put) => plan.edits.push(Edit {
            id: id.to_owned(),
            provider: provider.to_owned(),
            put,
        }),
        Decision::Keep(why) => plan.kept.push((id.to_owned(), why)),
        Decision::Heal => plan.heal = Some((login, id.to_owned())),
    };
    if let Some(i) = mirrored {
        let login = &view.logins[i];
        let id = mirror_id(sync, login);
        let existing = agent.profiles.iter().find(|profile| profile.profile.id == id);
        let relation = existing
            .filter(|p| p.login == Some(i))
            .map_or(Relation::Unknown, |p| p.relation);
        let offer = offer(login);
        let decision = mirror(
            offer.as_ref(),
            existing.map(|p| &p.profile),
            relation,
            share(sync, view, agent, id),
            view.now,
        );
        let decision = match decision {
            Decision::Write(_) if existing.is_none() && !makes_in(sync, view, agent) => Decision::Keep(Keep::NotMade),
            decision => decision,
        };
        add(&mut plan, id, "anthropic", i, decision);
    }
    for profile in &agent.profiles {
        let Some(i) = profile.login else { continue };
        if Some(i) == mirrored && profile.profile.id == mirror_id(sync, &view.logins[i]) {
            continue;
        }
        let offer = offer(&view.logins[i]);
        let decision = follow(offer.as_ref(), &profile.profile, profile.relation, view.now);
        add(&mut plan, &profile.profile.id, &profile.profile.provider, i, decision);
    }
    plan
}

/// How much a profile is given: no refresh token where the agents' config takes only a `token` under this id.
fn share(sync: &SyncConfig, view: &View, agent: &AgentView, id: &str) -> Share {
    match view.state_dirs[agent.agent.state_dir].auth.mode(id) {
        Some(super::resolve::Mode::Token) => Share::Access,
        _ => sync.share,
    }
}

/// Whether a profile that is not there is made in this agent's store.
fn makes_in(sync: &SyncConfig, view: &View, agent: &AgentView) -> bool {
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let emptied = matches!(agent.store, Store::Read(_)) && agent.profiles.is_empty() && agent.agent.agent.id != "main";
    makes(sync.create, super::agent::reads_claude(state_dir), emptied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn profile(provider: &str, credential: Credential) -> Profile {
        Profile {
            account: None,
            id: "anthropic:claude-cli".into(),
            provider: provider.into(),
            credential,
            held: Default::default(),
        }
    }

    fn oauth(access: &str, refresh: &str, expires: Moment) -> Credential {
        Credential::Oauth {
            access: Some(Secret::new(access)),
            refresh: Some(Secret::new(refresh)),
            expires: Some(expires),
        }
    }

    fn token(text: &str, expires: Option<Moment>) -> Credential {
        Credential::Token {
            token: Some(Secret::new(text)),
            expires,
        }
    }

    #[test]
    fn what_never_ended_or_has_no_access_token_is_no_offer() {
        use crate::rules::login::{Grant, Refresh};
        let grant = |expires, access: Option<&str>| Grant {
            access: access.map(Secret::new),
            refresh: Refresh::None,
            expires,
            deadline: None,
            ended_by_limit: false,
            scopes: None,
            client_id: None,
            subscription: None,
            blanked: false,
        };
        for (expires, access, is_one) in [
            (Some(Moment::at(1)), Some("A"), true),
            (Some(Moment::EPOCH), Some("A"), false),
            (None, Some("A"), false),
            (Some(NOW), None, false),
        ] {
            assert_eq!(Offer::of(&grant(expires, access)).is_some(), is_one, "{expires:?}");
        }
    }

    #[test]
    fn a_login_gives_its_token_unless_it_is_none_or_an_older_state() {
        use crate::rules::health::Verdict;
        use crate::rules::login::{Grant, Login, Place, Refresh, Source, State};
        for (access, reason, given) in [
            ("sk-ant-oat01-A", None, true),
            ("sk-ant-oat01-A", Some(Reason::Rejected), true),
            ("sk-ant-oat01-A", Some(Reason::OlderState), false),
            ("${TOKEN}", None, false),
        ] {
            let grant = Grant::new(Secret::new(access), Refresh::Blank, Some(NOW));
            let login = Login::new(Place::new("claude", "/c", false), Source::File, State::SignedIn(grant));
            let verdict = Verdict {
                health: crate::types::Health::Ok,
                reason,
                ends: None,
            };
            let login = LoginView::new(login, verdict);
            assert_eq!(offer(&login).is_some(), given, "{access} {reason:?}");
        }
    }

    #[test]
    fn every_rule_has_its_case() {
        use Relation::{Newer, Older, Same, Unknown};
        let (access, refresh) = (Secret::new("A"), Secret::new("R"));
        let offer = Offer {
            access: &access,
            refresh: Some(&refresh),
            expires: NOW + 1000,
        };
        let bare = Offer {
            refresh: None,
            ..offer.clone()
        };
        let full = || {
            Decision::Write(Put::Oauth {
                access: access.clone(),
                refresh: refresh.clone(),
                expires: NOW + 1000,
            })
        };
        let short = || {
            Decision::Write(Put::Token {
                token: access.clone(),
                expires: NOW + 1000,
            })
        };
        let keep = Decision::Keep;
        let p = |credential| Some(profile("anthropic", credential));
        let minutes = |n: Ms| NOW + n * MINUTE;
        let long = Offer {
            expires: NOW + 60 * MINUTE,
            ..offer.clone()
        };
        for (name, offer, existing, relation, share, want) in [
            ("absent, access", &offer, None, Unknown, Share::Access, short()),
            ("absent, full", &offer, None, Unknown, Share::Full, full()),
            (
                "absent, full, no refresh token",
                &bare,
                None,
                Unknown,
                Share::Full,
                short(),
            ),
            (
                "api key",
                &offer,
                p(Credential::ApiKey),
                Unknown,
                Share::Full,
                keep(Keep::ApiKey),
            ),
            (
                "api key of another",
                &offer,
                Some(profile("x", Credential::ApiKey)),
                Unknown,
                Share::Full,
                keep(Keep::ApiKey),
            ),
            (
                "other provider",
                &offer,
                Some(profile("x", token("t", None))),
                Unknown,
                Share::Full,
                keep(Keep::OtherProvider),
            ),
            (
                "openclaw's copy",
                &offer,
                Some(profile("claude-cli", oauth("a", "r", Moment::at(1)))),
                Older,
                Share::Access,
                full(),
            ),
            (
                "openclaw's own",
                &offer,
                Some(profile("claude-cli", oauth("a", "r", Moment::at(1)))),
                Unknown,
                Share::Full,
                keep(Keep::OtherProvider),
            ),
            (
                "by reference",
                &offer,
                p(Credential::Token {
                    token: None,
                    expires: None,
                }),
                Unknown,
                Share::Full,
                keep(Keep::ByReference),
            ),
            (
                "newer, without its access token",
                &offer,
                p(Credential::Oauth {
                    access: None,
                    refresh: Some(Secret::new("r2")),
                    expires: Some(NOW + 5000),
                }),
                Newer,
                Share::Access,
                keep(Keep::StillGood),
            ),
            (
                "newer, without its refresh token",
                &offer,
                p(Credential::Oauth {
                    access: Some(Secret::new("a2")),
                    refresh: None,
                    expires: Some(NOW + 5000),
                }),
                Newer,
                Share::Access,
                keep(Keep::StillGood),
            ),
            (
                "ours with a later end and without its access token",
                &offer,
                p(Credential::Oauth {
                    access: None,
                    refresh: Some(Secret::new("R")),
                    expires: Some(NOW + 5000),
                }),
                Same,
                Share::Access,
                full(),
            ),
            (
                "newer by name, and of the same end",
                &offer,
                p(oauth("a2", "r2", NOW + 1000)),
                Newer,
                Share::Access,
                keep(Keep::StillGood),
            ),
            (
                "ours with another access token of the same end",
                &offer,
                p(oauth("a", "R", NOW + 1000)),
                Same,
                Share::Access,
                full(),
            ),
            (
                "older, of the same end",
                &offer,
                p(oauth("a", "r", NOW + 1000)),
                Older,
                Share::Access,
                full(),
            ),
            (
                "older, with a later end",
                &offer,
                p(oauth("a", "r", NOW + 1001)),
                Older,
                Share::Access,
                keep(Keep::LongerLife),
            ),
            (
                "older, with the latest end that is believed",
                &offer,
                p(oauth("a", "r", NOW + FARTHEST_END)),
                Older,
                Share::Access,
                keep(Keep::LongerLife),
            ),
            (
                "older, with an end that nobody issued",
                &offer,
                p(oauth("a", "r", NOW + FARTHEST_END + 1)),
                Older,
                Share::Access,
                full(),
            ),
            (
                "ours with an access token for longer than any renewal gives",
                &offer,
                p(oauth("a", "R", NOW + LONGEST_ACCESS + 1)),
                Same,
                Share::Access,
                keep(Keep::LongerLife),
            ),
            (
                "of unknown descent with the same end",
                &offer,
                p(oauth("a", "r", NOW + 1000)),
                Unknown,
                Share::Full,
                keep(Keep::LongerLife),
            ),
            (
                "downgrade",
                &bare,
                p(oauth("a", "r", Moment::at(1))),
                Unknown,
                Share::Access,
                keep(Keep::NoDowngrade),
            ),
            (
                "same, equal",
                &offer,
                p(oauth("A", "R", NOW + 1000)),
                Same,
                Share::Access,
                keep(Keep::UpToDate),
            ),
            (
                "same, behind",
                &offer,
                p(oauth("a", "R", NOW)),
                Same,
                Share::Access,
                full(),
            ),
            (
                "same, ahead",
                &offer,
                p(oauth("a", "R", NOW + 2000)),
                Same,
                Share::Access,
                Decision::Heal,
            ),
            (
                "same token, later end",
                &offer,
                p(oauth("A", "R", NOW + 2000)),
                Same,
                Share::Access,
                keep(Keep::LongerLife),
            ),
            ("older", &offer, p(oauth("a", "r", NOW)), Older, Share::Access, full()),
            (
                "newer",
                &offer,
                p(oauth("a", "r", NOW + 2000)),
                Newer,
                Share::Access,
                Decision::Heal,
            ),
            (
                "newer and ended before",
                &offer,
                p(oauth("a", "r", NOW)),
                Newer,
                Share::Access,
                keep(Keep::StillGood),
            ),
            (
                "unknown, expired",
                &offer,
                p(oauth("a", "r", NOW - 1)),
                Unknown,
                Share::Access,
                full(),
            ),
            (
                "unknown, no end",
                &offer,
                p(Credential::Oauth {
                    access: None,
                    refresh: None,
                    expires: None,
                }),
                Unknown,
                Share::Access,
                full(),
            ),
            (
                "unknown, 10 min left",
                &long,
                p(oauth("a", "r", minutes(10))),
                Unknown,
                Share::Full,
                Decision::Write(long.full(&refresh)),
            ),
            (
                "unknown, over 10 min left",
                &long,
                p(oauth("a", "r", minutes(10) + 1)),
                Unknown,
                Share::Full,
                keep(Keep::StillGood),
            ),
            (
                "unknown, longer",
                &offer,
                p(oauth("a", "r", NOW + 1001)),
                Unknown,
                Share::Full,
                keep(Keep::LongerLife),
            ),
            (
                "token, equal",
                &offer,
                p(token("A", Some(NOW + 1000))),
                Same,
                Share::Access,
                keep(Keep::UpToDate),
            ),
            (
                "token, equal, full",
                &offer,
                p(token("A", Some(NOW + 1000))),
                Same,
                Share::Full,
                full(),
            ),
            (
                "token, behind",
                &offer,
                p(token("a", Some(NOW))),
                Older,
                Share::Access,
                short(),
            ),
            (
                "token, unknown, shorter",
                &offer,
                p(token("a", Some(NOW))),
                Unknown,
                Share::Full,
                full(),
            ),
            (
                "token, unknown, the same end",
                &offer,
                p(token("t", Some(NOW + 1000))),
                Unknown,
                Share::Access,
                keep(Keep::LongerLife),
            ),
            (
                "token, unknown, longer",
                &offer,
                p(token("a", Some(NOW + 5000))),
                Unknown,
                Share::Full,
                keep(Keep::LongerLife),
            ),
            (
                "token without end",
                &offer,
                p(token("a", None)),
                Unknown,
                Share::Full,
                keep(Keep::StaticToken),
            ),
            (
                "a placeholder",
                &offer,
                Some(Profile {
                    held: Held::Flawed(Flaw::Placeholder),
                    ..profile("anthropic", token("${TOKEN}", None))
                }),
                Unknown,
                Share::Access,
                short(),
            ),
            (
                "broken, which a person can still mend",
                &offer,
                Some(Profile {
                    held: Held::Flawed(Flaw::Broken),
                    ..profile("anthropic", token("sk-ant oat", None))
                }),
                Unknown,
                Share::Access,
                keep(Keep::StaticToken),
            ),
            (
                "our token that lost its end",
                &offer,
                p(token("A", None)),
                Same,
                Share::Access,
                short(),
            ),
        ] {
            assert_eq!(
                mirror(Some(offer), existing.as_ref(), relation, share, NOW),
                want,
                "{name}"
            );
        }
        let ended = profile("anthropic", oauth("a", "r", NOW));
        assert_eq!(mirror(None, Some(&ended), Newer, Share::Access, NOW), Decision::Heal);
        assert_eq!(
            mirror(None, Some(&ended), Same, Share::Access, NOW),
            keep(Keep::NothingToGive)
        );
        assert_eq!(follow(Some(&offer), &ended, Unknown, NOW), keep(Keep::StillGood));
        assert_eq!(follow(Some(&offer), &ended, Older, NOW), full());
    }

    proptest! {
        /// Writing what was decided leaves nothing to write: a pass after a pass changes nothing.
        #[test]
        fn a_write_settles_it(
            kind in 0..3, expires in -5_000i64..5_000, same in any::<bool>(), full in any::<bool>(), has_refresh in any::<bool>(),
        ) {
            let (access, refresh) = (Secret::new("A"), Secret::new("R"));
            let offer = Offer { access: &access, refresh: has_refresh.then_some(&refresh), expires: NOW };
            let text = if same { "A" } else { "a" };
            let existing = match kind {
                0 => None,
                1 => Some(profile("anthropic", token(text, Some(NOW + expires)))),
                _ => Some(profile("anthropic", oauth(text, if same { "R" } else { "r" }, NOW + expires))),
            };
            let relation = if same { Relation::Same } else { Relation::Unknown };
            let share = if full { Share::Full } else { Share::Access };
            if let Decision::Write(put) = mirror(Some(&offer), existing.as_ref(), relation, share, NOW) {
                let after = profile("anthropic", match put {
                    Put::Token { token, expires } => Credential::Token { token: Some(token), expires: Some(expires) },
                    Put::Oauth { access, refresh, expires } => Credential::Oauth {
                        access: Some(access), refresh: Some(refresh), expires: Some(expires),
                    },
                });
                prop_assert_eq!(mirror(Some(&offer), Some(&after), Relation::Same, share, NOW), Decision::Keep(Keep::UpToDate));
            }
        }
    }

    #[test]
    fn a_profile_is_made_where_its_agent_would_make_it() {
        for (create, reads_claude, emptied, made) in [
            (Create::Always, false, true, true),
            (Create::Never, true, false, false),
            (Create::AsAgentsDo, true, false, true),
            (Create::AsAgentsDo, true, true, false),
            (Create::AsAgentsDo, false, false, false),
            (Create::AsAgentsDo, false, true, false),
        ] {
            assert_eq!(
                makes(create, reads_claude, emptied),
                made,
                "{create:?} {reads_claude} {emptied}"
            );
        }
    }
}

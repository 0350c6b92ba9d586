//! Which tokens belong to the same login.
//!
//! A refresh token is single-use: every renewal replaces it, so a login is known over time by the chain of fingerprints that
//! was seen. A copy in an agent's store is the login's present token, an older one (spent, or about to be), a newer one (an
//! agent renewed it and the login's own file still holds the spent one), or of unknown descent.

use crate::rules::login::Grant;
use crate::secret::{Fingerprint, Secret};
use crate::types::{Credential, DAY, MINUTE, Moment, Ms, Profile};
use serde::{Deserialize, Serialize};

/// How many earlier tokens are remembered: ten days of eight-hour tokens.
const REMEMBERED: usize = 32;

/// What is remembered of a login between passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginMemory {
    /// The login's identity: the first refresh token that was seen of it.
    pub(crate) lineage: Fingerprint,
    /// The refresh token last seen, kept when Claude Code blanks it.
    pub(crate) refresh: Option<Fingerprint>,
    /// Refresh tokens it had before, oldest first.
    #[serde(default)]
    pub(crate) past: Vec<Fingerprint>,
    /// Access tokens seen, oldest first, the present one last.
    #[serde(default)]
    pub(crate) accesses: Vec<Fingerprint>,
    /// `refreshTokenExpiresAt`.
    pub(crate) deadline: Option<Moment>,
    /// When the access token ends that was last seen beside `refresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_ends: Option<Moment>,
    /// It held tokens when last looked at.
    pub(crate) signed_in: bool,
}

/// What is remembered of a copy: which of a login's refresh tokens it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopyMemory {
    /// The login's id.
    pub(crate) login: String,
    /// The refresh token it held.
    pub(crate) refresh: Fingerprint,
    /// The one that its agent made of it, as last seen: the login is healed to that, and its agent may renew it once more meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renewed: Option<Fingerprint>,
    /// Whose it was, where its store said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Fingerprint>,
}

impl CopyMemory {
    /// Whether it held this token.
    fn has_been(&self, token: Option<Fingerprint>) -> bool {
        token.is_some() && (token == Some(self.refresh) || token == self.renewed)
    }
}

/// No access token of a login lives longer than this after a renewal; Anthropic's live for 8 h.
pub(super) const LONGEST_ACCESS: Ms = 2 * DAY;

/// Whether a copy that holds what the login never had can be what its agent made of the login's own token: it was seen to hold that
/// before, nobody else is named as its owner since, and it does not live longer than a renewal gives. Whatever else changed it (a
/// sign-in with another account, a setup token in disguise) is no cause to hand the login over.
pub(crate) fn descends(copy: &Profile, held: Option<&CopyMemory>, now: Moment) -> bool {
    held.is_some_and(|held| held.account == copy.account)
        && copy.credential.expires().is_some_and(|end| end <= now + LONGEST_ACCESS)
}

/// A login's memory after it was looked at again.
pub(crate) fn observe(before: Option<&LoginMemory>, grant: &Grant) -> Option<LoginMemory> {
    let access = grant.access.as_ref().map(Secret::fingerprint);
    let refresh = grant.refresh.token().map(Secret::fingerprint);
    let Some(identity) = refresh.or(access) else {
        // blanked: what it was stays known, so that a copy that was renewed can still heal it
        return before.map(|memory| LoginMemory {
            signed_in: false,
            ..memory.clone()
        });
    };
    let mut memory = match before {
        Some(memory) if continues(memory, refresh, grant.deadline) => memory.clone(),
        _ => LoginMemory {
            lineage: identity,
            refresh: None,
            past: Vec::new(),
            accesses: Vec::new(),
            deadline: None,
            access_ends: None,
            signed_in: true,
        },
    };
    if memory.refresh != refresh {
        if let Some(old) = memory.refresh {
            remember(&mut memory.past, old);
        }
        memory.past.retain(|past| Some(*past) != refresh);
        memory.refresh = refresh;
    }
    if let Some(access) = access {
        remember(&mut memory.accesses, access);
    }
    memory.deadline = grant.deadline.or(memory.deadline);
    memory.access_ends = grant.expires;
    memory.signed_in = true;
    Some(memory)
}

/// Whether a login with this refresh token is the remembered one. Claude Code never moves `refreshTokenExpiresAt` forward
/// when it renews (2.1.330), so a later deadline means that somebody signed in again.
fn continues(memory: &LoginMemory, refresh: Option<Fingerprint>, deadline: Option<Moment>) -> bool {
    let Some(refresh) = refresh else {
        return memory.refresh.is_none();
    };
    if memory.refresh == Some(refresh) || memory.past.contains(&refresh) {
        return true;
    }
    match (memory.deadline, deadline) {
        (Some(old), Some(new)) => new <= old + MINUTE,
        _ => memory.signed_in,
    }
}

fn remember(list: &mut Vec<Fingerprint>, item: Fingerprint) {
    list.retain(|known| *known != item);
    list.push(item);
    if list.len() > REMEMBERED {
        list.remove(0);
    }
}

/// How a copy descends from a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It holds the login's present token.
    Same,
    /// It holds one that the login had before.
    Older,
    /// It held the login's present refresh token and now holds one that the login never had: its agent renewed it.
    Newer,
    /// Nothing connects them.
    Unknown,
}

/// How `copy` descends from the login of `memory`, which is `login`.
pub(crate) fn relation(
    copy: &Credential,
    copy_memory: Option<&CopyMemory>,
    login: &str,
    memory: &LoginMemory,
) -> Relation {
    match copy {
        Credential::ApiKey => Relation::Unknown,
        Credential::Token { token, .. } => {
            let Some(token) = token.as_ref().map(Secret::fingerprint) else {
                return Relation::Unknown;
            };
            match memory.accesses.iter().rposition(|known| *known == token) {
                Some(i) if i + 1 == memory.accesses.len() => Relation::Same,
                Some(_) => Relation::Older,
                None => Relation::Unknown,
            }
        }
        Credential::Oauth { .. } => match copy.refresh_fingerprint() {
            None => Relation::Unknown,
            Some(refresh) if memory.refresh == Some(refresh) => Relation::Same,
            Some(refresh) if memory.past.contains(&refresh) => Relation::Older,
            Some(_) => match copy_memory {
                Some(held) if held.login == login && held.has_been(memory.refresh) => Relation::Newer,
                _ => Relation::Unknown,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::login::Refresh;
    fn grant(access: &str, refresh: &str, deadline: Option<Ms>) -> Grant {
        Grant {
            access: (!access.is_empty()).then(|| Secret::new(access)),
            refresh: match refresh {
                "" => Refresh::Blank,
                text => Refresh::Token(Secret::new(text)),
            },
            expires: Some(Moment::at(1)),
            deadline: deadline.map(Moment::at),
            ended_by_limit: false,
            scopes: Some(Vec::new()),
            client_id: None,
            subscription: None,
            blanked: access.is_empty() && refresh.is_empty(),
        }
    }

    fn oauth(refresh: &str) -> Credential {
        Credential::Oauth {
            access: Some(Secret::new("x")),
            refresh: Some(Secret::new(refresh)),
            expires: Some(Moment::at(1)),
        }
    }

    fn token(text: &str) -> Credential {
        Credential::Token {
            token: Some(Secret::new(text)),
            expires: Some(Moment::at(1)),
        }
    }

    #[test]
    fn the_last_few_are_remembered_each_once() {
        let print = |n: usize| Secret::new(n.to_string()).fingerprint();
        let mut list = Vec::new();
        for n in 0..REMEMBERED + 3 {
            remember(&mut list, print(n));
            assert_eq!(list.len(), (n + 1).min(REMEMBERED));
        }
        assert_eq!(list[0], print(3));
        remember(&mut list, print(5));
        assert_eq!((list.len(), list.last()), (REMEMBERED, Some(&print(5))));
    }

    #[test]
    fn a_rotation_keeps_the_lineage_and_a_new_sign_in_does_not() {
        let first = observe(None, &grant("A1", "R1", Some(DAY))).unwrap();
        let rotated = observe(Some(&first), &grant("A2", "R2", Some(DAY))).unwrap();
        assert_eq!(rotated.lineage, first.lineage);
        assert_eq!(relation(&oauth("R1"), None, "claude", &rotated), Relation::Older);
        assert_eq!(relation(&oauth("R2"), None, "claude", &rotated), Relation::Same);
        assert_eq!(relation(&token("A1"), None, "claude", &rotated), Relation::Older);
        assert_eq!(relation(&token("A2"), None, "claude", &rotated), Relation::Same);
        assert_eq!(relation(&token("A3"), None, "claude", &rotated), Relation::Unknown);

        let anew = observe(Some(&rotated), &grant("A9", "R9", Some(30 * DAY))).unwrap();
        assert_ne!(anew.lineage, first.lineage);
        assert_eq!(relation(&oauth("R2"), None, "claude", &anew), Relation::Unknown);
    }

    #[test]
    fn a_copy_that_its_agent_renewed_is_newer_even_when_the_login_was_blanked() {
        let memory = observe(None, &grant("A1", "R1", Some(DAY))).unwrap();
        let held = CopyMemory {
            login: "claude".into(),
            refresh: Secret::new("R1").fingerprint(),
            renewed: None,
            account: None,
        };
        assert_eq!(relation(&oauth("R2"), Some(&held), "claude", &memory), Relation::Newer);
        assert_eq!(relation(&oauth("R2"), Some(&held), "other", &memory), Relation::Unknown);
        assert_eq!(relation(&oauth("R2"), None, "claude", &memory), Relation::Unknown);
        let blanked = observe(Some(&memory), &grant("", "", Some(DAY))).unwrap();
        assert!(!blanked.signed_in);
        assert_eq!(relation(&oauth("R2"), Some(&held), "claude", &blanked), Relation::Newer);
        // the login moved on by itself: the copy renewed a token that is not the present one
        let moved = observe(Some(&memory), &grant("A3", "R3", Some(DAY))).unwrap();
        assert_eq!(relation(&oauth("R2"), Some(&held), "claude", &moved), Relation::Unknown);
    }

    #[test]
    fn a_copy_that_was_renewed_again_while_its_login_was_healed_is_newer() {
        let memory = observe(None, &grant("A1", "R1", Some(DAY))).unwrap();
        let token = |text: &str| Secret::new(text).fingerprint();
        let held = CopyMemory {
            login: "claude".into(),
            refresh: token("R1"),
            renewed: Some(token("R2")),
            account: None,
        };
        let healed = observe(Some(&memory), &grant("A2", "R2", Some(DAY))).unwrap();
        assert_eq!(relation(&oauth("R3"), Some(&held), "claude", &healed), Relation::Newer);
        let before = CopyMemory {
            renewed: None,
            ..held.clone()
        };
        assert_eq!(
            relation(&oauth("R3"), Some(&before), "claude", &healed),
            Relation::Unknown
        );
        let anew = observe(Some(&healed), &grant("A9", "R9", Some(30 * DAY))).unwrap();
        assert_eq!(relation(&oauth("R3"), Some(&held), "claude", &anew), Relation::Unknown);
    }

    #[test]
    fn a_copy_that_changed_hands_does_not_descend() {
        const NOW: Moment = Moment::at(1_769_000_000_000);
        let account = |text: &str| Some(Secret::new(text).fingerprint());
        let copy = |account, expires| Profile {
            id: "anthropic:claude-cli".into(),
            provider: "anthropic".into(),
            credential: Credential::Oauth {
                access: Some(Secret::new("A")),
                refresh: Some(Secret::new("R2")),
                expires,
            },
            account,
            held: crate::types::Held::Inline,
        };
        let held = |account| CopyMemory {
            login: "claude".into(),
            refresh: Secret::new("R1").fingerprint(),
            renewed: None,
            account,
        };
        let (soon, late) = (Some(NOW + DAY / 3), Some(NOW + 365 * DAY));
        for (name, copy, held, want) in [
            ("renewed", copy(None, soon), Some(held(None)), true),
            ("of the same", copy(account("a"), soon), Some(held(account("a"))), true),
            ("never seen", copy(None, soon), None, false),
            (
                "another account",
                copy(account("b"), soon),
                Some(held(account("a"))),
                false,
            ),
            ("an account named", copy(account("b"), soon), Some(held(None)), false),
            ("an account gone", copy(None, soon), Some(held(account("a"))), false),
            ("good for a year", copy(None, late), Some(held(None)), false),
            ("without an end", copy(None, None), Some(held(None)), false),
        ] {
            assert_eq!(descends(&copy, held.as_ref(), NOW), want, "{name}");
        }
    }

    #[test]
    fn without_a_deadline_a_new_token_after_a_sign_out_is_a_new_login() {
        let memory = observe(None, &grant("A1", "R1", None)).unwrap();
        assert_eq!(
            observe(Some(&memory), &grant("A2", "R2", None)).unwrap().lineage,
            memory.lineage
        );
        let blanked = observe(Some(&memory), &grant("", "", None)).unwrap();
        assert_ne!(
            observe(Some(&blanked), &grant("A2", "R2", None)).unwrap().lineage,
            memory.lineage
        );
        assert_eq!(observe(None, &grant("", "", None)), None);
    }

    #[test]
    fn a_token_that_the_login_had_is_of_its_lineage_whatever_its_deadline() {
        let first = observe(None, &grant("A1", "R1", Some(DAY))).unwrap();
        let rotated = observe(Some(&first), &grant("A2", "R2", Some(DAY))).unwrap();
        for (refresh, same) in [("R2", true), ("R1", true), ("R3", false)] {
            let later = observe(Some(&rotated), &grant("A3", refresh, Some(9 * DAY))).unwrap();
            assert_eq!(
                later.lineage == first.lineage && later.accesses.len() > 1,
                same,
                "{refresh}"
            );
        }
    }
}

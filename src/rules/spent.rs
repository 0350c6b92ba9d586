//! Refresh tokens that were used up. One that comes back (a backup or a sync tool put an older state in place) is neither posted nor
//! handed to a program that would post it: a replay can revoke the whole login.
//!
//! A token counts as used up only on evidence: we renewed it and another one stands in its place, or its login was seen to rotate
//! with the same deadline. Claude Code never moves that forward when it renews (2.1.330), and a sign-in does; so who switches between
//! accounts by exchanging the file is not mistaken for a restore.

use super::lineage::LoginMemory;
use super::login::Grant;
use crate::secret::{Fingerprint, Secret};
use crate::types::{DAY, HOUR, MINUTE, Moment, Ms};
use std::collections::BTreeMap;

/// Used-up tokens, and until when each one's login could live.
pub(crate) type Spent = BTreeMap<Fingerprint, Moment>;

/// How many are remembered: ten logins' months at one renewal in eight hours. What would live least goes first, never by the clock,
/// which may be wrong.
pub(crate) const MOST: usize = 1024;

/// A login lives for about a month after its sign-in.
const LIFE: Ms = 40 * DAY;

/// An access token of Claude Code lives for 8 h.
const LIFE_OF_ACCESS: Ms = 12 * HOUR;

/// Remembers one.
pub(crate) fn note(spent: &mut Spent, token: Fingerprint, deadline: Option<Moment>, now: Moment) {
    let latest = now + LIFE;
    let until = deadline.filter(|at| *at > now).map_or(latest, |at| at.min(latest));
    let known = spent.entry(token).or_insert(until);
    *known = until.max(*known);
    while spent.len() > MOST {
        let Some(least) = spent.iter().min_by_key(|(_, until)| **until).map(|(token, _)| *token) else {
            return;
        };
        spent.remove(&least);
    }
}

/// The token that a login has used up between two looks.
pub(crate) fn rotated(before: Option<&LoginMemory>, after: &LoginMemory, spent: &Spent) -> Option<Fingerprint> {
    let before = before.filter(|before| before.lineage == after.lineage)?;
    let (old, new) = (before.refresh?, after.refresh?);
    let same_sign_in = (before.deadline? - after.deadline?).abs() <= MINUTE;
    (old != new && same_sign_in && !spent.contains_key(&new)).then_some(old)
}

/// Whether a login was put back to a state that it had before we first saw it: the tokens of the same sign-in are others, and their
/// access token ends before the one that was there. No renewal brings that, but for one after a clock that was wrong by hours: then
/// the former end lies further ahead than an access token lives.
/// What follows a token that is known to be used up is its successor, however soon that ends.
pub(crate) fn put_back(before: Option<&LoginMemory>, grant: &Grant, spent: &Spent, now: Moment) -> bool {
    let Some(before) = before else { return false };
    let (Some(old), Some(new)) = (before.refresh, grant.refresh.token().map(Secret::fingerprint)) else {
        return false;
    };
    let ends_earlier = || {
        let (then, end) = (before.access_ends?, grant.expires?);
        Some(end < then && then - now <= LIFE_OF_ACCESS)
    };
    let same_sign_in = || Some((before.deadline? - grant.deadline?).abs() <= MINUTE);
    old != new && !spent.contains_key(&old) && same_sign_in() == Some(true) && ends_earlier() == Some(true)
}

/// The token that a renewal of ours has used up: another one stands in its place now.
pub(crate) fn replaced(posted: Fingerprint, now: Option<Fingerprint>, spent: &Spent) -> Option<Fingerprint> {
    now.is_some_and(|now| now != posted && !spent.contains_key(&now))
        .then_some(posted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::login::Refresh;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn token(text: &str) -> Fingerprint {
        Secret::new(text).fingerprint()
    }

    fn memory(refresh: &str, deadline: Option<Moment>) -> LoginMemory {
        LoginMemory {
            lineage: token("first"),
            refresh: Some(token(refresh)),
            past: Vec::new(),
            accesses: Vec::new(),
            deadline,
            access_ends: None,
            signed_in: true,
        }
    }

    #[test]
    fn a_deadline_that_is_no_longer_ahead_tells_nothing() {
        for (deadline, until) in [
            (None, NOW + LIFE),
            (Some(NOW), NOW + LIFE),
            (Some(NOW + 1), NOW + 1),
            (Some(NOW + LIFE + 1), NOW + LIFE),
        ] {
            let mut spent = Spent::new();
            note(&mut spent, token("R"), deadline, NOW);
            assert_eq!(spent[&token("R")], until, "{deadline:?}");
        }
    }

    #[test]
    fn a_state_from_before_the_first_look_is_known_by_its_earlier_end() {
        let end = Some(NOW + 20 * DAY);
        let before = |ends: Option<Moment>| LoginMemory {
            access_ends: ends,
            ..memory("R1", end)
        };
        let grant = |refresh: &str, expires: Moment, deadline| Grant {
            deadline,
            ..Grant::new(Secret::new("A"), Refresh::Token(Secret::new(refresh)), Some(expires))
        };
        let (soon, later) = (NOW + HOUR, NOW + 2 * HOUR);
        for (name, before, after, want) in [
            ("put back", before(Some(later)), grant("R0", soon, end), true),
            (
                "put back long after",
                before(Some(NOW - DAY)),
                grant("R0", NOW - 2 * DAY, end),
                true,
            ),
            ("renewed", before(Some(soon)), grant("R2", later, end), false),
            ("the same end", before(Some(soon)), grant("R2", soon, end), false),
            ("the same token", before(Some(later)), grant("R1", soon, end), false),
            (
                "another sign-in",
                before(Some(later)),
                grant("R9", soon, end.map(|at| at + DAY)),
                false,
            ),
            (
                "no end of the login known",
                before(Some(later)),
                grant("R9", soon, None),
                false,
            ),
            ("no end known", before(None), grant("R9", soon, end), false),
            (
                "the clock was a day ahead",
                before(Some(NOW + DAY)),
                grant("R2", NOW + 8 * HOUR, end),
                false,
            ),
        ] {
            assert_eq!(put_back(Some(&before), &after, &Spent::new(), NOW), want, "{name}");
        }
        assert!(!put_back(None, &grant("R0", soon, end), &Spent::new(), NOW));
        // renewed before its time, for less time than was left
        let spent = Spent::from([(token("R1"), NOW + DAY)]);
        assert!(!put_back(
            Some(&before(Some(later))),
            &grant("R2", soon, end),
            &spent,
            NOW
        ));
    }

    #[test]
    fn only_a_rotation_of_the_same_sign_in_uses_a_token_up() {
        let end = Some(NOW + 20 * DAY);
        let none = Spent::new();
        let known = Spent::from([(token("R2"), NOW)]);
        let of_another = LoginMemory {
            lineage: token("other"),
            ..memory("R2", end)
        };
        for (name, before, after, spent, want) in [
            ("rotated", Some(memory("R1", end)), memory("R2", end), &none, Some("R1")),
            (
                "a moment off",
                Some(memory("R1", end)),
                memory("R2", end.map(|at| at - MINUTE)),
                &none,
                Some("R1"),
            ),
            ("the same", Some(memory("R1", end)), memory("R1", end), &none, None),
            ("first seen", None, memory("R1", end), &none, None),
            ("another sign-in", Some(memory("R1", end)), of_another, &none, None),
            (
                "another account's end",
                Some(memory("R1", end)),
                memory("R2", end.map(|at| at - DAY)),
                &none,
                None,
            ),
            (
                "no end known",
                Some(memory("R1", None)),
                memory("R2", None),
                &none,
                None,
            ),
            ("set back", Some(memory("R1", end)), memory("R2", end), &known, None),
        ] {
            assert_eq!(rotated(before.as_ref(), &after, spent), want.map(token), "{name}");
        }
        assert_eq!(replaced(token("R1"), Some(token("R2")), &none), Some(token("R1")));
        assert_eq!(replaced(token("R1"), Some(token("R1")), &none), None, "not rotated");
        assert_eq!(replaced(token("R1"), None, &none), None, "signed out");
        assert_eq!(replaced(token("R1"), Some(token("R2")), &known), None, "set back");
    }

    #[test]
    fn what_would_live_least_is_forgotten_first_and_no_clock_forgets() {
        let mut spent = Spent::new();
        note(&mut spent, token("short"), Some(NOW + DAY), NOW);
        note(&mut spent, token("long"), Some(NOW + 30 * DAY), NOW);
        note(&mut spent, token("unknown"), None, NOW + 900 * DAY);
        note(&mut spent, token("short"), Some(NOW + DAY / 2), NOW);
        assert_eq!(spent[&token("short")], NOW + DAY);
        assert_eq!(spent.len(), 3);
        for n in 0..MOST - 2 {
            note(&mut spent, token(&n.to_string()), Some(NOW + 2 * DAY), NOW);
        }
        assert_eq!(spent.len(), MOST);
        assert!(!spent.contains_key(&token("short")) && spent.contains_key(&token("long")));
    }
}

//! When something changes by the clock alone: the moments at which a resident process has something to do.

use crate::rules::policy::AlertsConfig;
use crate::rules::view::{LoginView, View};
use crate::types::{Moment, Ms};

/// The next moment after `view.now` at which a judgement can change: an access token is due to be renewed, or is again, a step
/// before an end is reached, an end itself, or a copy's grace is over. `lead`: how long before its end a token is due, [`Ms`].
pub(crate) fn next(view: &View, policy: &AlertsConfig, lead: Ms) -> Option<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    let of_logins = view.logins.iter().map(|login| login.verdict.ends);
    let ends = of_logins.chain(view.profiles().map(|profile| profile.verdict.ends));
    for end in ends.flatten() {
        moments.push(end);
        moments.extend(policy.steps.iter().map(|step| end - *step));
    }
    let due = view.logins.iter().filter_map(LoginView::access_ends);
    moments.extend(due.map(|end| end - lead));
    // a renewal that failed is tried again
    let logins = view.logins.iter().filter_map(|login| login.renewal.as_ref());
    let again = logins.chain(view.profiles().filter_map(|profile| profile.renewal.as_deref()));
    moments.extend(again.map(|renewal| renewal.next_at));
    let over = view
        .profiles()
        .filter_map(|profile| profile.profile.credential.expires());
    moments.extend(over.map(|end| end + policy.grace));
    moments.into_iter().filter(|at| *at > view.now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::health::Verdict;
    use crate::rules::login::{Grant, Login, Place, Refresh, Source, State};
    use crate::rules::renew::Record;
    use crate::rules::view::{self, AgentView};
    use crate::secret::Secret;
    use crate::types::{Credential, DAY, HOUR, Health, MINUTE};

    const NOW: Moment = Moment::at(1_769_000_000_000);
    const LEAD: Ms = 15 * MINUTE;

    fn verdict(health: Health, ends: Option<Moment>) -> Verdict {
        Verdict {
            health,
            reason: None,
            ends,
        }
    }

    fn failed(next_at: Moment) -> Record {
        Record {
            next_at,
            ..Record::new(Secret::new("r").fingerprint())
        }
    }

    fn login(expires: Moment, verdict: Verdict, renewal: Option<Record>) -> LoginView {
        let grant = Grant::new(Secret::new("a"), Refresh::Token(Secret::new("r")), Some(expires));
        let place = Place::new("claude", "/c", false);
        LoginView {
            renewal,
            ..LoginView::new(Login::new(place, Source::File, State::SignedIn(grant)), verdict)
        }
    }

    fn profile(credential: Credential, verdict: Verdict, renewal: Option<Record>) -> AgentView {
        let mut one = view::tests::holding("p", credential, verdict);
        one.renewal = renewal.map(Box::new);
        view::tests::agent("main", vec![one])
    }

    fn next_of(logins: Vec<LoginView>, agents: Vec<AgentView>) -> Option<Moment> {
        next(&view::tests::view(NOW, logins, agents), &AlertsConfig::default(), LEAD)
    }

    #[test]
    fn each_moment_that_changes_a_judgement_wakes_and_nothing_that_is_past() {
        let (fine, ended) = (verdict(Health::Ok, None), verdict(Health::Expired, None));
        let ends = |at: Moment| verdict(Health::Expiring, Some(at));
        let far = NOW + 300 * DAY;
        let token = |expires: Moment| Credential::Token {
            token: None,
            expires: Some(expires),
        };
        let grace = AlertsConfig::default().grace;
        let steps = AlertsConfig::default().steps;
        for (what, logins, agents, wanted) in [
            ("nothing", vec![], vec![], None),
            (
                "due",
                vec![login(NOW + HOUR, fine, None)],
                vec![],
                Some(NOW + HOUR - LEAD),
            ),
            ("due already", vec![login(NOW + MINUTE, fine, None)], vec![], None),
            ("nobody renews it", vec![login(NOW + HOUR, ended, None)], vec![], None),
            (
                "a renewal that failed",
                vec![login(NOW - HOUR, fine, Some(failed(NOW + 5 * MINUTE)))],
                vec![],
                Some(NOW + 5 * MINUTE),
            ),
            (
                "the same of a login that has ended",
                vec![login(NOW - HOUR, ended, Some(failed(NOW + 5 * MINUTE)))],
                vec![],
                Some(NOW + 5 * MINUTE),
            ),
            (
                "a store's own grant that failed",
                vec![],
                vec![profile(token(NOW - DAY), ended, Some(failed(NOW + 2 * MINUTE)))],
                Some(NOW + 2 * MINUTE),
            ),
            (
                "a copy's grace",
                vec![],
                vec![profile(token(NOW - MINUTE), ended, None)],
                Some(NOW - MINUTE + grace),
            ),
            (
                "its grace is over",
                vec![],
                vec![profile(token(NOW - grace), ended, None)],
                None,
            ),
            ("a key", vec![], vec![profile(Credential::ApiKey, fine, None)], None),
            (
                "a step before the end",
                vec![login(far, ends(NOW + steps[0] + HOUR), None)],
                vec![],
                Some(NOW + HOUR),
            ),
            (
                "the next step",
                vec![login(far, ends(NOW + steps[0] - 1), None)],
                vec![],
                Some(NOW + steps[0] - 1 - steps[1]),
            ),
            (
                "the end itself",
                vec![login(far, ends(NOW + HOUR), None)],
                vec![],
                Some(NOW + HOUR),
            ),
            (
                "a profile's step",
                vec![],
                vec![profile(token(far), ends(NOW + steps[0] + MINUTE), None)],
                Some(NOW + MINUTE),
            ),
            (
                "the first of all",
                vec![login(NOW + HOUR, fine, None)],
                vec![profile(token(NOW + MINUTE - grace), ended, None)],
                Some(NOW + MINUTE),
            ),
        ] {
            assert_eq!(next_of(logins, agents), wanted, "{what}");
        }
    }
}

//! When something changes by the clock alone: the moments at which a resident process has something to do.

use crate::rules::policy::AlertsConfig;
use crate::rules::view::View;
use crate::types::{Credential, Ms};

/// The next moment after `view.now` at which a judgement can change, [`Ms`]: an access token is due to be renewed, or is again, a step
/// before an end is reached, an end itself, or a copy's grace is over. `lead`: how long before its end a token is due, [`Ms`].
pub(crate) fn next(view: &View, policy: &AlertsConfig, lead: Ms) -> Option<Ms> {
    let mut moments: Vec<Ms> = Vec::new();
    let mut ladder = |end: Ms| {
        moments.push(end);
        moments.extend(policy.steps.iter().map(|step| end.saturating_sub(*step)));
    };
    for login in &view.logins {
        if let Some(ends) = login.verdict.ends {
            ladder(ends);
        }
    }
    for profile in view.agents.iter().flat_map(|agent| &agent.profiles) {
        if let Some(ends) = profile.verdict.ends {
            ladder(ends);
        }
    }
    moments.extend(
        view.logins
            .iter()
            .filter(|login| login.renews())
            .filter_map(|login| login.login.grant()?.expires)
            .map(|end| end.saturating_sub(lead)),
    );
    // a renewal that failed is tried again
    let again = view.logins.iter().filter_map(|login| login.renewal.as_ref());
    moments.extend(again.map(|renewal| renewal.next_at));
    moments.extend(
        view.agents
            .iter()
            .flat_map(|agent| &agent.profiles)
            .filter(|profile| profile.profile.credential != Credential::ApiKey)
            .filter_map(|profile| profile.profile.credential.expires())
            .map(|end| end.saturating_add(policy.grace)),
    );
    moments.into_iter().filter(|at| *at > view.now).min()
}

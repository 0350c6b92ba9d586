//! Refresh tokens that more than one place holds.

use super::super::wording;
use super::{Facts, Finding, Group, Level, Spot};
use crate::secret::Fingerprint;

/// Who can spend what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    /// Who holds which refresh token.
    pub(crate) holders: Vec<Holder>,
    /// Whether new profiles get the access token alone.
    pub(crate) share_access: bool,
}

/// Somebody who holds a refresh token.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// Which.
    pub(crate) token: Fingerprint,
    /// Who.
    pub(crate) who: Who,
    /// Where the agents of one state directory lock each other out while one of them renews: which one.
    pub(crate) locked: Option<usize>,
}

/// A login or a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A login, by id, with its directory.
    Login(String, Spot),
    /// An agent's profile: label and id.
    Profile(String, String),
}

/// Who else can spend the same single-use token.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut tokens: Vec<Fingerprint> = facts.grants.holders.iter().map(|holder| holder.token).collect();
    tokens.sort();
    tokens.dedup();
    let mut found = Vec::new();
    for token in tokens {
        let holders = facts.grants.holders.iter();
        let of_it: Vec<&Holder> = holders.filter(|holder| holder.token == token).collect();
        let locked = of_it[0].locked.is_some() && of_it.iter().all(|holder| holder.locked == of_it[0].locked);
        if of_it.len() < 2 || locked {
            continue;
        }
        let name = |holder: &&Holder| match &holder.who {
            Who::Login(id, _) => format!("the login `{id}`"),
            Who::Profile(label, id) => format!("`{id}` of {label}"),
        };
        let names: Vec<String> = of_it.iter().map(name).collect();
        let (some, more) = names.split_at(names.len().min(4));
        let mut who = some.join(", ");
        if !more.is_empty() {
            who = format!("{who} and {} more", more.len());
        }
        let all = of_it.iter().map(|holder| &holder.who);
        let (logins, profiles): (Vec<&Who>, Vec<&Who>) = all.partition(|who| matches!(who, Who::Login(..)));
        let meant = !facts.grants.share_access && logins.len() == 1;
        let finding = Finding::new(
            "shared_grant",
            Group::Logins,
            if meant { Level::Note } else { Level::Warning },
            format!("one refresh token is held by {who}"),
            "it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)",
        );
        found.push(match (&logins[..], &profiles[..]) {
            ([_, Who::Login(_, dir), ..], _) => finding.run(wording::sign_in(Some(&dir.shown))),
            ([_], [Who::Profile(label, id), ..]) if facts.grants.share_access => {
                finding.run(format!("{} && nolapse sync", wording::remove_token(id, label)))
            }
            ([_], _) => finding.advice("intended by `sync.share = \"full\"`; with \"access\" agents cannot renew"),
            _ => finding.advice("sign in separately for each of them, with the agents' own `models auth login`"),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Remedy;
    use super::super::testing::*;
    use super::*;

    use crate::secret::Secret;

    fn holding(holders: Vec<Holder>, share_access: bool) -> Facts {
        let grants = Grants { holders, share_access };
        Facts { grants, ..facts() }
    }

    #[test]
    fn a_token_in_two_hands_is_told_unless_their_agents_lock_each_other_out() {
        let token = |text: &str| Secret::new(text).fingerprint();
        let holder = |who: Who, locked| Holder {
            token: token("R"),
            who,
            locked,
        };
        let a_login = |id: &str| Who::Login(id.into(), spot(&format!("~/.{id}")));
        let a_copy = |agent: &str| Who::Profile(agent.into(), "anthropic:claude-cli".into());
        let command = |holders: Vec<Holder>| {
            let found = super::super::examine(&holding(holders, true));
            found.first().map(|one| match &one.remedy {
                Remedy::Run(text) | Remedy::Do(text) => text.clone(),
            })
        };
        for (holders, wanted) in [
            (vec![holder(a_login("claude"), None)], None),
            (
                vec![holder(a_login("claude"), None), holder(a_login("claude-b"), None)],
                Some("CLAUDE_CONFIG_DIR=~/.claude-b claude auth login"),
            ),
            (
                vec![
                    holder(a_login("claude"), None),
                    holder(a_copy("clawdbot/main"), Some(0)),
                ],
                Some("nolapse token remove anthropic:claude-cli --agent clawdbot/main && nolapse sync"),
            ),
            (
                vec![
                    holder(a_copy("openclaw/a"), Some(0)),
                    holder(a_copy("openclaw/b"), Some(0)),
                ],
                None,
            ),
            (
                vec![
                    holder(a_copy("openclaw/a"), Some(0)),
                    holder(a_copy("openclaw/b"), Some(1)),
                ],
                Some("sign in separately for each of them, with the agents' own `models auth login`"),
            ),
        ] {
            assert_eq!(command(holders.clone()).as_deref(), wanted, "{holders:?}");
        }
    }

    fn holds(facts: &mut Facts, who: Who) {
        facts.grants.holders.push(Holder {
            token: Secret::new("R").fingerprint(),
            who,
            locked: None,
        });
    }

    fn a_copy(n: usize) -> Who {
        Who::Profile(format!("clawdbot/{n}"), "anthropic:claude-cli".into())
    }

    fn the_login(id: &str) -> Who {
        Who::Login(id.into(), spot(&format!("~/.{id}")))
    }

    const WORLDS: &[World] = &[
        (
            |facts| (0..2).for_each(|n| holds(facts, a_copy(n))),
            r#"
shared_grant warning -
one refresh token is held by `anthropic:claude-cli` of clawdbot/0, `anthropic:claude-cli` of clawdbot/1
it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)
sign in separately for each of them, with the agents' own `models auth login`"#,
        ),
        (
            |facts| {
                holds(facts, the_login("claude"));
                (0..3).for_each(|n| holds(facts, a_copy(n)));
            },
            r#"
shared_grant warning -
one refresh token is held by the login `claude`, `anthropic:claude-cli` of clawdbot/0, `anthropic:claude-cli` of clawdbot/1, `anthropic:claude-cli` of clawdbot/2
it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)
$ nolapse token remove anthropic:claude-cli --agent clawdbot/0 && nolapse sync"#,
        ),
        (
            |facts| {
                facts.grants.share_access = false;
                holds(facts, the_login("claude"));
                (0..5).for_each(|n| holds(facts, a_copy(n)));
            },
            r#"
shared_grant note -
one refresh token is held by the login `claude`, `anthropic:claude-cli` of clawdbot/0, `anthropic:claude-cli` of clawdbot/1, `anthropic:claude-cli` of clawdbot/2 and 2 more
it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)
intended by `sync.share = "full"`; with "access" agents cannot renew"#,
        ),
        (
            |facts| {
                facts.grants.share_access = false;
                ["claude", "claude-b"].iter().for_each(|id| holds(facts, the_login(id)));
            },
            r#"
shared_grant warning -
one refresh token is held by the login `claude`, the login `claude-b`
it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)
$ CLAUDE_CONFIG_DIR=~/.claude-b claude auth login"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}

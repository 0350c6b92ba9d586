//! The root cause of an alert: what the alert is about, the same from its first warning to its recovery. Its text is the id that people,
//! the ledger and other programs know; it is made and read here alone.

use serde::{Deserialize, Serialize};
use std::fmt;

/// In the order of their words, so that lists sort as the ids do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Cause {
    /// An agent, by label, has stopped for want of a provider.
    Agent {
        /// `family/agent`.
        agent: String,
        /// Normalised.
        provider: String,
    },
    /// A channel that cannot be told anything, by name.
    Channel(String),
    /// The configuration.
    Config,
    /// The copies of a login, by its id.
    Copies(String),
    /// A grant that stores own alone, by its refresh token's fingerprint.
    Grant(String),
    /// A login, by id, that cannot be brought up to date from a newer copy.
    Heal(String),
    /// A login, by id, that was brought up to date from a copy.
    Healed(String),
    /// The heartbeat's service.
    Heartbeat,
    /// Another host itself.
    Host,
    /// A login, by id.
    Login(String),
    /// A profile, `family/agent/profile`.
    Profile(String),
    /// A gateway that did not load a new token, by its state directory.
    Reload(String),
    /// Something on another host.
    Remote {
        /// Its name.
        host: String,
        /// What.
        cause: Box<Cause>,
    },
    /// A renewal, by login id, or `family/agent/profile` for a store's own grant.
    Renewal(String),
    /// An agent's store, by the agent's label.
    Store(String),
    /// A token that several profiles may hold, by its fingerprint.
    Token(String),
    /// No alert of these: a test, a digest, what another version wrote.
    Other(String),
}

impl Cause {
    /// The same on another host.
    pub(crate) fn on(self, host: &str) -> Self {
        Self::Remote {
            host: host.to_owned(),
            cause: Box::new(self),
        }
    }

    /// Whether it is on another host.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote { .. })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { agent, provider } => write!(f, "agent:{agent}#{provider}"),
            Self::Channel(name) => write!(f, "channel:{name}"),
            Self::Config => f.write_str("config"),
            Self::Copies(login) => write!(f, "copies:{login}"),
            Self::Grant(fingerprint) => write!(f, "grant:{fingerprint}"),
            Self::Heal(login) => write!(f, "heal:{login}"),
            Self::Healed(login) => write!(f, "healed:{login}"),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Host => f.write_str("host"),
            Self::Login(id) => write!(f, "login:{id}"),
            Self::Profile(label) => write!(f, "profile:{label}"),
            Self::Reload(dir) => write!(f, "reload:{dir}"),
            Self::Remote { host, cause } => write!(f, "remote:{host}:{cause}"),
            Self::Renewal(of) => write!(f, "renew:{of}"),
            Self::Store(label) => write!(f, "store:{label}"),
            Self::Token(fingerprint) => write!(f, "token:{fingerprint}"),
            Self::Other(id) => f.write_str(id),
        }
    }
}

impl From<&str> for Cause {
    fn from(id: &str) -> Self {
        let (scope, rest) = match (id, id.split_once(':')) {
            ("config", _) => return Self::Config,
            ("heartbeat", _) => return Self::Heartbeat,
            ("host", _) => return Self::Host,
            (_, Some(parts)) => parts,
            (_, None) => ("", id),
        };
        match (scope, rest.rsplit_once('#'), rest.split_once(':')) {
            ("agent", Some((agent, provider)), _) => Self::Agent {
                agent: agent.to_owned(),
                provider: provider.to_owned(),
            },
            ("remote", _, Some((host, id))) => Self::from(id).on(host),
            ("channel", ..) => Self::Channel(rest.to_owned()),
            ("copies", ..) => Self::Copies(rest.to_owned()),
            ("grant", ..) => Self::Grant(rest.to_owned()),
            ("heal", ..) => Self::Heal(rest.to_owned()),
            ("healed", ..) => Self::Healed(rest.to_owned()),
            ("login", ..) => Self::Login(rest.to_owned()),
            ("profile", ..) => Self::Profile(rest.to_owned()),
            ("reload", ..) => Self::Reload(rest.to_owned()),
            ("renew", ..) => Self::Renewal(rest.to_owned()),
            ("store", ..) => Self::Store(rest.to_owned()),
            ("token", ..) => Self::Token(rest.to_owned()),
            _ => Self::Other(id.to_owned()),
        }
    }
}

impl From<String> for Cause {
    fn from(id: String) -> Self {
        Self::from(id.as_str())
    }
}

impl From<Cause> for String {
    fn from(cause: Cause) -> Self {
        cause.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_has_its_id_and_is_read_back_from_it() {
        let s = str::to_owned;
        let all = [
            (
                Cause::Agent {
                    agent: s("openclaw-x/a#b"),
                    provider: s("anthropic"),
                },
                "agent:openclaw-x/a#b#anthropic",
            ),
            (Cause::Channel(s("p:1")), "channel:p:1"),
            (Cause::Config, "config"),
            (Cause::Copies(s("claude")), "copies:claude"),
            (Cause::Grant(s("ab12")), "grant:ab12"),
            (Cause::Heal(s("claude")), "heal:claude"),
            (Cause::Healed(s("claude")), "healed:claude"),
            (Cause::Heartbeat, "heartbeat"),
            (Cause::Host.on("gateway"), "remote:gateway:host"),
            (Cause::Login(s("claude")), "login:claude"),
            (Cause::Profile(s("clawdbot/main/x:y")), "profile:clawdbot/main/x:y"),
            (Cause::Reload(s("~/.openclaw")), "reload:~/.openclaw"),
            (Cause::Login(s("claude")).on("gateway"), "remote:gateway:login:claude"),
            (Cause::Other(s("rest")).on("gateway"), "remote:gateway:rest"),
            (Cause::Renewal(s("claude")), "renew:claude"),
            (Cause::Store(s("clawdbot/main")), "store:clawdbot/main"),
            (Cause::Token(s("ab12")), "token:ab12"),
            (Cause::Other(s("test:p")), "test:p"),
        ];
        for (cause, id) in &all {
            assert_eq!((cause.to_string().as_str(), &Cause::from(*id)), (*id, cause));
            let json = serde_json::to_string(cause).unwrap();
            assert_eq!(json, format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<Cause>(&json).unwrap(), *cause);
        }
    }

    proptest! {
        #[test]
        fn no_id_is_changed_by_reading_it(id in "(agent|login|remote|channel|config|x)?[:#a-z]{0,12}") {
            prop_assert_eq!(Cause::from(id.as_str()).to_string(), id);
        }
    }
}

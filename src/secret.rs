//! Secrets, and what may be shown of them.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and a fixed-text `Debug`; its text leaves only through
//! `Secret::expose`, which is called in patch functions, the token exchange and a channel's own credentials, nowhere
//! else. What identifies a token to people and to the ledger is its [`Fingerprint`].

use sha2::{Digest, Sha256};
use std::fmt;

/// A token, key or password. Compares by content, prints as a fixed text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call site is a place where the secret leaves: keep them few.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Claude Code blanks a dead login's tokens to `""`: an empty secret is no secret.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fingerprint by which this secret may be named anywhere.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let hash = Sha256::digest(self.0.as_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&hash[..8]);
        Fingerprint(short)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A URL that may carry a token in its path, query or user part (Slack, Discord, Healthchecks): prints scheme and host only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    /// Takes ownership of the URL text; it is not checked here.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole URL, for the HTTP client only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `scheme://host[:port]/…`, what may be shown.
    pub(crate) fn shown(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return "…".into();
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let host = authority.rsplit('@').next().unwrap_or("");
        format!("{scheme}://{host}/…")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({})", self.shown())
    }
}

/// The first 64 bits of a secret's SHA-256, 16 hex digits: tells two tokens apart and gives nothing away, since the
/// tokens it stands for carry far more entropy than can be searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Reads the 16 hex digits back.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 16 || !hex.is_ascii() {
            return None;
        }
        u64::from_str_radix(hex, 16).ok().map(|n| Self(n.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a fingerprint of 16 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::new("sk-ant-ort01-CANARY");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.fingerprint().to_string().len(), 16);
        assert_eq!(
            Fingerprint::parse(&secret.fingerprint().to_string()),
            Some(secret.fingerprint())
        );
    }

    #[test]
    fn a_secret_url_shows_scheme_and_host() {
        for (url, shown) in [
            (
                "https://hooks.slack.com/services/T0/B0/CANARY",
                "https://hooks.slack.com/…",
            ),
            (
                "https://user:CANARY@example.org:8443?x=CANARY",
                "https://example.org:8443/…",
            ),
            ("CANARY", "…"),
        ] {
            assert_eq!(SecretUrl::new(url).shown(), shown);
            assert!(!format!("{:?}", SecretUrl::new(url)).contains("CANARY"));
        }
    }
}

//! Which credential an agent will really use for a provider, and why.
//!
//! The agents' own rules (clawdbot 2026.1.24-3, `agents/auth-profiles/order.js`, `agents/model-auth.js`, and
//! `agents/pi-embedded-runner/run.js`, which skips what is held back): the store's `order`, else the config's `auth.order`, else
//! the ids that `auth.profiles` names for the provider, else all, `oauth` before tokens before keys, least recently used first.
//! Of these, those that exist, are of the provider, fit the config's mode, hold a secret, and are not held back. If none is
//! left, a key of the environment, the `.env`, the config's `env` or `models.providers`. `scripts/check-resolver` compares.

use crate::types::{Credential, Held, Moment, Profile};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What stands in a store beside its profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// `order`: provider as spelled, ids.
    pub(crate) order: Vec<(String, Vec<String>)>,
    /// `usageStats`, by profile id.
    pub(crate) usage: BTreeMap<String, Usage>,
    /// Entries that the agent does not read.
    pub(crate) ignored: Vec<Ignored>,
}

/// What the agent notes of a profile's use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `cooldownUntil`.
    pub(crate) cooldown_until: Option<Moment>,
    /// `disabledUntil`.
    pub(crate) disabled_until: Option<Moment>,
    /// `disabledReason`, else `cooldownReason`.
    pub(crate) reason: Option<String>,
    /// `lastUsed`.
    pub(crate) last_used: Moment,
}

impl Usage {
    /// Until when the agent holds the profile back, if it still does.
    pub(crate) fn held_back(&self, now: Moment) -> Option<Moment> {
        self.cooldown_until
            .max(self.disabled_until)
            .filter(|until| now < *until)
    }
}

/// An entry that the agent does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// The entry's key.
    pub(crate) id: String,
    /// Why.
    pub(crate) why: Unread,
}

/// Why an agent does not read an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It stands beside `profiles`, not in it.
    Outside,
    /// It has no `type`.
    NoType,
    /// Agents do not know its `type`.
    UnknownType,
    /// It has no `provider`.
    NoProvider,
    /// Its secret stands under a name that agents do not read.
    Misnamed {
        /// The name that is there.
        found: &'static str,
        /// The name that is read.
        wanted: &'static str,
    },
}

impl Unread {
    /// The cause, after the entry's name.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Outside => "stands outside `profiles`".into(),
            Self::NoType => "has no `type`".into(),
            Self::UnknownType => "has a `type` that agents do not know".into(),
            Self::NoProvider => "has no `provider`".into(),
            Self::Misnamed { found, wanted } => format!("has `{found}` where agents read `{wanted}`"),
        }
    }
}

/// `mode` of `auth.profiles.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `oauth`, which accepts `token` as well.
    Oauth,
    /// `token`.
    Token,
    /// `api_key`.
    ApiKey,
    /// A word that fits no credential.
    Other,
}

impl Mode {
    /// The mode that a word in the config means.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "oauth" => Self::Oauth,
            "token" => Self::Token,
            "api_key" => Self::ApiKey,
            _ => Self::Other,
        }
    }

    /// The word in the config.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::Other => "another",
        }
    }

    fn fits(self, credential: &Credential) -> bool {
        matches!(
            (self, credential),
            (Self::Oauth, Credential::Oauth { .. } | Credential::Token { .. })
                | (Self::Token, Credential::Token { .. })
                | (Self::ApiKey, Credential::ApiKey)
        )
    }
}

/// What the agents' config says of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// `auth.order`: provider as spelled, ids.
    pub(crate) order: Vec<(String, Vec<String>)>,
    /// `auth.profiles`: id, provider, mode.
    pub(crate) profiles: Vec<(String, String, Mode)>,
    /// Names in the `env` block (and its `vars`) that are set to more than white space.
    pub(crate) env: Vec<String>,
    /// Providers of `models.providers` with an `apiKey`.
    pub(crate) keys: Vec<String>,
}

impl AuthConfig {
    /// The mode that the config names for a profile.
    pub(crate) fn mode(&self, id: &str) -> Option<Mode> {
        self.profiles
            .iter()
            .find(|(known, ..)| known == id)
            .map(|(.., mode)| *mode)
    }
}

/// A provider's name as clawdbot 2026.1.24-3 normalises it.
pub(crate) fn normalise_provider(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let lower = match text.bytes().any(|b| !b.is_ascii() || b.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_lowercase()),
        false => Cow::Borrowed(text),
    };
    match lower.as_ref() {
        "z.ai" | "z-ai" => "zai".into(),
        "opencode-zen" => "opencode".into(),
        "qwen" => "qwen-portal".into(),
        _ => lower,
    }
}

/// An access token for the agents.
pub(crate) const OAUTH_VAR: &str = "ANTHROPIC_OAUTH_TOKEN";
/// An API key for the agents and for Claude Code.
pub(crate) const KEY_VAR: &str = "ANTHROPIC_API_KEY";

/// The variables that serve a provider without any profile, the first one first (`resolveEnvApiKey`).
pub(crate) fn key_names(provider: &str) -> Vec<Cow<'static, str>> {
    let known: &[&str] = match provider {
        "anthropic" => &[OAUTH_VAR, KEY_VAR],
        "github-copilot" => &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"],
        "chutes" => &["CHUTES_OAUTH_TOKEN", "CHUTES_API_KEY"],
        "zai" => &["ZAI_API_KEY", "Z_AI_API_KEY"],
        "opencode" => &["OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"],
        "qwen-portal" => &["QWEN_OAUTH_TOKEN", "QWEN_PORTAL_API_KEY"],
        // newer ones also take the first of these
        "google" => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        "vercel-ai-gateway" => &["AI_GATEWAY_API_KEY"],
        "kimi-code" => &["KIMICODE_API_KEY"],
        _ => {
            let name = provider.to_uppercase().replace(['-', '.'], "_");
            return vec![format!("{name}_API_KEY").into()];
        }
    };
    known.iter().map(|name| Cow::Borrowed(*name)).collect()
}

/// Where a key lies that serves without a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A variable of the environment.
    Env(String),
    /// A line of the state directory's `.env`.
    Dotenv(String),
    /// A name in the config's `env`.
    ConfigEnv(String),
    /// `models.providers.<provider>.apiKey` of the config.
    ConfigModels,
}

impl Key {
    /// For people: `ANTHROPIC_API_KEY of the environment`.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Env(name) => format!("{name} in the environment"),
            Self::Dotenv(name) => format!("{name} in `.env`"),
            Self::ConfigEnv(name) => format!("{name} in the config's `env`"),
            Self::ConfigModels => "the key in the config's `models.providers`".into(),
        }
    }
}

/// The key that an agent falls back to, if there is one. `env` and `dotenv` say whether a variable is set.
pub(crate) fn key(
    provider: &str,
    env: &dyn Fn(&str) -> bool,
    dotenv: &dyn Fn(&str) -> bool,
    config: &AuthConfig,
) -> Option<Key> {
    let names = key_names(provider);
    let of = |set: &dyn Fn(&str) -> bool| names.iter().find(|name| set(name)).map(|name| name.to_string());
    of(env)
        .map(Key::Env)
        .or_else(|| of(dotenv).map(Key::Dotenv))
        .or_else(|| of(&|name| config.env.iter().any(|known| known == name)).map(Key::ConfigEnv))
        .or_else(|| {
            let there = config.keys.iter().any(|known| normalise_provider(known) == provider);
            there.then_some(Key::ConfigModels)
        })
}

/// Whose order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `order` in the store.
    Store,
    /// `auth.order` in the config.
    Config,
    /// `auth.profiles` in the config.
    Named,
    /// None: all of the provider's, by type and last use.
    Nobody,
}

impl By {
    fn words(self) -> &'static str {
        match self {
            Self::Store => "`order` in the store",
            Self::Config => "`auth.order` in the agents' config",
            Self::Named => "`auth.profiles` in the agents' config",
            Self::Nobody => "type and last use",
        }
    }
}

/// Why a profile is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassedOver {
    /// An order does not name it.
    NotIn(By),
    /// An order names it, and it is not there.
    Absent,
    /// The config says that it is another provider's.
    OtherProvider,
    /// The config's mode does not accept it.
    Mode(Mode, &'static str),
    /// It holds no secret.
    NoSecret,
    /// It has ended by the clock.
    Ended,
    /// The agent holds it back until then, and why.
    HeldBack(Moment, Option<String>),
    /// It would be tried, and does not work.
    Dead,
    /// Another one comes before it.
    Behind,
}

impl PassedOver {
    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::NotIn(by) => format!("not in {}", by.words()),
            Self::Absent => "named, and not in the store".into(),
            Self::OtherProvider => "of another provider by `auth.profiles` in the agents' config".into(),
            Self::Mode(mode, kind) => format!(
                "refused: the agents' config has mode `{}` for it, and it is `{kind}`",
                mode.word()
            ),
            Self::NoSecret => "holds no secret".into(),
            Self::Ended => "ended".into(),
            Self::HeldBack(_, why) => match why {
                Some(why) => format!("held back by its agent ({why})"),
                None => "held back by its agent".into(),
            },
            Self::Dead => "does not work".into(),
            Self::Behind => "behind".into(),
        }
    }

    /// The stable word in JSON.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NotIn(By::Store) => "not_in_stored_order",
            Self::NotIn(By::Config) => "not_in_configured_order",
            Self::NotIn(_) => "not_in_auth_profiles",
            Self::Absent => "absent",
            Self::OtherProvider => "other_provider",
            Self::Mode(..) => "mode",
            Self::NoSecret => "no_secret",
            Self::Ended => "ended",
            Self::HeldBack(..) => "held_back",
            Self::Dead => "does_not_work",
            Self::Behind => "behind",
        }
    }
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uses {
    /// A profile, by id.
    Profile(String),
    /// A key outside the store.
    Key(Key),
}

/// What an agent uses for one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The provider, normalised.
    pub provider: String,
    /// One of the agent's models is of this provider.
    pub in_use: bool,
    /// What it uses; `None`: nothing that works, so that it has stopped.
    pub uses: Option<Uses>,
    /// The key outside the store that comes after all profiles.
    pub key: Option<Key>,
    /// What decided the order.
    pub by: By,
    /// The others, and why not.
    pub passed_over: Vec<(String, PassedOver)>,
    /// When the first one that is held back comes free.
    pub held_back_until: Option<Moment>,
}

impl Resolved {
    /// Has another provider's profile take the place of what would be used.
    pub(crate) fn replace(&mut self, id: &str) {
        if let Some(Uses::Profile(before)) = self.uses.replace(Uses::Profile(id.to_owned())) {
            self.passed_over.push((before, PassedOver::Behind));
        }
    }

    /// Whether it is this profile that is used.
    pub(crate) fn is(&self, id: &str) -> bool {
        matches!(&self.uses, Some(Uses::Profile(used)) if used == id)
    }

    /// Why, in a sentence for people and JSON.
    pub(crate) fn why(&self) -> String {
        match &self.uses {
            Some(Uses::Profile(_)) if self.passed_over.is_empty() => "the only one".into(),
            Some(Uses::Profile(_)) => format!("first that works by {}", self.by.words()),
            Some(Uses::Key(key)) => format!("no profile works; {} does", key.words()),
            None if self.passed_over.is_empty() => "nothing is there".into(),
            None => {
                let list: Vec<String> = self
                    .passed_over
                    .iter()
                    .map(|(id, why)| format!("{id}: {}", why.words()))
                    .collect();
                list.join("; ")
            }
        }
    }
}

/// A profile as its agent meets it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// As stored.
    pub profile: &'a Profile,
    /// It is known that it works no more, whatever its agent believes.
    pub dead: bool,
}

/// What decides beside the profiles.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Stored orders: those that the agent inherits, each replaced by its own of the same spelling, then the rest of its own.
    pub stored: &'a [(&'a str, &'a [String])],
    /// The config.
    pub config: &'a AuthConfig,
    /// How profiles were used, the agent's own before what it inherits.
    pub usage: &'a [&'a BTreeMap<String, Usage>],
    /// What the agent's generation can do.
    pub generation: Generation,
    /// As of when.
    pub now: Moment,
}

/// What an agent's generation can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Clawdbot and Moltbot: references are not known, and only `RENEWED` providers' `oauth` is renewed.
    First,
    /// OpenClaw: references are followed, and plugins may renew any provider's `oauth`.
    Later,
}

/// Whose `oauth` clawdbot 2026.1.24-3 renews, letter by letter (`@mariozechner/pi-ai`, and its own two).
const RENEWED: [&str; 7] = [
    "anthropic",
    "chutes",
    "github-copilot",
    "google-antigravity",
    "google-gemini-cli",
    "openai-codex",
    "qwen-portal",
];

fn ordered<'o>(orders: &'o [(String, Vec<String>)], provider: &str) -> Option<&'o [String]> {
    orders
        .iter()
        .find(|(key, _)| normalise_provider(key) == provider)
        .map(|(_, ids)| ids.as_slice())
}

/// Resolves one provider (normalised) over the agent's profiles: the inherited ones first, then its own, each id once.
/// `in_use` and the key are for the caller to fill in.
pub fn resolve(provider: &str, candidates: &[Candidate<'_>], rules: &Rules<'_>, key: Option<Key>) -> Resolved {
    let of_provider: Vec<&Candidate<'_>> = candidates
        .iter()
        .filter(|one| normalise_provider(&one.profile.provider) == provider)
        .collect();
    let (by, ids) = base(provider, &of_provider, rules);
    let mut passed_over: Vec<(String, PassedOver)> = Vec::new();
    let mut left: Vec<&Candidate<'_>> = Vec::new();
    // the first of an id counts; there may be thousands
    let by_id = of_provider.iter().rev().map(|one| (one.profile.id.as_str(), *one));
    let by_id: BTreeMap<&str, &Candidate<'_>> = by_id.collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            continue;
        }
        match by_id.get(id) {
            None => passed_over.push((id.to_owned(), PassedOver::Absent)),
            Some(one) => match refused(one.profile, provider, rules) {
                Some(why) => passed_over.push((id.to_owned(), why)),
                None => left.push(one),
            },
        }
    }
    for one in &of_provider {
        if !seen.contains(one.profile.id.as_str()) {
            passed_over.push((one.profile.id.clone(), PassedOver::NotIn(by)));
        }
    }
    let usage = |id: &str| rules.usage.iter().find_map(|usage| usage.get(id));
    if matches!(by, By::Nobody | By::Named) {
        left.sort_by_key(|one| {
            let kind = match one.profile.credential {
                Credential::Oauth { .. } => 0,
                Credential::Token { .. } => 1,
                Credential::ApiKey => 2,
            };
            (
                kind,
                usage(&one.profile.id).map_or(Moment::EPOCH, |usage| usage.last_used),
            )
        });
    }
    let mut uses = None;
    let mut held_back_until: Option<Moment> = None;
    for one in left {
        let id = one.profile.id.clone();
        let usage = usage(&id);
        let why = match usage.and_then(|usage| usage.held_back(rules.now)) {
            _ if one.dead => PassedOver::Dead,
            Some(until) => {
                held_back_until = Some(held_back_until.map_or(until, |earlier| earlier.min(until)));
                PassedOver::HeldBack(until, usage.and_then(|usage| usage.reason.clone()))
            }
            None if uses.is_some() => PassedOver::Behind,
            None => {
                uses = Some(Uses::Profile(id));
                continue;
            }
        };
        passed_over.push((id, why));
    }
    Resolved {
        provider: provider.to_owned(),
        in_use: false,
        uses: uses.or(key.clone().map(Uses::Key)),
        key,
        by,
        passed_over,
        held_back_until,
    }
}

/// The ids in question, and who says so.
fn base<'a>(provider: &str, of_provider: &[&Candidate<'a>], rules: &Rules<'a>) -> (By, Vec<&'a str>) {
    let stored = rules.stored.iter().find(|(key, _)| normalise_provider(key) == provider);
    if let Some((_, ids)) = stored {
        return (By::Store, ids.iter().map(String::as_str).collect());
    }
    if let Some(ids) = ordered(&rules.config.order, provider) {
        return (By::Config, ids.iter().map(String::as_str).collect());
    }
    let named = rules.config.profiles.iter();
    let named: Vec<&str> = named
        .filter(|(_, of, _)| normalise_provider(of) == provider)
        .map(|(id, ..)| id.as_str())
        .collect();
    match named.is_empty() {
        false => (By::Named, named),
        true => (
            By::Nobody,
            of_provider.iter().map(|one| one.profile.id.as_str()).collect(),
        ),
    }
}

/// Why an agent does not take a profile that is there.
fn refused(profile: &Profile, provider: &str, rules: &Rules<'_>) -> Option<PassedOver> {
    if let Some((_, of, mode)) = rules.config.profiles.iter().find(|(id, ..)| *id == profile.id) {
        // the order compares normalised, the use of it letter by letter
        if normalise_provider(of) != provider || *of != profile.provider {
            return Some(PassedOver::OtherProvider);
        }
        if !mode.fits(&profile.credential) {
            return Some(PassedOver::Mode(*mode, profile.credential.type_word()));
        }
    }
    match (&profile.held, &profile.credential) {
        (Held::Referenced(_), _) if rules.generation == Generation::Later => None,
        (Held::Referenced(_), _) => Some(PassedOver::NoSecret),
        (Held::Flawed(crate::types::Flaw::Empty), _) => Some(PassedOver::NoSecret),
        (_, Credential::Token { expires: Some(end), .. }) if *end <= rules.now => Some(PassedOver::Ended),
        (_, Credential::Oauth { .. }) => of_oauth(profile, rules),
        _ => None,
    }
}

/// An access token is handed over until its end, there or not, and renewed only then.
fn of_oauth(profile: &Profile, rules: &Rules<'_>) -> Option<PassedOver> {
    let Credential::Oauth {
        access,
        refresh,
        expires,
    } = &profile.credential
    else {
        return None;
    };
    let renewed = rules.generation == Generation::Later || RENEWED.contains(&profile.provider.as_str());
    match (access.is_some(), expires.is_some_and(|end| rules.now < end)) {
        (true, true) => None,
        (false, true) => Some(PassedOver::NoSecret),
        (_, false) if refresh.is_some() && renewed => None,
        (true, false) => Some(PassedOver::Ended),
        (false, false) => Some(PassedOver::NoSecret),
    }
}

/// `{provider, uses, why, …}` of `nolapse.status/1`.
#[derive(Serialize)]
pub(crate) struct JsonResolved<'a> {
    provider: &'a str,
    in_use: bool,
    uses: Option<Cow<'a, str>>,
    why: String,
    passed_over: Vec<JsonPassed<'a>>,
    held_back_until: Option<Moment>,
}

#[derive(Serialize)]
struct JsonPassed<'a> {
    profile: &'a str,
    why: &'static str,
}

impl<'a> From<&'a Resolved> for JsonResolved<'a> {
    fn from(one: &'a Resolved) -> Self {
        Self {
            provider: &one.provider,
            in_use: one.in_use,
            uses: one.uses.as_ref().map(|uses| match uses {
                Uses::Profile(id) => Cow::Borrowed(id.as_str()),
                Uses::Key(Key::Env(name)) => Cow::Owned(format!("env:{name}")),
                Uses::Key(Key::Dotenv(name)) => Cow::Owned(format!("dotenv:{name}")),
                Uses::Key(Key::ConfigEnv(name)) => Cow::Owned(format!("config_env:{name}")),
                Uses::Key(Key::ConfigModels) => Cow::Borrowed("config_models"),
            }),
            why: one.why(),
            passed_over: one
                .passed_over
                .iter()
                .map(|(id, why)| JsonPassed {
                    profile: id,
                    why: why.word(),
                })
                .collect(),
            held_back_until: one.held_back_until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::types::{Flaw, HOUR, SecretRef};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    /// A store with what decides beside it.
    #[derive(Default)]
    struct Store {
        profiles: Vec<(Profile, bool)>,
        stored: Vec<(String, Vec<String>)>,
        config: AuthConfig,
        usage: BTreeMap<String, Usage>,
        key: Option<Key>,
        later: bool,
    }

    fn ids(ids: &str) -> Vec<String> {
        ids.split_whitespace().map(String::from).collect()
    }

    impl Store {
        fn with(mut self, id: &str, credential: Credential) -> Self {
            let profile = Profile {
                id: id.into(),
                provider: "anthropic".into(),
                credential,
                held: Held::Inline,
                account: None,
            };
            self.profiles.push((profile, false));
            self
        }

        /// A token that works until then; `None`: it has no end.
        fn token(self, id: &str, expires: Option<Moment>) -> Self {
            let token = Some(Secret::new("t"));
            self.with(id, Credential::Token { token, expires })
        }

        fn oauth(self, id: &str, parts: &str, expires: Moment) -> Self {
            let part = |letter| parts.contains(letter).then(|| Secret::new("s"));
            let (access, refresh) = (part('a'), part('r'));
            let expires = Some(expires);
            self.with(
                id,
                Credential::Oauth {
                    access,
                    refresh,
                    expires,
                },
            )
        }

        fn key(self, id: &str) -> Self {
            self.with(id, Credential::ApiKey)
        }

        /// Changes the last profile.
        fn but(mut self, change: impl FnOnce(&mut Profile)) -> Self {
            change(&mut self.profiles.last_mut().unwrap().0);
            self
        }

        fn dead(mut self) -> Self {
            self.profiles.last_mut().unwrap().1 = true;
            self
        }

        fn stored(mut self, provider: &str, order: &str) -> Self {
            self.stored.push((provider.into(), ids(order)));
            self
        }

        fn ordered(mut self, order: &str) -> Self {
            self.config.order.push(("anthropic".into(), ids(order)));
            self
        }

        fn named(mut self, id: &str, provider: &str, mode: Mode) -> Self {
            self.config.profiles.push((id.into(), provider.into(), mode));
            self
        }

        fn held_back(mut self, id: &str, until: Moment) -> Self {
            self.usage.entry(id.into()).or_default().cooldown_until = Some(until);
            self
        }

        fn used(mut self, id: &str, at: i64) -> Self {
            self.usage.entry(id.into()).or_default().last_used = Moment::at(at);
            self
        }

        fn fallback(mut self) -> Self {
            self.key = Some(Key::Env(KEY_VAR.into()));
            self
        }

        fn later(mut self) -> Self {
            self.later = true;
            self
        }

        /// What is used, then why the others are not: `good old:ended`.
        fn said(self) -> String {
            let candidates: Vec<Candidate<'_>> = self
                .profiles
                .iter()
                .map(|(profile, dead)| Candidate { profile, dead: *dead })
                .collect();
            let stored: Vec<(&str, &[String])> = self
                .stored
                .iter()
                .map(|(key, ids)| (key.as_str(), ids.as_slice()))
                .collect();
            let rules = Rules {
                stored: &stored,
                config: &self.config,
                usage: &[&self.usage],
                generation: if self.later {
                    Generation::Later
                } else {
                    Generation::First
                },
                now: NOW,
            };
            let resolved = resolve("anthropic", &candidates, &rules, self.key);
            let uses = match &resolved.uses {
                Some(Uses::Profile(id)) => id.clone(),
                Some(Uses::Key(Key::Env(_))) => "environment".into(),
                Some(Uses::Key(key)) => key.words(),
                None => "nothing".into(),
            };
            let others = resolved
                .passed_over
                .iter()
                .map(|(id, why)| format!(" {id}:{}", why.word()));
            uses + &others.collect::<String>()
        }
    }

    fn referenced(profile: &mut Profile) {
        profile.held = Held::Referenced(SecretRef {
            source: "env".into(),
            provider: "default".into(),
            id: "X".into(),
        });
    }

    #[test]
    fn names_of_providers_and_of_their_keys_are_those_of_the_agents() {
        for (spelled, name, keys) in [
            (" Z.AI ", "zai", vec!["ZAI_API_KEY", "Z_AI_API_KEY"]),
            ("z-ai", "zai", vec!["ZAI_API_KEY", "Z_AI_API_KEY"]),
            (
                "OpenCode-Zen",
                "opencode",
                vec!["OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"],
            ),
            ("qwen", "qwen-portal", vec!["QWEN_OAUTH_TOKEN", "QWEN_PORTAL_API_KEY"]),
            ("Anthropic", "anthropic", vec![OAUTH_VAR, KEY_VAR]),
            (
                "github-copilot",
                "github-copilot",
                vec!["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"],
            ),
            ("chutes", "chutes", vec!["CHUTES_OAUTH_TOKEN", "CHUTES_API_KEY"]),
            ("google", "google", vec!["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
            ("vercel-ai-gateway", "vercel-ai-gateway", vec!["AI_GATEWAY_API_KEY"]),
            ("kimi-code", "kimi-code", vec!["KIMICODE_API_KEY"]),
            ("\u{d6}l.Co-op", "\u{f6}l.co-op", vec!["\u{d6}L_CO_OP_API_KEY"]),
        ] {
            assert_eq!(normalise_provider(spelled), name);
            assert_eq!(key_names(name), keys, "{name}");
        }
        // nothing is copied where nothing changes
        assert!(matches!(normalise_provider(" openai"), Cow::Borrowed("openai")));
    }

    #[test]
    fn modes_have_their_words() {
        for (word, mode) in [
            ("oauth", Mode::Oauth),
            ("token", Mode::Token),
            ("api_key", Mode::ApiKey),
        ] {
            assert_eq!((Mode::of(word), mode.word()), (mode, word));
        }
        assert_eq!((Mode::of("OAuth"), Mode::Other.word()), (Mode::Other, "another"));
    }

    #[test]
    fn what_is_used_is_said_with_its_reason() {
        let name = || "NAME".to_owned();
        for (key, words) in [
            (Key::Env(name()), "NAME in the environment"),
            (Key::Dotenv(name()), "NAME in `.env`"),
            (Key::ConfigEnv(name()), "NAME in the config's `env`"),
            (Key::ConfigModels, "the key in the config's `models.providers`"),
        ] {
            assert_eq!(key.words(), words);
        }
        let resolved = |uses: Option<Uses>, by, over: &[(&str, PassedOver)]| Resolved {
            provider: "anthropic".into(),
            in_use: true,
            uses,
            key: None,
            by,
            passed_over: over.iter().map(|(id, why)| ((*id).to_owned(), why.clone())).collect(),
            held_back_until: None,
        };
        let profile = || Some(Uses::Profile("a".into()));
        let ended = [("b", PassedOver::Ended)];
        for (uses, by, over, why) in [
            (profile(), By::Nobody, &[][..], "the only one"),
            (profile(), By::Nobody, &ended, "first that works by type and last use"),
            (profile(), By::Store, &ended, "first that works by `order` in the store"),
            (
                profile(),
                By::Config,
                &ended,
                "first that works by `auth.order` in the agents' config",
            ),
            (
                profile(),
                By::Named,
                &ended,
                "first that works by `auth.profiles` in the agents' config",
            ),
            (
                Some(Uses::Key(Key::Env(name()))),
                By::Nobody,
                &ended,
                "no profile works; NAME in the environment does",
            ),
            (None, By::Nobody, &[], "nothing is there"),
        ] {
            let one = resolved(uses, by, over);
            assert_eq!(one.why(), why);
            assert_eq!(
                (one.is("a"), one.is("b")),
                (matches!(&one.uses, Some(Uses::Profile(_))), false)
            );
        }
        let why = resolved(None, By::Nobody, &ended).why();
        assert!(why.contains("b: ended"), "{why}");
    }

    #[test]
    fn an_access_token_is_over_in_the_moment_of_its_end() {
        let new = Store::default;
        assert_eq!(new().oauth("o", "a", NOW).said(), "nothing o:ended");
        assert_eq!(new().oauth("o", "a", NOW + 1).said(), "o");
        assert_eq!(new().token("t", Some(NOW)).said(), "nothing t:ended");
        assert_eq!(new().token("t", Some(NOW + 1)).said(), "t");
    }

    /// Kinds of stores as people have them, and what their agent uses.
    #[test]
    fn what_an_agent_uses() {
        let new = Store::default;
        let (past, soon) = (NOW - HOUR, NOW + HOUR);
        for (name, store, said) in [
            // nothing says which: by type, then by last use
            ("nothing there", new(), "nothing"),
            ("a key elsewhere", new().fallback(), "environment"),
            (
                "by type",
                new().key("k").token("t", None).oauth("o", "ar", soon),
                "o t:behind k:behind",
            ),
            (
                "by use",
                new().token("a", None).token("b", None).used("a", 2).used("b", 1),
                "b a:behind",
            ),
            (
                "by type before use",
                new().token("t", None).oauth("o", "ar", soon).used("o", 9),
                "o t:behind",
            ),
            // ends
            ("an ended token", new().token("t", Some(past)), "nothing t:ended"),
            (
                "an ended token, a key beside it",
                new().token("t", Some(past)).key("k"),
                "k t:ended",
            ),
            (
                "an ended token, a key elsewhere",
                new().token("t", Some(past)).fallback(),
                "environment t:ended",
            ),
            ("its very end", new().token("t", Some(NOW)), "nothing t:ended"),
            ("renewed by its agent", new().oauth("o", "ar", past), "o"),
            (
                "with nothing to renew by",
                new().oauth("o", "a", past),
                "nothing o:ended",
            ),
            (
                "renewed from nothing but a refresh token",
                new().oauth("o", "r", past),
                "o",
            ),
            (
                "without an access token, and not yet renewed",
                new().oauth("o", "r", soon),
                "nothing o:no_secret",
            ),
            (
                "what only plugins renew",
                new().oauth("o", "ar", past).but(|p| p.provider = "Anthropic".into()),
                "nothing o:ended",
            ),
            (
                "the same, with plugins",
                new()
                    .oauth("o", "ar", past)
                    .but(|p| p.provider = "Anthropic".into())
                    .later(),
                "o",
            ),
            (
                "known to work no more",
                new().oauth("o", "ar", soon).dead().token("t", None),
                "t o:does_not_work",
            ),
            // orders
            (
                "the store's order hides what works",
                new()
                    .token("old", Some(past))
                    .token("good", None)
                    .stored("anthropic", "old"),
                "nothing old:ended good:not_in_stored_order",
            ),
            (
                "the config's order hides it",
                new().token("old", Some(past)).token("good", None).ordered("old"),
                "nothing old:ended good:not_in_configured_order",
            ),
            (
                "the store's order counts",
                new()
                    .token("a", None)
                    .token("b", None)
                    .stored("anthropic", "b a")
                    .ordered("a b"),
                "b a:behind",
            ),
            (
                "however its provider is spelled",
                new().token("a", None).token("b", None).stored(" Anthropic ", "b"),
                "b a:not_in_stored_order",
            ),
            (
                "another provider's order",
                new().token("a", None).stored("openai", "b"),
                "a",
            ),
            (
                "an order of what is gone",
                new().token("a", None).stored("anthropic", "gone"),
                "nothing gone:absent a:not_in_stored_order",
            ),
            (
                "an empty order",
                new().token("a", None).stored("anthropic", ""),
                "nothing a:not_in_stored_order",
            ),
            (
                "an order that names one twice",
                new().token("a", None).stored("anthropic", "a a"),
                "a",
            ),
            (
                "what the config names",
                new()
                    .token("a", None)
                    .token("b", None)
                    .named("b", "anthropic", Mode::Token),
                "b a:not_in_auth_profiles",
            ),
            // modes and providers of the config
            (
                "mode oauth takes both",
                new().token("t", None).named("t", "anthropic", Mode::Oauth),
                "t",
            ),
            (
                "mode token takes no oauth",
                new().oauth("o", "ar", soon).named("o", "anthropic", Mode::Token),
                "nothing o:mode",
            ),
            (
                "mode api_key takes no token",
                new().token("t", None).named("t", "anthropic", Mode::ApiKey),
                "nothing t:mode",
            ),
            (
                "a mode that is none",
                new().key("k").named("k", "anthropic", Mode::Other),
                "nothing k:mode",
            ),
            (
                "named for another provider",
                new().token("t", None).named("t", "openai", Mode::Token),
                "nothing t:other_provider",
            ),
            (
                "named in another case",
                new().token("t", None).named("t", "Anthropic", Mode::Token),
                "nothing t:other_provider",
            ),
            // what is held back
            (
                "in cooldown",
                new().token("t", None).held_back("t", soon),
                "nothing t:held_back",
            ),
            (
                "in cooldown, another beside it",
                new().token("t", None).key("k").held_back("t", soon),
                "k t:held_back",
            ),
            (
                "in cooldown, a key elsewhere",
                new().token("t", None).held_back("t", soon).fallback(),
                "environment t:held_back",
            ),
            ("free again", new().token("t", None).held_back("t", NOW), "t"),
            // what holds no secret
            (
                "empty",
                new()
                    .token("t", None)
                    .but(|p| p.held = Held::Flawed(Flaw::Empty))
                    .key("k"),
                "k t:no_secret",
            ),
            (
                "a reference to who knows none",
                new().token("t", None).but(referenced),
                "nothing t:no_secret",
            ),
            (
                "a reference that is followed",
                new().token("t", None).but(referenced).later(),
                "t",
            ),
            (
                "another provider's",
                new().token("t", None).but(|p| p.provider = "openai".into()),
                "nothing",
            ),
        ] {
            assert_eq!(store.said(), said, "{name}");
        }
    }

    #[test]
    fn the_first_of_what_is_held_back_comes_free() {
        let profile = |id: &str| Profile {
            id: id.into(),
            provider: "anthropic".into(),
            credential: Credential::ApiKey,
            held: Held::Inline,
            account: None,
        };
        let (a, b) = (profile("a"), profile("b"));
        let usage = |cooldown, disabled| Usage {
            cooldown_until: cooldown,
            disabled_until: disabled,
            reason: Some("billing".into()),
            last_used: Moment::EPOCH,
        };
        let usage = [
            ("a".to_owned(), usage(Some(NOW + 1), Some(NOW + 5 * HOUR))),
            ("b".to_owned(), usage(None, Some(NOW + 3 * HOUR))),
        ];
        let rules = Rules {
            stored: &[],
            config: &AuthConfig::default(),
            usage: &[&usage.into()],
            generation: Generation::First,
            now: NOW,
        };
        let candidates = [&a, &b].map(|profile| Candidate { profile, dead: false });
        let resolved = resolve("anthropic", &candidates, &rules, None);
        assert_eq!((resolved.uses, resolved.held_back_until), (None, Some(NOW + 3 * HOUR)));
        let until = PassedOver::HeldBack(NOW + 5 * HOUR, Some("billing".into()));
        assert_eq!(resolved.passed_over[0], ("a".into(), until), "the longer of the two");
    }

    /// A key outside the store: the environment, then `.env`, then the config, the better name first.
    #[test]
    fn which_key_serves_without_a_profile() {
        let config = |env: &str, keys: &str| AuthConfig {
            env: ids(env),
            keys: ids(keys),
            ..AuthConfig::default()
        };
        let name = |text: &str| text.to_owned();
        for (provider, env, dotenv, config, found) in [
            ("anthropic", "", "", config("", ""), None),
            (
                "anthropic",
                KEY_VAR,
                OAUTH_VAR,
                config("", ""),
                Some(Key::Env(name(KEY_VAR))),
            ),
            (
                "anthropic",
                "ANTHROPIC_API_KEY ANTHROPIC_OAUTH_TOKEN",
                "",
                config("", ""),
                Some(Key::Env(name(OAUTH_VAR))),
            ),
            (
                "anthropic",
                "OPENAI_API_KEY",
                KEY_VAR,
                config(OAUTH_VAR, ""),
                Some(Key::Dotenv(name(KEY_VAR))),
            ),
            (
                "anthropic",
                "",
                "",
                config(KEY_VAR, "anthropic"),
                Some(Key::ConfigEnv(name(KEY_VAR))),
            ),
            ("anthropic", "", "", config("", " Anthropic"), Some(Key::ConfigModels)),
            (
                "zai",
                "Z_AI_API_KEY",
                "",
                config("", ""),
                Some(Key::Env(name("Z_AI_API_KEY"))),
            ),
            (
                "my-own.one",
                "MY_OWN_ONE_API_KEY",
                "",
                config("", ""),
                Some(Key::Env(name("MY_OWN_ONE_API_KEY"))),
            ),
        ] {
            let set = |list: &'static str| move |name: &str| list.split_whitespace().any(|one| one == name);
            assert_eq!(
                key(provider, &set(env), &set(dotenv), &config),
                found,
                "{provider} {env} {dotenv}"
            );
        }
    }
}

//! What a person records by hand: tokens and keys in agents' stores and configs, a setup token's dates in the ledger, a
//! store's profile order. The same rules as a pass: lock, re-read, re-decide, write.

use crate::act::{self, Change, Refused};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::LockError;
use crate::edge::replace::{self, NotPut, Over};
use crate::look::World;
use crate::rules::agent::StateDir;
use crate::rules::login::SetupToken;
use crate::rules::memory::Entry;
use crate::rules::view::AgentView;
use crate::secret::Secret;
use crate::stores::agent_entry::{self, Mode};
use crate::stores::store::{self, Recorded};
use crate::types::{DAY, Ms};
use crate::{history, ledger};
use std::path::PathBuf;
use std::time::Duration;

/// How a setup token begins.
pub(crate) const SETUP_PREFIX: &str = "sk-ant-oat";

/// How long a setup token lives (`claude setup-token` of 2.1.330 asks for 31536000 s), [`Ms`].
pub(crate) const SETUP_LIFE: Ms = 365 * DAY;

/// How long a pass that is running is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A credential on its way into stores.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The profile id.
    pub(crate) id: String,
    /// The provider.
    pub(crate) provider: String,
    /// The credential.
    pub(crate) credential: Recorded,
    /// Take the place of a credential of another kind or provider.
    pub(crate) replace: bool,
}

impl Wanted {
    /// The mode that the agents' config is to name.
    pub(crate) fn mode(&self, ctx: &Ctx) -> Mode {
        match &self.credential {
            Recorded::ApiKey(_) => Mode::ApiKey,
            Recorded::Token(..) if self.id == ctx.config.sync.profile => Mode::Oauth,
            Recorded::Token(..) => Mode::Token,
        }
    }
}

/// Why a profile id does not belong to this provider, if so.
pub(crate) fn check_id(id: &str, provider: &str) -> Result<(), String> {
    let fine = id
        .strip_prefix(provider)
        .and_then(|rest| rest.strip_prefix(':'))
        .is_some_and(|name| !name.is_empty())
        && !id.chars().any(|c| c.is_whitespace() || c.is_control());
    match fine {
        true => Ok(()),
        false => Err(format!("`{id}` is not a profile id of `{provider}`")),
    }
}

/// A provider's name as clawdbot 2026.1.24-3 normalises it.
pub(crate) fn normalise_provider(text: &str) -> String {
    match text.trim().to_lowercase().as_str() {
        "z.ai" | "z-ai" => "zai".into(),
        "opencode-zen" => "opencode".into(),
        "qwen" => "qwen-portal".into(),
        other => other.into(),
    }
}

/// Writes the credential into one agent's store. `Ok(false)` where it holds it already.
///
/// # Errors
/// In words.
pub(crate) async fn add(world: World<'_>, agent: &AgentView, wanted: &Wanted) -> Result<bool, String> {
    let ids = act::edit_store(world, agent, act::STORE_PATIENCE, |_, text| {
        if let Some(text) = text
            && !wanted.replace
            && let Some((kind, provider)) = store::kind_of(text, &wanted.id)?
            && (kind != wanted.credential.type_word() || provider != wanted.provider)
        {
            return Err(format!(
                "`{}` holds a credential of another kind (`{kind}` of `{provider}`), not replaced without `--replace`",
                wanted.id
            ));
        }
        let after = store::record(text, &wanted.id, &wanted.provider, &wanted.credential)?;
        Ok((text != Some(after.as_str())).then(|| Change {
            text: after,
            ids: vec![wanted.id.clone()],
        }))
    })
    .await
    .map_err(|refused| words(world.ctx, agent, refused))?;
    if !ids.is_empty() {
        note(world.ctx, "recorded", agent, format!("recorded {}", wanted.id));
    }
    Ok(!ids.is_empty())
}

/// Takes a profile out of one agent's store. `Ok(false)` where it is not there.
///
/// # Errors
/// In words.
pub(crate) async fn remove(world: World<'_>, agent: &AgentView, id: &str) -> Result<bool, String> {
    let ids = act::edit_store(world, agent, act::STORE_PATIENCE, |_, text| {
        let Some(text) = text else { return Ok(None) };
        if store::kind_of(text, id)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Change {
            text: store::take_out(text, id)?,
            ids: vec![id.to_owned()],
        }))
    })
    .await
    .map_err(|refused| words(world.ctx, agent, refused))?;
    if !ids.is_empty() {
        note(world.ctx, "removed", agent, format!("removed {id}"));
    }
    Ok(!ids.is_empty())
}

/// Sets one agent's `order` of a provider, or clears it where `ids` is empty. `Ok(false)` where it is so already.
///
/// # Errors
/// In words.
pub(crate) async fn set_order(
    world: World<'_>,
    agent: &AgentView,
    provider: &str,
    ids: &[String],
) -> Result<bool, String> {
    let written = act::edit_store(world, agent, act::STORE_PATIENCE, |now, text| {
        let Some(text) = text else {
            return Err("it has no store yet".into());
        };
        for id in ids {
            check_ordered(&now.agents[0], provider, id)?;
        }
        if ids.is_empty() && store::order(text, provider)?.is_none() {
            return Ok(None);
        }
        let after = store::set_order(text, provider, ids)?;
        Ok((after != text).then_some(Change {
            text: after,
            ids: ids.to_vec(),
        }))
    })
    .await
    .map_err(|refused| words(world.ctx, agent, refused));
    // a cleared order names no ids
    let changed = !written?.is_empty() || ids.is_empty();
    if changed {
        let what = match ids.is_empty() {
            true => format!("cleared the order of {provider}"),
            false => format!("order of {provider}: {}", ids.join(", ")),
        };
        note(world.ctx, "recorded", agent, what);
    }
    Ok(changed)
}

/// Whether `id` may stand in an agent's order of `provider`, else what is wrong, the nearest id named.
fn check_ordered(agent: &AgentView, provider: &str, id: &str) -> Result<(), String> {
    let known = agent.profiles.iter().map(|profile| &profile.profile);
    match known.clone().find(|profile| profile.id == id) {
        Some(profile) if normalise_provider(&profile.provider) == provider => Ok(()),
        Some(profile) => Err(format!(
            "`{id}` is a profile of `{}`, not of `{provider}`",
            profile.provider
        )),
        None => {
            let ids = known.map(|profile| profile.id.as_str());
            Err(match crate::table::nearest(id, ids) {
                Some(near) => format!("there is no profile `{id}`; did you mean `{near}`?"),
                None => format!("there is no profile `{id}`"),
            })
        }
    }
}

fn words(ctx: &Ctx, agent: &AgentView, refused: Refused) -> String {
    match refused {
        Refused::Busy => format!("`{}` stayed locked by another process", ctx.host.tilde(&agent.path)),
        Refused::Other(why) => why,
    }
}

/// How the agents' config of one state directory fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigEntry {
    /// There is no config file, and without one the agents take every profile of the store.
    NotNeeded,
    /// The entry was there.
    There,
    /// It was written.
    Written(PathBuf),
    /// For a person to add, and why.
    ByHand(PathBuf, String),
}

/// Names the profile in the agents' config, where that can be patched without loss.
pub(crate) fn name_in_config(state_dir: &StateDir, id: &str, provider: &str, mode: Mode) -> ConfigEntry {
    let Some(path) = &state_dir.config_path else {
        return ConfigEntry::NotNeeded;
    };
    let by_hand = |why: &str| ConfigEntry::ByHand(path.clone(), why.to_owned());
    let snapshot = match files::read_unmixed(path) {
        Ok(snapshot) => snapshot,
        Err(error) => return by_hand(&error.to_string()),
    };
    let Ok(text) = std::str::from_utf8(&snapshot.bytes) else {
        return by_hand("it is not UTF-8 text");
    };
    let patched = match agent_entry::patch(text, id, provider, mode) {
        Ok(None) => return ConfigEntry::There,
        Ok(Some(patched)) => patched,
        Err(why) => return by_hand(why),
    };
    let written = || -> std::io::Result<bool> {
        let target = files::real_target(path)?;
        let mut staged = replace::stage(&target, Some(&snapshot.meta))?;
        staged.write(patched.as_bytes())?;
        // the agents write their config without a lock: what was changed meanwhile is not overwritten
        match staged.put(Over::Content(&snapshot.bytes), &|| true) {
            Ok(_) => Ok(true),
            Err(NotPut::Io(error)) => Err(error),
            Err(NotPut::Changed | NotPut::Lost) => Ok(false),
        }
    };
    match written() {
        Ok(true) => ConfigEntry::Written(path.clone()),
        Ok(false) => by_hand("it was changed at the same moment"),
        Err(error) => by_hand(&files::io_words(&error)),
    }
}

/// Remembers when a setup token was issued and when it ends.
///
/// # Errors
/// In words.
pub(crate) async fn remember(ctx: &Ctx, token: &Secret, setup: SetupToken) -> Result<(), String> {
    let now = ctx.clock.now();
    let changed = ledger::change(&ctx.state_dir, now, PATIENCE, |ledger| {
        // one that ended a year ago is of no interest any more
        ledger
            .setup_tokens
            .retain(|_, known| known.expires_at > now - SETUP_LIFE);
        ledger.setup_tokens.insert(token.fingerprint(), setup);
    })
    .await;
    let words = |error: LockError| error.of_pass(&ctx.host.tilde(&ctx.state_dir));
    changed.map_err(|error| format!("its dates could not be recorded: {}", words(error)))
}

fn note(ctx: &Ctx, what: &'static str, agent: &AgentView, text: String) {
    let entry = Entry {
        at: ctx.clock.now(),
        what: what.into(),
        whom: agent.label(),
        text,
        agents: vec![agent.label()],
        ..Entry::default()
    };
    if files::make_dirs(&ctx.state_dir).is_ok() {
        history::note(&ctx.state_dir, &[entry]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_person_records_is_written_once_and_noted() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(store::FILE_NAME);
        std::fs::write(&path, r#"{"version":1,"profiles":{}}"#).unwrap();
        let ctx = crate::act::tests::ctx(home.path());
        let ledger = Default::default();
        let view = crate::look::look(&ctx, &ledger);
        let (world, agent) = (World::of(&ctx, &ledger, &view), &view.agents[0]);
        let mut noted = Vec::new();
        let mut check = |changed: bool, what: &'static str, text: &str| {
            if changed {
                noted.push((what, text.to_owned()));
            }
            let read = history::read(&ctx.state_dir, ctx.clock.now()).unwrap().entries;
            let got: Vec<_> = read.iter().map(|one| (one.what.as_ref(), one.text.clone())).collect();
            assert_eq!(got, noted);
            assert!(
                read.iter()
                    .all(|one| one.whom == "clawdbot/main" && one.agents == ["clawdbot/main"])
            );
        };
        let key = |text: &str| Recorded::ApiKey(Secret::new(text));
        let token = || Recorded::Token(Secret::new("T"), None);
        for (credential, provider, replace, outcome) in [
            (key("K"), "p", false, Ok(true)),
            (key("K"), "p", false, Ok(false)),
            (key("L"), "p", false, Ok(true)),
            (token(), "p", false, Err(())),
            (key("L"), "q", false, Err(())),
            (token(), "p", true, Ok(true)),
        ] {
            let wanted = Wanted {
                id: "p:a".into(),
                provider: provider.into(),
                credential,
                replace,
            };
            let before = std::fs::read_to_string(&path).unwrap();
            let added = add(world, agent, &wanted).await.map_err(drop);
            assert_eq!(added, outcome, "{wanted:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap() != before, outcome == Ok(true));
            check(outcome == Ok(true), "recorded", "recorded p:a");
        }
        let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
        for (provider, ordered, outcome, text) in [
            ("p", &["p:a"][..], Ok(true), "order of p: p:a"),
            ("p", &["p:a"], Ok(false), ""),
            ("p", &["p:b"], Err("there is no profile `p:b`; did you mean `p:a`?"), ""),
            ("q", &["p:a"], Err("`p:a` is a profile of `p`, not of `q`"), ""),
            ("p", &[], Ok(true), "cleared the order of p"),
        ] {
            let set = set_order(world, agent, provider, &ids(ordered)).await;
            assert_eq!(set, outcome.map_err(str::to_owned), "{ordered:?}");
            check(outcome == Ok(true), "recorded", text);
        }
        for (id, there) in [("p:b", false), ("p:a", true), ("p:a", false)] {
            assert_eq!(remove(world, agent, id).await, Ok(there), "{id}");
            check(there, "removed", "removed p:a");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_setup_token_that_ended_a_year_ago_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let ctx = crate::act::tests::ctx(home.path());
        let now = ctx.clock.now();
        let token = |n: usize| Secret::new(n.to_string());
        let ends = [now - SETUP_LIFE, now - SETUP_LIFE + 1, now + SETUP_LIFE];
        for (n, expires_at) in ends.into_iter().enumerate() {
            let setup = SetupToken {
                issued_at: now,
                expires_at,
                kept: None,
            };
            remember(&ctx, &token(n), setup).await.unwrap();
        }
        let known = ledger::load(&ctx.state_dir).ledger.setup_tokens;
        let known = [0, 1, 2].map(|n| known.contains_key(&token(n).fingerprint()));
        assert_eq!(known, [false, true, true]);
    }

    #[test]
    fn the_config_names_the_mode_of_what_is_recorded() {
        let ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        let mode = |id: &str, credential| {
            let (provider, replace) = ("anthropic".to_owned(), false);
            let id = id.to_owned();
            let wanted = Wanted {
                id,
                provider,
                credential,
                replace,
            };
            wanted.mode(&ctx)
        };
        let token = || Recorded::Token(Secret::new("T"), None);
        assert!(matches!(mode(&ctx.config.sync.profile, token()), Mode::Oauth));
        assert!(matches!(mode("anthropic:a", token()), Mode::Token));
        let key = Recorded::ApiKey(Secret::new("K"));
        assert!(matches!(mode(&ctx.config.sync.profile, key), Mode::ApiKey));
    }

    #[test]
    fn profile_ids_are_provider_and_name() {
        for (id, provider, fine) in [
            ("anthropic:manual", "anthropic", true),
            ("openai:a:b", "openai", true),
            ("anthropic:", "anthropic", false),
            ("anthropic", "anthropic", false),
            ("openai:x", "anthropic", false),
            ("anthropic:a b", "anthropic", false),
            ("anthropic:a\u{1b}", "anthropic", false),
        ] {
            assert_eq!(check_id(id, provider).is_ok(), fine, "{id}");
        }
        assert_eq!(normalise_provider(" Z.ai "), "zai");
    }
}

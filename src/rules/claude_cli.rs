//! Which of an agent's models run by OpenClaw's Claude CLI runtime: the agent then has no credential of its own, `claude` uses its
//! login.
//!
//! Source: openclaw 2026.6.6 and 2026.9.6 (`agents/model-runtime-policy.ts`, `docs/gateway/cli-backends.md`). An exact entry of the
//! agent's `models` comes first, then one of `agents.defaults.models`, then `models.providers.<provider>.models[]`, then
//! `<provider>/*` in the same two maps, then `models.providers.<provider>.agentRuntime`. Keys for a whole agent
//! (`agents.defaults.agentRuntime`) are ignored by these versions, and so here. A model named `claude-cli/…` always runs so.

use super::resolve::normalise_provider;

/// The runtime's id, and the provider in the older way to name its models.
pub(crate) const ID: &str = "claude-cli";

/// An entry of a `models` map that names a runtime or an alias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key: `anthropic/claude-opus-5`, `anthropic/*`.
    pub(crate) model: String,
    /// `agentRuntime.id`, blank where none is given.
    pub(crate) runtime: String,
    /// `alias`, blank where none is given.
    pub(crate) alias: String,
}

/// What the agents' config says of runtimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policies {
    /// `models` of the agent.
    pub(crate) own: Vec<Entry>,
    /// `agents.defaults.models`.
    pub(crate) shared: Vec<Entry>,
    /// `models.providers.<provider>.models[]`, each as `<provider>/<id>`.
    pub(crate) catalogue: Vec<Entry>,
    /// `models.providers.<provider>`: provider and runtime.
    pub(crate) providers: Vec<(String, String)>,
}

/// The provider of a model and its own name; `anthropic` where none is named.
pub(crate) fn split(model: &str) -> (String, &str) {
    let model = model.trim();
    match model.split_once('/') {
        Some((provider, id)) if !provider.trim().is_empty() => (normalise_provider(provider).into_owned(), id.trim()),
        _ => ("anthropic".into(), model),
    }
}

/// Whether a model runs by `claude`.
pub(crate) fn runs(model: &str, policies: &Policies) -> bool {
    let named = policies.own.iter().chain(&policies.shared);
    let alias = |entry: &&Entry| !entry.alias.is_empty() && entry.alias.eq_ignore_ascii_case(model.trim());
    let model = named.clone().find(alias).map_or(model, |entry| entry.model.as_str());
    let (provider, id) = split(model);
    // `model@profile` asks for a profile of the store by name
    let id = id.split_once('@').map_or(id, |(id, _)| id);
    if provider == ID {
        return true;
    }
    let exact = |entry: &&Entry| {
        !entry.runtime.is_empty() && (entry.model == id || split(&entry.model) == (provider.clone(), id))
    };
    let wild = |entry: &&Entry| !entry.runtime.is_empty() && split(&entry.model) == (provider.clone(), "*");
    let of_provider = || {
        policies
            .providers
            .iter()
            .find(|(name, _)| *normalise_provider(name) == *provider)
    };
    let runtime = [&policies.own, &policies.shared, &policies.catalogue]
        .into_iter()
        .find_map(|map| map.iter().find(exact))
        .or_else(|| named.clone().find(wild))
        .map(|entry| entry.runtime.as_str())
        .or_else(|| of_provider().map(|(_, runtime)| runtime.as_str()));
    runtime.is_some_and(|runtime| runtime.trim().eq_ignore_ascii_case(ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(model, runtime): &(&str, &str)| Entry {
            model: (*model).into(),
            runtime: (*runtime).into(),
            alias: String::new(),
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn a_model_without_a_provider_is_one_of_anthropics() {
        for (model, provider, id) in [
            (" openai / gpt ", "openai", "gpt"),
            ("opus", "anthropic", "opus"),
            (" /opus", "anthropic", "/opus"),
        ] {
            assert_eq!(split(model), (provider.to_owned(), id));
        }
    }

    #[test]
    fn the_nearest_policy_decides() {
        const OPUS: &str = "anthropic/claude-opus-5";
        for (model, own, shared, catalogue, providers, expected) in [
            (OPUS, &[][..], &[][..], &[][..], "", false),
            (OPUS, &[], &[(OPUS, "claude-cli")], &[], "", true),
            ("claude-opus-5", &[], &[(OPUS, "claude-cli")], &[], "", true),
            (OPUS, &[], &[("claude-opus-5", "claude-cli")], &[], "", true),
            ("Anthropic/claude-opus-5", &[], &[(OPUS, " Claude-CLI ")], &[], "", true),
            (
                "anthropic/claude-opus-5@anthropic:x",
                &[],
                &[(OPUS, "claude-cli")],
                &[],
                "",
                true,
            ),
            // the agent's own entry comes before the shared one
            (OPUS, &[(OPUS, "openclaw")], &[(OPUS, "claude-cli")], &[], "", false),
            (OPUS, &[(OPUS, "claude-cli")], &[(OPUS, "openclaw")], &[], "", true),
            // an exact entry anywhere comes before a star
            (
                OPUS,
                &[("anthropic/*", "claude-cli")],
                &[(OPUS, "openclaw")],
                &[],
                "",
                false,
            ),
            (
                OPUS,
                &[("anthropic/*", "openclaw")],
                &[],
                &[(OPUS, "claude-cli")],
                "",
                true,
            ),
            (OPUS, &[], &[("anthropic/*", "claude-cli")], &[], "openclaw", true),
            (OPUS, &[], &[("openai/*", "claude-cli")], &[], "", false),
            (OPUS, &[], &[], &[], "claude-cli", true),
            ("openai/gpt-6", &[], &[], &[], "claude-cli", false),
            // an entry without a runtime says nothing
            (OPUS, &[(OPUS, "")], &[(OPUS, "claude-cli")], &[], "", true),
            // the older way
            ("claude-cli/opus", &[], &[], &[], "", true),
            (
                "claude-cli/opus",
                &[("claude-cli/opus", "openclaw")],
                &[],
                &[],
                "",
                true,
            ),
        ] {
            let policies = Policies {
                own: entries(own),
                shared: entries(shared),
                catalogue: entries(catalogue),
                providers: vec![("anthropic".into(), providers.into())],
            };
            assert_eq!(runs(model, &policies), expected, "{model} {policies:?}");
        }
    }

    #[test]
    fn an_alias_stands_for_its_model() {
        let policies = Policies {
            shared: vec![Entry {
                model: "anthropic/claude-opus-5".into(),
                runtime: "claude-cli".into(),
                alias: "Opus".into(),
            }],
            ..Policies::default()
        };
        assert!(runs("opus", &policies) && !runs("sonnet", &policies));
    }
}

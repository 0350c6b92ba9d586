//! The agents' own config: JSON5 with `$include` and `${NAME}`; which agents it names, whose models are in use, and which
//! version last touched it.
//!
//! Source: clawdbot 2026.1.24-3 to openclaw 2026.9.6 (`src/config/includes.ts`, `env-substitution.ts`,
//! `agents/agent-scope.ts`). `$include` may stand in any object and names a file or a list of them, relative to the
//! including file; objects merge, lists are joined, otherwise the including file wins. The config holds keys and tokens:
//! only the few texts asked for here are kept, and `${NAME}` is filled in for those alone.

use super::families::normalise_agent_id;
use crate::edge::files::{self, ReadError};
use crate::rules::agent::{ClaudeCommand, SecretSource};
use crate::rules::claude_cli::{self, Entry, Policies};
use crate::rules::resolve::{AuthConfig, Mode};
use crate::rules::{shape, wording};
use crate::types::Problem;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::path::{Path, PathBuf};

/// What the config says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    /// `meta.lastTouchedVersion`.
    pub(crate) version: Option<String>,
    /// The agents it names, each id once, in its order.
    pub(crate) agents: Vec<ConfiguredAgent>,
    /// The default agent's id: the first with `default: true`, else the first, else `main`.
    pub(crate) default_agent: String,
    /// Providers of the default agent's models, primary first, each once; `anthropic` where none is named.
    pub(crate) providers_in_use: Vec<String>,
    /// The same for an agent that has no models of its own.
    pub(crate) shared_providers: Vec<String>,
    /// What it says of credentials.
    pub(crate) auth: AuthConfig,
    /// What it says of the `claude` that the Claude CLI runtime starts.
    pub(crate) claude: ClaudeCommand,
    /// `secrets.providers`: where referenced secrets lie.
    pub(crate) secrets: Vec<SecretSource>,
    /// `gateway.reload.mode` is `off`: a running gateway does not follow its config.
    pub(crate) reload_off: bool,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            version: None,
            agents: Vec::new(),
            default_agent: "main".into(),
            providers_in_use: vec![ANTHROPIC.into()],
            shared_providers: vec![ANTHROPIC.into()],
            auth: AuthConfig::default(),
            claude: ClaudeCommand::default(),
            secrets: Vec::new(),
            reload_off: false,
        }
    }
}

/// An agent that the config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfiguredAgent {
    /// Its id, normalised.
    pub(crate) id: String,
    /// Its directory.
    pub(crate) dir: AgentDir,
    /// Providers of its models, as [`AgentConfig::providers_in_use`].
    pub(crate) providers: Vec<String>,
}

/// `agentDir` of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentDir {
    /// Not given: `<state>/agents/<id>/agent`.
    Implied,
    /// As written, variables filled in, `~` not expanded.
    Text(String),
    /// It names this variable, which is set neither here nor in `.env`; the agents refuse such a config.
    Unset(String),
}

/// Reads the config at `path`. What cannot be read is a problem, and the rest still counts; `env` gives the variables.
pub(crate) fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> (AgentConfig, Vec<Problem>) {
    let mut loader = Loader::default();
    let config = match loader.load(path) {
        Some(node) => {
            let mut config = extract(&node, env, |message| loader.problems.push(malformed(path, message)));
            if config.providers_in_use.is_empty() {
                config.providers_in_use.push(ANTHROPIC.into());
            }
            config
        }
        None => AgentConfig::default(),
    };
    (config, loader.problems)
}

/// What one file says, its includes left out.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse(bytes: &[u8]) -> AgentConfig {
    match parse_one(bytes) {
        Ok(node) => extract(&node, &|name| (name == "SET").then(|| "value".into()), |_| {}),
        Err(_) => AgentConfig::default(),
    }
}

fn parse_one(bytes: &[u8]) -> Result<Node, String> {
    json5::from_str(&String::from_utf8_lossy(bytes))
        .map_err(|error| format!("is not JSON5: {}", error.to_string().to_lowercase()))
}

const ANTHROPIC: &str = "anthropic";
const INCLUDE: &str = "$include";
/// The agents' own limit.
const MAX_INCLUDE_DEPTH: usize = 10;
/// Files read for one config, and bytes in them: two includes a file, ten deep, would be a thousand.
const MAX_FILES: usize = 64;
/// Levels of objects and lists in one file. The agents stop at 512 after merging; real configs have about ten.
const MAX_NESTING: usize = 64;

fn malformed(path: &Path, message: String) -> Problem {
    const UNTIL_THEN: &str = "until then what it says of agents is not known, only their folders are";
    let shown = path.display().to_string();
    let refused = message.starts_with("cannot be read");
    let hint = match files::stat(path) {
        Some(meta) if refused && !files::can_keep_owner(meta.uid) => format!("run `{}`", wording::take_over(&shown)),
        Some(_) if refused && files::owner_kept_out(path) => format!("run `{}`", wording::let_owner_in(&shown)),
        _ => "correct the file".into(),
    };
    let hint = format!("{hint}; {UNTIL_THEN}");
    Problem::at("agent_config_malformed", path, message, hint)
}

/// JSON5 as the agents see it: keys in the file's order. No `Debug`: it holds secrets.
#[derive(Clone)]
enum Node {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
        .filter(|node| !matches!(node, Self::Null))
    }

    fn entries(&self) -> &[(String, Node)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// Parses one value at this depth.
#[derive(Clone, Copy)]
struct Seed(usize);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if self.0 > MAX_NESTING {
            return Err(D::Error::custom(format!("nested deeper than {MAX_NESTING} levels")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON5 value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0 + 1))? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = std::collections::HashMap::new();
        let mut order = 0usize;
        while let Some(key) = entries.next_key::<String>()? {
            let node = entries.next_value_seed(Seed(self.0 + 1))?;
            // of two equal keys the last wins, at the position of the first
            let slot = map.entry(key).or_insert((order, Node::Null));
            slot.1 = node;
            order += 1;
        }
        let mut list: Vec<_> = map.into_iter().collect();
        list.sort_by_key(|(_, (order, _))| *order);
        Ok(Node::Map(
            list.into_iter().map(|(key, (_, node))| (key, node)).collect(),
        ))
    }
}

impl<'de> serde::Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed(0).deserialize(deserializer)
    }
}

#[derive(Default)]
struct Loader {
    problems: Vec<Problem>,
    /// The real paths of the files being read, outermost first.
    chain: Vec<PathBuf>,
    files: usize,
    bytes: u64,
}

impl Loader {
    fn load(&mut self, path: &Path) -> Option<Node> {
        let node = self.load_one(path);
        node.map_err(|message| self.problems.push(malformed(path, message)))
            .ok()
    }

    fn load_one(&mut self, path: &Path) -> Result<Node, String> {
        let real = files::real_or_same(path);
        if self.chain.contains(&real) {
            return Err("includes itself".into());
        }
        if self.chain.len() > MAX_INCLUDE_DEPTH {
            return Err(format!("includes are nested deeper than {MAX_INCLUDE_DEPTH}"));
        }
        if self.files >= MAX_FILES || self.bytes > files::LIMIT {
            return Err(format!(
                "not read: the config's includes come to more than {MAX_FILES} files or {} bytes",
                files::LIMIT
            ));
        }
        let bytes = match files::read(path) {
            Ok(snapshot) => snapshot.bytes,
            Err(ReadError::Absent) if !self.chain.is_empty() => return Err("is included and does not exist".into()),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        self.files += 1;
        self.bytes += bytes.len() as u64;
        let node = parse_one(&bytes)?;
        self.chain.push(real);
        let node = self.include(node, path.parent().unwrap_or(Path::new("/")));
        self.chain.pop();
        Ok(node)
    }

    fn include(&mut self, node: Node, dir: &Path) -> Node {
        match node {
            Node::List(items) => Node::List(items.into_iter().map(|item| self.include(item, dir)).collect()),
            Node::Map(mut entries) => {
                let included = entries
                    .iter()
                    .position(|(key, _)| key == INCLUDE)
                    .map(|at| entries.remove(at).1);
                let own = Node::Map(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key, self.include(value, dir)))
                        .collect(),
                );
                match included {
                    None => own,
                    Some(what) => self.included(what, own, dir),
                }
            }
            leaf => leaf,
        }
    }

    fn included(&mut self, what: Node, own: Node, dir: &Path) -> Node {
        let names = match what {
            Node::List(items) => items,
            one => vec![one],
        };
        let mut merged: Option<Node> = None;
        for name in names {
            match name {
                Node::Text(name) => {
                    if let Some(node) = self.load(&dir.join(&name)) {
                        merged = Some(match merged {
                            None => node,
                            Some(before) => merge(before, node),
                        });
                    }
                }
                other => {
                    let path = self.chain.last().cloned().unwrap_or_default();
                    self.problems.push(malformed(
                        &path,
                        format!("`$include` is {}, not a file name or a list of them", other.kind()),
                    ));
                }
            }
        }
        match (merged, own) {
            (Some(merged), Node::Map(own)) if own.is_empty() => merged,
            (Some(merged), own) => merge(merged, own),
            (None, own) => own,
        }
    }
}

fn merge(base: Node, over: Node) -> Node {
    match (base, over) {
        (Node::Map(mut base), Node::Map(over)) => {
            for (key, value) in over {
                match base.iter().position(|(name, _)| *name == key) {
                    Some(at) => {
                        let before = std::mem::replace(&mut base[at].1, Node::Null);
                        base[at].1 = merge(before, value);
                    }
                    None => base.push((key, value)),
                }
            }
            Node::Map(base)
        }
        (Node::List(mut base), Node::List(over)) => {
            base.extend(over);
            Node::List(base)
        }
        (_, over) => over,
    }
}

/// The agents that the config names, by list and by id.
fn named_agents<'n>(
    agents: Option<&'n Node>,
    env: &dyn Fn(&str) -> Option<String>,
    wrong: &mut dyn FnMut(&str, Option<&Node>, &str),
) -> Vec<(String, &'n Node)> {
    let mut named: Vec<(String, &Node)> = Vec::new();
    match agents.and_then(|agents| agents.get("list")) {
        Some(Node::List(items)) => {
            for item in items.iter().filter(|item| matches!(item, Node::Map(_))) {
                match item.get("id") {
                    None => named.push((normalise_agent_id(""), item)),
                    Some(Node::Text(id)) => {
                        named.push((normalise_agent_id(&substitute(id, env).unwrap_or_default()), item))
                    }
                    other => wrong("agents.list[].id", other, "a string"),
                }
            }
        }
        other => wrong("agents.list", other, "a list"),
    }
    match agents.and_then(|agents| agents.get("entries")) {
        Some(Node::Map(entries)) => {
            for (id, entry) in entries.iter().filter(|(_, entry)| matches!(entry, Node::Map(_))) {
                named.push((normalise_agent_id(id), entry));
            }
        }
        other => wrong("agents.entries", other, "an object"),
    }
    named
}

fn extract(node: &Node, env: &dyn Fn(&str) -> Option<String>, mut complain: impl FnMut(String)) -> AgentConfig {
    if !matches!(node, Node::Map(_)) {
        complain(format!("is {}, not an object", node.kind()));
        return AgentConfig::default();
    }
    let agents = node.get("agents");
    let mut wrong = |what: &str, node: Option<&Node>, wanted: &str| {
        if let Some(node) = node {
            complain(format!("`{what}` is {}, not {wanted}", node.kind()));
        }
    };
    if !matches!(agents, None | Some(Node::Map(_))) {
        wrong("agents", agents, "an object");
    }
    let named = named_agents(agents, env, &mut wrong);
    let default = named
        .iter()
        .find(|(_, entry)| matches!(entry.get("default"), Some(Node::Bool(true))))
        .or(named.first());
    let default_agent = default.map_or_else(|| "main".to_owned(), |(id, _)| id.clone());
    let own_model = default.and_then(|(_, entry)| entry.get("model"));
    let shared_model = agents
        .and_then(|agents| agents.get("defaults")?.get("model"))
        .or_else(|| node.get("agent")?.get("model"));

    let shared = policies(node, env);
    let models = Models {
        shared: shared_model,
        env,
    };
    let own_policies = |entry: Option<&Node>| Policies {
        own: entries(entry.and_then(|entry| entry.get("models")), env),
        ..shared.clone()
    };
    let mut list: Vec<ConfiguredAgent> = Vec::new();
    for (id, entry) in &named {
        if list.iter().any(|agent| agent.id == *id) {
            continue;
        }
        let dir = match entry.get("agentDir") {
            None => AgentDir::Implied,
            Some(node) => match node.text().map(|text| substitute(text, env)) {
                None if matches!(node, Node::Text(_)) => AgentDir::Implied,
                None => {
                    wrong("agentDir", Some(node), "a string");
                    AgentDir::Implied
                }
                Some(Ok(text)) => AgentDir::Text(text),
                Some(Err(name)) => AgentDir::Unset(name),
            },
        };
        list.push(ConfiguredAgent {
            id: id.clone(),
            dir,
            providers: models.providers(entry.get("model"), &own_policies(Some(entry))),
        });
    }
    AgentConfig {
        version: node
            .get("meta")
            .and_then(|meta| meta.get("lastTouchedVersion")?.text())
            .map(str::to_owned),
        agents: list,
        default_agent,
        providers_in_use: models.providers(own_model, &own_policies(default.map(|(_, entry)| *entry))),
        shared_providers: models.providers(None, &shared),
        auth: auth(node, env),
        claude: claude_command(node, env),
        secrets: secrets(node, env),
        reload_off: node
            .get("gateway")
            .and_then(|gateway| gateway.get("reload")?.get("mode")?.text())
            == Some("off"),
    }
}

/// What the config says of runtimes, of every agent alike.
fn policies(node: &Node, env: &dyn Fn(&str) -> Option<String>) -> Policies {
    let defaults = node.get("agents").and_then(|agents| agents.get("defaults"));
    let mut policies = Policies {
        shared: entries(defaults.and_then(|defaults| defaults.get("models")), env),
        ..Policies::default()
    };
    let providers = node.get("models").and_then(|models| models.get("providers"));
    for (provider, entry) in providers.map(Node::entries).unwrap_or_default() {
        let runtime = |node: &Node| filled(node.get("agentRuntime").and_then(|runtime| runtime.get("id")), env);
        if let Some(runtime) = runtime(entry) {
            policies.providers.push((provider.clone(), runtime));
        }
        let Some(Node::List(models)) = entry.get("models") else {
            continue;
        };
        for model in models {
            if let (Some(id), Some(runtime)) = (filled(model.get("id"), env), runtime(model)) {
                policies.catalogue.push(Entry {
                    model: format!("{provider}/{id}"),
                    runtime,
                    alias: String::new(),
                });
            }
        }
    }
    policies
}

/// The entries of a `models` map that name a runtime or an alias.
fn entries(models: Option<&Node>, env: &dyn Fn(&str) -> Option<String>) -> Vec<Entry> {
    let entry = |(model, entry): &(String, Node)| Entry {
        model: model.clone(),
        runtime: filled(entry.get("agentRuntime").and_then(|runtime| runtime.get("id")), env).unwrap_or_default(),
        alias: filled(entry.get("alias"), env).unwrap_or_default(),
    };
    let entries = models.map(Node::entries).unwrap_or_default().iter().map(entry);
    entries
        .filter(|entry| !entry.runtime.is_empty() || !entry.alias.is_empty())
        .collect()
}

fn claude_command(node: &Node, env: &dyn Fn(&str) -> Option<String>) -> ClaudeCommand {
    const DIR: &str = "CLAUDE_CONFIG_DIR";
    let defaults = node.get("agents").and_then(|agents| agents.get("defaults"));
    let backend = defaults.and_then(|defaults| defaults.get("cliBackends")?.get(claude_cli::ID));
    let block = node.get("env");
    let vars = block.and_then(|env| env.get("vars"));
    ClaudeCommand {
        command: filled(backend.and_then(|backend| backend.get("command")), env),
        dir: filled(backend.and_then(|backend| backend.get("env")?.get(DIR)), env),
        env_dir: filled(vars.and_then(|vars| vars.get(DIR)), env)
            .or_else(|| filled(block.and_then(|block| block.get(DIR)), env)),
    }
}

fn secrets(node: &Node, env: &dyn Fn(&str) -> Option<String>) -> Vec<SecretSource> {
    let providers = node.get("secrets").and_then(|secrets| secrets.get("providers"));
    let one = |(name, entry): &(String, Node)| {
        let source = filled(entry.get("source"), env)?;
        let path = if source == "exec" { "command" } else { "path" };
        Some(SecretSource {
            name: name.clone(),
            source,
            path: filled(entry.get(path), env)?,
        })
    };
    let providers = providers.map(Node::entries).unwrap_or_default();
    providers.iter().filter_map(one).collect()
}

/// A text with its variables filled in; `None` if it is not a text, or names a variable that is not set.
fn filled(node: Option<&Node>, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    substitute(node?.text()?, env).ok()
}

/// `auth.order`, `auth.profiles`, and the keys that the config itself holds: of these only that they are there.
fn auth(node: &Node, env: &dyn Fn(&str) -> Option<String>) -> AuthConfig {
    let mut auth = AuthConfig::default();
    let section = |name: &str| node.get("auth").and_then(|auth| auth.get(name)).map(Node::entries);
    for (provider, ids) in section("order").unwrap_or_default() {
        if let Node::List(ids) = ids {
            let ids = ids.iter().filter_map(Node::text).map(str::to_owned).collect();
            auth.order.push((provider.clone(), ids));
        }
    }
    for (id, entry) in section("profiles").unwrap_or_default() {
        let text = |key: &str| entry.get(key).and_then(Node::text).unwrap_or_default();
        auth.profiles
            .push((id.clone(), text("provider").to_owned(), Mode::of(text("mode"))));
    }
    let serves = |name: &str, value: &Node| {
        let text = value.text().and_then(|text| substitute(text, env).ok());
        text.is_some_and(|text| shape::variable_flaw(name, &text).is_none())
    };
    let block = node.get("env");
    let vars = block.and_then(|env| env.get("vars"));
    for (name, value) in [vars, block].into_iter().flatten().flat_map(Node::entries) {
        if !matches!(name.as_str(), "vars" | "shellEnv") && serves(name, value) && !auth.env.contains(name) {
            auth.env.push(name.clone());
        }
    }
    let models = node.get("models").and_then(|models| models.get("providers"));
    for (provider, entry) in models.map(Node::entries).unwrap_or_default() {
        let name = if provider == ANTHROPIC { "ANTHROPIC_API_KEY" } else { "" };
        if entry.get("apiKey").is_some_and(|key| serves(name, key)) {
            auth.keys.push(provider.clone());
        }
    }
    auth
}

/// What agents without models of their own use.
struct Models<'a> {
    shared: Option<&'a Node>,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Models<'_> {
    /// The primary model's provider, then the fallbacks', `claude-cli` for what the Claude CLI runtime runs. An agent's own primary
    /// replaces the shared one; its own `fallbacks`, even empty, replace the shared ones.
    fn providers(&self, own: Option<&Node>, policies: &Policies) -> Vec<String> {
        fn primary(model: &Node) -> Option<&str> {
            model.text().or_else(|| model.get("primary")?.text())
        }
        fn fallbacks(model: &Node) -> Option<&Vec<Node>> {
            match model.get("fallbacks") {
                Some(Node::List(items)) => Some(items),
                _ => None,
            }
        }
        let first = own.and_then(primary).or(self.shared.and_then(primary));
        let rest = own.and_then(fallbacks).or(self.shared.and_then(fallbacks));
        let provider = |model: &str| {
            let model = substitute(model, self.env).unwrap_or_default();
            match claude_cli::runs(&model, policies) {
                true => claude_cli::ID.to_owned(),
                false => provider(&model),
            }
        };
        // no primary model: the agents' built-in one is Anthropic's
        let mut providers: Vec<String> = vec![provider(first.unwrap_or("anthropic/"))];
        for model in rest.into_iter().flatten().filter_map(Node::text) {
            let provider = provider(model);
            if !providers.contains(&provider) {
                providers.push(provider);
            }
        }
        providers
    }
}

fn provider(model: &str) -> String {
    match model
        .split_once('/')
        .map(|(provider, _)| provider.trim().to_lowercase())
    {
        Some(provider) if !provider.is_empty() => provider,
        _ => ANTHROPIC.into(),
    }
}

/// Fills in `${NAME}` (capitals, digits, `_`); `$${NAME}` stands for `${NAME}` itself.
///
/// # Errors
/// The name of a variable that is unset or empty.
fn substitute(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    fn name_at(text: &str) -> Option<&str> {
        let (name, _) = text.strip_prefix("${")?.split_once('}')?;
        let valid = name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        (valid && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()).then_some(name)
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(name) = rest.strip_prefix('$').and_then(name_at) {
            out.push_str(&rest[1..name.len() + 4]);
            rest = &rest[name.len() + 4..];
        } else if let Some(name) = name_at(rest) {
            out.push_str(
                &env(name)
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| name.to_owned())?,
            );
            rest = &rest[name.len() + 3..];
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn env(name: &str) -> Option<String> {
        match name {
            "BASE" => Some("/srv/base".into()),
            "MODEL" => Some("openai/gpt-5.2".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    /// Writes the files and reads the first of them.
    fn read_files(list: &[(&str, &str)]) -> (AgentConfig, Vec<Problem>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in list {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&dir.path().join(list[0].0), &env)
    }

    fn ids(config: &AgentConfig) -> Vec<&str> {
        config.agents.iter().map(|agent| agent.id.as_str()).collect()
    }

    #[test]
    fn agents_and_the_default_one_are_read() {
        for (text, agents, default) in [
            ("{}", vec![], "main"),
            ("{agents: null}", vec![], "main"),
            ("{agents: {list: []}}", vec![], "main"),
            ("{agents: {list: [{id: 'Work'}, {id: 'b'}]}}", vec!["work", "b"], "work"),
            (
                "{agents: {list: [{id: 'a'}, {id: 'b', default: true}, {id: 'c', default: true}]}}",
                vec!["a", "b", "c"],
                "b",
            ),
            (
                "{agents: {list: [{id: 'a', default: 'no'}, {}]}}",
                vec!["a", "main"],
                "a",
            ),
            ("{agents: {list: ['x', 7, null, {id: 'a'}, {id: 'A'}]}}", vec!["a"], "a"),
            (
                "{agents: {entries: {z: {}, a: {default: true}, 'b c': {}}}}",
                vec!["z", "a", "b-c"],
                "a",
            ),
            ("{agents: {entries: {z: {}, a: {}}}}", vec!["z", "a"], "z"),
            ("{agents: {list: [{id: 'a'}], entries: {b: {}}}}", vec!["a", "b"], "a"),
            ("{agents: {list: [{id: '../../x'}]}}", vec!["x"], "x"),
            ("{agents: {list: [{id: '${UNSET}'}]}}", vec!["main"], "main"),
        ] {
            let (config, problems) = read_files(&[("c.json", text)]);
            assert_eq!(
                (ids(&config), config.default_agent.as_str(), problems.len()),
                (agents, default, 0),
                "{text}"
            );
        }
    }

    #[test]
    fn agent_dirs_are_filled_in() {
        let (config, problems) = read_files(&[(
            "c.json",
            "{agents: {list: [{id: 'a', agentDir: '${BASE}/a'}, {id: 'b', agentDir: '$${BASE}/b$'}, {id: 'c', agentDir: ' '},
              {id: 'd', agentDir: '${EMPTY}/d'}, {id: 'e', agentDir: '~/e/${lower}'}, {id: 'f', agentDir: 7}]}}",
        )]);
        let dirs: Vec<AgentDir> = config.agents.into_iter().map(|agent| agent.dir).collect();
        assert_eq!(
            dirs,
            [
                AgentDir::Text("/srv/base/a".into()),
                AgentDir::Text("${BASE}/b$".into()),
                AgentDir::Implied,
                AgentDir::Unset("EMPTY".into()),
                AgentDir::Text("~/e/${lower}".into()),
                AgentDir::Implied,
            ]
        );
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "`agentDir` is a number, not a string");
    }

    #[test]
    fn providers_in_use_are_those_of_the_default_agent() {
        for (text, providers) in [
            ("{}", vec!["anthropic"]),
            (
                "{agents: {defaults: {model: {primary: 'openai/gpt-5.2'}}}}",
                vec!["openai"],
            ),
            ("{agents: {defaults: {model: 'claude-opus-4-5'}}}", vec!["anthropic"]),
            (
                "{agents: {defaults: {model: {primary: 'OpenAI/x', fallbacks: ['anthropic/y', 'openai/z', ' ', 3]}}}}",
                vec!["openai", "anthropic"],
            ),
            (
                "{agents: {defaults: {model: {fallbacks: ['openai/x']}}}}",
                vec!["anthropic", "openai"],
            ),
            ("{agent: {model: 'google/g'}}", vec!["google"]),
            (
                "{agent: {model: 'google/g'}, agents: {defaults: {model: 'openai/x'}}}",
                vec!["openai"],
            ),
            (
                "{agents: {defaults: {model: {primary: 'a/x', fallbacks: ['b/x']}}, list: [{id: 'm', model: 'c/x'}]}}",
                vec!["c", "b"],
            ),
            (
                "{agents: {defaults: {model: {primary: 'a/x', fallbacks: ['b/x']}}, list: [{id: 'm', model: {primary: 'c/x', fallbacks: []}}]}}",
                vec!["c"],
            ),
            (
                "{agents: {defaults: {model: 'a/x'}, list: [{id: 'm'}, {id: 'n', model: 'c/x'}]}}",
                vec!["a"],
            ),
            ("{agents: {defaults: {model: '${MODEL}'}}}", vec!["openai"]),
            ("{agents: {defaults: {model: 7}}}", vec!["anthropic"]),
        ] {
            let (config, problems) = read_files(&[("c.json", text)]);
            assert_eq!(
                (config.providers_in_use, problems),
                (providers.iter().map(|p| (*p).to_owned()).collect(), vec![]),
                "{text}"
            );
        }
    }

    #[test]
    fn includes_merge_and_the_including_file_wins() {
        let (config, problems) = read_files(&[
            (
                "c.json",
                "{$include: ['./base.json5', 'sub/more.json'], meta: {lastTouchedVersion: '2026.1.24-3'}, agents: {list: [{id: 'own'}]}}",
            ),
            (
                "base.json5",
                "{meta: {lastTouchedVersion: '2026.9.9'}, agents: {list: [{id: 'base', default: true}], defaults: {model: 'openai/x'}}}",
            ),
            ("sub/more.json", "\u{feff}{agents: {list: {$include: 'list.json'}}}"),
            ("sub/list.json", "[{id: 'more'}]"),
        ]);
        assert_eq!(problems, []);
        assert_eq!(
            (ids(&config), config.version.as_deref(), config.default_agent.as_str()),
            (vec!["base", "more", "own"], Some("2026.1.24-3"), "base")
        );
        assert_eq!(config.providers_in_use, ["openai"]);
    }

    #[test]
    fn what_cannot_be_included_is_a_problem_and_the_rest_counts() {
        let deep: Vec<(String, String)> = (0..14)
            .map(|n| (format!("d{n}"), format!("{{$include: 'd{}'}}", n + 1)))
            .collect();
        let deep: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let wide: Vec<(String, String)> = (0..10)
            .map(|n| {
                (
                    format!("w{n}"),
                    format!("{{$include: ['w{0}', 'w{0}', './w{0}']}}", n + 1),
                )
            })
            .chain([("w10".to_owned(), "{agents: {list: [{id: 'x'}]}}".to_owned())])
            .collect();
        let wide: Vec<(&str, &str)> = wide.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        for (list, message) in [
            (
                &[("c", "{$include: 'none', agents: {list: [{id: 'a'}]}}")][..],
                "is included and does not exist",
            ),
            (
                &[("c", "{$include: 'c', agents: {list: [{id: 'a'}]}}")],
                "includes itself",
            ),
            (
                &[("c", "{$include: ['./b'], x: 1}"), ("b", "{$include: 'c'}")],
                "includes itself",
            ),
            (
                &[("c", "{$include: 7}")],
                "`$include` is a number, not a file name or a list of them",
            ),
            (&[("c", "{$include: '/'}")], "cannot be read: not a regular file"),
            (&[("c", "{$include: 'a\\u0000b'}")], "cannot be read"),
            (&[("c", "{$include: 'b'}"), ("b", "{")], "is not JSON5"),
            (&deep, "includes are nested deeper than 10"),
            (&wide, "not read: the config's includes come to more than 64 files"),
        ] {
            let (config, problems) = read_files(list);
            assert!(
                problems.iter().any(|problem| problem.message.starts_with(message)),
                "{message}: {problems:?}"
            );
            assert!(problems.iter().all(|problem| problem.kind == "agent_config_malformed"));
            if list[0].1.contains("'a'") {
                assert_eq!(ids(&config), ["a"]);
            }
        }
    }

    #[test]
    fn malformed_configs_say_where_and_show_nothing_of_their_content() {
        let nested = format!("{{a: {}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
        let huge = "x".repeat(10 << 20);
        for (text, message) in [
            ("{ agents: { agents:", "is not JSON5: eof parsing"),
            ("{\n  a: 1,\n  b: sk-CANARY\n}", "at line 3"),
            ("", "is not JSON5: eof parsing"),
            ("[]", "is a list, not an object"),
            ("'sk-CANARY'", "is a string, not an object"),
            ("{agents: []}", "`agents` is a list, not an object"),
            ("{agents: 7}", "`agents` is a number, not an object"),
            ("{agents: {list: 'sk-CANARY'}}", "`agents.list` is a string, not a list"),
            ("{agents: {entries: []}}", "`agents.entries` is a list, not an object"),
            (
                "{agents: {list: [{id: 7}]}}",
                "`agents.list[].id` is a number, not a string",
            ),
            (&nested, "nested deeper than 64 levels"),
            (&huge, "cannot be read: 10485760 bytes"),
        ] {
            let (config, problems) = read_files(&[("c.json", text)]);
            assert_eq!(config, AgentConfig::default(), "{message}");
            assert_eq!(problems.len(), 1, "{message}");
            assert!(
                problems[0].message.contains(message),
                "{message}: {}",
                problems[0].message
            );
            assert!(!format!("{problems:?}").contains("CANARY"));
        }
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let (config, _) = read_files(&[(
            "c.json",
            "{agents: {list: [{id: 'a', id: 'b'}]}, agents: {list: [{id: 'c'}]}}",
        )]);
        assert_eq!(ids(&config), ["c"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "[{}\\[\\]:,'\"a-z$ \n0-9./]{0,80}") {
            read_files(&[("c.json", text.as_str())]);
        }
    }
}

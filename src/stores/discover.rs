//! Finds every agent of every family: union of what the config says and what is on disk.
//!
//! Each real directory counts once, a migrated home's link beside it or not: a state directory under the newest family
//! that its own name or its config file tells, an agent directory under the first agent that names it. Nothing is made,
//! and a product whose state directory does not exist is not installed.

use super::agent_config::{self, AgentConfig, AgentDir};
use super::dotenv::Dotenv;
use crate::edge::files::{self, ReadError};
use crate::edge::host::{Host, expand_home};
use crate::rules::agent::{Agent, Generation, StateDir};
use crate::secret::Secret;
use crate::stores::families::{self, FAMILIES, FamilyRow, Signs, normalise_agent_id};
use crate::stores::store;
use crate::types::{AgentRef, Family, Problem};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The state directories, each real directory once.
    pub(crate) state_dirs: Vec<StateDir>,
    /// The agents, sorted by label, each real directory once.
    pub(crate) agents: Vec<Agent>,
    /// What could not be understood.
    pub(crate) problems: Vec<Problem>,
    /// Every place that was looked at, for "nothing found".
    pub(crate) looked_at: Vec<PathBuf>,
}

/// Looks.
pub(crate) fn discover(host: &Host) -> Found {
    let mut found = Found::default();
    let mut places: Vec<Place> = Vec::new();
    let mut agent_dirs = BTreeSet::new();
    let candidates = candidates(host, &mut found.looked_at);
    for candidate in &candidates {
        if files::is_dir(&candidate.path) {
            add_place(&mut places, candidate);
        } else if files::exists(&candidate.path) {
            let problem = Problem::at(
                "unreadable",
                &candidate.path,
                "a file, or a link that leads nowhere, is where the state directory should be",
                "mount what the link points to, or remove it if the product is gone",
            );
            if !found.problems.contains(&problem) {
                found.problems.push(problem);
            }
        }
    }
    for place in &places {
        found.add(host, place, &mut agent_dirs);
    }
    // an agent directory named by the environment exists without a state directory, unless an installed product has it
    for row in &FAMILIES {
        let Some(candidate) = candidates
            .iter()
            .find(|c| c.row.family == row.family && c.primary && !files::exists(&c.path))
        else {
            continue;
        };
        if let Some(dir) = agent_dir_override(host, &[row])
            && files::is_dir(&dir)
            && !agent_dirs.contains(&identity(&dir))
        {
            let place = Place {
                dir: candidate.path.clone(),
                family: row.family,
                named: candidate.named.clone(),
                rows: vec![row],
            };
            found.add(host, &place, &mut agent_dirs);
        }
    }
    found.problems.extend(unread_state_dirs(host, &candidates, &places));
    found.agents.sort_by_cached_key(|agent| agent.agent.label());
    let mut seen = BTreeSet::new();
    found.looked_at.retain(|path| seen.insert(path.clone()));
    found
}

/// State directories with stores that no product reads, since each takes the first of its names that exists.
fn unread_state_dirs(host: &Host, candidates: &[Candidate], places: &[Place]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names: Vec<&str> = FAMILIES.iter().flat_map(|row| row.dirs).copied().collect();
    names.sort_unstable();
    names.dedup();
    for dir in names.iter().map(|name| host.home.join(name)) {
        let Some(real) = files::real(&dir).filter(|real| files::is_dir(real)) else {
            continue;
        };
        if places.iter().any(|place| place.dir == real) {
            continue;
        }
        let agents = files::list(&real.join("agents")).into_iter();
        let stores = agents
            .filter(|id| files::is_file(&real.join("agents").join(id).join("agent/auth-profiles.json")))
            .count();
        // who would read it, and what it reads instead
        let by_name = by_name(&dir);
        let instead =
            by_name.and_then(|(family, _)| candidates.iter().find(|one| one.row.family == family && one.primary));
        let (Some((family, _)), Some(instead), 1..) = (by_name, instead, stores) else {
            continue;
        };
        let of = if stores == 1 { "store" } else { "stores" };
        problems.push(Problem::at(
            "state_dir_unread",
            &dir,
            format!(
                "`{}` holds {stores} {of} that no agent reads: {family} uses `{}`",
                host.tilde(&dir),
                host.tilde(&instead.path)
            ),
            format!(
                "set `{}` for the product that should use it, or remove it if it is a leftover",
                families::row(family).state_env[0]
            ),
        ));
    }
    problems
}

/// A path where a family's state directory may be.
struct Candidate {
    row: &'static FamilyRow,
    path: PathBuf,
    named: Option<String>,
    /// The one that the family's processes use with this environment; its config and agent directory may be overridden.
    primary: bool,
}

fn candidates(host: &Host, looked_at: &mut Vec<PathBuf>) -> Vec<Candidate> {
    let mut list = Vec::new();
    let mut homes = vec![host.home.clone()];
    for row in &FAMILIES {
        let home = home_of(host, row);
        if !homes.contains(&home) {
            homes.push(home.clone());
        }
        let candidate = |path: &Path, named: Option<&str>, primary| Candidate {
            row,
            path: path.to_owned(),
            named: named.map(str::to_owned),
            primary,
        };
        if let Some(text) = first_var(host, row.state_env) {
            let path = absolute(host, text, &home);
            list.push(candidate(&path, by_name(&path).and_then(|(_, profile)| profile), true));
            looked_at.push(path);
            continue;
        }
        let profile = row
            .profile_env
            .and_then(|name| host.var_nonblank(name))
            .filter(|name| !name.eq_ignore_ascii_case("default") && is_profile_name(name));
        if let Some(profile) = profile {
            let path = home.join(format!("{}-{profile}", row.dirs[0]));
            list.push(candidate(&path, Some(profile), true));
            looked_at.push(path);
        }
        let paths: Vec<PathBuf> = row.dirs.iter().map(|name| home.join(name)).collect();
        let path = paths.iter().find(|path| files::exists(path)).unwrap_or(&paths[0]);
        list.push(candidate(path, None, profile.is_none()));
        looked_at.extend(paths);
    }
    for home in homes {
        for name in files::list(&home) {
            if let Some((family, Some(profile))) = families::by_dir_name(&name)
                && looks_like_state(&home.join(&name))
            {
                let path = home.join(&name);
                looked_at.push(path.clone());
                list.push(Candidate {
                    row: families::row(family),
                    path,
                    named: Some(profile.to_owned()),
                    primary: false,
                });
            }
        }
    }
    list
}

/// What a directory's own name tells: whose it is, and for which profile.
fn by_name(dir: &Path) -> Option<(Family, Option<&str>)> {
    families::by_dir_name(dir.file_name()?.to_str()?)
}

fn is_profile_name(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && name.len() <= 64
}

fn looks_like_state(dir: &Path) -> bool {
    files::is_dir(&dir.join("agents"))
        || FAMILIES
            .iter()
            .flat_map(|row| row.config_names)
            .any(|name| files::is_file(&dir.join(name)))
}

/// A state directory that is there, and the families whose primary one it is.
struct Place {
    dir: PathBuf,
    family: Family,
    named: Option<String>,
    rows: Vec<&'static FamilyRow>,
}

fn add_place(places: &mut Vec<Place>, candidate: &Candidate) {
    let Some(dir) = files::real(&candidate.path) else {
        return;
    };
    let place = match places.iter().position(|place| place.dir == dir) {
        Some(at) => &mut places[at],
        None => {
            let family = family_of(&dir).unwrap_or(candidate.row.family);
            let mut named = candidate.named.clone();
            // an agent's label names it in the ledger and in globs, so no two directories share one
            let taken = |named: &Option<String>| places.iter().any(|p| p.family == family && p.named == *named);
            if taken(&named) {
                let own = dir
                    .file_name()
                    .map_or_else(|| "other".into(), |name| name.to_string_lossy().into_owned());
                let own = own.trim_start_matches('.').to_owned();
                named = (1..)
                    .map(|n| Some(if n == 1 { own.clone() } else { format!("{own}-{n}") }))
                    .find(|named| !taken(named))
                    .flatten();
            }
            places.push(Place {
                dir,
                family,
                named,
                rows: Vec::new(),
            });
            let last = places.len() - 1;
            &mut places[last]
        }
    };
    if candidate.primary {
        place.rows.push(candidate.row);
        // the family that lives here asks its own variables first
        let family = place.family;
        place.rows.sort_by_key(|row| row.family != family);
    }
}

/// The newest family that the directory's own name or a config file in it tells: OpenClaw took over older directories and
/// older config files, never the other way round.
fn family_of(real: &Path) -> Option<Family> {
    let by_name = by_name(real).map(|(family, _)| family);
    FAMILIES
        .iter()
        .flat_map(|row| row.config_names)
        .filter(|name| files::is_file(&real.join(name)))
        .filter_map(|name| families::by_config_name(name))
        .chain(by_name)
        .max()
}

impl Found {
    fn add(&mut self, host: &Host, place: &Place, agent_dirs: &mut BTreeSet<Identity>) {
        let dir = &place.dir;
        let own = families::row(place.family);
        let home = place.rows.first().map_or(host.home.clone(), |row| home_of(host, row));
        if files::is_dir(dir) {
            self.check_listable(dir);
            self.check_listable(&dir.join("agents"));
        }
        let (dotenv, problem) = Dotenv::read(&dir.join(".env"));
        self.problems.extend(problem);

        let config_path = self.config_path(host, place, own, &home);
        let env = |name: &str| {
            host.var(name)
                .map(str::to_owned)
                .or_else(|| dotenv.get(name).map(Secret::expose).map(str::to_owned))
        };
        let (config, problems) = match &config_path {
            Some(path) => agent_config::read(path, &env),
            None => Default::default(),
        };
        self.problems
            .extend(problems.into_iter().map(|problem| with_its_path(host, problem)));

        let main_dir = agent_dir_override(host, &place.rows);
        let (picked, other_dirs) = self.pick(place, &config, config_path.as_deref(), main_dir, &home);
        let all_dirs: Vec<&PathBuf> = picked.iter().map(|(_, dir)| dir).chain(&other_dirs).collect();
        let any = |name: &str| all_dirs.iter().any(|dir| files::is_file(&dir.join(name)));
        let shared_sqlite = Some(dir.join(families::SHARED_DATABASE)).filter(|path| files::is_file(path));
        let signs = Signs {
            version: config.version.as_deref(),
            sqlite: shared_sqlite.is_some() || any(families::AGENT_DATABASE),
            json_store: any(store::FILE_NAME),
            auth_state: any("auth-state.json"),
        };
        let auth_state = signs.auth_state;
        let generation = families::generation(place.family, signs);
        let refresh_locks = families::refresh_locks(&generation, signs);
        if generation == Generation::Sqlite {
            self.problems
                .extend(all_dirs.into_iter().filter_map(|dir| leftover(dir)));
        }
        let new = picked.into_iter().filter(|(_, dir)| agent_dirs.insert(identity(dir)));
        self.agents.extend(new.map(|(id, dir)| Agent {
            agent: AgentRef {
                family: place.family,
                named: place.named.clone(),
                id,
                dir,
            },
            state_dir: self.state_dirs.len(),
        }));
        self.state_dirs.push(StateDir {
            family: place.family,
            named: place.named.clone(),
            dir: dir.clone(),
            config_path,
            default_agent: config.default_agent,
            generation,
            version: config.version,
            refresh_locks,
            shared_sqlite,
            dotenv: dotenv.names(),
            dotenv_flaws: dotenv.flaws(),
            providers_in_use: config.providers_in_use,
            agent_providers: (
                config
                    .agents
                    .into_iter()
                    .map(|agent| (agent.id, agent.providers))
                    .collect(),
                config.shared_providers,
            ),
            auth: config.auth,
            auth_state,
            claude: config.claude,
            secrets: config.secrets,
            reload_off: config.reload_off,
        });
    }

    /// The config file: the one the environment names, there or not, else the first that exists.
    fn config_path(&mut self, host: &Host, place: &Place, own: &FamilyRow, home: &Path) -> Option<PathBuf> {
        let named = place.rows.iter().find_map(|row| first_var(host, row.config_env));
        let paths: Vec<PathBuf> = match named {
            Some(text) => vec![absolute(host, text, home)],
            None => own.config_names.iter().map(|name| place.dir.join(name)).collect(),
        };
        self.looked_at.extend(paths.iter().cloned());
        paths.into_iter().find(|path| files::exists(path))
    }

    /// The agents with their directories, the default one first, each id once; and directories on disk that no agent uses
    /// any more, since the config puts that agent elsewhere.
    fn pick(
        &mut self,
        place: &Place,
        config: &AgentConfig,
        config_path: Option<&Path>,
        main_dir: Option<PathBuf>,
        home: &Path,
    ) -> (Vec<(String, PathBuf)>, Vec<PathBuf>) {
        let implied = |id: &str| place.dir.join("agents").join(id).join("agent");
        let mut picked: Vec<(String, PathBuf)> = Vec::new();
        // ids whose directory the config gives in a way that cannot be followed from here
        let mut unknown: Vec<String> = Vec::new();
        let mut known = BTreeSet::new();
        let mut pick = |id: &str, dir: PathBuf| {
            if known.insert(id.to_owned()) {
                picked.push((id.to_owned(), dir));
            }
        };
        let replaced = main_dir.is_some();
        if let Some(dir) = main_dir {
            pick("main", dir);
        }
        if !files::is_dir(&place.dir) {
            return (picked, Vec::new());
        }
        let mut agents: Vec<_> = config.agents.iter().collect();
        agents.sort_by_key(|agent| agent.id != config.default_agent);
        for agent in agents {
            if agent.id == "main" && replaced {
                continue;
            }
            let trouble = match &agent.dir {
                AgentDir::Implied => {
                    pick(&agent.id, implied(&agent.id));
                    continue;
                }
                AgentDir::Text(text) => {
                    let path = expand_home(text, home);
                    if path.is_absolute() && !text.contains('\0') {
                        pick(&agent.id, lexical(&path));
                        continue;
                    }
                    "is relative, so it means a different place for each process that reads it".to_owned()
                }
                AgentDir::Unset(name) => format!("names `{name}`, which is set neither here nor in `.env`"),
            };
            self.problems.push(Problem::at(
                "agent_config_malformed",
                config_path.unwrap_or(&place.dir),
                format!("`agentDir` of agent `{}` {trouble}", agent.id),
                "write an absolute path, or one that starts with `~/`",
            ));
            unknown.push(agent.id.clone());
        }
        for id in [config.default_agent.as_str(), "main"] {
            if !unknown.iter().any(|known| known == id) {
                pick(id, implied(id));
            }
        }
        let on_disk = on_disk(&place.dir);
        // a folder that has the id's own spelling is the one the agents use
        for (id, dir) in on_disk.iter().filter(|(id, dir)| *dir == implied(id)) {
            pick(id, dir.clone());
        }
        for (id, dir) in &on_disk {
            pick(id, dir.clone());
        }
        let used: BTreeSet<&PathBuf> = picked.iter().map(|(_, dir)| dir).collect();
        let unused = on_disk
            .into_iter()
            .map(|(_, dir)| dir)
            .filter(|dir| !used.contains(dir))
            .collect();
        (picked, unused)
    }

    fn check_listable(&mut self, dir: &Path) {
        let message = match files::read(dir) {
            Err(ReadError::Io(error)) => files::io_words(&error),
            _ if files::exists(dir) && !files::is_dir(dir) => "not a directory".into(),
            _ => return,
        };
        self.problems.push(Problem::at(
            "unreadable",
            dir,
            format!("cannot look into the directory: {message}"),
            "run as the user who owns it, or let this user read it",
        ));
    }
}

fn first_var<'a>(host: &'a Host, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| host.var_nonblank(name))
}

fn home_of(host: &Host, row: &FamilyRow) -> PathBuf {
    match row.home_env.and_then(|name| host.var_nonblank(name)) {
        Some(text) => absolute(host, text, &host.home),
        None => host.home.clone(),
    }
}

fn agent_dir_override(host: &Host, rows: &[&FamilyRow]) -> Option<PathBuf> {
    let row = rows.iter().find(|row| first_var(host, row.agent_dir_env).is_some())?;
    let text = first_var(host, row.agent_dir_env)?;
    Some(absolute(host, text, &home_of(host, row)))
}

/// A path from the environment as the agents resolve it.
fn absolute(host: &Host, text: &str, home: &Path) -> PathBuf {
    lexical(&host.cwd.join(expand_home(text, home)))
}

/// `.` and `..` taken out by name alone, as Node's `path.resolve` does.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// What makes two directory paths the same place: what the system tells it by, or that of the nearest existing parent with the
/// rest of the path where it is not there yet.
type Identity = (Option<(u64, u64)>, PathBuf);

fn identity(path: &Path) -> Identity {
    path.ancestors()
        .find_map(|above| {
            let place = files::place(above)?;
            Some((
                Some(place),
                path.strip_prefix(above).unwrap_or(Path::new("")).to_owned(),
            ))
        })
        .unwrap_or_else(|| (None, path.to_owned()))
}

/// The message alone is shown in places.
fn with_its_path(host: &Host, problem: Problem) -> Problem {
    Problem {
        message: match &problem.path {
            Some(path) => format!("`{}` {}", host.tilde(path), problem.message),
            None => problem.message,
        },
        ..problem
    }
}

/// A JSON store where SQLite is read.
fn leftover(dir: &Path) -> Option<Problem> {
    let json = dir.join(store::FILE_NAME);
    files::exists(&json).then(|| {
        Problem::at(
            "json_beside_sqlite",
            json,
            "a JSON store beside a newer OpenClaw's SQLite store",
            "a leftover that this OpenClaw does not read; remove it if `openclaw` complains",
        )
    })
}

/// The agents' directories that there are, by the id that their names stand for.
fn on_disk(state_dir: &Path) -> Vec<(String, PathBuf)> {
    let agents = state_dir.join("agents");
    let names = files::list(&agents).into_iter();
    let all = names.map(|name| (normalise_agent_id(&name), agents.join(&name).join("agent")));
    all.filter(|(_, dir)| files::is_dir(dir)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LockKind;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Home(tempfile::TempDir);

    impl Home {
        /// A home with these files; a name ending in `/` is a directory. `$HOME` in a text is this home.
        fn new(list: &[(&str, &str)]) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for (name, text) in list {
                let path = home.path().join(name);
                if name.ends_with('/') {
                    fs::create_dir_all(path).unwrap();
                } else {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, text.replace("$HOME", &home.path().to_string_lossy())).unwrap();
                }
            }
            home
        }

        fn path(&self) -> PathBuf {
            fs::canonicalize(self.0.path()).unwrap()
        }

        fn link(self, from: &str, to: &str) -> Self {
            symlink(self.path().join(to), self.path().join(from)).unwrap();
            self
        }

        fn look(&self, env: &[(&str, &str)]) -> Found {
            let home = self.path();
            discover(&Host {
                env: env
                    .iter()
                    .map(|(name, value)| ((*name).into(), value.replace("$HOME", &home.to_string_lossy())))
                    .collect(),
                cwd: home.clone(),
                home,
                name: "host".into(),
                macos: false,
                own: vec!["nolapse".into()],
            })
        }

        /// `label dir` of every agent, directories relative to the home.
        fn agents(&self, env: &[(&str, &str)]) -> Vec<String> {
            self.names(&self.look(env))
        }

        fn names(&self, found: &Found) -> Vec<String> {
            found
                .agents
                .iter()
                .map(|agent| {
                    let dir = agent.agent.dir.strip_prefix(self.path()).unwrap_or(&agent.agent.dir);
                    format!("{} {}", agent.agent.label(), dir.display())
                })
                .collect()
        }
    }

    const MAIN: &str = "clawdbot/main .clawdbot/agents/main/agent";

    #[test]
    fn an_empty_home_has_nothing_and_says_where_it_looked() {
        let home = Home::new(&[]);
        let found = home.look(&[]);
        assert!(found.agents.is_empty() && found.state_dirs.is_empty() && found.problems.is_empty());
        let looked: Vec<String> = found
            .looked_at
            .iter()
            .map(|path| path.strip_prefix(home.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(looked, [".clawdbot", ".moltbot", ".openclaw", ".moldbot"]);
        assert!(files::list(&home.path()).is_empty());
    }

    /// The homes and environments of the cases that the real clawdbot 2026.1.24-3 made, and where it wrote its stores.
    #[test]
    fn the_stores_are_looked_for_where_clawdbot_makes_them() {
        let three = "{\"agents\": {\"list\": [{\"id\": \"main\", \"default\": true}, {\"id\": \"Work\"}, {\"id\": \"no such/Dir\"}]}}";
        let elsewhere =
            "{\"agents\": {\"list\": [{\"id\": \"main\"}, {\"id\": \"work\", \"agentDir\": \"~/elsewhere/agent\"}]}}";
        type Case<'a> = (
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a [(&'a str, &'a str)],
            &'a [&'a str],
        );
        let cases: [Case; 10] = [
            (
                "agent-custom-agentDir",
                &[(".clawdbot/clawdbot.json", elsewhere)],
                &[],
                &[MAIN, "clawdbot/work elsewhere/agent"],
            ),
            (
                "agent-id-normalised",
                &[(".clawdbot/clawdbot.json", three)],
                &[],
                &[
                    MAIN,
                    "clawdbot/no-such-dir .clawdbot/agents/no-such-dir/agent",
                    "clawdbot/work .clawdbot/agents/work/agent",
                ],
            ),
            (
                "env-config-path, before",
                &[("etc/c.json5", "{}")],
                &[("CLAWDBOT_CONFIG_PATH", "$HOME/etc/c.json5")],
                &[],
            ),
            (
                "env-config-path",
                &[
                    (
                        "etc/c.json5",
                        "{ // JSON5\n agents: { list: [{ id: 'main' }, { id: 'x' }] }, }",
                    ),
                    (".clawdbot/agents/main/agent/", ""),
                ],
                &[("CLAWDBOT_CONFIG_PATH", "$HOME/etc/c.json5")],
                &[MAIN, "clawdbot/x .clawdbot/agents/x/agent"],
            ),
            (
                "env-moltbot-ignored",
                &[(".clawdbot/agents/main/agent/", ""), ("cc/.credentials.json", "{}")],
                &[
                    ("MOLTBOT_STATE_DIR", "$HOME/m"),
                    ("OPENCLAW_STATE_DIR", "$HOME/o"),
                    ("CLAUDE_CONFIG_DIR", "$HOME/cc"),
                ],
                &[MAIN],
            ),
            (
                "env-pi-agent-dir",
                &[("pidir/", "")],
                &[("PI_CODING_AGENT_DIR", "$HOME/pidir"), ("CLAWDBOT_AGENT_DIR", " ")],
                &["clawdbot/main pidir"],
            ),
            (
                "env-state-dir",
                &[("state/agents/main/agent/", "")],
                &[("CLAWDBOT_STATE_DIR", "~/state")],
                &["clawdbot/main state/agents/main/agent"],
            ),
            (
                "config-invalid-key",
                &[(".clawdbot/clawdbot.json", "{\"nonsense\": true}")],
                &[],
                &[MAIN],
            ),
            (
                "config-malformed",
                &[(".clawdbot/clawdbot.json", "{ agents: { agents:")],
                &[],
                &[MAIN],
            ),
            (
                "config-other-model",
                &[(
                    ".clawdbot/clawdbot.json",
                    "{\"agents\": {\"defaults\": {\"model\": {\"primary\": \"openai/gpt-5.2\"}}}}",
                )],
                &[],
                &[MAIN],
            ),
        ];
        for (name, list, env, agents) in cases {
            assert_eq!(Home::new(list).agents(env), agents, "{name}");
        }
    }

    #[test]
    fn the_environment_moves_state_config_and_mains_directory() {
        let all = Home::new(&[
            (".clawdbot/agents/main/agent/", ""),
            (".moltbot/agents/main/agent/", ""),
            (".openclaw/agents/main/agent/", ""),
            (".clawdbot-work/agents/", ""),
            (".clawdbot-cache/tmp/", ""),
            ("other/openclaw.json", "{}"),
            (
                "oc/.openclaw/openclaw.json",
                "{agents: {list: [{id: 'a', agentDir: '~/a'}]}}",
            ),
            ("agent/", ""),
        ]);
        let oc = "openclaw/main .openclaw/agents/main/agent";
        let work = "clawdbot-work/main .clawdbot-work/agents/main/agent";
        for (env, agents) in [
            (vec![], vec![work, MAIN, oc]),
            (
                vec![("CLAWDBOT_STATE_DIR", " "), ("OPENCLAW_PROFILE", "default")],
                vec![work, MAIN, oc],
            ),
            (
                vec![("CLAWDBOT_STATE_DIR", "none"), ("MOLTBOT_STATE_DIR", "none")],
                vec![work, oc],
            ),
            // the state directory that a profile's own process sees
            (
                vec![
                    ("CLAWDBOT_STATE_DIR", "~/.clawdbot-work"),
                    ("CLAWDBOT_AGENT_DIR", "agent"),
                ],
                vec!["clawdbot-work/main agent", oc],
            ),
            (
                vec![("OPENCLAW_STATE_DIR", "./x/../other")],
                vec![work, MAIN, "openclaw/main other/agents/main/agent"],
            ),
            (
                vec![("OPENCLAW_HOME", "~/oc")],
                vec![
                    work,
                    MAIN,
                    "openclaw/a oc/a",
                    "openclaw/main oc/.openclaw/agents/main/agent",
                ],
            ),
            (
                vec![("CLAWDBOT_AGENT_DIR", "~/agent"), ("PI_CODING_AGENT_DIR", "~/pi")],
                vec![work, "clawdbot/main agent", "openclaw/main pi"],
            ),
            // one directory for both: the first family has it
            (
                vec![("PI_CODING_AGENT_DIR", "~/agent")],
                vec![work, "clawdbot/main agent"],
            ),
            (
                vec![
                    ("CLAWDBOT_CONFIG_PATH", "~/other/openclaw.json"),
                    ("OPENCLAW_PROFILE", "../x"),
                ],
                vec![work, MAIN, oc],
            ),
        ] {
            assert_eq!(all.agents(&env), agents, "{env:?}");
        }
    }

    #[test]
    fn a_profile_counts_by_the_environment_or_by_what_it_holds() {
        let home = Home::new(&[
            (".openclaw-new/", ""),
            (".openclaw-empty/", ""),
            (".moltbot-m/moltbot.json", "{}"),
            (".moldbot-n/agents/", ""),
            (".openclaw-file", "{}"),
        ]);
        assert_eq!(
            home.agents(&[("OPENCLAW_PROFILE", "new")]),
            [
                "moltbot-m/main .moltbot-m/agents/main/agent",
                "moltbot-n/main .moldbot-n/agents/main/agent",
                "openclaw-new/main .openclaw-new/agents/main/agent",
            ]
        );
    }

    #[test]
    fn a_real_directory_counts_once_under_the_family_that_lives_there() {
        // migrated, the old name a link to the new; and a new name that is a link to the old
        for (files, link, agents) in [
            (
                &[(".openclaw/openclaw.json", "{}")][..],
                (".clawdbot", ".openclaw"),
                "openclaw/main .openclaw/agents/main/agent",
            ),
            (
                &[(".openclaw/agents/", "")],
                (".moltbot", ".openclaw"),
                "openclaw/main .openclaw/agents/main/agent",
            ),
            (
                &[(".openclaw/clawdbot.json", "{}")],
                (".clawdbot", ".openclaw"),
                "openclaw/main .openclaw/agents/main/agent",
            ),
            (&[(".clawdbot/clawdbot.json", "{}")], (".openclaw", ".clawdbot"), MAIN),
            (
                &[(".clawdbot/openclaw.json", "{}"), (".clawdbot/clawdbot.json", "{}")],
                (".openclaw", ".clawdbot"),
                "openclaw/main .clawdbot/agents/main/agent",
            ),
            (
                &[(".clawdbot/moltbot.json", "{}")],
                (".moltbot", ".clawdbot"),
                "moltbot/main .clawdbot/agents/main/agent",
            ),
            (
                &[("mnt/data/agents/", "")],
                (".clawdbot", "mnt/data"),
                "clawdbot/main mnt/data/agents/main/agent",
            ),
            (
                &[("mnt/data/openclaw.json", "{}")],
                (".clawdbot", "mnt/data"),
                "openclaw/main mnt/data/agents/main/agent",
            ),
            (&[(".clawdbot/agents/", "")], (".clawdbot-x", ".clawdbot"), MAIN),
        ] {
            let home = Home::new(files).link(link.0, link.1);
            let found = home.look(&[]);
            assert_eq!(
                (home.names(&found), found.state_dirs.len()),
                (vec![agents.to_owned()], 1),
                "{link:?}"
            );
            assert_eq!(found.problems, [], "{link:?}");
        }
        // openclaw takes over the oldest directory that exists
        assert_eq!(
            Home::new(&[(".moldbot/agents/", "")]).agents(&[]),
            ["moltbot/main .moldbot/agents/main/agent"]
        );
    }

    #[test]
    fn no_two_state_directories_share_a_label() {
        let home = Home::new(&[
            (".clawdbot/agents/", ""),
            ("m/clawdbot.json", "{}"),
            ("o/m/clawdbot.json", "{}"),
        ]);
        let env = [("MOLTBOT_STATE_DIR", "~/m"), ("OPENCLAW_STATE_DIR", "~/o/m")];
        assert_eq!(
            home.agents(&env),
            [
                "clawdbot-m-2/main o/m/agents/main/agent",
                "clawdbot-m/main m/agents/main/agent",
                MAIN
            ]
        );
    }

    #[test]
    fn agents_are_those_of_the_config_and_of_the_disk() {
        for (config, disk, agents) in [
            (
                "{}",
                vec!["agents/a/agent/", "agents/b/sessions/", "agents/.x/agent/"],
                vec!["a=a/agent", "main=main/agent", "x=.x/agent"],
            ),
            (
                "{agents: {list: [{id: 'w'}]}}",
                vec![],
                vec!["main=main/agent", "w=w/agent"],
            ),
            // moved by the config: nobody uses the folder it left
            (
                "{agents: {list: [{id: 'w', agentDir: '$HOME/.clawdbot/agents/new'}]}}",
                vec!["agents/w/agent/"],
                vec!["main=main/agent", "w=new"],
            ),
            // another spelling on disk
            (
                "{}",
                vec!["agents/Work/agent/", "agents/work/agent/"],
                vec!["main=main/agent", "work=work/agent"],
            ),
            (
                "{}",
                vec!["agents/Work/agent/"],
                vec!["main=main/agent", "work=Work/agent"],
            ),
            // two ids for one folder: the default one has it
            (
                "{agents: {list: [{id: 'a', agentDir: '$HOME/.clawdbot/agents/main/x/../agent/'}, {id: 'b', default: true}]}}",
                vec![],
                vec!["a=main/agent", "b=b/agent"],
            ),
            (
                "{agents: {list: [{id: '../../x'}, {id: 'ünï'}]}}",
                vec!["agents/日本/agent/"],
                vec!["main=main/agent", "n=n/agent", "x=x/agent"],
            ),
            (
                "{agents: 7}",
                vec!["agents/a/agent/"],
                vec!["a=a/agent", "main=main/agent"],
            ),
            ("{agents: []}", vec![], vec!["main=main/agent"]),
            ("garbage", vec!["agents/a/agent/"], vec!["a=a/agent", "main=main/agent"]),
        ] {
            let disk: Vec<String> = disk.iter().map(|name| format!(".clawdbot/{name}")).collect();
            let mut list = vec![(".clawdbot/clawdbot.json", config)];
            list.extend(disk.iter().map(|name| (name.as_str(), "")));
            let home = Home::new(&list);
            let got: Vec<String> = home
                .agents(&[])
                .iter()
                .map(|line| line.replace("clawdbot/", "").replacen(" .agents/", "=", 1))
                .collect();
            assert_eq!(got, agents, "{config} {disk:?}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_told_is_a_problem_and_nothing_is_guessed() {
        let home = Home::new(&[
            (
                ".clawdbot/clawdbot.json",
                "{agents: {list: [{id: 'a', agentDir: 'relative/a'}, {id: 'b', agentDir: '${NOWHERE}/b'}, {id: 'c', agentDir: '${C_DIR}'}, {id: 'd', agentDir: '${D_DIR}'}]}}",
            ),
            (
                ".clawdbot/.env",
                "C_DIR=/srv/c\nD_DIR=/srv/no\nANTHROPIC_API_KEY=sk-CANARY\nEMPTY=\n",
            ),
        ]);
        let found = home.look(&[("D_DIR", "/srv/d")]);
        assert_eq!(home.names(&found), ["clawdbot/c /srv/c", "clawdbot/d /srv/d", MAIN]);
        let messages: Vec<&str> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`agentDir` of agent `a` is relative, so it means a different place for each process that reads it",
                "`agentDir` of agent `b` names `NOWHERE`, which is set neither here nor in `.env`",
            ]
        );
        assert_eq!(found.state_dirs[0].dotenv, ["ANTHROPIC_API_KEY", "C_DIR", "D_DIR"]);
        assert!(!format!("{found:?}").contains("CANARY"));
    }

    #[test]
    fn what_is_in_the_way_is_a_problem_and_the_rest_is_found() {
        for (list, link, kind) in [
            (&[(".clawdbot", "a file")][..], None, "unreadable"),
            (&[(".clawdbot/agents", "a file")], None, "unreadable"),
            (&[], Some((".clawdbot", "gone")), "unreadable"),
            (
                &[(".clawdbot/", "")],
                Some((".clawdbot/agents", ".clawdbot/agents")),
                "unreadable",
            ),
            (&[(".clawdbot/clawdbot.json/", "")], None, "agent_config_malformed"),
            (
                &[(".clawdbot/", "")],
                Some((".clawdbot/clawdbot.json", ".clawdbot/clawdbot.json")),
                "agent_config_malformed",
            ),
            (&[(".clawdbot/.env/", "")], None, "unreadable"),
        ] {
            let mut home = Home::new(list);
            fs::create_dir_all(home.path().join(".openclaw/agents")).unwrap();
            if let Some((from, to)) = link {
                home = home.link(from, to);
            }
            let found = home.look(&[]);
            assert_eq!(
                found.problems.iter().map(|p| p.kind).collect::<Vec<_>>(),
                [kind],
                "{list:?} {link:?}"
            );
            assert!(
                home.names(&found)
                    .contains(&"openclaw/main .openclaw/agents/main/agent".to_owned())
            );
        }
        let huge = "x".repeat(10 << 20);
        let home = Home::new(&[(".clawdbot/clawdbot.json", &huge), (".clawdbot/agents/a/agent/", "")]);
        let found = home.look(&[]);
        assert_eq!(found.problems[0].kind, "agent_config_malformed");
        assert_eq!(home.names(&found), ["clawdbot/a .clawdbot/agents/a/agent", MAIN]);
    }

    #[test]
    fn the_generation_is_told_from_disk_and_config() {
        let version = |text: &str| format!("{{meta: {{lastTouchedVersion: '{text}'}}}}");
        let (old, new) = (version("2026.1.24-3"), version("2026.9.6"));
        for (list, env, expected) in [
            (
                vec![(".clawdbot/clawdbot.json", old.as_str())],
                vec![],
                Generation::Json(LockKind::Directory),
            ),
            (
                vec![(".openclaw/openclaw.json", new.as_str())],
                vec![],
                Generation::Sqlite,
            ),
            (
                vec![
                    (".clawdbot/clawdbot.json", old.as_str()),
                    (".clawdbot/state/openclaw.sqlite", ""),
                ],
                vec![],
                Generation::Sqlite,
            ),
            (
                vec![(".openclaw/agents/a/agent/openclaw-agent.sqlite", "")],
                vec![],
                Generation::Sqlite,
            ),
            (
                vec![(".openclaw/agents/", ""), ("x/openclaw-agent.sqlite", "")],
                vec![("OPENCLAW_AGENT_DIR", "~/x")],
                Generation::Sqlite,
            ),
            (
                vec![("x/openclaw-agent.sqlite", "")],
                vec![("OPENCLAW_AGENT_DIR", "~/x")],
                Generation::Sqlite,
            ),
            (
                vec![("x/", "")],
                vec![("PI_CODING_AGENT_DIR", "~/x")],
                Generation::Json(LockKind::Directory),
            ),
            (
                vec![(".openclaw/agents/a/agent/auth-profiles.json", "{}")],
                vec![],
                Generation::Json(LockKind::File),
            ),
            (
                vec![
                    (".clawdbot/clawdbot.json", old.as_str()),
                    (".clawdbot/agents/a/agent/auth-state.json", "{}"),
                ],
                vec![],
                Generation::Json(LockKind::File),
            ),
        ] {
            let found = Home::new(&list).look(&env);
            assert_eq!(found.state_dirs[0].generation, expected, "{list:?}");
            assert_eq!(found.problems, []);
        }
        let found = Home::new(&[(".openclaw/agents/", "")]).look(&[]);
        assert!(
            matches!(&found.state_dirs[0].generation, Generation::Unknown(why) if why.contains("the generation of OpenClaw is unknown"))
        );
    }

    #[test]
    fn json_beside_sqlite_is_reported() {
        let home = Home::new(&[
            (".openclaw/openclaw.json", "{agents: {entries: {w: {agentDir: '~/w'}}}}"),
            (".openclaw/state/openclaw.sqlite", ""),
            (".openclaw/agents/main/agent/auth-profiles.json", "{}"),
            (".openclaw/agents/w/agent/auth-profiles.json", "{}"),
        ]);
        let found = home.look(&[]);
        let paths: Vec<_> = found
            .problems
            .iter()
            .map(|problem| {
                (
                    problem.kind,
                    problem
                        .path
                        .as_ref()
                        .unwrap()
                        .strip_prefix(home.path())
                        .unwrap()
                        .to_str()
                        .unwrap(),
                )
            })
            .collect();
        assert_eq!(
            paths,
            [
                ("json_beside_sqlite", ".openclaw/agents/main/agent/auth-profiles.json"),
                ("json_beside_sqlite", ".openclaw/agents/w/agent/auth-profiles.json"),
            ]
        );
        let dir = &found.state_dirs[0];
        assert_eq!(
            dir.shared_sqlite,
            Some(home.path().join(".openclaw/state/openclaw.sqlite"))
        );
        assert_eq!(
            (dir.default_agent.as_str(), dir.providers_in_use.as_slice()),
            ("w", &["anthropic".to_owned()][..])
        );
    }
}

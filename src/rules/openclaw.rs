//! How OpenClaw's own commands are called, by version, and what they answer.
//!
//! Source: openclaw 2026.6.6, 2026.7.35, 2026.8.2 and 2026.9.6 (`docs/cli/models.md`, `docs/cli/secrets.md`,
//! `docs/gateway/secrets-plan-contract.md`), and what they did when they were run.

use crate::json::Fields;
use crate::secret::Secret;
use crate::types::{HOUR, Ms};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A version: year, month, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads `2026.9.6`, with or without more behind it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let (year, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self(year.parse().ok()?, month.parse().ok()?, rest[..end].parse().ok()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// From here on `--agent` stands behind the subcommand of `models auth`, and `logout` and JSON pointers into files exist.
const AUGUST: Version = Version(2026, 8, 0);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `models auth paste-token`, which reads the token on stdin. Its end is given where it is known; `left` in [`Ms`].
pub(crate) fn paste_token(version: Version, agent: &str, provider: &str, id: &str, left: Option<Ms>) -> Vec<String> {
    let mut args = words(&["models", "auth"]);
    let agent = words(&["--agent", agent]);
    if version < AUGUST {
        args.extend(agent.clone());
    }
    args.extend(words(&["paste-token", "--provider", provider, "--profile-id", id]));
    if let Some(left) = left {
        args.extend([
            "--expires-in".to_owned(),
            format!("{}h", ((left + HOUR / 2) / HOUR).max(1)),
        ]);
    }
    if version >= AUGUST {
        args.extend(agent);
    }
    args
}

/// `models auth order set`, or `clear` where no ids are given.
pub(crate) fn order(agent: &str, provider: &str, ids: &[String]) -> Vec<String> {
    let verb = if ids.is_empty() { "clear" } else { "set" };
    let mut args = words(&[
        "models",
        "auth",
        "order",
        verb,
        "--provider",
        provider,
        "--agent",
        agent,
    ]);
    args.extend(ids.iter().cloned());
    args
}

/// Why this version cannot be linked to a login, if it cannot.
pub(crate) fn unlinkable(version: Version) -> Option<String> {
    (version < AUGUST)
        .then(|| format!("OpenClaw {version} has no command that takes a reference out again (2026.8 and later do)"))
}

/// `models auth logout`.
pub(crate) fn logout(agent: &str, id: &str) -> Vec<String> {
    words(&["models", "auth", "logout", id, "--yes", "--agent", agent])
}

/// `secrets apply`, of a plan in a file; one that names a program is refused unless that is allowed.
pub(crate) fn apply(plan: &str, exec: bool) -> Vec<String> {
    let mut args = words(&["secrets", "apply", "--from", plan, "--json"]);
    args.extend(exec.then(|| "--allow-exec".into()));
    args
}

/// `secrets reload`.
pub(crate) fn reload() -> Vec<String> {
    words(&["secrets", "reload", "--json"])
}

/// The name of our entry in `secrets.providers`.
pub(crate) const SOURCE: &str = "nolapse";

/// Where the access token is in Claude Code's file.
pub(crate) const POINTER: &str = "/claudeAiOauth/accessToken";

/// How OpenClaw gets at a login's access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It reads Claude Code's file, which has to be private, no link, and its user's own.
    File(String),
    /// It runs `nolapse token print`, where there is no such file.
    Exec {
        /// The program and its arguments; the program is no link and its user's own.
        command: Vec<String>,
        /// All the environment that it gets.
        env: Vec<(String, String)>,
        /// The login's id.
        login: String,
    },
}

impl Way {
    fn source(&self) -> Value {
        match self {
            Self::File(path) => json!({"source": "file", "path": path, "mode": "json"}),
            // a Keychain that asks its user takes longer than the default of 5 s
            Self::Exec { command, env, .. } => json!({
                "source": "exec",
                "command": command[0],
                "args": command[1..],
                "env": env.iter().cloned().collect::<BTreeMap<_, _>>(),
                "timeoutMs": 15_000,
            }),
        }
    }

    fn reference(&self) -> Value {
        match self {
            Self::File(_) => json!({"source": "file", "provider": SOURCE, "id": POINTER}),
            Self::Exec { login, .. } => json!({"source": "exec", "provider": SOURCE, "id": login}),
        }
    }
}

/// The plan that lets a profile of these agents refer to a login's access token. Nothing else is scrubbed.
pub(crate) fn link_plan(way: &Way, id: &str, agents: &[String]) -> Value {
    let target = |agent: &String| {
        json!({
            "type": "auth-profiles.token.token",
            "path": format!("profiles.{id}.token"),
            "pathSegments": ["profiles", id, "token"],
            "agentId": agent,
            "authProfileProvider": "anthropic",
            "ref": way.reference(),
        })
    };
    json!({
        "version": 1,
        "protocolVersion": 1,
        "providerUpserts": {SOURCE: way.source()},
        "targets": agents.iter().map(target).collect::<Vec<_>>(),
        "options": {"scrubEnv": false, "scrubAuthProfilesForProviderTargets": false, "scrubLegacyAuthJson": false},
    })
}

/// The ids that OpenClaw asks a program for on its stdin; `None` where that is no request of protocol 1.
pub(crate) fn asked(request: &[u8]) -> Option<Vec<String>> {
    let request: Value = serde_json::from_slice(request).ok()?;
    let ids = request["ids"].as_array().filter(|_| request["protocolVersion"] == 1)?;
    ids.iter().map(|id| Some(id.as_str()?.to_owned())).collect()
}

/// The answer to that: each id with its token, or without one.
pub(crate) fn answer(ids: &[(String, Option<Secret>)]) -> Secret {
    let (mut values, mut errors) = (serde_json::Map::new(), serde_json::Map::new());
    for (id, token) in ids {
        match token {
            Some(token) => values.insert(id.clone(), token.expose().into()),
            None => errors.insert(id.clone(), json!({"code": "NOT_FOUND"})),
        };
    }
    Secret::new(json!({"protocolVersion": 1, "values": values, "errors": errors}).to_string())
}

/// The plan that takes our entry out of `secrets.providers`.
pub(crate) fn unlink_plan() -> Value {
    json!({"version": 1, "protocolVersion": 1, "providerDeletes": [SOURCE], "targets": []})
}

/// Whether two configs say the same but for what OpenClaw writes into it by itself: its `meta`, and `secrets` without entries.
pub(crate) fn same_config(before: &str, after: &str) -> bool {
    let plain = |text: &str| {
        let mut config: Value = json5::from_str(text).ok()?;
        let root = config.as_object_mut()?;
        root.remove("meta");
        if let Some(secrets) = root.get_mut("secrets").and_then(Value::as_object_mut) {
            if secrets
                .get("providers")
                .is_some_and(|one| one.as_object().is_some_and(|all| all.is_empty()))
            {
                secrets.remove("providers");
            }
            if secrets.is_empty() {
                root.remove("secrets");
            }
        }
        Some(config)
    };
    plain(before).is_some_and(|before| plain(after) == Some(before))
}

/// How `secrets reload` went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// A running gateway uses the new token.
    Done,
    /// It does, and says so many warnings, which are in its log.
    Warnings(u64),
    /// No gateway runs: turns read the token themselves.
    NoGateway,
    /// One runs that cannot do it as it was started, in its words.
    Restart(String),
    /// It failed, and why.
    Failed(String),
}

/// Reads the answer of `secrets reload --json`: its exit code, stdout and stderr.
pub(crate) fn reloaded(code: Option<i32>, stdout: &str, stderr: &str) -> Reloaded {
    let json = stdout.find('{').and_then(|at| Fields::parse(&stdout[at..]).ok());
    if code == Some(0) {
        let warnings = json.as_ref().and_then(|json| json.get("warningCount")?.number());
        return match warnings {
            Some(count) if count > 0.0 => Reloaded::Warnings(count as u64),
            _ => Reloaded::Done,
        };
    }
    let error = json.as_ref().and_then(|json| json.get("error"));
    let message = error.and_then(|error| match error.str() {
        Some(text) => Some(text.into_owned()),
        None => Some(error.object()?.get("message")?.str()?.into_owned()),
    });
    let message = message.unwrap_or_else(|| stderr.trim().to_owned());
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&["not reachable", "econnrefused", "connection refused"]) {
        return Reloaded::NoGateway;
    }
    let first = message.lines().next().unwrap_or_default();
    let line: String = first.trim().chars().take(200).collect();
    // an older one that was started before an update has no such method
    if says(&["unknown method", "restart"]) {
        return Reloaded::Restart(line);
    }
    Reloaded::Failed(match line.is_empty() {
        true => "`openclaw secrets reload` failed and does not say why".into(),
        false => line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_stands_where_the_version_wants_it() {
        let line = |version| paste_token(version, "work", "anthropic", "anthropic:x", None).join(" ");
        for version in [Version(2026, 6, 6), Version(2026, 7, 35)] {
            assert_eq!(
                line(version),
                "models auth --agent work paste-token --provider anthropic --profile-id anthropic:x"
            );
        }
        for version in [Version(2026, 8, 0), Version(2026, 8, 2), Version(2026, 9, 6)] {
            assert_eq!(
                line(version),
                "models auth paste-token --provider anthropic --profile-id anthropic:x --agent work"
            );
        }
        let args = paste_token(
            Version(2026, 9, 6),
            "a",
            "anthropic",
            "anthropic:x",
            Some(365 * 24 * HOUR),
        );
        assert!(args.join(" ").contains("--expires-in 8760h"));
    }

    #[test]
    fn each_command_is_called_as_it_is_documented() {
        for (args, line) in [
            (
                order("work", "p", &[]),
                "models auth order clear --provider p --agent work",
            ),
            (
                order("work", "p", &["p:a".into(), "p:b".into()]),
                "models auth order set --provider p --agent work p:a p:b",
            ),
            (logout("work", "p:a"), "models auth logout p:a --yes --agent work"),
            (apply("/plan", false), "secrets apply --from /plan --json"),
            (apply("/plan", true), "secrets apply --from /plan --json --allow-exec"),
            (reload(), "secrets reload --json"),
        ] {
            assert_eq!(args.join(" "), line);
        }
        let hours = |left| paste_token(AUGUST, "a", "p", "p:a", Some(left)).join(" ");
        for (left, wanted) in [(1, "1h"), (HOUR * 3 / 2, "2h"), (HOUR * 3 / 2 - 1, "1h")] {
            assert!(
                hours(left).ends_with(&format!("--expires-in {wanted} --agent a")),
                "{left}"
            );
        }
        assert_eq!(
            (unlinkable(AUGUST), unlinkable(Version(2026, 7, 99)).is_some()),
            (None, true)
        );
        assert_eq!(
            unlink_plan(),
            json!({"version": 1, "protocolVersion": 1, "providerDeletes": ["nolapse"], "targets": []})
        );
    }

    #[test]
    fn a_program_is_asked_by_protocol_and_answers_by_it() {
        let way = Way::Exec {
            command: ["/b/nolapse", "token", "print"].map(String::from).into(),
            env: vec![("HOME".into(), "/h".into())],
            login: "claude".into(),
        };
        let plan = link_plan(&way, "anthropic:x", &["work".into()]);
        assert_eq!(
            plan["providerUpserts"][SOURCE],
            json!({"source": "exec", "command": "/b/nolapse", "args": ["token", "print"], "env": {"HOME": "/h"}, "timeoutMs": 15000})
        );
        assert_eq!(
            plan["targets"][0]["ref"],
            json!({"source": "exec", "provider": SOURCE, "id": "claude"})
        );
        assert_eq!(
            asked(br#"{"protocolVersion":1,"provider":"x","ids":["a"]}"#),
            Some(vec!["a".into()])
        );
        for other in [
            "",
            "[]",
            r#"{"protocolVersion":2,"ids":["a"]}"#,
            r#"{"protocolVersion":1,"ids":[7]}"#,
        ] {
            assert_eq!(asked(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn versions_are_read_and_compared_by_number() {
        assert_eq!(Version::parse("v2026.10.1-beta.2"), Some(Version(2026, 10, 1)));
        assert!(Version::parse("2026.10.1") > Version::parse("2026.9.6"));
        assert_eq!(Version::parse("latest"), None);
        assert!(unlinkable(Version(2026, 7, 35)).is_some() && unlinkable(Version(2026, 8, 2)).is_none());
    }

    #[test]
    fn a_config_is_the_same_but_for_what_openclaw_adds() {
        let before = "// mine\n{gateway: {mode: 'local'}}";
        for (after, same) in [
            (
                "{\"gateway\":{\"mode\":\"local\"},\"secrets\":{},\"meta\":{\"lastTouchedVersion\":\"2026.9.6\"}}",
                true,
            ),
            (
                "{\"gateway\":{\"mode\":\"local\"},\"secrets\":{\"providers\":{}}}",
                true,
            ),
            (
                "{\"gateway\":{\"mode\":\"local\"},\"secrets\":{\"providers\":{\"nolapse\":{}}}}",
                false,
            ),
            ("{\"gateway\":{\"mode\":\"local\",\"port\":1}}", false),
            ("garbage {", false),
        ] {
            assert_eq!(same_config(before, after), same, "{after}");
        }
    }

    #[test]
    fn an_answer_of_reload_is_understood() {
        for (code, stdout, stderr, expected) in [
            (0, "{\"ok\": true, \"warningCount\": 0}", "", Reloaded::Done),
            (
                0,
                "[config] a line before\n{\"ok\":true,\"warningCount\":2}",
                "",
                Reloaded::Warnings(2),
            ),
            (
                1,
                "{\"ok\":false,\"error\":{\"message\":\"Gateway is not reachable at ws://127.0.0.1:18789\"}}",
                "",
                Reloaded::NoGateway,
            ),
            (1, "", "connect ECONNREFUSED 127.0.0.1:18789", Reloaded::NoGateway),
            (
                1,
                "{\"ok\":false,\"error\":{\"type\":\"cli_error\",\"message\":\"gateway secrets.reload requires credentials\\nFix: x\"}}",
                "",
                Reloaded::Failed("gateway secrets.reload requires credentials".into()),
            ),
            (
                1,
                "{\"ok\":false,\"error\":{\"message\":\"unknown method: secrets.reload\"}}",
                "",
                Reloaded::Restart("unknown method: secrets.reload".into()),
            ),
            (
                1,
                "",
                "",
                Reloaded::Failed("`openclaw secrets reload` failed and does not say why".into()),
            ),
        ] {
            assert_eq!(reloaded(Some(code), stdout, stderr), expected);
        }
    }
}

//! The published schemas against what the program prints and sends. Every output of every test here is held against its schema
//! ([`hold`]), more strictly than a reader should: no key and no word that the schema does not name.

use super::home::{DAY, HOUR, Home, access, credentials, now, oauth, token};
use super::receiver::{Manner, Receiver};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

const NAMES: [&str; 6] = ["status", "alert", "doctor", "history", "alerts", "channels"];

pub fn schema(name: &str) -> Value {
    let path = format!("{}/contrib/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Fails if this is an output of ours that is not as its schema says.
pub fn hold(text: &str) {
    if text.starts_with('{')
        && text.get(..40).is_some_and(|begin| begin.contains("\"nolapse."))
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some((name, _)) = value["schema"]
            .as_str()
            .unwrap()
            .trim_start_matches("nolapse.")
            .split_once('/')
        && NAMES.contains(&name)
    {
        let wrong = check(name, &value, &mut Seen::default());
        assert!(wrong.is_empty(), "{wrong:#?}\n{text}");
    }
}

/// Per key, whether it was `null` and whether it was not.
type Seen = BTreeMap<String, (bool, bool)>;

fn check(name: &str, value: &Value, seen: &mut Seen) -> Vec<String> {
    let root = schema(name);
    let mut wrong = Vec::new();
    walk(&root, &root, name, value, &mut |at, value, why| match why {
        Some(why) => wrong.push(format!("{at}: {why}: {value}")),
        None => {
            let seen = seen.entry(at.to_owned()).or_default();
            seen.0 |= value.is_null();
            seen.1 |= !value.is_null();
        }
    });
    wrong
}

fn resolved<'a>(root: &'a Value, is: &'a Value) -> &'a Value {
    let at = is["$ref"].as_str().map(|at| at.trim_start_matches('#'));
    at.map_or(is, |at| root.pointer(at).unwrap_or_else(|| panic!("no {at}")))
}

/// The keywords that the schemas use and no others; each value is reported once, and each fault.
fn walk(root: &Value, is: &Value, at: &str, value: &Value, said: &mut dyn FnMut(&str, &Value, Option<&str>)) {
    let is = resolved(root, is);
    said(at, value, None);
    let none = Map::new();
    for (keyword, rule) in is.as_object().unwrap() {
        let list = || rule.as_array().unwrap();
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "properties" | "additionalProperties" => true,
            "const" => value == rule,
            "enum" => list().contains(value),
            "type" => match rule {
                Value::String(word) => is_a(value, word),
                words => words
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|word| is_a(value, word.as_str().unwrap())),
            },
            "required" => value.is_null() || list().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            // a reader takes others too
            "examples" => of_remote(value) || list().iter().any(|one| begin(one) == begin(value)),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    walk(root, rule, &format!("{at}[]"), item, said);
                }
                true
            }
            other => panic!("{at}: the keyword `{other}` is not understood here"),
        };
        if !holds {
            said(at, value, Some(keyword));
        }
    }
    let known = is["properties"].as_object().unwrap_or(&none);
    for (key, inner) in value.as_object().unwrap_or(&none) {
        match known
            .get(key)
            .map(|rule| (rule, key.as_str()))
            .or(is.get("additionalProperties").map(|rule| (rule, "*")))
        {
            Some((rule, key)) => walk(root, rule, &format!("{at}.{key}"), inner, said),
            None => said(&format!("{at}.{key}"), inner, Some("the schema does not name it")),
        }
    }
}

/// `login` of `login:claude`.
fn begin(value: &Value) -> &str {
    let text = value.as_str().unwrap_or_default();
    text.split(':').next().unwrap_or(text)
}

fn of_remote(value: &Value) -> bool {
    begin(value) == "remote"
}

fn is_a(value: &Value, word: &str) -> bool {
    match word {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type `{other}` is not understood here"),
    }
}

/// Every key of a schema, and whether it may be `null`.
fn keys(root: &Value, is: &Value, at: &str, all: &mut BTreeMap<String, bool>) {
    let is = resolved(root, is);
    let null = Value::Null;
    let listed = |keyword: &str, what: &Value| is[keyword].as_array().is_some_and(|list| list.contains(what));
    all.insert(at.to_owned(), listed("enum", &null) || listed("type", &json!("null")));
    for (key, rule) in is["properties"].as_object().into_iter().flatten() {
        keys(root, rule, &format!("{at}.{key}"), all);
    }
    if let Some(rule) = is.get("additionalProperties") {
        keys(root, rule, &format!("{at}.*"), all);
    }
    if let Some(rule) = is.get("items") {
        keys(root, rule, &format!("{at}[]"), all);
    }
}

fn all_keys(name: &str) -> BTreeMap<String, bool> {
    let mut all = BTreeMap::new();
    let root = schema(name);
    keys(&root, &root, name, &mut all);
    all
}

#[test]
fn the_command_prints_each_schema() {
    let home = Home::new();
    for name in NAMES {
        let ran = home.run(&["schema", name]);
        assert_eq!(
            serde_json::from_str::<Value>(&ran.stdout).unwrap(),
            schema(name),
            "{name}"
        );
        assert_eq!(
            schema(name)["properties"]["schema"]["const"],
            format!("nolapse.{name}/1")
        );
    }
}

#[test]
fn what_is_wrong_is_seen() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let good = home.status(&[]);
    assert_eq!(check("status", &good, &mut Seen::default()), Vec::<String>::new());
    for (at, value) in [
        ("/health", json!("fine")),
        ("/exit", json!(7)),
        ("/now", json!("now")),
        ("/now", json!(null)),
        ("/schema", json!("nolapse.status/2")),
        ("/logins/0/renews", json!(null)),
        ("/logins/0", json!({})),
        ("/logins/0/reason", json!("because")),
        (
            "/problems",
            json!([{"kind": "k", "path": null, "message": "m", "hint": "h", "more": 1}]),
        ),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(at).unwrap() = value;
        assert!(!check("status", &bad, &mut Seen::default()).is_empty(), "{at}: {bad}");
    }
}

/// A home with something of everything that `status` says.
fn motley() -> Home {
    let mut home = Home::new();
    home.env.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), access("env"));
    home.login("1", now() + 8 * HOUR);
    home.config(
        "[renew]\nmode = \"off\"\n[sync]\nexclude_agents = [\"clawdbot/other\"]\n[[login]]\ndir = \"~/.claude-gone\"\n\
         [[remote]]\nname = \"new\"\nssh = \"u@new\"\n",
    );
    let held = now() + HOUR;
    home.write(
        ".clawdbot/agents/main/agent/auth-profiles.json",
        json!({"version": 1, "usageStats": {"openai:held": {"cooldownUntil": held}}, "profiles": {
            "anthropic:claude-cli": token("1", now() + 8 * HOUR),
            "anthropic:cut": {"type": "token", "provider": "anthropic", "token": "sk-ant-oat01-cut"},
            "openai:held": {"type": "api_key", "provider": "openai", "key": "sk-proj-0123456789abcdef0123456789"},
            "zai:ref": {"type": "api_key", "provider": "zai", "keyRef": {"source": "env", "provider": "default", "id": "Z"}},
        }})
        .to_string(),
    );
    home.store("other", json!({"anthropic:old": oauth("2", now() - DAY)}));
    home.write(
        ".clawdbot/clawdbot.json",
        r#"{"agents": {"defaults": {"model": {"primary": "openai/gpt"}}}}"#,
    );
    home.write(
        ".clawdbot-work/agents/main/agent/auth-profiles.json",
        json!({"version": 1, "profiles": {"anthropic:claude-cli": token("1", now() + 8 * HOUR)}}).to_string(),
    );
    home
}

fn json(home: &Home, args: &[&str]) -> Value {
    let ran = home.run(args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"))
}

/// Homes in which, taken together, each key is there, and is `null` where it may be.
fn outputs() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let mut look = |home: &Home| {
        for (name, args) in [
            ("status", &["status", "--json"][..]),
            ("doctor", &["doctor", "--json"]),
            ("history", &["history", "--json"]),
            ("history", &["history", "--json", "-n", "100"]),
            ("alerts", &["alert", "list", "--json"]),
            ("channels", &["channel", "list", "--json"]),
        ] {
            all.push((name, json(home, args)));
        }
    };
    let home = motley();
    look(&home);
    std::fs::set_permissions(home.at(".claude/.credentials.json"), Permissions::from_mode(0o644)).unwrap();
    home.run(&["run"]);
    look(&home);

    // alerts that are heard, refused, held back, acknowledged and silenced, and a host that does not answer
    let (hears, refuses) = (Receiver::new(Manner::Answer(200)), Receiver::new(Manner::Answer(404)));
    let home = motley();
    let config = home.read(".config/nolapse/config.toml");
    let quiet = "quiet_hours = \"00:00-23:59\"\nmin_severity = \"info\"";
    home.config(&format!(
        "{config}every = \"1m\"\n{}{}{}[[channel]]\ntype = \"log\"\n",
        hears.channel("hears", "min_severity = \"info\""),
        refuses.channel("refuses", ""),
        refuses.channel("sleeps", quiet),
    ));
    home.run(&["run"]);
    home.write(
        ".claude/.credentials.json",
        credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string(),
    );
    home.run(&["run"]);
    look(&home);
    let firing = json(&home, &["alert", "list", "--json"])["firing"].clone();
    home.run(&["alert", "ack", firing[0]["id"].as_str().unwrap()]);
    look(&home);
    home.run(&["alert", "silence", "--login", "claude", "--for", "1h"]);
    home.run(&["alert", "silence", "--all", "--until-recovered"]);
    home.login("3", now() + 8 * HOUR);
    home.run(&["run"]);
    look(&home);

    // more agents than a line of the history names
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    for n in 0..20 {
        home.store(
            &format!("a{n}"),
            json!({"anthropic:claude-cli": token("0", now() - DAY)}),
        );
    }
    std::fs::write(home.at(".clawdbot/agents/a0/agent/auth-profiles.json"), "{").unwrap();
    home.run(&["sync"]);
    look(&home);
    all.extend(hears.events().into_iter().map(|event| ("alert", event)));
    all
}

/// What only a renewal, a desktop or a lock that is held brings about; the tests of those hold it against its schema.
const ELSEWHERE: [&str; 3] = [
    "history.entries[].until",
    "alerts.firing[].told.*.handle",
    "doctor.repairs[].why",
];

#[test]
fn every_key_is_there_and_null_where_the_schema_says_so() {
    let mut seen = Seen::new();
    for (name, value) in outputs() {
        assert_eq!(check(name, &value, &mut seen), Vec::<String>::new(), "{name}");
    }
    let all = NAMES.map(all_keys).into_iter().flatten();
    let wrong: Vec<String> = all
        .filter(|(key, _)| !ELSEWHERE.contains(&key.as_str()))
        .filter_map(|(key, nullable)| match (nullable, seen.get(&key)) {
            (_, None) => Some(format!("{key}: never there")),
            (true, Some((false, _))) => Some(format!("{key}: never null")),
            (_, Some((_, false))) => Some(format!("{key}: always null")),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Where the documentation speaks of an output: a page, from a heading on to the next one.
fn documented(name: &str) -> String {
    let (page, heading) = match name {
        "status" => ("docs/json.md", "## `nolapse status --json`\n"),
        "alert" => ("docs/json.md", "## Alerts\n"),
        "alerts" => ("docs/json.md", "## `nolapse alert list --json`\n"),
        "channels" => ("docs/json.md", "## `nolapse channel list --json`\n"),
        "history" => ("docs/history.md", "## The file\n"),
        _ => ("docs/doctor.md", "## `--json`\n"),
    };
    section(page, heading)
}

fn section(page: &str, heading: &str) -> String {
    let text = read(page);
    let (_, rest) = text
        .split_once(heading)
        .unwrap_or_else(|| panic!("{page}: no {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn last(key: &str) -> String {
    key.trim_end_matches("[]").rsplit('.').next().unwrap().to_owned()
}

type Words = BTreeMap<String, BTreeSet<String>>;

/// The words that a schema lists, by the last part of their key.
fn words_of(name: &str) -> Words {
    let root = schema(name);
    let mut words = Words::new();
    collect(&root, &root, name, &mut words);
    words
}

fn collect(root: &Value, is: &Value, at: &str, words: &mut Words) {
    let is = resolved(root, is);
    let listed = is.get("enum").or(is.get("examples")).and_then(Value::as_array);
    let listed: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(|word| Some(word.as_str()?.to_owned()))
        .collect();
    if !listed.is_empty() {
        words.entry(last(at)).or_default().extend(listed);
    }
    for (key, rule) in is["properties"].as_object().into_iter().flatten() {
        collect(root, rule, &format!("{at}.{key}"), words);
    }
    for rule in ["additionalProperties", "items"]
        .into_iter()
        .filter_map(|way| is.get(way))
    {
        collect(root, rule, at, words);
    }
}

/// The rows of the tables `| key | words |`, and of those whose heading is a key: `` | `reason` | meaning | ``.
fn listed(text: &str) -> Words {
    let mut words = Words::new();
    let (mut by_key, mut of) = (false, None);
    for line in text.lines() {
        let Some((first, second)) = line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) else {
            (by_key, of) = (false, None);
            continue;
        };
        match (second, &of) {
            ("words |", _) => by_key = true,
            ("meaning |", _) => of = Some(last(quoted(first).next().unwrap())),
            ("--- |", _) => {}
            (_, Some(key)) => words
                .entry(key.clone())
                .or_default()
                .extend(quoted(first).map(str::to_owned)),
            _ if by_key => {
                for key in quoted(first) {
                    words
                        .entry(last(key))
                        .or_default()
                        .extend(quoted(second).map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    words
}

#[test]
fn the_documentation_has_every_key_and_word_and_no_other() {
    for name in NAMES {
        let text = documented(name);
        let mut words = words_of(name);
        if name == "alert" {
            // these are in docs/alerts.md
            let (ids, kinds) = (words.remove("alert_id").unwrap(), words.remove("kind").unwrap());
            let said = section("docs/alerts.md", "## Kinds\n");
            let said = said
                .lines()
                .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
                .map(|(_, rest)| rest.to_owned());
            let said: BTreeSet<String> = said
                .flat_map(|rest| quoted(&rest).map(str::to_owned).collect::<Vec<_>>())
                .collect();
            assert_eq!(said, kinds);
            let said = section("docs/alerts.md", "| id | root cause |");
            let rows = said
                .lines()
                .skip(2)
                .map_while(|line| line.strip_prefix("| ")?.split(" | ").next());
            let said: BTreeSet<&str> = rows.flat_map(quoted).map(|id| id.split(':').next().unwrap()).collect();
            assert_eq!(said, ids.iter().map(|id| id.split(':').next().unwrap()).collect());
        }
        assert_eq!(listed(&text), words, "{name}");

        let all = all_keys(name);
        let null: BTreeSet<String> = all
            .iter()
            .filter(|(_, null)| **null)
            .map(|(key, _)| last(key))
            .collect();
        let (_, said) = text.split_once("May be `null`: ").unwrap_or_else(|| panic!("{name}"));
        let said: BTreeSet<String> = quoted(said.split("\n\n").next().unwrap())
            .filter(|word| !word.starts_with('-') && *word != "entries")
            .map(last)
            .collect();
        assert_eq!(said, null, "{name}");

        for key in all.keys().map(|key| last(key)).filter(|key| *key != name && key != "*") {
            assert!(
                text.contains(&format!("`{key}`")) || text.contains(&format!("\"{key}\"")),
                "{name}: `{key}`"
            );
        }
        for block in text
            .split("```json\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
        {
            let value: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{name}: {error}: {block}"));
            assert_eq!(
                check(name, &value, &mut Seen::new()),
                Vec::<String>::new(),
                "{name}: {block}"
            );
        }
    }
}

/// Every Rust file without its tests.
fn code() -> String {
    let mut text = String::new();
    let mut dirs = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => {
                    let file = std::fs::read_to_string(entry.path()).unwrap();
                    text += file.split("\n#[cfg(test)]").next().unwrap();
                }
            }
        }
    }
    text
}

#[test]
fn every_word_that_is_documented_is_one_of_the_code() {
    let code = code();
    let camel = |word: &str| -> String {
        let upper = |part: &str| part[..1].to_uppercase() + &part[1..];
        word.split('_').filter(|part| !part.is_empty()).map(upper).collect()
    };
    let known = |word: &str| {
        let variant = format!("\n    {}", camel(word));
        let ends = |rest: &str| rest.starts_with([',', '(', ' ']);
        code.contains(&format!("\"{word}\"")) || code.split(&variant).skip(1).any(ends)
    };
    let mut words: BTreeSet<String> = NAMES
        .into_iter()
        .flat_map(words_of)
        .flat_map(|(_, words)| words)
        .collect();
    let findings = section("docs/doctor.md", "## What it knows\n");
    let findings = findings
        .lines()
        .take_while(|line| !line.starts_with("Whose"))
        .flat_map(quoted);
    words.extend(findings.map(str::to_owned));
    words.retain(|word| !word.contains([':', '.']) && word != "reason");
    assert!(words.len() > 150, "{words:?}");
    let gone: Vec<&String> = words.iter().filter(|word| !known(word)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_documented_files_of_the_state_directory_are_those_that_are_made() {
    let said = section("docs/files.md", "In `$XDG_STATE_HOME/nolapse`");
    let rows = said
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let said: BTreeSet<String> = rows.flat_map(quoted).map(str::to_owned).collect();
    assert!(said.len() > 10, "{said:?}");
    let code = code();
    for name in &said {
        let begin = name.split("TIME").next().unwrap();
        assert!(code.contains(&format!("\"{begin}")), "`{name}` is not in the code");
    }

    let home = Home::new();
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("0", now())}));
    home.config("[renew]\nmode = \"off\"\n");
    home.run(&["run"]);
    home.write(".local/state/nolapse/ledger.json", "{");
    home.run(&["run"]);
    let made = std::fs::read_dir(home.at(".local/state/nolapse")).unwrap().flatten();
    let made: Vec<String> = made.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(made.len() >= 6, "{made:?}");
    for name in made {
        let generic: String = match name.strip_prefix("ledger.corrupt-") {
            Some(_) => "ledger.corrupt-TIME.json".into(),
            None => name,
        };
        assert!(said.contains(&generic), "`{generic}` is not documented");
    }
}

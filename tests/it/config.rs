//! The configuration as people meet it: the example names every key that the code asks for, and the README its table; what is
//! wrong is said once, with its place and a remedy, by the real binary, which then writes nothing and shows no secret.

use nolapse::config::{self, Config};
use nolapse::edge::host::Host;
use nolapse::table::{ConfigError, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EXAMPLE: &str = include_str!("../../contrib/config.example.toml");
const README: &str = include_str!("../../README.md");
const CANARY: &str = "CANARY-4dba15b09c";

/// A part of the example: its heading, its settings with the `#` taken away, and all of its text.
pub struct Section {
    pub heading: &'static str,
    pub settings: Vec<&'static str>,
    text: String,
}

impl Section {
    pub fn channel_type(&self) -> Option<&'static str> {
        let line = self.settings.iter().find_map(|line| line.strip_prefix("type = \""))?;
        Some(line.trim_end_matches('"'))
    }

    pub fn toml(&self) -> String {
        format!("{}\n{}\n", self.heading, self.settings.join("\n"))
    }

    /// A key that is set here, or named as another way to give a secret.
    fn names(&self, key: &str) -> bool {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        self.settings
            .iter()
            .any(|line| line.split_once(" = ").is_some_and(|(name, _)| name == key))
            || self.text.lines().any(|line| {
                line.split_once("also ")
                    .is_some_and(|(_, ways)| ways.split(word).any(|way| way == key))
            })
    }
}

pub fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in EXAMPLE.lines() {
        let setting = line
            .strip_prefix('#')
            .filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        match (setting, sections.last_mut()) {
            (Some(heading), _) if heading.starts_with('[') => sections.push(Section {
                heading,
                settings: Vec::new(),
                text: String::new(),
            }),
            (Some(setting), Some(section)) => section.settings.push(setting),
            (None, Some(section)) => {
                section.text.push_str(line);
                section.text.push('\n');
            }
            (Some(setting), None) => panic!("a setting before any heading: {setting}"),
            (None, None) => {}
        }
    }
    sections
}

/// A home that has every file which the example names.
pub fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".config/nolapse");
    fs::create_dir_all(&dir).unwrap();
    for line in EXAMPLE.lines() {
        let Some((_, name)) = line.split_once("\"~/.config/nolapse/") else {
            continue;
        };
        let name = name.trim_end_matches('"');
        let text = match name {
            "telegram-token" => "123456:a1b2c3",
            name if name.ends_with("-url") => "https://example.org/hook",
            "webhook-secret" => "whsec_bm9sYXBzZSBub2xhcHNlIG5vbGFwc2Ugbm9sYXBzZQ==",
            "ca.pem" => include_str!("../fixtures/tls/ca.pem"),
            _ => "a1b2c3",
        };
        write_private(&dir.join(name), text);
    }
    home
}

fn write_private(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

pub fn parse(text: &str, home: &Path) -> Result<Config, ConfigError> {
    let env = BTreeMap::new();
    config::parse(&Source {
        path: &home.join(".config/nolapse/config.toml"),
        text,
        private: true,
        home,
        env: &env,
    })
}

/// Every key that the code asks a table for: a key that is like no other makes it say so.
pub fn asked(toml: &str, home: &Path) -> BTreeSet<String> {
    let unlike = "q".repeat(60);
    let error = parse(&format!("{toml}{unlike} = 1\n"), home).unwrap_err();
    let known = error
        .hint
        .strip_prefix("known here: ")
        .unwrap_or_else(|| panic!("{error}"));
    known.split(", ").map(str::to_owned).collect()
}

fn for_every_type() -> Section {
    sections()
        .into_iter()
        .find(|section| section.channel_type() == Some("log"))
        .unwrap()
}

#[test]
fn the_example_parses_as_it_is_and_with_every_setting_taken() {
    let home = home();
    let defaults = parse("", home.path()).unwrap();
    let as_it_is = parse(EXAMPLE, home.path()).unwrap();
    assert_eq!(format!("{as_it_is:?}"), format!("{defaults:?}"));

    let mut whole = String::new();
    for section in sections() {
        let config = parse(&section.toml(), home.path()).unwrap_or_else(|error| panic!("{}: {error}", section.toml()));
        assert_eq!(
            config.channels.first().map(|channel| channel.kind.word()),
            section.channel_type()
        );
        whole.push_str(&section.toml());
    }
    let config = parse(&whole, home.path()).unwrap();
    assert_eq!(config.channels.len(), 13);
    // what it calls a default is the default
    assert_eq!(format!("{:?}", config.sync), format!("{:?}", defaults.sync));
    assert_eq!(format!("{:?}", config.renew), format!("{:?}", defaults.renew));
    assert_eq!(format!("{:?}", config.alerts), format!("{:?}", defaults.alerts));
}

#[test]
fn the_example_names_every_key_that_the_code_asks_for() {
    let home = home();
    let common = for_every_type();
    let headings: BTreeSet<String> = sections()
        .iter()
        .map(|section| section.heading.trim_matches(['[', ']']).to_owned())
        .collect();
    assert_eq!(asked("", home.path()), headings);
    for section in sections() {
        for key in asked(&section.toml(), home.path()) {
            let named = section.names(&key) || section.channel_type().is_some() && common.names(&key);
            assert!(
                named,
                "{} {:?} does not name `{key}`",
                section.heading,
                section.channel_type()
            );
        }
    }
}

#[test]
fn the_readme_names_what_each_type_of_channel_needs_and_takes() {
    let home = home();
    let common = for_every_type();
    let rows: BTreeMap<&str, &str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .collect();
    for section in sections() {
        let table = section.heading.trim_matches(['[', ']']);
        let reference = include_str!("../../docs/configuration.md");
        assert!(reference.contains(&format!("[{table}]")), "no word of `{table}`");
        let Some(kind) = section.channel_type() else { continue };
        let row = rows.get(kind).unwrap_or_else(|| panic!("no row for `{kind}`"));
        let keys = asked(&section.toml(), home.path());
        // the cells `needed` and `optional`
        let cells: Vec<&str> = row.split('|').take(2).collect();
        for named in cells.join(" ").split('`').skip(1).step_by(2) {
            assert!(keys.contains(named), "the code asks for no `{named}`: {row}");
        }
        // `KEY_file` and `KEY_env` are said once for all secrets
        let plain = |key: &&String| {
            let base = key.strip_suffix("_file").or_else(|| key.strip_suffix("_env"));
            base.is_none_or(|base| !keys.contains(base))
        };
        for key in keys.iter().filter(plain).filter(|key| !common.names(key)) {
            let named = row.contains(&format!("`{key}`"));
            assert!(named, "the row of `{kind}` does not name `{key}`");
        }
    }
}

#[test]
fn the_example_and_the_reference_are_those_that_the_program_prints() {
    let home = tempfile::tempdir().unwrap();
    for (args, file) in [
        (&["config", "init", "--stdout"][..], "contrib/config.example.toml"),
        (&["config", "reference"], "docs/configuration.md"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let printed = String::from_utf8(nolapse(home.path(), args).stdout).unwrap();
        let there = fs::read_to_string(path).unwrap_or_default();
        assert!(printed == there, "run `cargo run -- {} > {file}`", args.join(" "));
    }
}

#[test]
fn a_private_file_may_hold_a_secret_and_a_named_one_is_read_once() {
    let home = home();
    let host = Host {
        home: home.path().to_owned(),
        env: BTreeMap::from([("HOOK".to_owned(), format!("https://example.org/{CANARY}"))]),
        cwd: "/".into(),
        name: "h".into(),
        macos: false,
        own: vec!["nolapse".into()],
    };
    let path = home.path().join("config.toml");
    write_private(
        &path,
        format!(
            "[[channel]]\ntype = \"slack\"\nurl = \"https://example.org/{CANARY}\"\n\
             [[channel]]\ntype = \"discord\"\nurl_env = \"HOOK\"\n\
             [heartbeat]\nurl_file = \".config/nolapse/heartbeat-url\"\n"
        ),
    );
    let config = config::load(&path, true, &host).unwrap();
    assert_eq!(config.channels.len(), 2);
    assert!(config.heartbeat.is_some());
    assert!(!format!("{config:?}").contains(CANARY));
}

struct Bad {
    name: &'static str,
    toml: Vec<u8>,
    mode: u32,
    /// Where it is said to be: `config.toml:LINE`.
    place: &'static str,
    /// What is named: the key, and the remedy.
    says: &'static [&'static str],
}

fn bad() -> Vec<Bad> {
    let bad = |name, toml: &str, place, says| Bad {
        name,
        toml: toml.replace("CANARY", CANARY).into_bytes(),
        mode: 0o600,
        place,
        says,
    };
    let readable = |bad: Bad| Bad { mode: 0o644, ..bad };
    vec![
        bad(
            "unknown key",
            "[sync]\nshar = \"full\"\n",
            "config.toml:2",
            &["`sync.shar`", "did you mean `share`?"],
        ),
        bad(
            "unknown table",
            "\n[alert]\ngrace = \"1h\"\n",
            "config.toml:2",
            &["`alert`", "did you mean `alerts`?"],
        ),
        bad(
            "unknown key of a channel, a secret before it",
            "[[channel]]\ntype = \"slack\"\nurl = \"https://example.org/CANARY\"\nminseverity = \"info\"\n",
            "config.toml:4",
            &["`channel[1].minseverity`", "did you mean `min_severity`?"],
        ),
        bad(
            "a lead that Claude Code does not renew in",
            "[renew]\nlead = \"5m\"\n",
            "config.toml:2",
            &["`renew.lead` is out of range", "up to `1h`"],
        ),
        bad(
            "a lead of hours",
            "[renew]\nmode = \"direct\"\nlead = \"61m\"\n",
            "config.toml:3",
            &["`renew.lead` is out of range"],
        ),
        bad(
            "unknown type",
            "[[channel]]\ntype = \"slakc\"\n",
            "config.toml:2",
            &["`channel[1].type`", "did you mean `slack`?"],
        ),
        bad(
            "missing key",
            "[[channel]]\ntype = \"gotify\"\nurl = \"https://example.org\"\n",
            "config.toml:1",
            &["`channel[1].token` is missing", "token_file"],
        ),
        bad(
            "wrong type",
            "[alerts]\n\nsteps = \"7d\"\n",
            "config.toml:3",
            &["`alerts.steps`", "a list of strings"],
        ),
        bad(
            "wrong type of a secret",
            "[[channel]]\ntype = \"ntfy\"\ntopic = [\"CANARY\"]\n",
            "config.toml:3",
            &["`channel[1].topic`", "a string in quotes"],
        ),
        bad(
            "wrong word",
            "[renew]\nmode = \"delegat\"\n",
            "config.toml:2",
            &["`renew.mode`", "did you mean `delegate`?"],
        ),
        bad(
            "no duration",
            "[alerts]\ngrace = \"30\"\n",
            "config.toml:2",
            &["`alerts.grace`", "`30m`"],
        ),
        bad(
            "a table as a value",
            "login = \"~/.claude\"\n",
            "config.toml:1",
            &["`login`", "[[login]]"],
        ),
        bad(
            "no url",
            "[[channel]]\ntype = \"webhook\"\nurl = \"CANARY\"\n",
            "config.toml:3",
            &["`channel[1].url`", "https://host/path"],
        ),
        readable(bad(
            "secret in a file that others can read",
            "[[channel]]\ntype = \"telegram\"\nchat_id = \"1\"\ntoken = \"1:CANARY\"\n",
            "config.toml:4",
            &["`channel[1].token`", "chmod 600", "token_file"],
        )),
        readable(bad(
            "secret url in a file that others can read",
            "[heartbeat]\nurl = \"https://example.org/CANARY\"\n",
            "config.toml:2",
            &["`heartbeat.url`", "chmod 600", "url_file"],
        )),
        readable(bad(
            "a password in a url in a file that others can read",
            "[[channel]]\ntype = \"gotify\"\nurl = \"https://u:CANARY@example.org\"\ntoken_env = \"PATH\"\n",
            "config.toml:3",
            &["`channel[1].url` is a secret", "chmod 600", "url_file"],
        )),
        readable(bad(
            "a query in a url in a file that others can read",
            "[renew]\ntoken_url = \"https://example.org/?t=CANARY\"\n",
            "config.toml:2",
            &["`renew.token_url` is a secret", "chmod 600", "token_url_file"],
        )),
        bad(
            "what a secret file holds is wrong",
            "[[channel]]\ntype = \"telegram\"\nchat_id = \"1\"\ntoken_file = \"wrong\"\n",
            "config.toml:4",
            &[
                "`channel[1].token_file` names `",
                "/wrong`, and that is not a bot token",
                "@BotFather",
            ],
        ),
        bad(
            "what a secret variable holds is no url",
            "[[channel]]\ntype = \"slack\"\nurl_env = \"PATH\"\n",
            "config.toml:3",
            &["`channel[1].url_env` names `PATH`, and that is not an http or https URL"],
        ),
        bad(
            "secret file that others can read",
            "[[channel]]\ntype = \"slack\"\nurl_file = \"readable\"\n",
            "config.toml:3",
            &["`channel[1].url_file`", "chmod 600", "readable"],
        ),
        bad(
            "missing secret file",
            "[[channel]]\ntype = \"slack\"\nurl_file = \"nowhere\"\n",
            "config.toml:3",
            &["`channel[1].url_file`", "no such file", "mode 600"],
        ),
        bad(
            "empty secret file",
            "[[channel]]\ntype = \"slack\"\nurl_file = \"empty\"\n",
            "config.toml:3",
            &["`channel[1].url_file`", "is empty"],
        ),
        bad(
            "variable that is not set",
            "[[channel]]\ntype = \"slack\"\nurl_env = \"NOLAPSE_NOT_SET\"\n",
            "config.toml:3",
            &["`channel[1].url_env`", "is not set", "name of a variable"],
        ),
        bad(
            "secret given twice",
            "[[channel]]\ntype = \"slack\"\nurl = \"https://example.org/CANARY\"\nurl_env = \"PATH\"\n",
            "config.toml:3",
            &["`channel[1].url`", "keep one of"],
        ),
        bad(
            "two channels of one name",
            "[[channel]]\ntype = \"log\"\n[[channel]]\ntype = \"desktop\"\nname = \"log\"\n",
            "config.toml:5",
            &["`channel[2].name`", "own `name`"],
        ),
        bad(
            "an answer that is not waited for",
            "[renew]\ntimeout = \"100ms\"\n",
            "config.toml:2",
            &["`renew.timeout` is out of range", "`5s` to `2m`"],
        ),
        bad(
            "patience without end",
            "[renew]\npatience = \"11m\"\n",
            "config.toml:2",
            &["`renew.patience` is out of range", "`1s` to `10m`"],
        ),
        bad(
            "tokens to somebody who looks like this host",
            "[renew]\ntoken_url = \"http://elsewhere\\\\@127.0.0.1/\"\n",
            "config.toml:2",
            &["`renew.token_url`", "https://host/path"],
        ),
        bad(
            "tokens in the clear",
            "[renew]\ntoken_url = \"http://127.0.0.1.example.org/\"\n",
            "config.toml:2",
            &["`renew.token_url` would send tokens in the clear"],
        ),
        bad(
            "a receiver's token in the clear",
            "[[channel]]\ntype = \"gotify\"\nurl = \"http://example.org\"\ntoken = \"CANARY\"\n",
            "config.toml:3",
            &["`channel[1].url` would send its token in the clear", "`https://`"],
        ),
        bad(
            "a webhook's authorization in the clear",
            "[[channel]]\ntype = \"webhook\"\nurl = \"http://example.org/\"\nauthorization = \"CANARY\"\n",
            "config.toml:3",
            &["`channel[1].url` would send `authorization` in the clear"],
        ),
        bad(
            "ntfy's token in the clear",
            "[[channel]]\ntype = \"ntfy\"\nurl = \"http://10.0.0.2/\"\ntopic = \"t\"\ntoken = \"CANARY\"\n",
            "config.toml:3",
            &["`channel[1].url` would send its token in the clear"],
        ),
        bad(
            "a hook in the clear",
            "[[channel]]\ntype = \"slack\"\nurl = \"http://example.org/CANARY\"\n",
            "config.toml:3",
            &["`channel[1].url` would send itself, a secret, in the clear"],
        ),
        bad(
            "a name with a line break",
            "[sync]\nprofile = \"anthropic:a\\nb\"\n",
            "config.toml:2",
            &["`sync.profile` holds a control character, U+000A"],
        ),
        bad(
            "a name with a bell",
            "[[login]]\ndir = \"/x\"\nname = \"a\\u0007\"\n",
            "config.toml:3",
            &["`login[1].name` holds a control character, U+0007"],
        ),
        bad(
            "a path with a NUL",
            "[[login]]\ndir = \"/x\\u0000\"\n",
            "config.toml:2",
            &["`login[1].dir` holds a control character, U+0000"],
        ),
        bad(
            "a pattern with a line break",
            "[sync]\nexclude_agents = [\"a\\nb\"]\n",
            "config.toml:2",
            &["`sync.exclude_agents` holds a control character"],
        ),
        bad(
            "a secret with a line break",
            "[[channel]]\ntype = \"gotify\"\nurl = \"https://example.org\"\ntoken = \"CANARY\\r\\nx\"\n",
            "config.toml:4",
            &["`channel[1].token` holds a control character, U+000D"],
        ),
        bad(
            "another's home",
            "[[login]]\ndir = \"~bob/.claude\"\n",
            "config.toml:2",
            &["`login[1].dir` begins with `~bob`", "in full"],
        ),
        bad(
            "a variable",
            "[renew]\nclaude = \"$HOME/bin/claude\"\n",
            "config.toml:2",
            &["`renew.claude` begins with `$HOME`", "in full"],
        ),
        bad(
            "a variable in a program",
            "[[channel]]\ntype = \"command\"\ncommand = [\"$HOME/bin/tell\"]\n",
            "config.toml:3",
            &["`channel[1].command` begins with `$HOME`"],
        ),
        bad(
            "an alert that ends when it begins",
            "[[channel]]\ntype = \"alertmanager\"\nurl = \"https://h\"\nhold = \"0s\"\n",
            "config.toml:4",
            &["`channel[1].hold` is out of range", "`1h` to `365d`"],
        ),
        bad(
            "a server that is a URL",
            "[[channel]]\ntype = \"email\"\nhost = \"smtp://h\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n",
            "config.toml:3",
            &["`channel[1].host` is `smtp://h`, no host"],
        ),
        bad(
            "no server",
            "[[channel]]\ntype = \"email\"\nhost = \"\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n",
            "config.toml:3",
            &["`channel[1].host`", "smtp.example.org"],
        ),
        bad(
            "no title",
            "[[channel]]\ntype = \"log\"\ntitle = \" \"\n",
            "config.toml:3",
            &["`channel[1].title` is empty"],
        ),
        bad(
            "no body",
            "[[channel]]\ntype = \"log\"\nbody = \"\"\n",
            "config.toml:3",
            &["`channel[1].body` is empty"],
        ),
        bad(
            "no chat",
            "[[channel]]\ntype = \"telegram\"\ntoken = \"1:CANARY\"\nchat_id = \"12 34\"\n",
            "config.toml:4",
            &["`channel[1].chat_id` is `12 34`, no chat"],
        ),
        bad(
            "no bot",
            "[[channel]]\ntype = \"telegram\"\ntoken = \"CANARY\"\nchat_id = \"1\"\n",
            "config.toml:3",
            &["`channel[1].token` is not a bot token"],
        ),
        bad(
            "a key that is guessed",
            "[[channel]]\ntype = \"webhook\"\nurl = \"https://h/\"\nsecret = \"whsec_YWJj\"\n",
            "config.toml:4",
            &["`channel[1].secret`", "24 to 64 bytes"],
        ),
        bad(
            "a schedule that is never due",
            "[daemon]\nschedule = \"0 0 0 30 2 *\"\n",
            "config.toml:2",
            &["`daemon.schedule`", "0 */4"],
        ),
        bad(
            "a schedule of every second",
            "[daemon]\nschedule = \"* * * * * *\"\n",
            "config.toml:2",
            &["`daemon.schedule` is due more often than every 10 s"],
        ),
        bad(
            "a schedule of twice in a moment",
            "[daemon]\nschedule = \"0,55 * * * * *\"\n",
            "config.toml:2",
            &["`daemon.schedule` is due more often than every 10 s"],
        ),
        bad(
            "an hour with a sign",
            "[[channel]]\ntype = \"log\"\nquiet_hours = \"+22:00-07:00\"\n",
            "config.toml:3",
            &["`channel[1].quiet_hours`", "`22:00-07:00`"],
        ),
        bad(
            "broken toml",
            "[heartbeat]\nurl = \"https://example.org/CANARY\nx = 1\n",
            "config.toml:2",
            &["not valid TOML", "config init --stdout"],
        ),
        bad(
            "a key twice",
            "[heartbeat]\nurl = \"https://example.org/CANARY\"\nurl = \"https://example.org/CANARY\"\n",
            "config.toml:3",
            &["not valid TOML", "duplicate key"],
        ),
        Bad {
            name: "not UTF-8",
            toml: [b"url = \"".as_slice(), CANARY.as_bytes(), b"\xff\xfe\"\n"].concat(),
            mode: 0o600,
            place: "config.toml",
            says: &["not UTF-8", "save it as UTF-8"],
        },
    ]
}

/// Every key of the example that takes a duration or a number, with one far out of its bounds: none is without.
#[test]
fn every_duration_and_every_number_has_bounds() {
    let home = home();
    let mut seen = 0;
    for section in sections() {
        for setting in &section.settings {
            let (key, value) = setting.split_once(" = ").unwrap();
            let first = value.trim_matches(['"', '[', ']']).split('"').next().unwrap();
            let span = nolapse::table::parse_duration(first).is_some() && value.contains('"');
            let number = value.parse::<i64>().is_ok();
            if !span && !number {
                continue;
            }
            let far = match (number, value.starts_with('[')) {
                (true, _) => "-1",
                (_, true) => "[\"4000000d\"]",
                (_, false) => "\"4000000d\"",
            };
            let toml = section.toml().replace(setting, &format!("{key} = {far}"));
            let error = parse(&toml, home.path()).expect_err(setting);
            assert!(error.message.contains("is out of range"), "{setting}: {error}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen}");
}

/// Everything below a directory, with its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

fn nolapse(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nolapse"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home)
        .output()
        .unwrap()
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_remedy_and_nothing_is_written() {
    for case in bad() {
        let home = tempfile::tempdir().unwrap();
        // a login, so that there would be something to do
        fs::create_dir(home.path().join(".claude")).unwrap();
        let login = r#"{"claudeAiOauth":{"accessToken":"CANARY","refreshToken":"","expiresAt":0,"scopes":[]}}"#;
        write_private(
            &home.path().join(".claude/.credentials.json"),
            login.replace("CANARY", CANARY),
        );
        fs::create_dir_all(home.path().join(".clawdbot/agents/main/agent")).unwrap();
        let config = home.path().join("config.toml");
        fs::write(&config, &case.toml).unwrap();
        fs::set_permissions(&config, PermissionsExt::from_mode(case.mode)).unwrap();
        fs::write(home.path().join("readable"), format!("https://example.org/{CANARY}\n")).unwrap();
        fs::set_permissions(home.path().join("readable"), PermissionsExt::from_mode(0o644)).unwrap();
        write_private(&home.path().join("empty"), "\n");
        write_private(&home.path().join("wrong"), format!("{CANARY}\n"));
        let before = tree(home.path());
        for command in [
            &["run"][..],
            &["sync"],
            &["status", "--json"],
            &["check"],
            &["config", "check"],
        ] {
            let args = [&["--config", "config.toml", "-vvv"], command].concat();
            let output = nolapse(home.path(), &args);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(3), "{}: {said}", case.name);
            assert_eq!(output.stdout, b"", "{}", case.name);
            assert_eq!(said.matches("hint: ").count(), 1, "{}: {said}", case.name);
            assert!(said.contains(&format!("{}: ", case.place)), "{}: {said}", case.name);
            for what in case.says {
                assert!(said.contains(what), "{}: `{what}` is not in: {said}", case.name);
            }
            assert!(!said.contains(CANARY), "{}: {said}", case.name);
        }
        assert_eq!(tree(home.path()), before, "{}", case.name);
    }
}

/// `config show` of this text, and that printed text's own `config show`.
fn shown(home: &Path, text: &str) -> (String, String) {
    let mut text = text.to_owned();
    let mut shown = Vec::new();
    for name in ["config.toml", "again.toml"] {
        write_private(&home.join(name), &text);
        for command in ["check", "show"] {
            let output = nolapse(home, &["--config", name, "config", command]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command}: {said}\n{text}");
            if command == "show" {
                text = String::from_utf8(output.stdout).unwrap();
            }
        }
        shown.push(text.clone());
    }
    (shown.remove(0), shown.remove(0))
}

#[test]
fn what_is_shown_is_read_back_as_the_same_policy() {
    let home = tempfile::tempdir().unwrap();
    let text = "[sync]\nshare = \"full\"\n[alerts]\nsteps = [\"90m\", \"30s\"]\ngrace = \"0s\"\n\
                [[login]]\ndir = \"/x\"\nagents = [\"clawdbot/*\"]\n[[channel]]\ntype = \"log\"\n\
                title = \"a \\\"b\\\" \\\\ {title}\"\n[[remote]]\nname = \"a\"\nssh = \"u@a\"\nevery = \"1h\"\n";
    let (printed, _) = shown(home.path(), text);
    let (before, after) = (parse(text, home.path()), parse(&printed, home.path()));
    assert_eq!(
        format!("{:?}", before.unwrap()),
        format!("{:?}", after.unwrap()),
        "{printed}"
    );
}

#[test]
fn every_key_is_shown_with_its_source_and_no_secret() {
    let home = home();
    // with as little as each table needs, with all of it, and with each secret in each of its ways
    let every: String = sections().iter().map(Section::toml).collect();
    let (all, again) = shown(home.path(), &every);
    assert!(!again.contains("# default") || all.contains("# default"));
    for section in sections() {
        for setting in &section.settings {
            let key = setting.split(" = ").next().unwrap();
            assert!(all.contains(&format!("\n{key} = ")), "{key} is not in {all}");
        }
    }
    assert!(!all.contains("# default\n[[channel]]") && all.contains("config.toml:"));

    let private = format!(
        "[renew]\ntoken_url = \"https://u:{CANARY}@example.org/t\"\n\
         [[channel]]\ntype = \"telegram\"\nchat_id = \"1\"\ntoken = \"1:{CANARY}\"\n\
         [[channel]]\ntype = \"ntfy\"\ntopic = \"{CANARY}\"\ntoken = \"{CANARY}\"\nurl = \"https://ntfy.example.org\"\n\
         [[channel]]\ntype = \"email\"\nhost = \"h\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\nuser = \"u\"\npassword = \"{CANARY}\"\n\
         [[channel]]\ntype = \"webhook\"\nurl = \"https://example.org/{CANARY}\"\nauthorization = \"{CANARY}\"\n\
         [[channel]]\ntype = \"gotify\"\nurl = \"https://example.org/?{CANARY}\"\ntoken = \"{CANARY}\"\n\
         [[channel]]\ntype = \"pagerduty\"\nrouting_key = \"{CANARY}\"\n\
         [[channel]]\ntype = \"slack\"\nurl_file = \"hook\"\n\
         [heartbeat]\nurl = \"https://hc.example.org/{CANARY}\"\n"
    );
    write_private(&home.path().join("hook"), format!("https://example.org/{CANARY}\n"));
    let (masked, again) = shown(home.path(), &private);
    assert!(!masked.contains(CANARY) && !again.contains(CANARY), "{masked}");
    let hook = home.path().join("hook").display().to_string();
    for line in [
        "token = \"1:masked\"  # ~/config.toml:6, masked",
        "url = \"https://ntfy.example.org\"  # ~/config.toml:11",
        "url = \"https://hc.example.org/…\"  # ~/config.toml:34, masked",
        "min_severity = \"warning\"  # default",
        "# quiet_hours: none  # default",
        &format!("url_file = \"{hook}\"  # ~/config.toml:32"),
        "enabled = true  # default",
        "# no [[remote]]",
    ] {
        assert!(masked.lines().any(|one| one == line), "`{line}` is not in\n{masked}");
    }

    // without a file, what is found by itself
    let (none, _) = shown(home.path(), "");
    assert!(
        none.contains("[[channel]]  # found by itself\ntype = \"log\""),
        "{none}"
    );
    let absent = nolapse(home.path(), &["config", "show"]);
    let absent = String::from_utf8(absent.stdout).unwrap();
    assert!(absent.starts_with("# the defaults, without a file"), "{absent}");

    // from the environment
    write_private(
        &home.path().join("config.toml"),
        "[[channel]]\ntype = \"discord\"\nurl_env = \"HOOK\"\n",
    );
    let output = Command::new(env!("CARGO_BIN_EXE_nolapse"))
        .args(["--config", "config.toml", "config", "show"])
        .env_clear()
        .env("HOME", home.path())
        .env("HOOK", format!("https://example.org/{CANARY}"))
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = "url_env = \"HOOK\"  # ~/config.toml:3, from the environment";
    assert!(said.lines().any(|one| one == line) && !said.contains(CANARY), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_reached_is_said_so() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("dir")).unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let before = tree(home.path());
    for (path, what) in [
        ("nowhere.toml", "config init"),
        ("dir", "--config"),
        ("file/config.toml", "config"),
    ] {
        let output = nolapse(home.path(), &["--config", path, "run"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(path) && said.contains("hint: ") && said.contains(what),
            "{said}"
        );
    }
    assert_eq!(tree(home.path()), before);
}

/// A secret that stands where a name or a path belongs, or under any other key, is not printed by whoever reads the file.
#[test]
fn a_secret_under_the_wrong_key_is_never_printed() {
    let secret = "sk-CANARY0aB1cD2eF3gH4";
    let made = "CANARY0aB1cD2eF3gH4iJ5kL6";
    for lines in [
        "type = \"email\"\nsmtp = \"smtp://127.0.0.1\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"\nuser = \"u\"\npassword_env = \"%\"\n",
        "type = \"email\"\nsmtp = \"smtp://127.0.0.1\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"\nuser = \"u\"\npassword_file = \"%\"\n",
        "type = \"slack\"\nurl_env = \"%\"\n",
        "type = \"slack\"\nurl_file = \"%\"\n",
        "type = \"%\"\n",
        "type = \"log\"\nmin_severity = \"%\"\n",
        "type = \"log\"\n\"%\" = true\n",
        "type = \"log\"\nquiet_hours = \"%\"\n",
    ] {
        for secret in [secret, made] {
            let home = crate::home::Home::new();
            home.config(&format!("[[channel]]\n{}", lines.replace('%', secret)));
            for args in [
                &["config", "check"][..],
                &["config", "show"],
                &["doctor"],
                &["doctor", "--json"],
                &["run"],
                &["-vvv", "status"],
            ] {
                let ran = home.run(args);
                assert!(!format!("{ran:?}").contains("CANARY"), "{lines}\n{args:?}: {ran:?}");
            }
            assert_eq!(home.run(&["config", "check"]).code, 3, "{lines}");
        }
    }
}

/// What others can change could have nolapse run anything: as ssh, it is refused with the command that ends it.
#[test]
fn a_configuration_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    for (path, mode, command) in [
        (
            ".config/nolapse/config.toml",
            0o620,
            "chmod go-w ~/.config/nolapse/config.toml",
        ),
        (
            ".config/nolapse/config.toml",
            0o602,
            "chmod go-w ~/.config/nolapse/config.toml",
        ),
        (".config/nolapse", 0o777, "chmod go-w ~/.config/nolapse"),
    ] {
        let home = crate::home::Home::new();
        home.config("[renew]\nmode = \"off\"\n");
        assert_eq!(home.run(&["config", "check"]).code, 0);
        fs::set_permissions(home.at(path), fs::Permissions::from_mode(mode)).unwrap();
        let ran = home.run(&["config", "check"]);
        // root does not even look into such a directory
        let root = rustix::process::geteuid().is_root() && mode == 0o777;
        let said = if root { "root does not use" } else { command };
        assert!(ran.code == 3 && ran.stderr.contains(said), "{ran:?}");
    }
}

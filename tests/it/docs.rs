//! What the documentation shows is what the program takes.

use super::home::{HOUR, Home, now};
use serde_json::Value;
use std::path::Path;

/// Each Markdown file with its text.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<_> = docs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root.join("README.md")])
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    pages.sort();
    pages
}

/// The fenced blocks of a language.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let rest = page.split(&fence).skip(1);
    rest.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_configuration_in_the_documentation_is_one() {
    let mut checked = 0;
    for (name, page) in pages() {
        for block in blocks(&page, "toml") {
            let home = Home::new();
            for line in block.lines() {
                if let Some((_, file)) = line.split_once("\"~/.config/nolapse/") {
                    let file = file.trim_end_matches('"');
                    let secret = if file.ends_with("-url") {
                        "https://example.org/hook"
                    } else {
                        "a1b2c3"
                    };
                    home.write(&format!(".config/nolapse/{file}"), secret);
                }
            }
            home.config(&block);
            let ran = home.run(&["config", "check"]);
            assert_eq!(ran.code, 0, "{name}:\n{block}\n{}", ran.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 9, "only {checked}");
}

#[test]
fn the_automation_for_home_assistant_reads_what_the_webhook_sends() {
    let home = Home::new();
    home.write("out.sh", "cat >> events.txt; echo >> events.txt\n");
    home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"out.sh\"]\n");
    home.write(
        ".claude/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0}}"#,
    );
    home.run(&["run"]);
    home.login("1", now() + 8 * HOUR);
    home.run(&["run"]);
    let sent = home.read("events.txt");
    let mut events = serde_json::Deserializer::from_str(&sent)
        .into_iter::<Value>()
        .map(Result::unwrap);
    let (fires, over) = (events.next().unwrap(), events.next().unwrap());
    let (_, page) = pages()
        .into_iter()
        .find(|(name, _)| name.ends_with("integrations.md"))
        .unwrap();
    let automation = blocks(&page, "yaml")
        .into_iter()
        .find(|block| block.contains("webhook_id"))
        .unwrap();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = 0;
    for at in automation.split("trigger.json.").skip(1) {
        let key = at.split(|c| !word(c)).next().unwrap();
        assert!(
            !fires[key].is_null() && !over[key].is_null(),
            "there is no `{key}`: {fires}"
        );
        // what it is compared with is what is sent
        if let Some(value) = at.strip_prefix(key).and_then(|rest| rest.strip_prefix(" == '")) {
            let value = value.split('\'').next().unwrap();
            assert!(fires[key] == value, "`{key}` is `{}`, not `{value}`", fires[key]);
            assert!(key == "severity" || over[key] != value, "{over}");
        }
        asked += 1;
    }
    assert!(asked >= 7, "only {asked}");
    assert_eq!(fires["alert_id"], over["alert_id"]);
    assert!(fires["commands"].is_array() && fires["title"].is_string() && fires["message"].is_string());
}

#[test]
fn the_labels_for_alertmanager_are_those_that_are_sent() {
    let receiver = super::receiver::Receiver::new(super::receiver::Manner::Answer(200));
    let home = Home::new();
    let base = receiver.url().trim_end_matches("/hook").to_owned();
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"alertmanager\"\nurl = \"{base}\"\n"
    ));
    home.write(
        ".claude/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0}}"#,
    );
    home.run(&["run"]);
    let (_, body) = receiver.seen().pop().unwrap();
    let sent: Value = serde_json::from_str(&body).unwrap();
    let labels = sent[0]["labels"].as_object().unwrap();
    let (_, page) = pages()
        .into_iter()
        .find(|(name, _)| name.ends_with("integrations.md"))
        .unwrap();
    let (_, said) = page.split_once("Alerts have the labels ").unwrap();
    let said = said.split("\n\n").next().unwrap();
    for label in labels.keys() {
        assert!(
            said.contains(&format!("`{label}`")),
            "`{label}` is not documented: {said}"
        );
    }
    for word in said.split('`').skip(1).step_by(2).filter(|word| *word != "nolapse") {
        assert!(labels.contains_key(word), "`{word}` is not sent: {labels:?}");
    }
    assert!(
        said.contains(&format!("(`{}`)", labels["alertname"].as_str().unwrap())),
        "{labels:?}"
    );
}

pub fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_line_for_nagios_is_the_one_that_is_printed() {
    let at = 1_795_382_787_000;
    let home = Home::new();
    // it needs a human four days from then, with the three that the server may take
    let login = super::home::credentials("1", at + 8 * HOUR, Some(at + 7 * super::home::DAY));
    home.write(".claude/.credentials.json", login.to_string());
    let ran = home.run(&["check", "--format", "nagios", "--at", &at.to_string()]);
    let line = ran.stdout.lines().next().unwrap();
    let host = line.split(" on ").nth(1).unwrap().split(';').next().unwrap();
    let line = line.replacen(&format!(" on {host};"), " on gw;", 1);
    let shown = blocks(&read("docs/integrations.md"), "text");
    assert!(shown.iter().any(|block| block.trim() == line), "{line}\n{shown:?}");
}

#[test]
fn the_readme_is_short_and_begins_with_what_runs() {
    let readme = read("README.md");
    let words = readme.split_whitespace().count();
    assert!(words <= 1500, "{words} words");
    let first = blocks(&readme, "sh").remove(0);
    let commands: Vec<&str> = first
        .lines()
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    assert_eq!(commands, ["cargo run --release -- demo", "scripts/test"]);
    assert!(readme.find("```sh").unwrap() < 20);
}

#[test]
fn every_link_leads_somewhere_and_the_index_has_every_page() {
    let mut followed = 0;
    for (name, page) in pages() {
        let dir = Path::new(&name).parent().unwrap();
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(dir.join(path).exists(), "{name}: {link}");
            followed += 1;
        }
    }
    assert!(followed > 50, "only {followed}");
    let index = read("docs/README.md");
    for (name, _) in pages() {
        let file = Path::new(&name).file_name().unwrap().to_str().unwrap();
        assert!(file == "README.md" || index.contains(&format!("]({file})")), "{file}");
    }
}

#[test]
fn every_command_in_the_documentation_can_be_typed() {
    let home = Home::new();
    let mut typed = 0;
    for (name, page) in pages() {
        for line in blocks(&page, "sh").iter().flat_map(|block| block.lines()) {
            let command = line
                .split(" #")
                .next()
                .unwrap()
                .split([';', '|', '>', '<'])
                .next()
                .unwrap();
            let words: Vec<&str> = command.split_whitespace().collect();
            if words.first() != Some(&"nolapse") || command.contains(['\'', '"', '$', '\\', '…']) {
                continue;
            }
            let ran = home.run(&[&words[1..], &["--help"]].concat());
            assert_eq!(ran.code, 0, "{name}: {line}: {ran:?}");
            typed += 1;
        }
    }
    assert!(typed > 20, "only {typed}");
    assert!(home.files().is_empty());
}

/// What docs/alerts.md says of how it knows who hears what: each is a script, an example, or a file with tests.
#[test]
fn whatever_proves_who_hears_what_is_there() {
    let page = read("docs/alerts.md");
    let table = page.split("## Who hears what").nth(1).expect("the table");
    let rows = table.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let mut seen = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let proof = row.trim_end_matches(" |").rsplit(" | ").next().expect("three cells");
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            let script = name.starts_with("scripts/") || name.starts_with("examples/");
            let places = [name.to_owned(), format!("src/{name}.rs"), format!("src/{name}/mod.rs")];
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            let text = places
                .iter()
                .find_map(|place| std::fs::read_to_string(root.join(place)).ok());
            let text = text.unwrap_or_else(|| panic!("there is no `{name}`: {row}"));
            assert!(
                script || text.contains("#[test]") || text.contains("#[tokio::test]"),
                "no test in `{name}`: {row}"
            );
        }
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

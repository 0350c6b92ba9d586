//! The JSON Schema of the configuration against what the code asks for and takes. `scripts/check-schema` has real validators
//! read it.

use super::config::{Section, asked, home, parse, sections};
use super::home::Home;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;

fn schema() -> Value {
    let ran = Home::new().run(&["config", "schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The part of the schema that is about a section of the example, references followed.
fn properties(schema: &Value, section: &Section) -> Map<String, Value> {
    let table = &schema["properties"][section.heading.trim_matches(['[', ']'])];
    assert!(table["description"].is_string(), "{}", section.heading);
    let object = match (section.heading.starts_with("[["), section.channel_type()) {
        (false, _) => table,
        (true, None) => &table["items"],
        (true, Some(word)) => {
            let types = table["items"]["oneOf"].as_array().unwrap();
            let of_it = |one: &&Value| one["properties"]["type"]["const"] == word;
            types.iter().find(of_it).unwrap_or_else(|| panic!("no type `{word}`"))
        }
    };
    assert_eq!(object["additionalProperties"], false, "{}", section.heading);
    let resolve = |(name, is): (&String, &Value)| {
        let is = match is["$ref"].as_str() {
            Some(at) => schema.pointer(at.trim_start_matches('#')).unwrap(),
            None => is,
        };
        (name.clone(), is.clone())
    };
    object["properties"].as_object().unwrap().iter().map(resolve).collect()
}

/// The least that the section needs: its heading and what is required.
fn least(section: &Section, properties: &Map<String, Value>) -> String {
    let needed = |setting: &&&str| {
        let name = setting.split(" = ").next().unwrap();
        let is = &properties[name];
        name == "type" || is["description"].as_str().unwrap().contains("(required)")
    };
    let settings: Vec<&str> = section.settings.iter().filter(needed).copied().collect();
    format!("{}\n{}\n", section.heading, settings.join("\n"))
}

fn config(text: &str, home: &Path) -> String {
    format!(
        "{:?}",
        parse(text, home).unwrap_or_else(|error| panic!("{error}\n{text}"))
    )
}

#[test]
fn it_has_the_keys_that_the_code_asks_for_and_no_other() {
    let (schema, home) = (schema(), home());
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(keys(schema["properties"].as_object().unwrap()), asked("", home.path()));
    for section in sections() {
        let properties = properties(&schema, &section);
        assert_eq!(
            keys(&properties),
            asked(&section.toml(), home.path()),
            "{}",
            section.toml()
        );
        for (name, is) in &properties {
            assert!(
                !is["description"].as_str().unwrap().is_empty(),
                "{} {name}",
                section.heading
            );
        }
    }
}

#[test]
fn what_it_calls_a_default_is_what_holds_without_the_key() {
    let (schema, home) = (schema(), home());
    let mut defaults = 0;
    for section in sections() {
        let properties = properties(&schema, &section);
        let least = least(&section, &properties);
        let without = config(&least, home.path());
        for (name, is) in properties.iter().filter(|(_, is)| !is["default"].is_null()) {
            // common keys are said in the first channel alone
            if section.channel_type().is_some_and(|word| word != "log")
                && schema["$defs"][format!("channel_{name}")] == *is
            {
                continue;
            }
            let with = format!("{least}{name} = {}\n", is["default"]);
            assert_eq!(config(&with, home.path()), without, "{with}");
            defaults += 1;
        }
    }
    assert!(defaults > 30, "only {defaults}");
}

#[test]
fn its_words_and_durations_are_what_the_code_takes() {
    let (schema, home) = (schema(), home());
    let (mut words_seen, mut durations) = (0, 0);
    for section in sections() {
        let properties = properties(&schema, &section);
        let least = least(&section, &properties);
        for (name, is) in &properties {
            let refused = |value: &str| parse(&format!("{least}{name} = {value}\n"), home.path()).unwrap_err();
            if let Some(words) = is["enum"].as_array() {
                let error = refused("\"qqqqqqqqqq\"");
                for word in words {
                    let text = word.as_str().unwrap();
                    assert!(error.hint.contains(&format!("`{text}`")), "{name}: {error}");
                    if (name.as_str(), text) == ("tls", "none") {
                        continue; // for a server on this host alone
                    }
                    config(&format!("{least}{name} = {word}\n"), home.path());
                }
                assert_eq!(error.hint.matches('`').count(), 2 * words.len(), "{name}: {error}");
                words_seen += 1;
            }
            if is["pattern"].is_string() {
                assert!(refused("\"5 parsecs\"").message.contains("is not a duration"));
                durations += 1;
            }
            if name != "type" && is["enum"].is_null() && is["type"] == "string" && !is["examples"].is_null() {
                let example = &is["examples"][0];
                if !least.contains(&format!("\n{name} = ")) && name != "user" && name != "password_file" {
                    config(&format!("{least}{name} = {example}\n"), home.path());
                }
            }
        }
    }
    assert!(words_seen >= 4 && durations >= 8, "{words_seen} {durations}");
}

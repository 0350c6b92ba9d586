//! The JSON Schema of the configuration (draft 2020-12), for editors, made from the one place that names every key with its
//! meaning and default: `contrib/config.example.toml`.
//!
//! What the example says is read as it says it: a key is `(required)`, or its value is the default, or an example where there
//! is none `if not given`; words in quotes of which the value is one are all that there are; `also KEY or KEY` are the other
//! ways to give a secret. The tests hold it against what the code asks for and takes.

use super::EXAMPLE;
use crate::table::parse_duration;
use serde_json::{Map, Value, json};

/// What [`parse_duration`] reads.
const DURATION: &str = "^ *([0-9]+(ms|s|m|min|h|d|w) *)+$";

/// The schema, one object.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let mut types = Vec::new();
    let mut common: Option<Section> = None;
    for section in sections(EXAMPLE) {
        match (section.repeated, section.name, section.channel_type()) {
            (true, "channel", Some(word)) => match &mut common {
                // the first one holds what is for every type
                None => {
                    types.push(channel(&section, &[], "log", "The log on stderr. Needs nothing."));
                    common = Some(section);
                }
                Some(common) => types.push(channel(common, &section.keys, word, &section.about)),
            },
            (true, name, _) => {
                let mut list = json!({"type": "array", "items": object(&section)});
                list["description"] = section.about.as_str().into();
                properties.insert(name.into(), list);
            }
            (false, name, _) => {
                properties.insert(name.into(), object(&section));
            }
        }
    }
    let mut shared = Map::new();
    if let Some(common) = common {
        for key in common.keys.iter().filter(|key| key.name != "type") {
            let mut one = Map::new();
            add(key, &mut one, &mut Vec::new());
            shared.extend(one.into_iter().map(|(name, is)| (format!("channel_{name}"), is)));
        }
        let mut list = json!({"type": "array", "items": {"type": "object", "required": ["type"], "oneOf": types}});
        list["description"] = common.about.into();
        properties.insert("channel".into(), list);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nolapse configuration",
        "description": "config.toml of nolapse; every key is optional, except those that a table needs",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": shared,
    })
}

/// A table of the example.
struct Section {
    name: &'static str,
    /// `[[name]]`.
    repeated: bool,
    about: String,
    keys: Vec<Key>,
}

struct Key {
    name: &'static str,
    about: String,
    value: Value,
}

impl Section {
    fn channel_type(&self) -> Option<&str> {
        self.keys.iter().find(|key| key.name == "type")?.value.as_str()
    }
}

fn sections(example: &'static str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut about = String::new();
    // of several settings in a row the first one's comment is for all
    let mut fresh = true;
    for line in example.lines() {
        let comment = line.strip_prefix("# ");
        let setting = line.strip_prefix('#').filter(|_| comment.is_none());
        match (comment, setting) {
            (Some(more), _) => {
                if fresh {
                    about.clear();
                }
                fresh = false;
                if !about.is_empty() {
                    about.push(' ');
                }
                about.push_str(more);
            }
            (None, Some(heading)) if heading.starts_with('[') => {
                sections.push(Section {
                    name: heading.trim_matches(['[', ']']),
                    repeated: heading.starts_with("[["),
                    about: std::mem::take(&mut about),
                    keys: Vec::new(),
                });
                fresh = true;
            }
            (None, Some(setting)) => {
                if let (Some((name, value)), Some(section)) = (setting.split_once(" = "), sections.last_mut()) {
                    section.keys.push(Key {
                        name,
                        about: about.clone(),
                        // what stands there is JSON too
                        value: serde_json::from_str(value).unwrap_or(Value::Null),
                    });
                }
                fresh = true;
            }
            (None, None) => {
                about.clear();
                fresh = true;
            }
        }
    }
    sections
}

fn object(section: &Section) -> Value {
    let (mut properties, mut needed) = (Map::new(), Vec::new());
    for key in &section.keys {
        add(key, &mut properties, &mut needed);
    }
    let mut object = closed(properties, needed);
    object["description"] = section.about.as_str().into();
    object
}

/// One type of channel: its own keys, and those of all types by reference.
fn channel(common: &Section, own: &[Key], word: &str, about: &str) -> Value {
    let (mut properties, mut needed) = (Map::new(), Vec::new());
    for key in &common.keys {
        properties.insert(
            key.name.into(),
            json!({"$ref": format!("#/$defs/channel_{}", key.name)}),
        );
    }
    for key in own {
        add(key, &mut properties, &mut needed);
    }
    properties.insert("type".into(), json!({"const": word, "description": about}));
    closed(properties, needed)
}

/// A table that takes these keys and no others; of each needed key one of its ways.
fn closed(properties: Map<String, Value>, needed: Vec<Vec<String>>) -> Value {
    let mut object = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let (single, several): (Vec<Vec<String>>, Vec<Vec<String>>) = needed.into_iter().partition(|ways| ways.len() == 1);
    if !single.is_empty() {
        object["required"] = single.concat().into();
    }
    let one_of = |ways: Vec<String>| {
        let ways: Vec<Value> = ways.into_iter().map(|way| json!({"required": [way]})).collect();
        json!({"oneOf": ways})
    };
    if !several.is_empty() {
        object["allOf"] = several.into_iter().map(one_of).collect();
    }
    object
}

fn add(key: &Key, properties: &mut Map<String, Value>, needed: &mut Vec<Vec<String>>) {
    let mut is = kind(&key.value, &key.about);
    is["description"] = key.about.as_str().into();
    let required = key.about.contains("(required)");
    let is_example = required || key.about.contains("if not given") || key.name.ends_with("_file");
    if is_example {
        is["examples"] = json!([key.value]);
    } else {
        is["default"] = key.value.clone();
    }
    properties.insert(key.name.into(), is);
    let mut ways = vec![key.name.to_owned()];
    for other in others(key) {
        let about = match other.rsplit_once('_') {
            Some((_, "file")) => "a file of mode 600 whose only line it is",
            Some((_, "env")) => "the name of a variable that holds it",
            _ => "itself, in a file of mode 600",
        };
        let about = format!("{about}: {}", key.about);
        properties.insert(other.to_owned(), json!({"type": "string", "description": about}));
        ways.push(other.to_owned());
    }
    if required {
        needed.push(ways);
    }
}

/// The other ways to give a secret, from `also KEY or KEY`; a comment may be for several keys.
fn others(key: &Key) -> impl Iterator<Item = &str> {
    let base = |name: &str| -> String {
        let short = name.strip_suffix("_file").or_else(|| name.strip_suffix("_env"));
        short.unwrap_or(name).to_owned()
    };
    let own = base(key.name);
    let (_, list) = key.about.rsplit_once("also ").unwrap_or_default();
    list.split(" or ").filter(move |other| base(other) == own)
}

fn kind(value: &Value, about: &str) -> Value {
    match value {
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) => json!({"type": "integer"}),
        Value::Array(items) => {
            let item = items
                .first()
                .map_or_else(|| json!({"type": "string"}), |item| kind(item, ""));
            json!({"type": "array", "items": item})
        }
        Value::String(text) if parse_duration(text).is_some() => json!({"type": "string", "pattern": DURATION}),
        Value::String(text) => {
            let mut words: Vec<&str> = Vec::new();
            for word in about.split('"').skip(1).step_by(2) {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            match words.contains(&text.as_str()) && words.len() > 1 {
                true => json!({"type": "string", "enum": words}),
                false => json!({"type": "string"}),
            }
        }
        _ => json!({}),
    }
}

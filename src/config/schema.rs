//! The JSON Schema of the configuration (draft 2020-12), for editors, made from the table of keys. The tests hold it against what
//! the code asks for and takes.

use crate::rules::keys::{self, Key, Kind, SECTIONS, Section, Without};
use serde_json::{Map, Value, json};

/// What a duration is written as.
const DURATION: &str = "^ *([0-9]+(ms|s|m|min|h|d|w) *)+$";

/// The schema, one object.
pub(crate) fn schema() -> Value {
    let mut properties = Map::new();
    for section in SECTIONS.iter().filter(|section| section.name != "channel") {
        let mut is = object(section);
        if section.repeated {
            is = json!({"type": "array", "items": is, "description": section.about});
        }
        properties.insert(section.name.into(), is);
    }
    let (mut shared, mut types) = (Map::new(), Vec::new());
    for section in SECTIONS.iter().filter(|section| section.name == "channel") {
        match section.of_type {
            Some(word) => types.push(channel(section.keys, word, section.about)),
            None => {
                for key in section.keys.iter().filter(|key| key.name != "type") {
                    shared.insert(format!("channel_{}", key.name), property(key));
                }
                types.push(channel(&[], "log", "The log on stderr. Needs nothing."));
                let each = json!({"type": "object", "required": ["type"], "oneOf": []});
                properties.insert(
                    "channel".into(),
                    json!({"type": "array", "items": each, "description": section.about}),
                );
            }
        }
    }
    properties["channel"]["items"]["oneOf"] = types.into();
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

fn object(section: &Section) -> Value {
    let mut object = closed(section.keys, Map::new());
    object["description"] = section.about.into();
    object
}

/// One type of channel: its own keys, and those of all types by reference.
fn channel(own: &[Key], word: &str, about: &str) -> Value {
    let mut properties = Map::new();
    for key in keys::of("channel", None) {
        let at = format!("#/$defs/channel_{}", key.name);
        properties.insert(key.name.into(), json!({"$ref": at}));
    }
    properties.insert("type".into(), json!({"const": word, "description": about}));
    closed(own, properties)
}

/// A table that takes these keys and no others; of each needed key one of its ways.
fn closed(own: &[Key], mut properties: Map<String, Value>) -> Value {
    let (mut single, mut several): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for key in own {
        let ways = add(key, &mut properties);
        match (key.without, &ways[..]) {
            (Without::Needed(_), [one]) => single.push(one.as_str().into()),
            (Without::Needed(_), ways) => {
                let ways: Vec<Value> = ways.iter().map(|way| json!({"required": [way]})).collect();
                several.push(json!({"oneOf": ways}));
            }
            _ => {}
        }
    }
    let mut object = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !single.is_empty() {
        object["required"] = single.into();
    }
    if !several.is_empty() {
        object["allOf"] = several.into();
    }
    object
}

/// Adds a key in each of its ways, and names them.
fn add(key: &Key, properties: &mut Map<String, Value>) -> Vec<String> {
    let first = key.first_way();
    properties.insert(first.clone(), property(key));
    let mut ways = vec![first];
    if key.kind.may_be_elsewhere() {
        let name = key.name;
        for (way, about) in [
            (name.to_owned(), "itself, in a file of mode 600"),
            (format!("{name}_file"), "a file of mode 600 whose only line it is"),
            (format!("{name}_env"), "the name of a variable that holds it"),
        ] {
            if !ways.contains(&way) {
                let about = format!("{about}: {}", key.about_all());
                properties.insert(way.clone(), json!({"type": "string", "description": about}));
                ways.push(way);
            }
        }
    }
    ways
}

fn property(key: &Key) -> Value {
    let mut is = match key.kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Words(words) if !words.is_empty() => json!({"type": "string", "enum": words}),
        Kind::Number(least, i64::MAX) => json!({"type": "integer", "minimum": least}),
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Span(..) => json!({"type": "string", "pattern": DURATION}),
        Kind::Spans(..) => json!({"type": "array", "items": {"type": "string", "pattern": DURATION}}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Text | Kind::Path | Kind::Program | Kind::Words(_) | Kind::Secret(_) | Kind::SecretUrl | Kind::Url => {
            json!({"type": "string"})
        }
    };
    is["description"] = key.about_all().into();
    // what stands in the table is JSON too
    let value: Value = serde_json::from_str(key.value()).unwrap_or_default();
    match key.without {
        Without::Default(_) => is["default"] = value,
        Without::Needed(_) | Without::Else(..) => is["examples"] = json!([value]),
    }
    is
}

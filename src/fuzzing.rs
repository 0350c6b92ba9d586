//! What must hold whatever a foreign file, server or program says: one function a parser. The fuzz targets in `fuzz/` call them
//! with made-up bytes, and a test here with every input that ever broke one (`tests/fuzz/TARGET/`).

use crate::edge::http::Reply;
use crate::edge::session::{Link, Screen};
use crate::json::without_bom;
use crate::rules::agent::{Edit, Put};
use crate::rules::login::State;
use crate::rules::remote::{self, RemoteMemory};
use crate::secret::Secret;
use crate::sources::claude::{self, NewTokens};
use crate::stores::dotenv::{self, Dotenv};
use crate::stores::store::{self, Recorded};
use crate::stores::{agent_config, families};
use crate::types::{Credential, DAY, Moment, Profile};
use crate::{reauth, renew};
use serde_json::Value;

/// One of the functions below.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("credentials", credentials),
    ("store", stored),
    ("agent_config", agents),
    ("dotenv", environment),
    ("token_answer", token_answer),
    ("screen", screen),
    ("remote", remote_answer),
];

const END: Moment = Moment::at(1_790_000_000_000);

/// What an error may say: a line, and nothing that looks like a token.
fn is_fit_to_be_said(text: &str) {
    assert!(
        text.len() < 400 && !text.contains("sk-ant-") && !text.chars().any(char::is_control),
        "{text:?}"
    );
}

/// Claude Code's `.credentials.json`: new tokens are read back as they were put in, and nothing else changed.
pub fn credentials(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let State::Unreadable { why, .. } = claude::parse(text) {
        is_fit_to_be_said(&why);
    }
    let new = NewTokens {
        access: Secret::new("access \" \\ \u{1}"),
        refresh: Secret::new("refresh"),
        expires: END,
        deadline: Some(END + DAY),
    };
    let patched = match claude::patch(text, &new) {
        Ok(patched) => patched,
        Err(why) => return is_fit_to_be_said(&why),
    };
    let State::SignedIn(grant) = claude::parse(&patched) else {
        panic!("what was patched is no login")
    };
    assert!(grant.access.as_ref() == Some(&new.access));
    assert!(grant.refresh.token() == Some(&new.refresh));
    assert_eq!(grant.expires, Some(END));
    assert!(
        claude::patch(&patched, &new).as_deref() == Ok(&patched),
        "a second time changes more"
    );
    // another reader's word for it, where that reader takes the original at all
    if let (Ok(mut before), Ok(mut after)) = (
        serde_json::from_str::<Value>(without_bom(text)),
        serde_json::from_str::<Value>(&patched),
    ) {
        for value in [&mut before, &mut after] {
            if let Some(Value::Object(oauth)) = value.get_mut("claudeAiOauth") {
                for key in ["accessToken", "refreshToken", "expiresAt", "refreshTokenExpiresAt"] {
                    oauth.remove(key);
                }
            }
        }
        assert_eq!(before, after);
    }
}

fn profiles_of(text: &str) -> Result<Vec<Profile>, String> {
    store::parse_all(text).map(|(profiles, _)| profiles)
}

/// An agents' store: both readers agree, and each change changes what it is to change.
pub fn stored(data: &[u8]) {
    const ID: &str = "anthropic:claude-cli";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = profiles_of(text);
    let leniently = store::parse_leniently(text);
    assert_eq!(store::parse_all(text), leniently, "the two readers differ");
    let profiles = match read {
        Ok(profiles) => profiles,
        Err(why) => return is_fit_to_be_said(&why),
    };
    let others = |profiles: &[Profile]| -> Vec<Profile> {
        profiles.iter().filter(|profile| profile.id != ID).cloned().collect()
    };
    let of = |text: &str| profiles_of(text).expect("what was written cannot be read");
    let kept = |text: &str| assert_eq!(others(&profiles), others(&of(text)));
    let put = Put::Oauth {
        access: Secret::new("A"),
        refresh: Secret::new("R"),
        expires: END,
    };
    let edits = [Edit {
        id: ID.into(),
        provider: "anthropic".into(),
        put,
    }];
    if let Ok(patched) = store::patch(Some(text), &edits) {
        kept(&patched);
        assert!(
            store::patch(Some(&patched), &edits).as_deref() == Ok(&patched),
            "a second time changes more"
        );
        // an entry without a provider that the agents read stays one that they drop
        if let Some(now) = of(&patched).into_iter().find(|profile| profile.id == ID) {
            let wanted = Credential::Oauth {
                access: Some(Secret::new("A")),
                refresh: Some(Secret::new("R")),
                expires: Some(END),
            };
            assert!(now.credential == wanted);
        }
    }
    if let Ok(recorded) = store::record(Some(text), ID, "anthropic", &Recorded::ApiKey(Secret::new("K"))) {
        kept(&recorded);
        assert!(store::fingerprint(&recorded, ID) == Some(Secret::new("K").fingerprint()));
    }
    if let Ok(gone) = store::take_out(text, ID) {
        kept(&gone);
        assert!(of(&gone).iter().all(|profile| profile.id != ID));
    }
    let ids = ["b".to_owned(), "a".to_owned()];
    if let Ok(ordered) = store::set_order(text, "anthropic", &ids) {
        assert_eq!(profiles, of(&ordered));
        assert_eq!(
            store::order(&ordered, "anthropic").as_ref().map(Option::as_deref),
            Ok(Some(&ids[..]))
        );
    }
}

/// The agents' JSON5 configuration.
pub fn agents(data: &[u8]) {
    for agent in agent_config::parse(data).agents {
        assert_eq!(families::normalise_agent_id(&agent.id), agent.id);
    }
}

/// The agents' `.env`: a value that was set is read back, and no other changed.
pub fn environment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let before = Dotenv::parse(text);
    let token = Secret::new("sk-ant-oat01-x_Y-9");
    if let Ok(text) = dotenv::set(text, "ANTHROPIC_OAUTH_TOKEN", &token) {
        let after = Dotenv::parse(&text);
        assert!(after.get("ANTHROPIC_OAUTH_TOKEN") == Some(&token));
        let others = |file: &Dotenv| {
            let names = file.names().into_iter().filter(|name| name != "ANTHROPIC_OAUTH_TOKEN");
            names.map(|name| (file.get(&name).cloned(), name)).collect::<Vec<_>>()
        };
        assert!(others(&before) == others(&after));
    }
}

/// A token endpoint's answer: the first byte chooses the status and whether it came whole, the rest is its body.
pub fn token_answer(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    const STATUS: [u16; 8] = [200, 201, 400, 401, 403, 404, 429, 503];
    renew::must_hold_for_an_answer(&Reply {
        status: STATUS[usize::from(choice % 8)],
        retry_after: None,
        body: body.to_vec(),
        whole: choice & 8 == 0,
    });
}

/// The Claude Code CLI's output: the first byte chooses terminal or pipe, width, and in how large pieces it comes.
pub fn screen(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let link = if choice & 1 == 0 { Link::Terminal } else { Link::Pipes };
    let mut screen = Screen::new(if choice & 2 == 0 { 500 } else { 80 }, link);
    for piece in bytes.chunks(usize::from(choice >> 2) + 1) {
        screen.draw(piece);
    }
    reauth::must_hold_for_a_screen(&screen);
}

/// Another host's answer.
pub fn remote_answer(data: &[u8]) {
    let mut memory = RemoteMemory::default();
    remote::note(&mut memory, "other", remote::parse(data).map_err(Into::into), END);
    let way = remote::Way {
        name: "other",
        ssh: "user@other",
        command: "nolapse status --json",
        grace: DAY,
    };
    for alert in remote::alerts(way, &memory, END) {
        assert!(alert.id.to_string().contains("other"), "{}", alert.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_once_broke_a_parser_and_what_it_should_know_hold() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz");
        for (name, target) in TARGETS {
            let mut count = 0;
            for entry in fs::read_dir(format!("{root}/{name}")).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(&path).unwrap());
                count += 1;
            }
            assert!(count > 0, "{name}");
        }
    }
}

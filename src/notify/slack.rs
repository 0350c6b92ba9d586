//! `slack`: an incoming webhook. Header, text and context blocks; foreign text only in `plain_text` objects, which know no
//! markup, and commands as code. Limits of Block Kit: header 150, section 3000, 50 blocks; `& < >` are escaped everywhere.

use super::reply::{own_answer, post};
use super::{Receipt, SendCtx, SendError, need_url};
use crate::rules::text::{self, Count, Part, clip};
use crate::secret::SecretUrl;
use crate::table::{ConfigError, Table};
use crate::types::Event;
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Slack {
    /// The incoming webhook's URL, a secret.
    pub(crate) url: SecretUrl,
}

impl Slack {
    /// Reads `url`, also as `_file` or `_env`.
    ///
    /// # Errors
    /// A missing or wrong `url`.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = need_url(table, "url")?;
        // it is itself what proves who posts
        table.not_in_the_clear("url", &url, "itself, a secret,")?;
        Ok(Self { url })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        vec![self.url.expose()]
    }

    /// Sends.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let body = payload(event).to_string().into_bytes();
        let reply = post(ctx, &self.url, Vec::new(), body, &["/error"]).await?;
        // `ok` as text by incoming webhooks and Mattermost, `{"ok":true}` by workflows, `{"success":true}` by Rocket.Chat
        if reply.body.trim_ascii() != b"ok" {
            let yes = |answer: &Value| (answer["ok"] == true || answer["success"] == true).then_some(());
            own_answer("slack", &reply, &["/error", "/message"], yes)?;
        }
        Ok(Receipt::of(format!("answered {}", reply.status)))
    }
}

/// What is posted.
pub(crate) fn payload(event: &Event) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": clip(&event.title, 150, Count::Utf16, escape), "emoji": false},
    })];
    for part in text::parts(event).into_iter().take(40) {
        let text = match part {
            Part::Text(text) => {
                json!({"type": "plain_text", "text": clip(&text, 3000, Count::Utf16, escape), "emoji": false})
            }
            Part::Command(command) => {
                let code = clip(&command, 2900, Count::Utf16, escape_code);
                json!({"type": "mrkdwn", "text": format!("```{code}```")})
            }
        };
        blocks.push(json!({"type": "section", "text": text}));
    }
    let context = format!("{} · host {}", text::heading(event), event.host);
    blocks.push(json!({
        "type": "context",
        "elements": [{"type": "plain_text", "text": clip(&context, 2000, Count::Utf16, escape), "emoji": false}],
    }));
    let fallback = format!("{}: {}", text::heading(event), event.title);
    json!({"text": clip(&fallback, 3000, Count::Utf16, escape), "blocks": blocks})
}

fn escape(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => return None,
    })
}

/// A back-tick would end the code.
fn escape_code(c: char) -> Option<&'static str> {
    if c == '`' { Some("'") } else { escape(c) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{CANARY, event, leak_check};

    #[test]
    fn foreign_text_is_plain_and_the_command_is_code() {
        let payload = payload(&event());
        assert_eq!(payload["text"], "Critical: Claude login on gw has ended");
        let blocks = payload["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 4);
        assert_eq!(blocks[1]["text"]["type"], "plain_text");
        assert!(
            blocks[1]["text"]["text"]
                .as_str()
                .unwrap()
                .contains("&lt;b&gt;&amp;*x*")
        );
        assert_eq!(
            blocks[2]["text"],
            json!({"type": "mrkdwn", "text": "```claude auth login```"})
        );
        assert_eq!(blocks[3]["elements"][0]["text"], "Critical · host gw");
    }

    #[test]
    fn limits_hold() {
        let mut event = event();
        event.title = "&".repeat(400);
        event.message = "<".repeat(9000);
        let payload = payload(&event);
        let header = payload["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(header.chars().count() <= 150 && header.ends_with("&amp;…"), "{header}");
        assert!(payload["blocks"][1]["text"]["text"].as_str().unwrap().chars().count() <= 3000);
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| format!("type = \"slack\"\nurl = \"http://{at}/services/T0/B0/{CANARY}\"")).await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"slack\"\nurl = \"http://{at}/services/T0\"");
        crate::notify::testing::own_answer_check(keys, "ok").await;
    }
}

//! `discord`: a webhook with one embed. Limits: title 256, description 4096, footer 2048, 6000 in all. Foreign text is
//! escaped for its markdown, and `allowed_mentions` is empty, so that no name can ring people.

use super::reply::{own_answer, post};
use super::{Receipt, SendCtx, SendError, need_url};
use crate::rules::text::{self, Count, Style, clip};
use crate::secret::SecretUrl;
use crate::table::{ConfigError, Table};
use crate::types::{Event, Severity, Status};
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Discord {
    /// The webhook's URL, a secret.
    pub(crate) url: SecretUrl,
    /// The name it posts under.
    pub(crate) username: String,
}

impl Discord {
    /// Reads `url` (also as `_file` or `_env`) and `username` (`nolapse`).
    ///
    /// # Errors
    /// A missing or wrong `url`, a name that Discord refuses.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = need_url(table, "url")?;
        // it is itself what proves who posts
        table.not_in_the_clear("url", &url, "itself, a secret,")?;
        let username = table.str("username")?.unwrap_or("nolapse");
        let lower = username.to_lowercase();
        if !(1..=80).contains(&username.chars().count()) || lower.contains("discord") || lower.contains("clyde") {
            return Err(table.error(
                "username",
                "is a name that discord refuses",
                "use 1 to 80 characters without `discord` or `clyde`",
            ));
        }
        Ok(Self {
            url,
            username: username.to_owned(),
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        vec![self.url.expose()]
    }

    /// Sends, and waits for the message's id.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let mark = if self.url.expose().contains('?') { '&' } else { '?' };
        let url = SecretUrl::new(format!("{}{mark}wait=true", self.url.expose()));
        let body = payload(event, &self.username).to_string().into_bytes();
        let reply = post(ctx, &url, Vec::new(), body, &["/message"]).await?;
        let snowflake = |id: &&str| (1..=20).contains(&id.len()) && id.chars().all(|c| c.is_ascii_digit());
        let id = own_answer("discord", &reply, &["/message"], |answer| {
            answer["id"].as_str().filter(snowflake).map(str::to_owned)
        })?;
        Ok(Receipt::of(format!("answered {}, message {id}", reply.status)))
    }
}

/// What is posted.
pub(crate) fn payload(event: &Event, username: &str) -> Value {
    let colour = match (event.status, event.severity) {
        (Status::Resolved, _) => 0x2e_a0_43,
        (Status::Firing, Severity::Critical) => 0xd1_24_2f,
        (Status::Firing, Severity::Warning) => 0xd2_99_22,
        (Status::Firing, Severity::Info) => 0x57_60_6a,
    };
    let style = Style {
        escape,
        escape_code: |c| (c == '`').then_some("'"),
        open: "```\n",
        close: "\n```",
    };
    let footer = format!("{} · host {}", text::heading(event), event.host);
    json!({
        "username": username,
        "allowed_mentions": {"parse": []},
        "embeds": [{
            "title": clip(&event.title, 256, Count::Utf16, escape),
            "description": text::assemble(&text::parts(event), 4096, Count::Utf16, &style),
            "color": colour,
            "timestamp": text::rfc3339(event.at),
            // shown as it is: footers know no markdown
            "footer": {"text": clip(&footer, 1000, Count::Utf16, text::as_is)},
        }],
    })
}

fn escape(c: char) -> Option<&'static str> {
    Some(match c {
        '\\' => "\\\\",
        '*' => "\\*",
        '_' => "\\_",
        '~' => "\\~",
        '|' => "\\|",
        '`' => "\\`",
        '<' => "\\<",
        '>' => "\\>",
        '[' => "\\[",
        ']' => "\\]",
        '#' => "\\#",
        '@' => "\\@",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{Answer, CANARY, Server, channel, deliver, event, leak_check};

    #[test]
    fn foreign_text_is_escaped_and_rings_nobody() {
        let payload = payload(&event(), "nolapse");
        assert_eq!(payload["allowed_mentions"], json!({"parse": []}));
        let embed = &payload["embeds"][0];
        let description = embed["description"].as_str().unwrap();
        assert!(description.contains("\\<b\\>&\\*x\\*"), "{description}");
        assert!(description.ends_with("```\nclaude auth login\n```"), "{description}");
        assert_eq!(embed["footer"]["text"], "Critical · host gw");
    }

    #[test]
    fn limits_hold() {
        let mut event = event();
        event.title = "*".repeat(400);
        event.message = "😀_".repeat(3000);
        let payload = payload(&event, "nolapse");
        let units = |at: &str| payload["embeds"][0][at].as_str().unwrap().encode_utf16().count();
        assert!(units("title") <= 256 && units("description") <= 4096);
    }

    #[tokio::test]
    async fn the_message_id_is_in_the_receipt() {
        let server = Server::start(vec![Answer::status(200).body(r#"{"id":"1234567890"}"#)]).await;
        let channel = channel(&format!(
            "type = \"discord\"\nurl = \"{}\"",
            server.url("/api/webhooks/1/x").expose()
        ));
        let receipt = deliver(&channel, &event()).await.unwrap();
        assert_eq!(receipt.detail, "answered 200, message 1234567890");
        assert_eq!(server.seen()[0].line, "POST /api/webhooks/1/x?wait=true HTTP/1.1");
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| format!("type = \"discord\"\nurl = \"http://{at}/api/webhooks/1/{CANARY}\"")).await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"discord\"\nurl = \"http://{at}/api/webhooks/1/x\"");
        crate::notify::testing::own_answer_check(keys, r#"{"id":"1234567890","type":0}"#).await;
    }
}

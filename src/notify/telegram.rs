//! `telegram`: `sendMessage` of the Bot API with its HTML markup, 4096 characters. The token stands in the path of the URL.

use super::reply::{self, own_answer};
use super::{Receipt, SendCtx, SendError, join, read_server};
use crate::rules::text::{self, Count, Style, clip};
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Event, Severity, Status};
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Telegram {
    /// The API server.
    pub(crate) url: SecretUrl,
    /// The bot's token.
    pub(crate) token: Secret,
    /// The chat's number, or `@channelname`.
    pub(crate) chat_id: String,
    /// The topic within a forum group.
    pub(crate) thread_id: Option<i64>,
}

impl Telegram {
    /// Reads `token` (also as `_file` or `_env`), `chat_id` (in quotes), `thread_id`, and `url`
    /// (`https://api.telegram.org`).
    ///
    /// # Errors
    /// A missing key, a token that is not one.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = read_server(table)?.unwrap_or_else(|| SecretUrl::new("https://api.telegram.org"));
        let token = table.need_secret("token")?;
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let parts = token.expose().split_once(':');
        if !parts.is_some_and(|(bot, key)| number(bot) && !key.is_empty() && key.chars().all(fine)) {
            return Err(table.error("token", "is not a bot token", "copy it from @BotFather: `123456:ABC-…`"));
        }
        Ok(Self {
            url,
            token,
            chat_id: match table.need_str("chat_id")? {
                id if is_chat(id) => id.to_owned(),
                id => {
                    return Err(table.error(
                        "chat_id",
                        format!("is `{id}`, no chat"),
                        "write its number in quotes, `\"-1001234567890\"`, or `\"@channelname\"`",
                    ));
                }
            },
            thread_id: table.int("thread_id")?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        vec![self.token.expose(), self.url.expose()]
    }

    /// Sends.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let url = join(&self.url, &format!("/bot{}/sendMessage", self.token.expose()));
        match self.post(ctx, &url, event, &self.chat_id).await? {
            Answer::Taken(detail) => Ok(Receipt::of(detail)),
            // a group that became a supergroup has another id (Bot API, ResponseParameters)
            Answer::Moved(chat_id) => {
                let note = format!("the chat has moved: set `chat_id = \"{chat_id}\"` in the configuration");
                tracing::warn!("telegram: {note}");
                match self.post(ctx, &url, event, &chat_id).await? {
                    Answer::Taken(detail) => Ok(Receipt::of(format!("{detail}; {note}"))),
                    Answer::Moved(_) => Err(SendError::permanent(note)),
                }
            }
        }
    }

    async fn post(
        &self,
        ctx: &SendCtx<'_>,
        url: &SecretUrl,
        event: &Event,
        chat_id: &str,
    ) -> Result<Answer, SendError> {
        let mut payload = payload(event, chat_id);
        if let Some(thread) = self.thread_id {
            payload["message_thread_id"] = json!(thread);
        }
        let outcome = reply::ask(ctx, url, Vec::new(), payload.to_string().into_bytes()).await;
        if let Ok(reply) = &outcome
            && let Ok(answer) = serde_json::from_slice::<Value>(&reply.body)
            && let Some(chat_id) = answer["parameters"]["migrate_to_chat_id"].as_i64()
        {
            return Ok(Answer::Moved(chat_id.to_string()));
        }
        let at = ["/description"];
        let reply = reply::judge(url, outcome, &at)?;
        let id = own_answer("telegram", &reply, &at, |answer| {
            answer["result"]["message_id"].as_i64().filter(|_| answer["ok"] == true)
        })?;
        Ok(Answer::Taken(format!("answered {}, message {id}", reply.status)))
    }
}

fn number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number, below zero for groups, or a public name.
fn is_chat(id: &str) -> bool {
    let name = |text: &str| text.len() >= 4 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    number(id.strip_prefix('-').unwrap_or(id)) || id.strip_prefix('@').is_some_and(name)
}

/// What the service said.
enum Answer {
    /// It took the message, in words.
    Taken(String),
    /// The chat has this id now.
    Moved(String),
}

/// What is posted.
pub(crate) fn payload(event: &Event, chat_id: &str) -> Value {
    let style = Style {
        escape: text::html,
        escape_code: text::html,
        open: "<pre>",
        close: "</pre>",
    };
    let title = format!("{}: {}", text::heading(event), event.title);
    let title = format!("<b>{}</b>\n", clip(&title, 500, Count::Utf16, text::html));
    // tags and escapes are not counted by the service, so that this errs on the short side
    let left = 4096 - Count::Utf16.of(&title);
    let body = text::assemble(&text::parts(event), left, Count::Utf16, &style);
    json!({
        "chat_id": chat_id,
        "text": title + &body,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true},
        "disable_notification": event.severity == Severity::Info && event.status == Status::Firing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{CANARY, event, leak_check};

    #[test]
    fn foreign_text_is_escaped() {
        assert_eq!(
            payload(&event(), "-100")["text"],
            "<b>Critical: Claude login on gw has ended</b>\nsince 10:00 (just now)\nstopped: main, \
             &lt;b&gt;&amp;*x*\non gw, run:\n<pre>claude auth login</pre>"
        );
    }

    #[test]
    fn limits_hold() {
        let mut event = event();
        event.title = "<".repeat(5000);
        event.message = "&".repeat(5000);
        let payload = payload(&event, "1");
        let text = payload["text"].as_str().unwrap();
        assert!(text.encode_utf16().count() <= 4096);
        assert!(text.ends_with("</pre>"));
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| {
            format!("type = \"telegram\"\nurl = \"http://{at}\"\ntoken = \"12:{CANARY}\"\nchat_id = \"7\"")
        })
        .await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"telegram\"\nurl = \"http://{at}\"\ntoken = \"12:ab\"\nchat_id = \"7\"");
        crate::notify::testing::own_answer_check(keys, r#"{"ok":true,"result":{"message_id":9}}"#).await;
    }

    #[tokio::test]
    async fn a_group_that_became_a_supergroup_is_followed_and_said() {
        use crate::notify::testing::{Answer, Server, channel, deliver};
        let moved = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1001234}}"#;
        let taken = r#"{"ok":true,"result":{"message_id":9}}"#;
        let server = Server::start(vec![Answer::status(400).body(moved), Answer::status(200).body(taken)]).await;
        let keys = format!(
            "type = \"telegram\"\nurl = \"http://{}\"\ntoken = \"12:ab\"\nchat_id = \"-7\"",
            server.authority()
        );
        let receipt = deliver(&channel(&keys), &event()).await.unwrap();
        assert!(receipt.detail.contains("set `chat_id = \"-1001234\"`"), "{receipt:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].json()["chat_id"], "-1001234");
    }
}

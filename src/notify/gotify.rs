//! `gotify`: `POST /message` with the application's key. Plain text.

use super::reply::{own_answer, post};
use super::{Receipt, SendCtx, SendError, join, read_server};
use crate::edge::http::HeaderText;
use crate::rules::text::{self, Count, as_is, clip};
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Event, Severity, Status};
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Gotify {
    /// The server.
    pub(crate) url: SecretUrl,
    /// The application's token.
    pub(crate) token: Secret,
}

impl Gotify {
    /// Reads `url` and `token`, also as `_file` or `_env`.
    ///
    /// # Errors
    /// A missing key.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: read_server(table)?.ok_or_else(|| table.missing("url"))?,
            token: table.need_secret("token")?,
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
        let headers = vec![("x-gotify-key", HeaderText::Secret(self.token.clone()))];
        let body = payload(event).to_string().into_bytes();
        let at = ["/errorDescription", "/error"];
        let reply = post(ctx, &join(&self.url, "/message"), headers, body, &at).await?;
        let id = own_answer("gotify", &reply, &at, |answer| answer["id"].as_i64())?;
        Ok(Receipt::of(format!("answered {}, message {id}", reply.status)))
    }
}

/// What is posted.
pub(crate) fn payload(event: &Event) -> Value {
    let priority = match (event.status, event.severity) {
        (Status::Resolved, _) | (Status::Firing, Severity::Info) => 2,
        (Status::Firing, Severity::Warning) => 5,
        (Status::Firing, Severity::Critical) => 9,
    };
    let title = format!("{}: {}", text::heading(event), event.title);
    json!({
        "title": clip(&title, 250, Count::Chars, as_is),
        "message": clip(&text::plain(event), 8000, Count::Chars, as_is),
        "priority": priority,
        "extras": {"client::display": {"contentType": "text/plain"}},
    })
}

#[cfg(test)]
mod tests {

    use crate::notify::testing::{Answer, CANARY, Server, channel, deliver, event, leak_check};

    #[tokio::test]
    async fn the_key_is_a_header_and_the_id_is_in_the_receipt() {
        let server = Server::start(vec![Answer::status(200).body(r#"{"id":25}"#)]).await;
        let channel = channel(&format!(
            "type = \"gotify\"\nurl = \"http://{}/g/\"\ntoken = \"Ax\"",
            server.authority()
        ));
        assert_eq!(
            deliver(&channel, &event()).await.unwrap().detail,
            "answered 200, message 25"
        );
        let seen = server.seen().remove(0);
        assert_eq!(
            (seen.line.as_str(), seen.header("x-gotify-key")),
            ("POST /g/message HTTP/1.1", Some("Ax"))
        );
        assert_eq!(seen.json()["priority"], 9);
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| format!("type = \"gotify\"\nurl = \"http://{at}\"\ntoken = \"{CANARY}\"")).await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"gotify\"\nurl = \"http://{at}\"\ntoken = \"t\"");
        crate::notify::testing::own_answer_check(keys, r#"{"id":25,"appid":5,"message":"m"}"#).await;
    }
}

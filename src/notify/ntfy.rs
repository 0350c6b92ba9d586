//! `ntfy`: JSON to the server's root. The message is plain text of at most 4096 bytes. `sequence_id` (ntfy 2.16) lets
//! a recovery take the place of the last message of its alert; an older server ignores it and shows a new one. Messages that
//! fire never take each other's place: the Android app changes a notification that it still shows without a sound
//! (`setOnlyAlertOnce` in its `NotificationService.kt`), and a reminder or a turn for the worse has to be heard.

use super::reply::{Headers, own_answer, post};
use super::{Receipt, SendCtx, SendError, join};
use crate::edge::http::HeaderText;
use crate::rules::text::{self, Count, as_is, clip};
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Event, Severity, Status};
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Ntfy {
    /// The server.
    pub(crate) url: SecretUrl,
    /// The topic; on a public server it is as good as a password.
    pub(crate) topic: Secret,
    /// The access token.
    pub(crate) token: Option<Secret>,
    /// Whether a recovery takes the place of its alert's last message.
    pub(crate) replace: bool,
}

impl Ntfy {
    /// Reads `topic` and `token` (also as `_file` or `_env`), `url` (`https://ntfy.sh`), and `replace` (`true`).
    ///
    /// # Errors
    /// A missing or wrong topic, a wrong `url`.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = table
            .url("url", true)?
            .unwrap_or_else(|| SecretUrl::new("https://ntfy.sh"));
        let topic = table.need_secret("topic")?;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=64).contains(&topic.expose().len()) || !topic.expose().chars().all(fine) {
            return Err(table.error(
                "topic",
                "is not a topic",
                "use up to 64 letters, digits, `-` and `_`, and give the server as `url`",
            ));
        }
        let token = table.secret("token")?;
        if token.is_some() {
            table.not_in_the_clear("url", &url, "its token")?;
        }
        Ok(Self {
            url,
            topic,
            token,
            replace: table.bool("replace")?.unwrap_or(true),
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let token = self.token.iter().map(Secret::expose);
        token.chain([self.topic.expose(), self.url.expose()]).collect()
    }

    /// Sends.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let mut headers: Headers = Vec::new();
        if let Some(token) = &self.token {
            let bearer = Secret::new(format!("Bearer {}", token.expose()));
            headers.push(("authorization", HeaderText::Secret(bearer)));
        }
        let sequence = self.replace.then(|| sequence(event, ctx.previous.as_deref()));
        let body = payload(event, self.topic.expose(), sequence.as_deref());
        let body = body.to_string().into_bytes();
        let reply = post(ctx, &join(&self.url, "/"), headers, body, &["/error"]).await?;
        // the message as it was published (ntfy 2.11, docs/publish: `{"id":…,"event":"message",…}`)
        own_answer("ntfy", &reply, &["/error"], |answer| {
            answer["id"].as_str().filter(|id| !id.is_empty()).map(drop)
        })?;
        Ok(Receipt {
            handle: sequence,
            ..Receipt::of(format!("answered {}", reply.status))
        })
    }
}

/// Each message its own, and a recovery that of the message before it.
fn sequence(event: &Event, previous: Option<&str>) -> String {
    match (event.status, previous) {
        (Status::Resolved, Some(previous)) => previous.to_owned(),
        _ => event.event_id.clone(),
    }
}

/// What is posted.
pub(crate) fn payload(event: &Event, topic: &str, sequence: Option<&str>) -> Value {
    let (priority, tag) = match (event.status, event.severity) {
        (Status::Resolved, _) => (2, "white_check_mark"),
        (Status::Firing, Severity::Critical) => (5, "rotating_light"),
        (Status::Firing, Severity::Warning) => (4, "warning"),
        (Status::Firing, Severity::Info) => (3, "information_source"),
    };
    let title = format!("{}: {}", text::heading(event), event.title);
    let mut payload = json!({
        "topic": topic,
        "title": clip(&title, 250, Count::Bytes, as_is),
        "message": clip(&text::plain(event), 4096, Count::Bytes, as_is),
        "priority": priority,
        "tags": [tag],
    });
    if event.status == Status::Firing && event.login.is_some() {
        payload["click"] = json!(super::termux::LOGIN_PAGE);
        payload["actions"] = json!([{"action": "view", "label": "Open login page", "url": super::termux::LOGIN_PAGE}]);
    }
    if let Some(sequence) = sequence {
        payload["sequence_id"] = json!(sequence);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{Answer, CANARY, Server, channel, event, leak_check, recovered};
    use crate::types::Moment;

    #[tokio::test]
    async fn a_recovery_takes_the_place_of_the_last_message_and_a_reminder_takes_none() {
        let server = Server::start(vec![Answer::status(200).body(r#"{"id":"x","event":"message"}"#)]).await;
        let channel = channel(&format!(
            "type = \"ntfy\"\nurl = \"http://{}/\"\ntopic = \"t\"\ntoken = \"tk_x\"",
            server.authority()
        ));
        let (host, http) = (
            crate::notify::testing::host(&[]),
            crate::edge::http::Http::new(&Default::default()),
        );
        let reminder = Event {
            event_id: "msg_2b1f2".into(),
            ..event()
        };
        let mut previous = None;
        for event in [event(), reminder, recovered()] {
            let ctx = SendCtx {
                previous,
                ..SendCtx::new(&host, &http, Moment::EPOCH)
            };
            previous = crate::notify::send(&channel, &event, &ctx).await.unwrap().handle;
        }
        let seen = server.seen();
        assert_eq!(
            (seen[0].line.as_str(), seen[0].header("authorization")),
            ("POST / HTTP/1.1", Some("Bearer tk_x"))
        );
        let (first, reminder, second) = (seen[0].json(), seen[1].json(), seen[2].json());
        assert_eq!(
            (first["priority"].as_i64(), second["priority"].as_i64()),
            (Some(5), Some(2))
        );
        assert_ne!(first["sequence_id"], reminder["sequence_id"]);
        assert_eq!(reminder["sequence_id"], second["sequence_id"]);
        assert_eq!(first["title"], "Critical: Claude login on gw has ended");
        assert!(first["message"].as_str().unwrap().contains("<b>&*x*"));
    }

    #[test]
    fn limits_hold() {
        let mut event = event();
        event.message = "ä".repeat(4000);
        assert!(payload(&event, "t", None)["message"].as_str().unwrap().len() <= 4096);
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| {
            format!("type = \"ntfy\"\nurl = \"http://{at}/{CANARY}\"\ntopic = \"{CANARY}\"\ntoken = \"{CANARY}\"")
        })
        .await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"ntfy\"\nurl = \"http://{at}\"\ntopic = \"t\"");
        crate::notify::testing::own_answer_check(
            keys,
            r#"{"id":"sPs71M8A2T","time":1643935928,"event":"message","topic":"t","message":"m"}"#,
        )
        .await;
    }
}

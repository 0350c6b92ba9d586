//! `pagerduty`: Events API v2, `POST /v2/enqueue`. The alert's key is the `dedup_key`, so that a reminder is no new incident
//! and a recovery resolves it. Limits: summary 1024, dedup key 255.

use super::reply::{own_answer, post};
use super::{Receipt, SendCtx, SendError, join, read_server};
use crate::rules::text::{self, Count, as_is, clip};
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Affected, Event, Status};
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Pagerduty {
    /// The API server.
    pub(crate) url: SecretUrl,
    /// The integration's key.
    pub(crate) routing_key: Secret,
}

impl Pagerduty {
    /// Reads `routing_key` (also as `_file` or `_env`) and `url` (`https://events.pagerduty.com`; the EU has its own).
    ///
    /// # Errors
    /// A missing key, a wrong `url`.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: read_server(table)?.unwrap_or_else(|| SecretUrl::new("https://events.pagerduty.com")),
            routing_key: table.need_secret("routing_key")?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        vec![self.routing_key.expose(), self.url.expose()]
    }

    /// Sends.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let body = payload(event, &self.routing_key).to_string().into_bytes();
        let at = ["/errors/0", "/message"];
        let reply = post(ctx, &join(&self.url, "/v2/enqueue"), Vec::new(), body, &at).await?;
        own_answer("pagerduty", &reply, &at, |answer| {
            (answer["status"] == "success").then_some(())
        })?;
        let key = text::alert_key(event);
        Ok(Receipt::of(format!(
            "answered {}, incident nolapse-{key}",
            reply.status
        )))
    }
}

/// What is posted. It holds the routing key.
pub(crate) fn payload(event: &Event, routing_key: &Secret) -> Value {
    let key = format!("nolapse-{}", text::alert_key(event));
    if event.status == Status::Resolved {
        return json!({"routing_key": routing_key.expose(), "event_action": "resolve", "dedup_key": key});
    }
    let affected: Vec<String> = event.affected.iter().map(Affected::label).collect();
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": key,
        "payload": {
            "summary": clip(&event.title, 1024, Count::Chars, as_is),
            "source": if event.host.is_empty() { "nolapse" } else { event.host.as_str() },
            "severity": event.severity.word(),
            "timestamp": text::rfc3339(event.at),
            "component": event.login.as_ref().map_or("nolapse", |login| login.id.as_str()),
            "class": event.kind,
            "custom_details": {
                "message": clip(&text::plain(event), 8000, Count::Chars, as_is),
                "commands": event.commands,
                "affected": affected,
                "alert_id": event.alert_id,
                "event_id": event.event_id,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{CANARY, event, leak_check, recovered};

    #[test]
    fn a_recovery_resolves_what_the_alert_opened() {
        let key = Secret::new("R0");
        let (opened, resolved) = (payload(&event(), &key), payload(&recovered(), &key));
        assert_eq!(
            (opened["event_action"].as_str(), resolved["event_action"].as_str()),
            (Some("trigger"), Some("resolve"))
        );
        assert_eq!(opened["dedup_key"], resolved["dedup_key"]);
        let elsewhere = Event {
            host: "other".into(),
            ..event()
        };
        assert_ne!(payload(&elsewhere, &key)["dedup_key"], opened["dedup_key"]);
        let long = Event {
            title: "ä".repeat(2000),
            ..event()
        };
        assert_eq!(
            payload(&long, &key)["payload"]["summary"]
                .as_str()
                .unwrap()
                .chars()
                .count(),
            1024
        );
        assert_eq!(opened["payload"]["severity"], "critical");
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| format!("type = \"pagerduty\"\nurl = \"http://{at}\"\nrouting_key = \"{CANARY}\"")).await;
    }

    #[tokio::test]
    async fn only_its_own_answer_counts() {
        let keys = |at: &str| format!("type = \"pagerduty\"\nurl = \"http://{at}\"\nrouting_key = \"R0\"");
        crate::notify::testing::own_answer_check(
            keys,
            r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#,
        )
        .await;
    }
}

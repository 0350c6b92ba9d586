//! `alertmanager`: the v2 API of Prometheus Alertmanager, which holds an alert until its `endsAt`.
//!
//! Alertmanager tells alerts apart by their labels, and people route by the label `severity`. Since an alert may change its
//! severity, each delivery ends the other severities' alerts and begins or ends its own; ending one that it never saw makes
//! no noise. A firing alert is held for `hold` (30 days), because reminders come further and further apart.

use super::reply::{Headers, own_answer, post};
use super::{Receipt, SendCtx, SendError, join};
use crate::edge::http::HeaderText;
use crate::rules::text::{self, Count, as_is, clip};
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Affected, DAY, Event, Moment, Ms, SECOND, Severity, Status};
use crate::visible::line;
use serde_json::{Value, json};

/// Where to.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    /// The server, without `/api`.
    pub(crate) url: SecretUrl,
    /// The `Authorization` header.
    pub(crate) authorization: Option<Secret>,
    /// How long a firing alert is held without news, [`Ms`].
    pub(crate) hold: Ms,
}

impl Alertmanager {
    /// Reads `url`, `authorization` (also as `_file` or `_env`) and `hold` (`30d`).
    ///
    /// # Errors
    /// A missing or wrong `url`.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = table.url("url", true)?.ok_or_else(|| table.missing("url"))?;
        let authorization = table.secret("authorization")?;
        if authorization.is_some() {
            table.not_in_the_clear("url", &url, "`authorization`")?;
        }
        Ok(Self {
            url,
            authorization,
            hold: table.duration("hold")?.unwrap_or(30 * DAY),
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let authorization = self.authorization.iter().map(Secret::expose);
        authorization.chain([self.url.expose()]).collect()
    }

    /// Sends.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let mut headers: Headers = Vec::new();
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", HeaderText::Secret(authorization.clone())));
        }
        let body = payload(event, ctx.now, self.hold).to_string().into_bytes();
        let reply = post(ctx, &join(&self.url, "/api/v2/alerts"), headers, body, &["/message"]).await?;
        // Alertmanager 0.27 answers with nothing, and what stands before it (Mimir, Grafana) with JSON
        if !reply.body.trim_ascii().is_empty() {
            own_answer("alertmanager", &reply, &["/message"], |answer| {
                (!answer.is_null()).then_some(())
            })?;
        }
        Ok(Receipt::of(format!("answered {}", reply.status)))
    }
}

/// What is posted: a list of alerts, one for each severity. `endsAt` counts from `now`, the time of sending, since the
/// event may have waited in the outbox.
pub(crate) fn payload(event: &Event, now: Moment, hold: Ms) -> Value {
    let alert = |severity: Severity| {
        let firing = event.status == Status::Firing && severity == event.severity;
        let (starts, ends) = if firing {
            (event.at.min(now), now + hold)
        } else {
            (now - 2 * SECOND, now - SECOND)
        };
        let affected: Vec<String> = event.affected.iter().map(Affected::label).collect();
        json!({
            "labels": {
                "alertname": "nolapse",
                "alert_id": line(&event.alert_id.to_string()),
                "host": event.host,
                "login": event.login.as_ref().map_or("".into(), |login| line(&login.id)),
                "severity": severity.word(),
            },
            "annotations": {
                "summary": event.title,
                "description": clip(&text::plain(event), 8000, Count::Chars, as_is),
                "affected": line(&affected.join(", ")),
                "kind": event.kind,
                "event_id": event.event_id,
            },
            "startsAt": text::rfc3339(starts),
            "endsAt": text::rfc3339(ends),
        })
    };
    [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .map(alert)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{CANARY, NOW, event, leak_check, recovered};

    #[test]
    fn one_severity_fires_and_a_recovery_ends_all() {
        let ends_later = |payload: &Value| -> Vec<bool> {
            let now = text::rfc3339(NOW);
            payload
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a["endsAt"].as_str().unwrap() > now.as_str())
                .collect()
        };
        let firing = payload(&event(), NOW, DAY);
        assert_eq!(ends_later(&firing), [true, false, false]);
        let resolved = payload(&recovered(), NOW, DAY);
        assert_eq!(ends_later(&resolved), [false, false, false]);
        assert_eq!(firing[0]["labels"], resolved[0]["labels"]);
        assert_eq!(firing[0]["endsAt"], text::rfc3339(NOW + DAY));
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| format!("type = \"alertmanager\"\nurl = \"http://{at}\"\nauthorization = \"Bearer {CANARY}\""))
            .await;
    }
}

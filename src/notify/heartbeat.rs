//! The dead-man switch: a ping after each pass, in the manner of Healthchecks (`URL/start`, `URL`, `URL/fail`, `?rid=`), so
//! that you notice when nolapse itself falls silent. The body, a report of at most 10 kB, is kept by the service.

use super::{Receipt, SendCtx, SendError, need_url, reply, scrub};
use crate::edge::http::{Method, Reply, Request};
use crate::edge::progress;
use crate::rules::text::{Count, as_is, clip};
use crate::secret::SecretUrl;
use crate::table::{ConfigError, Table};
use serde_json::Value;
use std::time::Duration;

/// Whom to ping.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The ping URL, a secret.
    pub(crate) url: SecretUrl,
}

/// Where a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage<'a> {
    /// It begins.
    Start,
    /// It ended well.
    Success,
    /// It found what needs a human, or could not tell; the report holds no secret.
    Fail {
        /// What was found, plain text.
        report: &'a str,
    },
}

impl Heartbeat {
    /// Reads `url`, `url_file` or `url_env` of the table `[heartbeat]`. The caller finishes the table.
    ///
    /// # Errors
    /// A missing or wrong `url`.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: need_url(table, "url")?,
        })
    }

    /// Pings, once, for at most 10 s. `rid` is a UUID that ties start and end together; anything else is left out.
    ///
    /// # Errors
    /// [`SendError`]; the next pass pings again anyway.
    pub(crate) async fn ping(
        &self,
        stage: Stage<'_>,
        rid: Option<&str>,
        ctx: &SendCtx<'_>,
    ) -> Result<Receipt, SendError> {
        if stage == Stage::Start && is_kuma(&self.url) {
            return Ok(Receipt::of("not sent: the service knows no beginning"));
        }
        let _waiting = progress::waiting(|| "the heartbeat".into());
        let url = stage_url(&self.url, stage, rid);
        let request = Request {
            method: match is_kuma(&self.url) {
                true => Method::GET,
                false => Method::POST,
            },
            url: &url,
            headers: Vec::new(),
            body: match stage {
                _ if is_kuma(&self.url) => Vec::new(),
                Stage::Fail { report } => clip(report, 10_000, Count::Bytes, as_is).into_bytes(),
                Stage::Start | Stage::Success => Vec::new(),
            },
            timeout: Duration::from_secs(10),
        };
        match reply::judge(&self.url, ctx.http.send(request).await, &[]) {
            Ok(reply) => taken(&reply),
            Err(mut error) => {
                scrub(error.why_mut(), &[self.url.expose()]);
                Err(error)
            }
        }
    }
}

/// Whether the service knows the check: Healthchecks answers 200 with `OK (not found)` to a UUID that it does not know, and Uptime
/// Kuma with `"ok": false`; a web page is not an answer of theirs.
fn taken(reply: &Reply) -> Result<Receipt, SendError> {
    let body = String::from_utf8_lossy(&reply.body);
    let body = body.trim();
    let refused = serde_json::from_str::<Value>(body).is_ok_and(|answer| answer["ok"] == false);
    if refused || body.eq_ignore_ascii_case("OK (not found)") {
        return Err(SendError::permanent(
            "the service does not know this check: is the url right?",
        ));
    }
    if body.starts_with('<') {
        return Err(SendError::passing(format!(
            "answered {} with a web page (a login page, or another server at this url?)",
            reply.status
        )));
    }
    Ok(Receipt::of(format!("answered {}", reply.status)))
}

/// Whether it is a push URL of Uptime Kuma (`/api/push/TOKEN`, 1.23 and 2.0), which knows neither `/start` nor `/fail`: its state is
/// in the query.
fn is_kuma(url: &SecretUrl) -> bool {
    let path = url.expose().split('?').next().unwrap_or_default();
    path.contains("/api/push/")
}

/// A push URL of Uptime Kuma with its state and message; whatever stood in its query as an example is replaced.
fn kuma_url(url: &SecretUrl, stage: Stage<'_>) -> SecretUrl {
    let path = url.expose().split('?').next().unwrap_or_default();
    let (status, message) = match stage {
        Stage::Fail { report } => (
            "down",
            clip(report.lines().next().unwrap_or("failed"), 150, Count::Chars, as_is),
        ),
        Stage::Start | Stage::Success => ("up", "OK".to_owned()),
    };
    let message: String = message
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    SecretUrl::new(format!("{path}?status={status}&msg={message}&ping="))
}

/// The URL of a stage: the suffix goes before a query.
fn stage_url(url: &SecretUrl, stage: Stage<'_>, rid: Option<&str>) -> SecretUrl {
    if is_kuma(url) {
        return kuma_url(url, stage);
    }
    let (path, query) = match url.expose().split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (url.expose(), None),
    };
    let suffix = match stage {
        Stage::Start => "/start",
        Stage::Success => "",
        Stage::Fail { .. } => "/fail",
    };
    let uuid = |text: &&str| text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let rid = rid.filter(uuid).map(|rid| format!("rid={rid}"));
    let query: Vec<String> = query.into_iter().chain(rid).collect();
    let mut text = format!("{}{suffix}", path.trim_end_matches('/'));
    if !query.is_empty() {
        text.push('?');
        text.push_str(&query.join("&"));
    }
    SecretUrl::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{Answer, Server, host};
    use crate::types::Moment;

    #[tokio::test]
    async fn stages_are_paths_and_the_report_is_the_body() {
        let server = Server::start(vec![
            Answer::status(200),
            Answer::status(200),
            Answer::status(404).body("canaryuuid"),
        ])
        .await;
        let heartbeat = Heartbeat {
            url: server.url("/ping/canaryuuid?x=1"),
        };
        let (host, http) = (host(&[]), Http::new(&Default::default()));
        let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
        let rid = "123e4567-e89b-12d3-a456-426614174000";
        heartbeat.ping(Stage::Start, Some(rid), &ctx).await.unwrap();
        let report = "x".repeat(20_000);
        heartbeat
            .ping(Stage::Fail { report: &report }, None, &ctx)
            .await
            .unwrap();
        let error = heartbeat.ping(Stage::Success, Some("bad rid"), &ctx).await.unwrap_err();
        assert!(!format!("{error:?} {heartbeat:?}").contains("canary"), "{error:?}");
        let seen = server.seen();
        let lines: Vec<&str> = seen.iter().map(|s| s.line.as_str()).collect();
        assert_eq!(
            lines,
            [
                format!("POST /ping/canaryuuid/start?x=1&rid={rid} HTTP/1.1").as_str(),
                "POST /ping/canaryuuid/fail?x=1 HTTP/1.1",
                "POST /ping/canaryuuid?x=1 HTTP/1.1",
            ]
        );
        assert!(seen[1].body.len() <= 10_000 && seen[1].body.len() > 9_900);
    }

    #[tokio::test]
    async fn a_push_url_of_uptime_kuma_gets_its_state_in_the_query() {
        let ok = || Answer::status(200).body(r#"{"ok":true}"#);
        let gone = Answer::status(200).body(r#"{"ok":false,"msg":"Monitor not found or not active."}"#);
        let server = Server::start(vec![ok(), ok(), gone]).await;
        let heartbeat = Heartbeat {
            url: server.url("/api/push/abc?status=up&msg=OK&ping="),
        };
        let (host, http) = (host(&[]), Http::new(&Default::default()));
        let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
        heartbeat.ping(Stage::Start, None, &ctx).await.unwrap();
        heartbeat.ping(Stage::Success, None, &ctx).await.unwrap();
        let report = "the login `a` ended & more\nsecond line";
        heartbeat.ping(Stage::Fail { report }, None, &ctx).await.unwrap();
        let refused = heartbeat.ping(Stage::Success, None, &ctx).await;
        assert!(matches!(refused, Err(SendError::Permanent { .. })), "{refused:?}");
        let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
        assert_eq!(
            lines[..2],
            [
                "GET /api/push/abc?status=up&msg=OK&ping= HTTP/1.1",
                "GET /api/push/abc?status=down&msg=the%20login%20%60a%60%20ended%20%26%20more&ping= HTTP/1.1",
            ]
        );
    }

    #[tokio::test]
    async fn a_check_that_the_service_does_not_know_is_none() {
        for (body, known) in [("OK", true), ("", true), ("OK (not found)", false), ("<html>", false)] {
            let server = Server::start(vec![Answer::status(200).body(body)]).await;
            let heartbeat = Heartbeat {
                url: server.url("/ping/x"),
            };
            let (host, http) = (host(&[]), Http::new(&Default::default()));
            let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
            assert_eq!(
                heartbeat.ping(Stage::Success, None, &ctx).await.is_ok(),
                known,
                "{body}"
            );
        }
    }
}

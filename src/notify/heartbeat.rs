//! The dead-man switch: a ping after each pass, in the manner of Healthchecks (`URL/start`, `URL`, `URL/fail`, `?rid=`), so
//! that somebody notices when nolapse itself falls silent. The body, a report of at most 10 kB, is kept by the service.

use super::{Receipt, SendCtx, SendError, need_url, reply, scrub};
use crate::edge::http::{Method, Request};
use crate::edge::progress;
use crate::rules::text::{Count, as_is, clip};
use crate::secret::SecretUrl;
use crate::table::{ConfigError, Table};
use std::time::Duration;

/// Whom to ping.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The ping URL, a secret.
    pub url: SecretUrl,
}

/// Where a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
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
    pub fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: need_url(table, "url")?,
        })
    }

    /// Pings, once, for at most 10 s. `rid` is a UUID that ties start and end together; anything else is left out.
    ///
    /// # Errors
    /// [`SendError`]; the next pass pings again anyway.
    pub async fn ping(&self, stage: Stage<'_>, rid: Option<&str>, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let _waiting = progress::waiting(|| "the heartbeat".into());
        let url = stage_url(&self.url, stage, rid);
        let request = Request {
            method: Method::POST,
            url: &url,
            headers: Vec::new(),
            body: match stage {
                Stage::Fail { report } => clip(report, 10_000, Count::Bytes, as_is).into_bytes(),
                Stage::Start | Stage::Success => Vec::new(),
            },
            timeout: Duration::from_secs(10),
        };
        match reply::judge(&self.url, ctx.http.send(request).await, &[]) {
            Ok(reply) => Ok(Receipt::of(format!("answered {}", reply.status))),
            Err(SendError::Passing { mut why, retry_after }) => {
                scrub(&mut why, &[self.url.expose()]);
                Err(SendError::Passing { why, retry_after })
            }
            Err(SendError::Permanent { mut why }) => {
                scrub(&mut why, &[self.url.expose()]);
                Err(SendError::Permanent { why })
            }
        }
    }
}

/// The URL of a stage: the suffix goes before a query.
fn stage_url(url: &SecretUrl, stage: Stage<'_>, rid: Option<&str>) -> SecretUrl {
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
        let ctx = SendCtx {
            host: &host,
            http: &http,
            now: 0,
            previous: None,
        };
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
}

//! `webhook`: the event as JSON, schema `nolapse.alert/1`, signed as Standard Webhooks 1.0 says if there is a secret:
//! `webhook-id` is the event id and so the same over retries, `webhook-timestamp` is the time of sending in seconds,
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

use super::reply::{Headers, post};
use super::{Receipt, SendCtx, SendError, need_url};
use crate::edge::http::HeaderText;
use crate::secret::{Secret, SecretUrl};
use crate::table::{ConfigError, Table};
use crate::types::{Event, Moment, SECOND};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};

/// Where to, and how it is proven who sent it.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The receiver.
    pub(crate) url: SecretUrl,
    /// The signing key as it is written, `whsec_…`.
    pub(crate) secret: Option<Secret>,
    /// The `Authorization` header.
    pub(crate) authorization: Option<Secret>,
}

/// A signing key's length in bytes (Standard Webhooks 1.0, "signature scheme").
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

impl Webhook {
    /// Reads `url`, `secret` (`whsec_` and base64) and `authorization`, each also as `_file` or `_env`.
    ///
    /// # Errors
    /// A missing `url`, a key that is not base64.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let url = need_url(table, "url")?;
        let secret = table.secret("secret")?;
        if let Some(secret) = &secret
            && key(secret).is_none_or(|key| !LENGTH.contains(&key.len()))
        {
            return Err(table.error(
                "secret",
                "is not a Standard Webhooks key of 24 to 64 bytes",
                "make one: `echo whsec_$(head -c 32 /dev/urandom | base64)`",
            ));
        }
        let authorization = table.secret("authorization")?;
        if authorization.is_some() {
            table.not_in_the_clear("url", &url, "`authorization`")?;
        }
        Ok(Self {
            url,
            secret,
            authorization,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let more = [&self.secret, &self.authorization].into_iter().flatten();
        more.map(Secret::expose).chain([self.url.expose()]).collect()
    }

    /// Sends. 410 is permanent, as all refusals.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let body = body(event);
        let mut headers = headers(event, ctx.now, self.secret.as_ref(), &body);
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", HeaderText::Secret(authorization.clone())));
        }
        let reply = post(ctx, &self.url, headers, body, &["/message", "/error"]).await?;
        Ok(Receipt::of(format!("answered {}", reply.status)))
    }
}

/// The public JSON of an event: `schema`, then its fields in the order of the struct.
pub(crate) fn body(event: &Event) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        schema: &'static str,
        #[serde(flatten)]
        event: &'a Event,
    }
    let body = Body {
        schema: "nolapse.alert/1",
        event,
    };
    let text = serde_json::to_string(&body).unwrap_or_default();
    crate::visible::json(&text).into_owned().into_bytes()
}

/// The headers of Standard Webhooks; without a secret the id and time alone.
pub(crate) fn headers(event: &Event, now: Moment, secret: Option<&Secret>, body: &[u8]) -> Headers {
    let timestamp = (now.ms() / SECOND).to_string();
    let mut headers = vec![
        ("webhook-id", HeaderText::Plain(event.event_id.clone())),
        ("webhook-timestamp", HeaderText::Plain(timestamp.clone())),
    ];
    if let Some(key) = secret.and_then(key)
        && let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(&key)
    {
        mac.update(event.event_id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        headers.push(("webhook-signature", HeaderText::Plain(signature)));
    }
    headers
}

fn key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose();
    let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{Answer, CANARY, NOW, Server, channel, deliver, event, leak_check};

    #[test]
    fn the_signature_is_the_one_of_the_standards_own_example() {
        // the example of the specification's README, also in the tests of its Python library
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let event = Event {
            event_id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
            ..event()
        };
        let headers = headers(
            &event,
            Moment::at(1_614_265_330_000),
            Some(&secret),
            br#"{"test": 2432232314}"#,
        );
        let HeaderText::Plain(signature) = &headers[2].1 else {
            panic!()
        };
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn the_body_is_the_event_and_the_id_stays() {
        let server = Server::start(vec![Answer::status(200)]).await;
        let channel = channel(&format!(
            "type = \"webhook\"\nurl = \"{}\"\nauthorization = \"Bearer x\"",
            server.url("/hook").expose()
        ));
        assert_eq!(deliver(&channel, &event()).await.unwrap().detail, "answered 200");
        let seen = server.seen().remove(0);
        assert_eq!(seen.header("webhook-id"), Some("msg_2b1f"));
        assert_eq!(
            seen.header("webhook-timestamp"),
            Some((NOW.ms() / 1000).to_string().as_str())
        );
        assert_eq!(seen.header("authorization"), Some("Bearer x"));
        assert!(
            seen.body
                .starts_with(br#"{"schema":"nolapse.alert/1","event_id":"msg_2b1f","alert_id":"#)
        );
        let json = seen.json();
        assert_eq!(json["status"], "firing");
        assert_eq!(json["affected"][1]["agent"], "<b>&*x*");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event());
    }

    #[tokio::test]
    async fn nothing_leaks() {
        leak_check(|at| {
            format!(
                "type = \"webhook\"\nurl = \"http://u:{CANARY}@{at}/{CANARY}?t={CANARY}\"\nsecret = \"{CANARY}{CANARY}{CANARY}{CANARY}\"\nauthorization = \"{CANARY}\""
            )
        })
        .await;
    }
}

//! `desktop`: a notification by the freedesktop.org Notifications service on the session bus.
//!
//! The bus address is the host's (`DBUS_SESSION_BUS_ADDRESS`, else `$XDG_RUNTIME_DIR/bus`, as cron needs). Servers differ, so
//! the capabilities are asked first: markup is escaped only for servers that read it. The server's id of the last
//! notification is handed back so that the next one for the same alert replaces it; since ids belong to one run of one
//! server on one bus, the handle names those too. There are no buttons: a oneshot process does not wait for a click.

use super::{Receipt, SendCtx, SendError};
use crate::config::table::{ConfigError, Table};
use crate::ctx::Host;
use crate::types::Event;

/// Nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Desktop;

impl Desktop {
    /// Reads no keys.
    ///
    /// # Errors
    /// None.
    pub fn read(_: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    /// Shows or replaces the alert's notification, within 5 s.
    ///
    /// # Errors
    /// Passing: nobody logged in, no server, a bus that hangs.
    pub async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let Some(address) = bus_address(ctx.host) else {
            return Err(SendError::passing(
                "there is no session bus: nobody is logged in to a desktop",
            ));
        };
        bus::notify(event, &address, ctx.previous.as_deref()).await
    }
}

/// The session bus of this user, if there is one; never on Android.
pub fn bus_address(host: &Host) -> Option<String> {
    if cfg!(target_os = "android") || host.termux() {
        return None;
    }
    if let Some(address) = host.var_nonblank("DBUS_SESSION_BUS_ADDRESS") {
        return Some(address.to_owned());
    }
    let socket = std::path::Path::new(host.var_nonblank("XDG_RUNTIME_DIR")?).join("bus");
    crate::edge::files::exists(&socket).then(|| format!("unix:path={}", socket.display()))
}

#[cfg(target_os = "android")]
mod bus {
    use super::*;

    pub async fn notify(_: &Event, _: &str, _: Option<&str>) -> Result<Receipt, SendError> {
        Err(SendError::permanent(
            "there is no desktop on android: use `type = \"termux\"`",
        ))
    }
}

#[cfg(not(target_os = "android"))]
mod bus {
    use super::*;
    use crate::notify::text::{self, Count, clip};
    use crate::types::{Severity, Status};
    use std::collections::HashMap;
    use std::time::Duration;

    use zbus::{Connection, Variant, connection};

    const NAME: &str = "org.freedesktop.Notifications";
    const PATH: &str = "/org/freedesktop/Notifications";

    pub async fn notify(event: &Event, address: &str, previous: Option<&str>) -> Result<Receipt, SendError> {
        match tokio::time::timeout(Duration::from_secs(5), show(event, address, previous)).await {
            Ok(Ok(receipt)) => Ok(receipt),
            Ok(Err(error)) => Err(SendError::passing(words(&error))),
            Err(_) => Err(SendError::passing("the session bus is not answering")),
        }
    }

    async fn show(event: &Event, address: &str, previous: Option<&str>) -> zbus::Result<Receipt> {
        let bus = connection::Builder::address(address).build().await?;
        let capabilities: Vec<String> = call(&bus, "GetCapabilities", &()).await?;
        let owner: String = bus
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "GetNameOwner",
                &NAME,
            )
            .await?
            .body()
            .deserialize()?;
        let server = format!("{}/{owner}/", bus.server_guid());
        let replaces: u32 = previous
            .and_then(|handle| handle.strip_prefix(server.as_str())?.parse().ok())
            .unwrap_or(0);
        let markup = capabilities.iter().any(|word| word == "body-markup");
        let escape = if markup { text::html } else { text::as_is };
        let title = format!("{}: {}", text::heading(event), event.title);
        let body = clip(&text::plain(event), 2000, Count::Chars, escape);
        let id: u32 = call(
            &bus,
            "Notify",
            &(
                "nolapse",
                replaces,
                icon(event),
                clip(&title, 200, Count::Chars, text::as_is),
                body,
                // an action named `default` would make the whole notification clickable, and nobody would answer
                Vec::<String>::new(),
                hints(event),
                // critical ones stay by the specification; the server decides for the others
                -1_i32,
            ),
        )
        .await?;
        Ok(Receipt {
            detail: format!("shown, notification {id}"),
            handle: Some(format!("{server}{id}")),
        })
    }

    async fn call<B, R>(bus: &Connection, method: &str, body: &B) -> zbus::Result<R>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        bus.call_method(Some(NAME), PATH, Some(NAME), method, body)
            .await?
            .body()
            .deserialize()
    }

    fn icon(event: &Event) -> &'static str {
        match (event.status, event.severity) {
            (Status::Resolved, _) | (_, Severity::Info) => "dialog-information",
            (Status::Firing, Severity::Warning) => "dialog-warning",
            (Status::Firing, Severity::Critical) => "dialog-error",
        }
    }

    /// Urgency, and the tags by which dunst and others stack what belongs together even without an id.
    fn hints(event: &Event) -> HashMap<&'static str, Variant<'_>> {
        let urgency: u8 = match (event.status, event.severity) {
            (Status::Resolved, _) | (_, Severity::Info) => 0,
            (Status::Firing, Severity::Warning) => 1,
            (Status::Firing, Severity::Critical) => 2,
        };
        HashMap::from([
            ("urgency", Variant::U8(urgency)),
            ("x-dunst-stack-tag", Variant::from(event.alert_id.as_str())),
            (
                "x-canonical-private-synchronous",
                Variant::from(event.alert_id.as_str()),
            ),
        ])
    }

    fn words(error: &zbus::Error) -> String {
        match error {
            zbus::Error::MethodError(name, ..) if name.as_str().ends_with("ServiceUnknown") => {
                "no notification server is running on the desktop".into()
            }
            zbus::Error::MethodError(name, ..) => format!("the notification server answered `{}`", name.as_str()),
            zbus::Error::InputOutput(error) => {
                format!(
                    "the session bus cannot be reached: {}",
                    crate::edge::files::io_words(error)
                )
            }
            _ => "the session bus cannot be reached".into(),
        }
    }
}

#[cfg(all(test, not(target_os = "android")))]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{channel, event, host};

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_a_passing_trouble() {
        let http = Http::new(&Default::default());
        for (env, why) in [
            (vec![], "there is no session bus: nobody is logged in to a desktop"),
            (
                vec![("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")],
                "the session bus cannot be reached",
            ),
        ] {
            let host = host(&env);
            let ctx = SendCtx {
                host: &host,
                http: &http,
                now: 0,
                previous: None,
            };
            let error = super::super::send(&channel("type = \"desktop\""), &event(), &ctx)
                .await
                .unwrap_err();
            assert_eq!(error, SendError::passing(why));
        }
    }
}

//! `log`: the process's own log on stderr (the journal under systemd). The channel of last resort; it cannot fail.

use crate::notify::{Receipt, SendCtx, SendError};
use crate::rules::text;
use crate::table::{ConfigError, Table};
use crate::types::{Event, Severity, Status};

/// Nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Log {
    /// Reads no keys.
    ///
    /// # Errors
    /// None.
    pub(crate) fn read(_: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    /// One entry: an error for critical, a warning for warning, info for the rest.
    ///
    /// # Errors
    /// None.
    pub(crate) async fn send(&self, event: &Event, _: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let line = line(event);
        let (id, alert) = (event.event_id.as_str(), event.alert_id.to_string());
        match (event.status, event.severity) {
            (Status::Firing, Severity::Critical) => tracing::error!(target: "nolapse::alert", id, alert, "{line}"),
            (Status::Firing, Severity::Warning) => tracing::warn!(target: "nolapse::alert", id, alert, "{line}"),
            (Status::Firing, Severity::Info) => tracing::info!(target: "nolapse::alert", id, alert, "{line}"),
            (Status::Resolved, _) => tracing::info!(target: "nolapse::alert::recovered", id, alert, "{line}"),
        }
        Ok(Receipt::of("written to the log"))
    }
}

/// Title and message in one line.
pub(crate) fn line(event: &Event) -> String {
    let message = text::plain(event);
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("{}: {}", event.title, lines.join("; "))
}

#[cfg(test)]
mod tests {
    use crate::notify::testing::{channel, deliver, event};

    #[tokio::test]
    async fn an_event_is_one_line() {
        assert_eq!(
            super::line(&event()),
            "Claude login on gw has ended: since 10:00 (just now); stopped: main, <b>&*x*; on gw, run:; claude auth login"
        );
        assert!(deliver(&channel("type = \"log\""), &event()).await.is_ok());
    }
}

//! The table of token endpoints. One row extends it.
//!
//! Sources: anthropic: `@anthropic-ai/claude-code` 2.1.330 on a loopback proxy; openai-codex: Codex CLI and pi-ai 0.49; qwen-portal:
//! clawdbot 2026.1.24-3 (`src/providers/qwen-portal-oauth.ts`).

use crate::types::{MINUTE, Ms};

/// How an endpoint wants the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// One provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provider {
    /// As stores name it.
    pub(crate) name: &'static str,
    /// The token endpoint.
    pub(crate) token_url: &'static str,
    /// The public client id.
    pub(crate) client_id: &'static str,
    /// How the body is written.
    pub(crate) body: Body,
    /// The scopes that are asked for, if any.
    pub(crate) scope: Option<&'static str>,
    /// The agents store an end this much before the real one, [`Ms`].
    pub(crate) margin: Ms,
}

/// The providers whose grants can be renewed. Their answers agree: `access_token`, `refresh_token` (absent: the old one stays),
/// `expires_in` in seconds.
pub(crate) const PROVIDERS: [Provider; 3] = [
    Provider {
        name: "anthropic",
        token_url: "https://platform.claude.com/v1/oauth/token",
        client_id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        body: Body::Json,
        scope: Some(
            "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload user:plugins",
        ),
        margin: 5 * MINUTE,
    },
    Provider {
        name: "openai-codex",
        token_url: "https://auth.openai.com/oauth/token",
        client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
        body: Body::Form,
        scope: None,
        margin: 0,
    },
    Provider {
        name: "qwen-portal",
        token_url: "https://chat.qwen.ai/api/v1/oauth2/token",
        client_id: "f0304373b74a44d2b584a3fb70ca9e56",
        body: Body::Form,
        scope: None,
        margin: 0,
    },
];

/// Claude Code's own.
pub(crate) const ANTHROPIC: &Provider = &PROVIDERS[0];

/// The row of a provider.
pub(crate) fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

//! Every key of the configuration, once: name, kind with its bounds, what holds without it, what it means. The example file, the
//! JSON Schema, the reference in the documentation and `config show` are made from this; what the reader takes is held against it
//! by the tests.

use crate::types::{DAY, HOUR, MINUTE, Ms, SECOND};

/// How long a silence may last, [`Ms`]: whoever means for ever has forgotten it by then.
pub(crate) const LONGEST_SILENCE: Ms = 365 * DAY;

/// The least time between two passes of a schedule, [`Ms`].
pub(crate) const BETWEEN_PASSES: Ms = 10 * SECOND;

pub(crate) use super::key::{Key, Kind, Section, Without};
use super::key::{channel, key, list, table};
use Kind::{Bool, Number, Path, Program, Secret, SecretUrl, Span, Spans, Text, Texts, Url, Words};
use Without::{Default, Else, Needed};

const CA_FILE: Key = key(
    "ca_file",
    Path,
    Else("the system's roots alone", "\"~/.config/nolapse/ca.pem\""),
    "certificates that are trusted too: roots, or the server's own, PEM",
);

/// All of them, in the order of the example.
pub(crate) const SECTIONS: &[Section] = &[
    table(
        "sync",
        "What is copied from a login into the agents' auth stores.",
        &[
            key(
                "enabled",
                Bool,
                Default("true"),
                "false: stores are judged and never written",
            ),
            key(
                "share",
                Words(&["access", "full"]),
                Default("\"access\""),
                "what a profile that does not exist yet is given: \"access\" (the access token: the agent can work and can never spend the login's refresh token) or \"full\" (access and refresh token, as Clawdbot's own sync writes it)",
            ),
            key(
                "create",
                Words(&["as-agents-do", "always", "never"]),
                Default("\"as-agents-do\""),
                "where a profile that does not exist yet is made: \"as-agents-do\" (only where the agent itself would: clawdbot up to 2026.1.24-3; `nolapse sync --create` makes it elsewhere), \"always\" or \"never\"; one that exists is kept up to date everywhere",
            ),
            key(
                "profile",
                Text,
                Default("\"anthropic:claude-cli\""),
                "the profile id that mirrors the login; it begins with `anthropic:`",
            ),
            key(
                "exclude_agents",
                Texts,
                Default("[]"),
                "agents that are judged and never written: globs over `family/agent`, as in [\"openclaw/*\"]",
            ),
        ],
    ),
    table(
        "renew",
        "Who renews a login whose access token ends.",
        &[
            key(
                "mode",
                Words(&["delegate", "direct", "off"]),
                Default("\"delegate\""),
                "\"delegate\" (Claude Code's own CLI does it), \"direct\" (nolapse does) or \"off\". With \"off\" a copy that has a refresh token is left to its agent to renew when it is used, and is no alert when it is over",
            ),
            key(
                "always",
                Bool,
                Default("false"),
                "renew even where no agent uses the login",
            ),
            // the way of renewing narrows it: what Claude Code itself renews, and not earlier
            key(
                "lead",
                Span(MINUTE, HOUR),
                Else("4m, with \"direct\" 15m", "\"4m\""),
                "how long before its access token ends a login is renewed; with \"direct\" alone more than 4m (Claude Code renews nothing earlier), so that programs which renew at the end find a fresh token",
            ),
            key(
                "claude",
                Program,
                Default("\"claude\""),
                "delegate: the CLI, a path or a name on the PATH",
            ),
            key(
                "patience",
                Span(SECOND, 10 * MINUTE),
                Default("\"60s\""),
                "delegate: how long the CLI is waited for (it is never killed)",
            ),
            key(
                "token_url",
                Url,
                Default("\"https://platform.claude.com/v1/oauth/token\""),
                "direct: the token endpoint; plain http only on this host",
            ),
            key(
                "client_id",
                Text,
                Default("\"9d1c250a-e61b-44d9-88ed-5944d1962f5e\""),
                "direct: the client id of logins that name none",
            ),
            // a token is spent when it is posted: an answer that takes a second longer than one's patience is a lost login
            key(
                "timeout",
                Span(5 * SECOND, 120 * SECOND),
                Default("\"30s\""),
                "direct: how long the answer is waited for",
            ),
        ],
    ),
    table(
        "alerts",
        "When you are notified.",
        &[
            key(
                "steps",
                Spans(SECOND, 365 * DAY),
                Default("[\"7d\", \"3d\", \"1d\", \"6h\"]"),
                "warnings before a login's end, counted to its deadline less the 3 days that the server may take",
            ),
            key(
                "grace",
                Span(0, 7 * DAY),
                Default("\"30m\""),
                "how long an agent's copy may be over, while its login is being renewed, before that is an alert",
            ),
        ],
    ),
    list(
        "login",
        "A further Claude Code directory; ~/.claude (or what $CLAUDE_CONFIG_DIR says) is found automatically. Repeat for more.",
        &[
            key("dir", Path, Needed("\"~/.claude-team\""), "Claude Code's directory"),
            key(
                "name",
                Text,
                Else("the directory's name without its dot", "\"team\""),
                "its id in messages",
            ),
            key(
                "agents",
                Texts,
                Else("only the first login is given to agents", "[\"clawdbot/team-*\"]"),
                "the agents that get this login: globs over `family/agent`",
            ),
            key(
                "profile",
                Text,
                Else("`sync.profile`", "\"anthropic:team\""),
                "the profile id that mirrors this login",
            ),
        ],
    ),
    list(
        "channel",
        "Who is notified. Without any [[channel]]: Termux or the desktop if there is one, else the log. Repeat for more. These keys are for every type; the types with what they need follow.",
        &[
            key(
                "type",
                Words(&[]),
                Needed("\"log\""),
                "one of the types that follow, or \"log\", which needs nothing",
            ),
            key(
                "name",
                Text,
                Else("the type", "\"journal\""),
                "its name in messages, unique",
            ),
            key(
                "min_severity",
                Words(&["info", "warning", "critical"]),
                Default("\"warning\""),
                "nothing milder is sent: \"info\", \"warning\", \"critical\"",
            ),
            key(
                "quiet_hours",
                Text,
                Else("none", "\"22:00-07:00\""),
                "a daily span in local time in which only critical alerts are sent and the others wait",
            ),
            key("resolved", Bool, Default("true"), "whether \"it works again\" is sent"),
            key(
                "logins",
                Texts,
                Default("[]"),
                "only alerts about these logins, globs over their ids; all if empty",
            ),
            key(
                "agents",
                Texts,
                Default("[]"),
                "only alerts that affect these agents, globs over `family/agent`; all if empty",
            ),
            key(
                "title",
                Text,
                Else("nolapse's own words", "\"{title}\""),
                "a title in place of nolapse's; {{ stands for a brace. Known: {title} {message} {severity} {status} {kind} {host} {login} {command} {commands} {affected} {alert_id} {event_id} {at}",
            ),
            key(
                "body",
                Text,
                Else("nolapse's own words", "\"{message}\""),
                "a message in place of nolapse's, likewise",
            ),
            key(
                "timeout",
                Span(SECOND, 120 * SECOND),
                Default("\"15s\""),
                "the longest that one alert may take",
            ),
        ],
    ),
    channel(
        "desktop",
        "A notification on this desktop, by the session bus. Needs nothing.",
        &[],
    ),
    channel(
        "termux",
        "A notification on this phone, by Termux:API (`pkg install termux-api` and its app).",
        &[key(
            "remove_on_recovery",
            Bool,
            Default("false"),
            "true: a recovery takes the notification away, instead of saying so in its place",
        )],
    ),
    channel(
        "email",
        "E-mail by SMTP.",
        &[
            key("host", Text, Needed("\"smtp.example.org\""), "the server"),
            key(
                "tls",
                Words(&["starttls", "implicit", "none"]),
                Else("starttls, and implicit where the port is 465", "\"starttls\""),
                "\"starttls\", \"implicit\", or \"none\" for a server on this host alone",
            ),
            key(
                "port",
                Number(1, 65535),
                Else("587 for starttls, 465 for implicit, 25 for none", "587"),
                "the server's port",
            ),
            key(
                "user",
                Text,
                Else("neither user nor password", "\"nolapse@example.org\""),
                "who signs in; user and password, both or neither",
            ),
            key(
                "password",
                Secret("masked"),
                Else("neither user nor password", "\"~/.config/nolapse/smtp-password\""),
                "the password",
            ),
            key("from", Text, Needed("\"nolapse <nolapse@example.org>\""), "sender"),
            key("to", Texts, Needed("[\"you@example.org\"]"), "recipients"),
            CA_FILE,
        ],
    ),
    channel(
        "webhook",
        "The alert as JSON (schema nolapse.alert/1), signed as Standard Webhooks says if there is a secret.",
        &[
            key(
                "url",
                SecretUrl,
                Needed("\"~/.config/nolapse/webhook-url\""),
                "where to",
            ),
            key(
                "secret",
                Secret("whsec_bWFza2VkIG1hc2tlZCBtYXNrZWQgbWFza2Vk"),
                Else("not signed", "\"~/.config/nolapse/webhook-secret\""),
                "the signing key, `whsec_` and base64: echo whsec_$(head -c 32 /dev/urandom | base64)",
            ),
            key(
                "authorization",
                Secret("masked"),
                Else("none", "\"~/.config/nolapse/webhook-authorization\""),
                "the Authorization header",
            ),
            CA_FILE,
        ],
    ),
    channel(
        "command",
        "A program that gets the webhook's JSON on stdin; no shell. Exit 0 is delivered.",
        &[key(
            "command",
            Texts,
            Needed("[\"~/bin/tell-me\", \"--now\"]"),
            "program and arguments; looked up in PATH, or a path that may begin with `~`",
        )],
    ),
    channel(
        "slack",
        "Slack, by an incoming webhook.",
        &[
            key(
                "url",
                SecretUrl,
                Needed("\"~/.config/nolapse/slack-url\""),
                "the webhook's URL",
            ),
            CA_FILE,
        ],
    ),
    channel(
        "discord",
        "Discord, by a webhook.",
        &[
            key(
                "url",
                SecretUrl,
                Needed("\"~/.config/nolapse/discord-url\""),
                "the webhook's URL",
            ),
            key("username", Text, Default("\"nolapse\""), "the name it posts under"),
            CA_FILE,
        ],
    ),
    channel(
        "ntfy",
        "ntfy, on ntfy.sh or a server of your own.",
        &[
            key(
                "topic",
                Secret("masked"),
                Needed("\"~/.config/nolapse/ntfy-topic\""),
                "the topic; on a public server it is as good as a password",
            ),
            key("url", Url, Default("\"https://ntfy.sh\""), "the server"),
            key(
                "token",
                Secret("masked"),
                Else("none", "\"~/.config/nolapse/ntfy-token\""),
                "an access token",
            ),
            key(
                "replace",
                Bool,
                Default("true"),
                "whether a recovery takes the place of its alert's last message (ntfy 2.16)",
            ),
            CA_FILE,
        ],
    ),
    channel(
        "telegram",
        "Telegram, by a bot.",
        &[
            key(
                "token",
                Secret("1:masked"),
                Needed("\"~/.config/nolapse/telegram-token\""),
                "the bot's token",
            ),
            key(
                "chat_id",
                Text,
                Needed("\"123456789\""),
                "the chat's number in quotes, or \"@channelname\"",
            ),
            key(
                "thread_id",
                Number(1, i64::MAX),
                Else("none", "7"),
                "the topic within a forum group, a number",
            ),
            key("url", Url, Default("\"https://api.telegram.org\""), "the API server"),
            CA_FILE,
        ],
    ),
    channel(
        "gotify",
        "Gotify.",
        &[
            key("url", Url, Needed("\"https://gotify.example.org\""), "the server"),
            key(
                "token",
                Secret("masked"),
                Needed("\"~/.config/nolapse/gotify-token\""),
                "the application's token",
            ),
            CA_FILE,
        ],
    ),
    channel(
        "pagerduty",
        "PagerDuty, Events API v2.",
        &[
            key(
                "routing_key",
                Secret("masked"),
                Needed("\"~/.config/nolapse/pagerduty-key\""),
                "the integration's key",
            ),
            key(
                "url",
                Url,
                Default("\"https://events.pagerduty.com\""),
                "the API server; the EU has its own",
            ),
            CA_FILE,
        ],
    ),
    channel(
        "alertmanager",
        "Prometheus Alertmanager, API v2.",
        &[
            key(
                "url",
                Url,
                Needed("\"http://127.0.0.1:9093\""),
                "the server, without /api",
            ),
            key(
                "authorization",
                Secret("masked"),
                Else("none", "\"~/.config/nolapse/alertmanager-authorization\""),
                "the Authorization header",
            ),
            // shorter, and an alert would end at the receiver before it is sent again
            key(
                "hold",
                Span(HOUR, 365 * DAY),
                Default("\"30d\""),
                "how long a firing alert is held without news",
            ),
            CA_FILE,
        ],
    ),
    list(
        "remote",
        "Another host that runs nolapse, asked by SSH (BatchMode: a key, no password), checked and alerted from here.",
        &[
            key("name", Text, Needed("\"gateway\""), "its name in messages, unique"),
            key(
                "ssh",
                Text,
                Needed("\"user@gateway.example.org\""),
                "what `ssh` is given: a host, user@host, or a Host of ~/.ssh/config",
            ),
            key(
                "command",
                Text,
                Default("\"nolapse status --json\""),
                "what is run there",
            ),
            key("every", Span(MINUTE, DAY), Default("\"15m\""), "how often it is asked"),
            key(
                "timeout",
                Span(SECOND, 120 * SECOND),
                Default("\"30s\""),
                "the longest an answer may take",
            ),
            key(
                "grace",
                Span(0, 30 * DAY),
                Default("\"30m\""),
                "how long it may be silent before that is an alert",
            ),
        ],
    ),
    table(
        "heartbeat",
        "A dead-man switch: a ping when a pass begins, after a good one, and `/fail` after a bad one (Healthchecks-style).",
        &[key(
            "url",
            SecretUrl,
            Needed("\"~/.config/nolapse/heartbeat-url\""),
            "the ping URL",
        )],
    ),
    table(
        "daemon",
        "When `nolapse daemon` makes a pass, beside looking whenever a watched file changes.",
        &[
            key(
                "schedule",
                Text,
                Default("\"0 */4 * * * *\""),
                "a cron expression of six fields, seconds first, in the local time zone; passes are 10 s apart at least",
            ),
            key(
                "listen",
                Text,
                Else("nowhere", "\"127.0.0.1:9817\""),
                "a loopback address with a port, where /metrics and /healthz can be asked for",
            ),
        ],
    ),
    table(
        "metrics",
        "Where other programs find how things stand.",
        &[key(
            "textfile",
            Path,
            Else("none", "\"/var/lib/prometheus/node-exporter/nolapse.prom\""),
            "a file that each pass writes for Prometheus' node_exporter (its name ends in .prom, mode 644)",
        )],
    ),
];

/// The keys of a table: its own, and for a channel what is for every type first.
pub(crate) fn of(name: &str, of_type: Option<&str>) -> Vec<&'static Key> {
    let sections = SECTIONS.iter().filter(|section| section.name == name);
    sections
        .filter(|section| section.of_type.is_none() || section.of_type == of_type)
        .flat_map(|section| section.keys)
        .collect()
}

/// One type of channel.
pub(crate) struct Offer {
    /// The word of `type`.
    pub(crate) word: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Where what it needs comes from, and what else must be there; empty where nothing is needed.
    pub(crate) from: &'static str,
    /// What is asked for, in this order. The first is what `TYPE=VALUE` gives.
    pub(crate) asks: &'static [Ask],
}

/// One question.
pub(crate) struct Ask {
    /// The key it answers.
    pub(crate) key: &'static str,
    /// The question, without its question mark.
    pub(crate) words: &'static str,
    /// Whether it may be left out.
    pub(crate) need: Need,
}

/// Whether an answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is.
    Needed,
    /// An empty answer leaves the key out.
    MayBeEmpty,
    /// An empty answer makes a random one.
    Made,
}

const fn needed(key: &'static str, words: &'static str) -> Ask {
    Ask {
        key,
        words,
        need: Need::Needed,
    }
}

const fn optional(key: &'static str, words: &'static str) -> Ask {
    Ask {
        need: Need::MayBeEmpty,
        ..needed(key, words)
    }
}

/// The channels as a person is offered them: what needs least comes first.
pub(crate) const OFFERS: &[Offer] = &[
    Offer {
        word: "ntfy",
        about: "push to your phone, no account needed",
        from: "install the ntfy app (ntfy.sh) and subscribe to the same topic there",
        asks: &[Ask {
            key: "topic",
            words: "Topic (empty: a random one, shown once)",
            need: Need::Made,
        }],
    },
    Offer {
        word: "desktop",
        about: "a notification on this desktop",
        from: "",
        asks: &[],
    },
    Offer {
        word: "termux",
        about: "a notification on this phone (Termux)",
        from: "install the app Termux:API, then run `pkg install termux-api`",
        asks: &[],
    },
    Offer {
        word: "telegram",
        about: "a message from a Telegram bot",
        from: "create a bot with @BotFather, send it a message, and read your chat id from https://api.telegram.org/bot<TOKEN>/getUpdates",
        asks: &[
            needed("chat_id", "Chat id, or @channelname"),
            needed("token", "Bot token"),
        ],
    },
    Offer {
        word: "slack",
        about: "a message in a Slack channel",
        from: "create an app at https://api.slack.com/apps, switch on Incoming Webhooks, and add one to a channel",
        asks: &[needed("url", "Webhook URL")],
    },
    Offer {
        word: "discord",
        about: "a message in a Discord channel",
        from: "in Discord: Edit Channel, Integrations, Webhooks, New Webhook, Copy Webhook URL",
        asks: &[needed("url", "Webhook URL")],
    },
    Offer {
        word: "email",
        about: "e-mail through your SMTP server",
        from: "your provider's SMTP settings; many need an app password",
        asks: &[
            needed("to", "Send to"),
            needed("host", "SMTP server"),
            needed("from", "Sender address"),
            optional("user", "User name (empty: none)"),
            optional("password", "Password (empty: none)"),
        ],
    },
    Offer {
        word: "webhook",
        about: "JSON posted to a URL",
        from: "the URL of your own receiver, Home Assistant or the like",
        asks: &[needed("url", "URL")],
    },
    Offer {
        word: "gotify",
        about: "push through your Gotify server",
        from: "in Gotify: Apps, Create Application, copy its token",
        asks: &[needed("url", "Server URL"), needed("token", "Application token")],
    },
    Offer {
        word: "pagerduty",
        about: "a PagerDuty incident",
        from: "in PagerDuty: your service, Integrations, Events API v2, copy its Integration Key",
        asks: &[needed("routing_key", "Integration key")],
    },
    Offer {
        word: "alertmanager",
        about: "an alert in Prometheus Alertmanager",
        from: "the address of your Alertmanager, without /api",
        asks: &[needed("url", "Server URL")],
    },
    Offer {
        word: "command",
        about: "a program of yours, which gets JSON on stdin",
        from: "a program that exits with 0 once you were notified",
        asks: &[needed("command", "Program and arguments")],
    },
    Offer {
        word: "log",
        about: "only a line in the log: nobody is notified",
        from: "",
        asks: &[],
    },
];

/// The offer of a type.
pub(crate) fn offer(word: &str) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.word == word)
}

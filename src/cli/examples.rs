//! What `--help` shows below: examples that can be typed as they stand. A test has each of them parsed.

pub(super) const ALL: &str = "\
Examples:
  nolapse                     where you stand, and the next step
  nolapse setup               set up alerts and automatic checks
  nolapse login               sign in again
  nolapse run --dry-run       preview a check: file changes and alerts
  nolapse demo                see it at work on a made-up home

Exit codes: 0 fine, 1 expired or missing, 2 expiring, 3 unknown or wrong usage";

pub(super) const STATUS: &str = "\
Examples:
  nolapse status
  nolapse status --watch      a live view; `q` quits
  nolapse status --html ~/status.html   a page for a browser or a phone
  nolapse status --json       for other programs; docs/json.md has the keys
  nolapse status --check      the same table, and the exit code of `nolapse check`";

pub(super) const CHECK: &str = "\
Examples:
  nolapse check || notify-send 'a login needs you'
  nolapse check --by-clock               what the agents' own `models status --check` would say
  nolapse check --format nagios          for Nagios, Icinga, Naemon, and whoever runs their plugins

Exit codes: 0 fine, 1 expired or missing, 2 expiring, 3 unknown; with `--format nagios` 1 expiring, 2 expired";

pub(super) const RUN: &str = "\
Examples:
  nolapse run --dry-run       preview file changes (secrets masked) and alerts
  nolapse run                 then, and from a timer

Exit codes: 0 fine, 1 expired or missing, 2 expiring, 3 the check itself failed";

pub(super) const SYNC: &str = "\
Examples:
  nolapse sync --dry-run      the exact change of every store
  nolapse sync                write it; nobody is notified, nothing is renewed";

pub(super) const REAUTH: &str = "\
Examples:
  nolapse login                                      sign in again: open a link, paste the code
  nolapse login --qr                                 with the link as a QR code, for a phone
  nolapse login --login claude-team                  another login
  nolapse login --setup-token                        a one-year token for unattended agents
  nolapse login --setup-token --store file:/srv/t    into a file, mode 600";

pub(super) const TOKEN: &str = "\
Examples:
  nolapse token add                  asks for a setup token and gives it to every agent
  nolapse token list
  nolapse token remove anthropic:manual --agent clawdbot/main";

pub(super) const TOKEN_ADD: &str = "\
Examples:
  nolapse token add --agent 'clawdbot/*'
  nolapse token add --type api_key --provider openai < key.txt
  nolapse token add --remember-only --issued 2026-01-21T12:00:00Z < token.txt";

pub(super) const TOKEN_LIST: &str = "\
Examples:
  nolapse token list
  nolapse token list --agent openclaw/main --json";

pub(super) const TOKEN_REMOVE: &str = "\
Examples:
  nolapse token remove anthropic:manual --agent clawdbot/main
  nolapse token remove openai:default --agent '*/*' --yes";

pub(super) const TOKEN_PRINT: &str = "\
Examples:
  echo '{\"protocolVersion\":1,\"provider\":\"nolapse\",\"ids\":[\"claude\"]}' | nolapse token print --for openclaw | wc -c";

pub(super) const LINK: &str = "\
Examples:
  nolapse link openclaw --dry-run
  nolapse link openclaw --agent openclaw/main";

pub(super) const UNLINK: &str = "\
Examples:
  nolapse unlink openclaw";

pub(super) const ORDER: &str = "\
Examples:
  nolapse order get
  nolapse order set anthropic:claude-cli anthropic:manual --agent clawdbot/main
  nolapse order clear --agent clawdbot/main";

pub(super) const ORDER_GET: &str = "\
Examples:
  nolapse order get
  nolapse order get --provider openai --agent clawdbot/main";

pub(super) const ORDER_SET: &str = "\
Examples:
  nolapse order set anthropic:manual anthropic:claude-cli
  nolapse order set --agent clawdbot/main anthropic:claude-cli";

pub(super) const ORDER_CLEAR: &str = "\
Examples:
  nolapse order clear --agent clawdbot/main";

pub(super) const ALERT: &str = "\
Examples:
  nolapse alert test                 is the channel all right?
  nolapse alert list                 what fires, and what waits to be delivered
  nolapse alert ack login:claude
  nolapse alert silence --all --for 8h";

pub(super) const ALERT_TEST: &str = "\
Examples:
  nolapse alert test                 the one channel there is
  nolapse alert test slack --severity critical
  nolapse alert test --all";

pub(super) const ALERT_LIST: &str = "\
Examples:
  nolapse alert list
  nolapse alert list --json";

pub(super) const ALERT_ACK: &str = "\
Examples:
  nolapse alert ack login:claude
  nolapse alert ack --all";

pub(super) const ALERT_SILENCE: &str = "\
Examples:
  nolapse alert silence --login claude --for 8h
  nolapse alert silence --agent clawdbot/lab --until-recovered
  nolapse alert silence --all --until 07:30";

pub(super) const ALERT_UNSILENCE: &str = "\
Examples:
  nolapse alert unsilence
  nolapse alert unsilence --login claude";

pub(super) const ALERT_RETRY: &str = "\
Examples:
  nolapse alert retry
  nolapse alert retry slack";

pub(super) const REFRESH: &str = "\
Examples:
  nolapse refresh --dry-run
  nolapse refresh                    renew what is due, and say what was not and why
  nolapse refresh --login claude --force";

pub(super) const DAEMON: &str = "\
Examples:
  nolapse -v daemon                  in this terminal; ^C ends it
  nolapse install systemd --daemon   from now on

SIGHUP reads the configuration again, SIGUSR1 makes a pass now, SIGTERM ends it after the pass under way";

pub(super) const INSTALL: &str = "\
Examples:
  nolapse install systemd --dry-run
  nolapse install systemd            a timer, every 4 minutes
  nolapse install systemd --daemon
  nolapse install termux";

pub(super) const UNINSTALL: &str = "\
Examples:
  nolapse uninstall --dry-run
  nolapse uninstall systemd
  nolapse uninstall --forget";

pub(super) const METRICS: &str = "\
Examples:
  nolapse metrics                    print them
  nolapse metrics --textfile /var/lib/prometheus/node-exporter/nolapse.prom

`metrics.textfile` in the configuration does the latter after every pass; `daemon.listen` answers requests";

pub(super) const DEMO: &str = "\
Examples:
  nolapse demo";

pub(super) const CONFIG: &str = "\
Examples:
  nolapse config init                write an example with every key
  nolapse config set alerts.grace 1h
  nolapse config check
  nolapse config schema > config.schema.json";

pub(super) const SETUP: &str = "\
Examples:
  nolapse setup                                     asks for everything
  nolapse setup --yes --channel ntfy                without a question
  nolapse setup --yes --no-install --channel webhook=http://127.0.0.1:8080/hook
  nolapse setup --channel slack --daemon

Again on a machine that is set up, it proposes what is missing";

pub(super) const CHANNEL: &str = "\
Examples:
  nolapse channel add ntfy           push to your phone; the topic is made up
  nolapse channel add slack          asks for the webhook URL, unseen
  nolapse channel test slack
  nolapse channel list";

pub(super) const CHANNEL_ADD: &str = "\
Examples:
  nolapse channel add ntfy
  nolapse channel add telegram chat_id=123456789
  nolapse channel add slack url_file=/run/secrets/slack
  nolapse channel add email to=you@example.org host=smtp.example.org from=you@example.org user=you password=- < password.txt
  nolapse channel add command='~/bin/notify-me --now' name=mine";

pub(super) const CHANNEL_LIST: &str = "\
Examples:
  nolapse channel list
  nolapse channel list --json";

pub(super) const CHANNEL_REMOVE: &str = "\
Examples:
  nolapse channel remove slack";

pub(super) const CHANNEL_TEST: &str = "\
Examples:
  nolapse channel test slack
  nolapse channel test --all";

pub(super) const CONFIG_SET: &str = "\
Examples:
  nolapse config set alerts.grace 1h
  nolapse config set channel.slack.quiet_hours 22:00-07:00
  nolapse config set alerts.steps 7d,1d
  nolapse config set heartbeat.url - < url.txt

A secret given as `-` is read from stdin and kept in a file of mode 600";

pub(super) const CONFIG_INIT: &str = "\
Examples:
  nolapse config init
  nolapse config init --stdout";

pub(super) const CONFIG_CHECK: &str = "\
Examples:
  nolapse config check
  nolapse --config new.toml config check";

pub(super) const CONFIG_SHOW: &str = "\
Examples:
  nolapse config show
  nolapse config show | grep -v '# default'     only what the file sets";

pub(super) const CONFIG_PATH: &str = "\
Examples:
  nolapse config path";

pub(super) const CONFIG_SCHEMA: &str = "\
Examples:
  nolapse config schema > ~/.config/nolapse/config.schema.json

With `#:schema ./config.schema.json` as the first line of config.toml, editors complete and check it (Taplo, Even Better TOML)";

pub(super) const CONFIG_REFERENCE: &str = "\
Examples:
  nolapse config reference | less";

pub(super) const COMPLETIONS: &str = "\
Examples:
  nolapse completions bash > ~/.local/share/bash-completion/completions/nolapse
  nolapse completions zsh > ~/.zfunc/_nolapse
  nolapse completions fish > ~/.config/fish/completions/nolapse.fish";

pub(super) const SCHEMA: &str = "\
Examples:
  nolapse schema status > nolapse.status.schema.json";

pub(super) const MAN: &str = "\
Examples:
  nolapse man > ~/.local/share/man/man1/nolapse.1
  nolapse man --dir ~/.local/share/man/man1";

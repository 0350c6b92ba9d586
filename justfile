# `just` lists these

default:
    @just --list

# all checks; installs what they need
test:
    scripts/test

# the tests whose name holds WORD
one WORD:
    cargo nextest run {{WORD}}

# format, and take clippy's machine-made fixes
fix:
    cargo fmt
    cargo clippy --all-targets --fix --allow-dirty

# the whole job on a made-up home
demo:
    cargo run -- demo

# the channels against real receivers: mail, chats, Alertmanager, a desktop (installs them)
receivers:
    scripts/check-receivers

# signing in again, against the real Claude Code CLI on loopback (installs it from npm)
reauth VERSION="latest":
    scripts/rehearse-reauth {{VERSION}}

# licences, advisories and sources of the dependencies
deny:
    cargo deny check

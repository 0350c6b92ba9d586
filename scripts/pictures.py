"""Makes docs/terminal.svg and docs/page.png: see scripts/pictures."""

import html
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLUMNS, ROWS = 84, 26
CELL, LINE = 8.4, 19
COLOURS = {"31": "#f85149", "32": "#3fb950", "33": "#d29922", "36": "#39c5cf", "2": "#8b949e"}
HOUR = 3600 * 1000


def login(n, access_ends, deadline):
    return {
        "claudeAiOauth": {
            "accessToken": f"sk-ant-oat01-example-{n}" + "x" * 87,
            "refreshToken": f"sk-ant-ort01-example-{n}",
            "expiresAt": access_ends,
            "refreshTokenExpiresAt": deadline,
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        }
    }


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def store(home, agent, n, ends):
    token = f"sk-ant-oat01-example-{n}" + "x" * 87
    profile = {"type": "token", "provider": "anthropic", "token": token, "expires": ends}
    document = {"version": 1, "profiles": {"anthropic:claude-cli": profile}}
    write(home / f".clawdbot/agents/{agent}/agent/auth-profiles.json", json.dumps(document, indent=2) + "\n")


# what Claude Code's `auth login` says and does, as far as `nolapse login` needs it
CLAUDE = """#!/bin/sh
printf "Opening browser to sign in…\\nIf the browser didn't open, visit:\\n\\n%s\\n\\nPaste code here if prompted > " \\
    'https://claude.ai/oauth/authorize?code=true&client_id=9d1c250a&state=STATE'
read -r code
cp "$HOME/.next" "$HOME/.claude/.credentials.json"
echo 'Login successful.'
"""


def made_up(root):
    home = root / "home"
    now = int(time.time() * 1000)
    blanked = login(1, 0, now + 20 * 24 * HOUR)
    blanked["claudeAiOauth"].update(accessToken="", refreshToken="")
    write(home / ".claude/.credentials.json", json.dumps(blanked))
    write(home / ".next", json.dumps(login(2, now + 8 * HOUR, now + 30 * 24 * HOUR)))
    write(home / "bin/claude", CLAUDE, 0o700)
    for agent in ("main", "work"):
        store(home, agent, 1, now - HOUR)
    write(
        home / ".config/nolapse/config.toml",
        '[renew]\nmode = "off"\n[[channel]]\ntype = "command"\nname = "phone"\ncommand = ["true"]\n',
    )
    return home


def environment(home, binary):
    return {
        "HOME": str(home),
        "PATH": f"{home}/bin:{Path(binary).parent}:/usr/bin:/bin",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": str(COLUMNS),
    }


def run(home, binary, args, answers=()):
    """Runs the program in a terminal; what it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve(binary, ["nolapse", *args], environment(home, binary))
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    said, waiting, until = b"", list(answers), time.monotonic() + 30
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                break
            if not more:
                break
            said += more
        if waiting and waiting[0][0].encode() in said:
            os.write(terminal, waiting.pop(0)[1].encode())
    _, status = os.waitpid(pid, 0)
    return said.decode(), os.waitstatus_to_exitcode(status)


def lines(text):
    """The lines of what a terminal shows; a line that was overwritten counts as it was left."""
    out = []
    for raw in text.replace("\r\n", "\n").split("\n"):
        raw = re.sub(r".*\x1b\[2?K", "", raw.split("\r")[-1] if "\r" in raw else raw)
        raw = re.sub(r"\x1b\[[?0-9;]*[A-LN-Za-ln-z]", "", raw)
        out.append(raw)
    while out and not out[-1].strip():
        out.pop()
    return out


def wrapped(line):
    """A line in pieces of the width of the terminal, escapes not counted."""
    pieces, cells, current = [], 0, ""
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            current += part
            continue
        for c in part:
            if cells == COLUMNS:
                pieces.append(current)
                current, cells = "", 0
            current += c
            cells += 1
    return pieces + [current]


def spans(line):
    out, style = [], ""
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            codes = part[2:-1].split(";")
            if "0" in codes or codes == [""]:
                style = ""
            for code in codes:
                if code in COLOURS:
                    style = f' fill="{COLOURS[code]}"'
                if code == "1":
                    style += ' font-weight="bold"'
        elif part:
            out.append(f"<tspan{style}>{html.escape(part)}</tspan>")
    return "".join(out)


def frame_of(screen):
    rows = [
        f'<text x="16" y="{58 + n * LINE}" xml:space="preserve">{spans(line)}</text>'
        for n, line in enumerate(screen)
        if line
    ]
    return "\n".join(rows)


def animate(steps):
    """An SVG that shows one screen after the other; `steps` are (screen, seconds)."""
    total = sum(seconds for _, seconds in steps)
    height, width = 50 + ROWS * LINE, 32 + COLUMNS * CELL
    frames, begun, styles = [], 0.0, []
    for n, (screen, seconds) in enumerate(steps):
        start, end = 100 * begun / total, 100 * (begun + seconds) / total
        before = f"0%,{start:.2f}%{{visibility:hidden}}" if n else ""
        after = f"{end:.2f}%,100%{{visibility:hidden}}" if n + 1 < len(steps) else ""
        styles.append(
            f"@keyframes f{n}{{{before}{start + 0.01:.2f}%,{end - 0.01:.2f}%{{visibility:visible}}{after}}}"
            f"#f{n}{{animation:f{n} {total:.1f}s step-end infinite}}"
        )
        hidden = "" if n + 1 == len(steps) else ' visibility="hidden"'
        frames.append(f'<g id="f{n}"{hidden}>\n{frame_of(screen)}\n</g>')
        begun += seconds
    # who wants no motion sees the last screen
    still = "@media (prefers-reduced-motion:reduce){g{animation:none!important}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,monospace" font-size="14" fill="#e6edf3">\n'
        "<title>An alert names nolapse login; after signing in everything is green again</title>\n"
        f"<style>{''.join(styles)}{still}</style>\n"
        f'<rect width="100%" height="100%" rx="10" fill="#0d1117"/>\n'
        '<circle cx="20" cy="20" r="6" fill="#f85149"/><circle cx="40" cy="20" r="6" fill="#d29922"/>'
        '<circle cx="60" cy="20" r="6" fill="#3fb950"/>\n' + "\n".join(frames) + "\n</svg>\n"
    )


def terminal(binary, root):
    home = made_up(root)
    screen, steps = [], []

    def show(seconds):
        steps.append(([piece for line in screen for piece in wrapped(line)][-ROWS:], seconds))

    def command(words, answers=(), pause=3.0):
        typed = "\x1b[32m$\x1b[0m nolapse " + " ".join(words) if words else "\x1b[32m$\x1b[0m nolapse"
        screen.append(typed)
        show(0.9)
        said, code = run(home, binary, words, answers)
        for line in lines(said):
            screen.append(line)
        screen.append("")
        show(pause)
        return code

    command(["run"], pause=4.5)
    screen.clear()
    assert command(["login"], [("aste", "CODE-from-the-page#STATE\r")], pause=5.0) == 0, screen
    screen.clear()
    command([], pause=6.0)
    return animate(steps)


def page(binary, root, target):
    subprocess.run([binary, "demo"], check=True, stdout=subprocess.DEVNULL)
    home = made_up(root)
    now = int(time.time() * 1000)
    write(home / ".claude/.credentials.json", json.dumps(login(1, now + 7 * HOUR, now + 24 * 24 * HOUR)))
    write(home / ".claude-team/.credentials.json", json.dumps(login(3, now + 5 * HOUR, now + 125 * HOUR)))
    for agent in ("main", "work", "mail"):
        store(home, agent, 1, now + 7 * HOUR)
    with open(home / ".config/nolapse/config.toml", "a") as file:
        file.write('[[login]]\ndir = "~/.claude-team"\n')
    env = environment(home, binary)
    # a few passes, so that there is a history
    for _ in range(2):
        subprocess.run([binary, "run"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = home / "status.html"
    subprocess.run([binary, "status", "--html", str(made)], env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
         "--window-size=880,760", f"--user-data-dir={root}/browser", f"--screenshot={target}", f"file://{made}"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def main():
    binary, docs = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        (docs / "terminal.svg").write_text(terminal(binary, Path(one)))
        page(binary, Path(other), docs / "page.png")


main()

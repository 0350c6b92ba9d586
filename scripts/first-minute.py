"""What scripts/first-minute does as the new user."""

import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME = Path(os.environ["HOME"])
GOT = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        GOT.append(json.loads(self.rfile.read(int(self.headers["content-length"]))) | {"path": self.path})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def new_home():
    """A login that Claude Code signed out of, and an agent that used it."""
    for name in (".claude", ".clawdbot", ".config", ".local"):
        shutil.rmtree(HOME / name, ignore_errors=True)
    now = int(time.time() * 1000)
    login = HOME / ".claude/.credentials.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"claudeAiOauth": {
        "accessToken": "", "refreshToken": "", "expiresAt": 0, "refreshTokenExpiresAt": now + 20 * 86400 * 1000}}))
    store = HOME / ".clawdbot/agents/main/agent/auth-profiles.json"
    store.parent.mkdir(parents=True)
    store.write_text(json.dumps({"version": 1, "profiles": {"anthropic:claude-cli": {
        "type": "token", "provider": "anthropic", "token": "sk-ant-oat01-example" + "x" * 88, "expires": now - 3600000}}}))
    GOT.clear()


def run(words, answers=()):
    """One command in a terminal; what it said, once every answer was typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    said, at, waiting, until = "", 0, list(answers), time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                break
            if not more:
                break
            said += more.decode(errors="replace")
        if waiting and (found := said.find(waiting[0][0], at)) >= 0:
            at = found + len(waiting[0][0])
            os.write(terminal, (waiting.pop(0)[1] + "\r").encode())
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if waiting:
        sys.exit(f"never asked: {waiting[0][0]}\n{said}")
    return os.waitstatus_to_exitcode(status), said


def journey(name, commands):
    new_home()
    begun, shown = time.monotonic(), []
    for words, answers in commands:
        code, said = run(words, answers)
        shown.append(f"$ {' '.join(words)}\n{said}")
        if words[1] == "setup" and code != 0:
            sys.exit(f"{name}: exit {code}\n{said}")
    took = time.monotonic() - begun
    kinds = [event["kind"] for event in GOT]
    if "test" not in kinds or not any(event["severity"] == "critical" and event["kind"] != "test" for event in GOT):
        sys.exit(f"{name}: the receiver got {kinds}\n" + "\n".join(shown))
    alert = next(event for event in GOT if event["kind"] != "test")
    print(f"{name}: {len(commands)} commands, {took:.1f} s, {len(GOT)} messages received; the alert: {alert['title']}")
    if len(commands) > 2 or took > 60:
        sys.exit(f"{name}: more than 2 commands or 60 s")
    for file in (HOME / ".config/nolapse").iterdir():
        if file.stat().st_mode & 0o077:
            sys.exit(f"{file} can be read by others")
    return "\n".join(shown)


def page():
    """Every command of docs/server.md, in its order."""
    blocks = re.findall(r"```sh\n(.*?)```", (HOME / "server.md").read_text(), re.S)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def as_the_page_says(url):
    """What each of them does, by what the page says of it."""
    answers = [("Number or name", "webhook"), ("URL (not shown):", url), ("Did it arrive?", "y"), ("Add another channel?", "n"),
               ("Install a systemd timer", "y"), ("while you are logged out", "y")]
    config, units = HOME / ".config/nolapse/config.toml", HOME / ".config/systemd/user"
    secret = Path("/run/secrets/slack")
    secret.write_text(url.replace("/hook", "/slack") + "\n")
    secret.chmod(0o600)
    (HOME / "mode").write_text("fine\n")
    (HOME / "token").write_text("sk-ant-oat01-" + "a" * 95 + "\n")

    def got(what):
        return any(what in json.dumps(event) for event in GOT)

    # command: what is typed, what it becomes here, its exit code, what is true after it, whether it is a new home's first
    known = {
        "nolapse setup": (answers, None, 0, lambda said: got("This is a test") and (units / "nolapse.timer").exists()
                          and (HOME / "linger").read_text() == "yes\n", True),
        "nolapse setup --yes --channel ntfy": ([], None, 3, lambda said: not config.exists() and not units.exists(), True),
        "nolapse setup --yes --channel slack,url_file=/run/secrets/slack": (
            [], None, 0, lambda said: got("/slack") and (units / "nolapse.timer").exists(), True),
        "nolapse setup --yes --daemon --channel webhook=https://example.org/hook": (
            [], ("https://example.org/hook", url), 0, lambda said: (units / "nolapse-daemon.service").exists(), True),
        "nolapse": ([], None, 0, lambda said: "alerts go to webhook" in said and "Next" in said, False),
        "nolapse channel test --all": ([], None, 0, lambda said: "delivered" in said, False),
        "nolapse doctor": ([], None, 1, lambda said: "was logged out" in said and "nolapse login" in said, False),
        "ssh -t gateway nolapse login": ([("paste the code", "goodcode#STATE")], None, 0, lambda said: "https://claude.ai/" in said
                                         and "signed in" in said, False),
        "nolapse config set heartbeat.url -": ([("", url)], None, 0, lambda said: url not in config.read_text() and any(
            file.read_text().strip() == url and not file.stat().st_mode & 0o077 for file in config.parent.iterdir()), False),
        "nolapse uninstall": ([], None, 0, lambda said: not (units / "nolapse-daemon.service").exists(), False),
        "loginctl disable-linger": ([], None, 0, lambda said: (HOME / "linger").read_text() == "no\n", False),
    }
    done = 0
    for command in page():
        if command.startswith("cargo install"):
            continue
        if command not in known:
            sys.exit(f"docs/server.md: `{command}` is not known here")
        typed, change, wanted, holds, first = known[command]
        if first:
            shutil.rmtree(units, ignore_errors=True)
            for on in HOME.glob("on-*"):
                on.unlink()
            (HOME / "linger").unlink(missing_ok=True)
            new_home()
        words = [word.replace(*change) if change else word for word in command.split()]
        if "--yes" in words:
            # of a provisioning script: no terminal
            ran = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            code, said = ran.returncode, ran.stdout
        else:
            code, said = run(words, typed)
        if code != wanted or not holds(said):
            sys.exit(f"docs/server.md: `{command}` ended with {code}, or not as the page says:\n{said}")
        done += 1
    print(f"docs/server.md: {done} commands do what it says")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    journey("by flags", [
        (["nolapse", "setup", "--yes", "--no-install", "--channel", f"webhook={url}"], ()),
        (["nolapse", "run"], ()),
    ])
    shown = journey("by answers", [
        (["nolapse", "setup", "--no-install"], [
            ("Number or name", "webhook"),
            ("URL (not shown):", url),
            ("Did it arrive?", "y"),
            ("Add another channel?", "n"),
        ]),
        (["nolapse", "run"], ()),
    ])
    if url in shown:
        sys.exit("the URL was shown")
    as_the_page_says(url)
    if len(sys.argv) > 1:
        print(re.sub(r"\x1b\[[0-9;]*m", "", shown))


main()

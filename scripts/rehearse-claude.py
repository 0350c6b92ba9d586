"""The proxy, the token endpoint and the checks behind scripts/rehearse-claude."""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

binary, prefix, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
seen, exchanges, spent = [], [], set()


def certificates():
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=work, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=rehearsal CA",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=rehearsal")
    names = ["platform.claude.com", "api.anthropic.com", "console.anthropic.com", "claude.ai", "*.anthropic.com", "*.claude.com"]
    (work / "ext").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
                              + "\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "server.pem", "-extfile", "ext")


def head(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = stream.recv(65536)
        if not chunk:
            return None, b""
        data += chunk
    before, _, after = data.partition(b"\r\n\r\n")
    return before.decode(errors="replace"), after


def answer(stream, host, request, body):
    path = request.split(" ")[1]
    seen.append(f"{request.split(' ')[0]} {host}{path.split('?')[0]}")
    status, reply = 404, {"type": "error", "error": {"type": "not_found_error", "message": "rehearsal"}}
    if path == "/v1/oauth/token":
        asked = json.loads(body)
        token = asked["refresh_token"]
        if token in spent or not token.startswith("sk-ant-ort01-"):
            status, reply = 400, {"error": "invalid_grant"}
        else:
            spent.add(token)
            exchanges.append({key: value for key, value in asked.items() if key != "refresh_token"})
            n = len(exchanges)
            status, reply = 200, {
                "token_type": "Bearer", "access_token": f"sk-ant-oat01-REHEARSED-{n}", "refresh_token": f"sk-ant-ort01-REHEARSED-{n}",
                "expires_in": 28800, "scope": "user:inference user:profile",
                "account": {"uuid": "a", "email_address": "a@example.org"}, "organization": {"uuid": "o", "name": "o"}}
    text = json.dumps(reply).encode()
    stream.sendall(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n"
                   "connection: close\r\n\r\n".encode() + text)


def serve(client, context):
    try:
        request, _ = head(client)
        host = request.split(" ")[1].split(":")[0]
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        stream = context.wrap_socket(client, server_side=True)
        request, body = head(stream)
        if request is None:
            return
        length = next((int(line.split(":")[1]) for line in request.split("\r\n") if line.lower().startswith("content-length:")), 0)
        while len(body) < length:
            body += stream.recv(65536)
        answer(stream, host, request, body)
        stream.close()
    except (OSError, AttributeError, ValueError, IndexError) as error:
        seen.append(f"({type(error).__name__})")


def proxy():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "server.pem", work / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], context), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Slow:
    """A token endpoint for nolapse's own exchange: plain http on this host, answers when told to."""

    def __init__(self):
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/token"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        client.recv(65536)
        self.asked.set()
        self.may_answer.wait(60)
        text = json.dumps({"access_token": "sk-ant-oat01-DIRECT", "refresh_token": "sk-ant-ort01-DIRECT", "expires_in": 28800}).encode()
        try:
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                           + f"content-length: {len(text)}\r\n\r\n".encode() + text)
        except OSError:
            pass


def records(url):
    """How the CLI takes the record of a direct renewal: it waits while nolapse lives, and takes over once it has died."""
    checks = {}
    claude = str(prefix / "node_modules/.bin/claude")
    for dies in (False, True):
        home = pathlib.Path(tempfile.mkdtemp(prefix="rehearse-"))
        login, config, slow = home / ".claude/.credentials.json", home / ".config/nolapse/config.toml", Slow()
        expired = int(time.time() * 1000) - 60_000
        for path, text in {
            login: json.dumps({"claudeAiOauth": {
                "accessToken": "sk-ant-oat01-START", "refreshToken": f"sk-ant-ort01-RECORD-{dies}", "expiresAt": expired,
                "refreshTokenExpiresAt": expired + 20 * 86_400_000, "scopes": ["user:inference", "user:profile"]}}),
            config: f'[renew]\nmode = "direct"\nalways = true\ntoken_url = "{slow.url}"\n',
        }.items():
            path.parent.mkdir(parents=True)
            path.write_text(text)
            path.chmod(0o600)
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "HTTPS_PROXY": url, "NODE_EXTRA_CA_CERTS": str(work / "ca.pem")}
        ours = subprocess.Popen([binary, "run"], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        assert slow.asked.wait(20), "nolapse did not post"
        record, before = (home / ".claude/.oauth_refresh.lock.owner").read_text(), len(exchanges)
        if dies:
            ours.kill()
            ours.wait()
        begun = time.time()
        theirs = subprocess.Popen([claude, "-p", "/cost", "--safe-mode", "--no-session-persistence"], env=environment, cwd=home,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not dies:
            # it has found the lock, and tried it once more
            time.sleep(4)
            checks["the CLI waits for a renewal that is on record"] = len(exchanges) == before and theirs.poll() is None
            slow.may_answer.set()
            ours.wait(30)
        theirs.wait(90)
        took, now = time.time() - begun, json.loads(login.read_text())["claudeAiOauth"]["refreshToken"]
        print(f"record {record}; {'nolapse killed' if dies else 'nolapse alive'}: CLI done after {took:.1f} s, {len(exchanges) - before} exchanges by it")
        if dies:
            checks["the CLI takes over from a renewal that died, long before its locks are old"] = len(exchanges) == before + 1 and took < 30
        else:
            checks["and takes what it brought"] = len(exchanges) == before and now == "sk-ant-ort01-DIRECT"
        shutil.rmtree(home, ignore_errors=True)
    return checks


def main():
    certificates()
    url = proxy()
    package = prefix / "node_modules/@anthropic-ai/claude-code"
    print("package", json.loads((package / "package.json").read_text())["version"])
    home = pathlib.Path(tempfile.mkdtemp(prefix="rehearse-"))
    expired = int(time.time() * 1000) - 60_000
    deadline = expired + 20 * 86_400_000
    files = {
        home / ".claude/.credentials.json": {"claudeAiOauth": {
            "accessToken": "sk-ant-oat01-START", "refreshToken": "sk-ant-ort01-START", "expiresAt": expired,
            "refreshTokenExpiresAt": deadline, "scopes": ["user:inference", "user:profile"], "subscriptionType": "max"},
            "mcpOAuth": {"kept": True}},
        home / ".clawdbot/agents/main/agent/auth-profiles.json": {"version": 1, "profiles": {"anthropic:claude-cli": {
            "type": "token", "provider": "anthropic", "token": "sk-ant-oat01-START", "expires": expired}}},
    }
    for path, value in files.items():
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(value))
        path.chmod(0o600)
    environment = {
        "HOME": str(home), "PATH": f"{prefix}/node_modules/.bin:{os.environ['PATH']}", "HTTPS_PROXY": url,
        "NODE_EXTRA_CA_CERTS": str(work / "ca.pem"), "CLAUDE_CODE_OAUTH_TOKEN": "", "CLAUDE_CODE_SIMPLE": "1"}
    begun = time.time()
    ran = subprocess.run([binary, "run", "-v"], env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    print(f"nolapse run: exit {ran.returncode} in {time.time() - begun:.1f} s\n{ran.stdout}{ran.stderr}", end="")
    login, store = (json.loads(path.read_text()) for path in files)
    oauth = login["claudeAiOauth"]
    left = [str(path.relative_to(home)) for path in home.rglob("*lock*") if path.name != "pass.lock" and path.is_dir()]
    checks = {
        "one exchange": len(exchanges) == 1,
        "the login is renewed": oauth["refreshToken"] == "sk-ant-ort01-REHEARSED-1",
        "its deadline is where it was": oauth.get("refreshTokenExpiresAt") == deadline,
        "what stood beside it is kept": login.get("mcpOAuth") == {"kept": True},
        "the agent's copy is current": store["profiles"]["anthropic:claude-cli"]["token"] == "sk-ant-oat01-REHEARSED-1",
        "no lock was left": not left,
        "no model was asked": not any("/v1/messages" in line for line in seen),
    }
    print("requests:", *sorted(set(seen)), sep="\n  ")
    print("posted:", json.dumps(exchanges))
    checks |= records(url)
    for what, held in checks.items():
        print("ok  " if held else "FAIL", what)
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(0 if all(checks.values()) else 1)


main()

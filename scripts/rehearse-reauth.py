"""The other side of scripts/rehearse-reauth: a CONNECT proxy that answers every host itself, with made-up tokens.

A code that begins with `good` is exchanged, any other is refused as the real server does. Every request is noted by host,
method, path and the names of what it carried, never the values.
"""

import http.server
import json
import ssl
import sys

ACCESS = "sk-ant-oat01-REHEARSAL" + "aB3_-" * 17 + "x"
REFRESH = "sk-ant-ort01-REHEARSAL" + "aB3_-" * 17 + "x"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host = ""
    notes = ""

    def log_message(self, *_):
        pass

    def note(self, body):
        names = ",".join(sorted(body)) if isinstance(body, dict) else ""
        path = self.path.split("?")[0]
        with open(self.notes, "a", encoding="utf-8") as out:
            out.write(f"{self.command} {self.host}{path} {names}\n")

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(data)
        except ValueError:
            body = {}
        self.note(body)
        if self.path.split("?")[0] != "/v1/oauth/token":
            return self.answer(200, {})
        if not str(body.get("code", "")).startswith("good"):
            return self.answer(400, {"error": "invalid_grant", "error_description": "Invalid code"})
        life = body.get("expires_in") or 28800
        self.answer(
            200,
            {
                "token_type": "Bearer",
                "access_token": ACCESS,
                "refresh_token": REFRESH,
                "expires_in": life,
                "refresh_token_expires_in": 2592000,
                "scope": "user:inference user:profile user:sessions:claude_code user:mcp_servers user:file_upload",
                "account": {"uuid": "00000000-0000-4000-8000-000000000001", "email_address": "me@example.invalid"},
                "organization": {"uuid": "00000000-0000-4000-8000-000000000002", "name": "rehearsal"},
            },
        )

    def do_GET(self):
        self.note(None)
        if self.path.startswith("/api/oauth/profile"):
            account = {"uuid": "00000000-0000-4000-8000-000000000001", "email": "me@example.invalid", "has_claude_max": True}
            organization = {"uuid": "00000000-0000-4000-8000-000000000002", "organization_type": "claude_max"}
            return self.answer(200, {"account": account, "organization": organization})
        self.answer(200, {})

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        host = self.path.rsplit(":", 1)[0]
        try:
            with self.context.wrap_socket(self.connection, server_side=True) as inner:
                type("Inner", (Answers,), {"host": host})(inner, self.client_address, self.server)
        except OSError as error:
            with open(self.notes, "a", encoding="utf-8") as out:
                out.write(f"TLS {host} {type(error).__name__}\n")
        self.close_connection = True


def main():
    if sys.argv[1:] == ["--token"]:
        print(ACCESS)
        return
    tls, port, notes = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{tls}/leaf.pem", f"{tls}/leaf.key")
    Answers.context = context
    Answers.notes = notes
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    with open(port, "w", encoding="utf-8") as out:
        out.write(str(server.server_address[1]))
    server.serve_forever()


main()

"""The sweep behind scripts/renew-crash-sweep: one temporary home and one loopback token endpoint per point."""

import collections
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BINARY, SHIM = map(os.path.abspath, sys.argv[1:3])
STANDIN = pathlib.Path(__file__).resolve().parent / "standins/claude"
SWEEPS = ["kill-login", "kill-own", "stop-login", "stop-own", "stop-delegate", "stop-claude", "stop-mixed"]
ASKED = os.environ.get("SWEEP", "").split() or ["kill", "stop"]
THREADS = int(os.environ.get("JOBS", "4"))
# what changes a file, makes or removes one, or talks; by the names that exist here
CALLS = [
    "write", "writev", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir",
    "unlink", "unlinkat", "openat", "utimensat", "fallocate", "flock", "link", "linkat", "fchmod", "fchmodat", "sendto", "sendmsg",
    "connect", "recvfrom",
]
FAULTS = {"ENOSPC": ["write", "fsync", "rename", "renameat2", "openat", "mkdir", "fallocate"],
          "EIO": ["write", "fsync", "rename", "renameat2", "openat"],
          "EROFS": ["openat", "rename", "renameat2", "mkdir", "unlink", "write"]}
NUMBERS = {"ENOSPC": 28, "EIO": 5, "EROFS": 30}


class Endpoint:
    """Refresh tokens are single-use; a spent one that is posted again revokes the family."""

    def __init__(self):
        self.live, self.spent, self.made, self.reused = "REFRESH-1", set(), 0, False
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                token = body["refresh_token"]
                if token in endpoint.spent:
                    endpoint.reused = True
                if endpoint.reused or token != endpoint.live:
                    status, answer = 400, {"error": "invalid_grant"}
                else:
                    endpoint.made += 1
                    endpoint.spent.add(token)
                    endpoint.live = f"REFRESH-r{endpoint.made}"
                    status, answer = 200, {"access_token": f"ACCESS-r{endpoint.made}", "refresh_token": endpoint.live,
                                           "expires_in": 28800}
                text = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


class Home:
    def __init__(self, url, own, mode="direct"):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="renew-sweep-"))
        self.own = own
        expired = int(time.time() * 1000) - 60_000
        self.state = self.path / ".local/state/nolapse"
        for other in ("direct", "delegate"):
            self.write(self.config(other), f'[renew]\nmode = "{other}"\ntoken_url = "{url}"\ntimeout = "5s"\npatience = "2s"\n')
        self.mode = mode
        self.install_claude(url)
        self.store = self.path / ".clawdbot/agents/main/agent/auth-profiles.json"
        if own:
            self.login = self.store
            self.write(self.store, json.dumps({"version": 1, "profiles": {"anthropic:work": {
                "type": "oauth", "provider": "anthropic", "access": "ACCESS-1", "refresh": "REFRESH-1",
                "expires": expired}, "openai:key": {"type": "api_key", "provider": "openai", "key": "kept"}}}, indent=2) + "\n")
            return
        self.login = self.path / ".claude/.credentials.json"
        self.write(self.login, json.dumps({"claudeAiOauth": {
            "accessToken": "ACCESS-1", "refreshToken": "REFRESH-1", "expiresAt": expired,
            "refreshTokenExpiresAt": expired + 20 * 86_400_000, "scopes": ["user:inference"]}, "mcpOAuth": {"kept": 1}},
            separators=(",", ":")))
        self.write(self.store, json.dumps({"version": 1, "profiles": {"anthropic:claude-cli": {
            "type": "token", "provider": "anthropic", "token": "ACCESS-1", "expires": expired}}}, indent=2) + "\n")

    def config(self, mode):
        return self.path / f".config/nolapse/{mode}.toml"

    def install_claude(self, url):
        """As npm does: a link to the package's own program."""
        package = self.path / "lib/node_modules/@anthropic-ai/claude-code"
        self.write(package / "package.json", json.dumps({"name": "@anthropic-ai/claude-code", "version": "2.1.330"}))
        self.write(self.path / "token-url", url)
        shutil.copy(STANDIN, package / "claude")
        link = self.path / ".local/bin/claude"
        link.parent.mkdir(parents=True)
        link.symlink_to(package / "claude")

    @staticmethod
    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

    def start(self, inject=None, trace=None, calls=CALLS, state=None, log=None, mode=None):
        """`inject` is strace's, or `disk:` and the fault of scripts/disk.c; programs that are started are not traced."""
        command = [BINARY, "--config", str(self.config(mode or self.mode)), *(["--state-dir", str(state)] if state else []), "run"]
        environment = {"HOME": str(self.path), "PATH": "/usr/bin:/bin"}
        if inject and inject.startswith("disk:"):
            environment |= {"LD_PRELOAD": SHIM, "DISK_FAULT": inject.removeprefix("disk:")}
        elif inject or trace:
            inject, _, only = (inject or "").partition("@")
            traced = ",".join(calls) if trace else inject.split(":")[0]
            options = ["-e", f"trace={traced}"]
            if inject:
                options += ["-e", f"inject={inject}"]
            if only:
                options += ["-P", str(self.path / only)]
            command = ["strace", "-f", "-b", "execve", "-qq", "-o", str(trace or log or "/dev/null"), *options, *command]
        return subprocess.Popen(command, env=environment, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def run(self, *args, **kwargs):
        started = self.start(*args, **kwargs)
        try:
            return started.wait(timeout=120)
        except subprocess.TimeoutExpired:
            started.kill()
            raise

    def age_locks(self):
        """A minute later: what a killed process held is stale by then."""
        for lock in [self.path / ".claude/.oauth_refresh.lock", self.path / ".claude.lock",
                     self.path / ".claude/.storage-write.lock", pathlib.Path(str(self.store) + ".lock")]:
            try:
                if lock.is_dir():
                    os.utime(lock, (time.time() - 120,) * 2)
            except OSError:
                pass

    def settle_backoff(self, state=None):
        """Later still: a back-off has passed."""
        ledger = (state or self.state) / "ledger.json"
        try:
            data = json.loads(ledger.read_text())
        except (OSError, ValueError):
            return
        for record in data.get("renewals", {}).values():
            record["next_at"] = 0
        ledger.write_text(json.dumps(data))

    def claude_runs(self, starter=None):
        """Whether a `claude` of this home is at work, or this process is about to start one."""
        if starter:
            children = pathlib.Path(f"/proc/{starter}/task/{starter}/children").read_text().split()
            # one that is stopped before it is a program has not begun, and a zombie has ended
            if any(state(child) not in "TtZX" for child in children):
                return True
        return bool(list(self.path.glob("running-*")))

    def refresh(self):
        try:
            data = json.loads(self.login.read_text())
            return data["profiles"]["anthropic:work"]["refresh"] if self.own else data["claudeAiOauth"]["refreshToken"]
        except (OSError, ValueError, KeyError):
            return None

    def whole(self):
        """Whether what stood beside the tokens is still there."""
        try:
            data = json.loads(self.login.read_text())
            return data["profiles"]["openai:key"]["key"] == "kept" if self.own else data["mcpOAuth"] == {"kept": 1}
        except (OSError, ValueError, KeyError):
            return False

    def rescued(self, state=None):
        rescue = (state or self.state) / "rescue"
        return "".join(p.read_text(errors="replace") for p in rescue.iterdir()) if rescue.is_dir() else ""

    def alerted(self, state=None):
        try:
            alerts = json.loads(((state or self.state) / "ledger.json").read_text())["alerts"]
        except (OSError, ValueError, KeyError):
            return set()
        return {alert["last"]["kind"] for alert in alerts.values()}


def point(inject, own):
    """One fault, then two ordinary passes. Returns (verdict, the state it was left in)."""
    endpoint = Endpoint()
    home = Home(endpoint.url, own)
    try:
        home.run(inject)
        made_by_first = endpoint.made
        # the answer had come so far that it lay somewhere on disk
        reached = made_by_first and endpoint.live in home.login.read_text(errors="replace") + home.rescued()
        rescued = reached and home.refresh() != endpoint.live
        for _ in range(2):
            home.age_locks()
            home.settle_backoff()
            home.run()
        if endpoint.reused:
            return "replayed", inject
        if not home.whole():
            return "emptied", inject
        if not endpoint.made:
            return ("never sent, alerted" if "unknown_outcome" in home.alerted() else "silent"), inject
        if home.refresh() == endpoint.live:
            if f"ACCESS-r{endpoint.made}" not in home.store.read_text():
                return "store behind", inject
            if rescued:
                return "completed from `rescue/`", inject
            return ("renewed, saved" if made_by_first else "renewed by the next pass"), inject
        if reached:
            return "lost", inject
        return ("answer lost with the process, alerted" if "unknown_outcome" in home.alerted() else "silent"), inject
    finally:
        endpoint.close()
        shutil.rmtree(home.path, ignore_errors=True)


def sweep(own):
    endpoint = Endpoint()
    home = Home(endpoint.url, own)
    trace = home.path / "trace"
    home.run(trace=trace)
    assert endpoint.made == 1 and home.refresh() == endpoint.live, "the undisturbed run did not renew"
    counts = collections.Counter()
    for line in trace.read_text(errors="replace").splitlines():
        called = re.match(r"\d+\s+(\w+)\(", line)
        if called:
            counts[called[1]] += 1
    place, temp = home.login.relative_to(home.path), f".{home.login.name}."
    endpoint.close()
    shutil.rmtree(home.path)
    jobs = [("SIGKILL", call, f"{call}:signal=SIGKILL:when={n}") for call in CALLS for n in range(1, counts[call] + 2)
            if counts[call]]
    for fault, calls in FAULTS.items():
        jobs += [(fault, call, f"{call}:error={fault}:when={n}") for call in calls for n in range(1, counts[call] + 1)]
    # the file's own directory gives out for good once the temp file is open, and the state directory does not
    jobs += [(f"{fault}, lasting, in its place alone", call, f"disk:{call}:{NUMBERS[fault]}:{temp}")
             for fault in FAULTS for call in ("write", "fsync")]
    jobs += [(f"{fault}, lasting, in its place alone", "renameat2", f"renameat2:error={fault}:when=1+@{place}") for fault in FAULTS]
    found = collections.defaultdict(collections.Counter)
    bad = []
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for (fault, call, _), (verdict, inject) in zip(jobs, pool.map(lambda job: point(job[2], own), jobs)):
            found[fault, call][verdict] += 1
            if verdict in ("lost", "replayed", "emptied", "silent", "store behind"):
                bad.append((verdict, inject))
    columns = ["renewed, saved", "renewed by the next pass", "completed from `rescue/`", "never sent, alerted",
               "answer lost with the process, alerted"]
    what = "A grant that a store owns alone" if own else "A login"
    print(f"{what}:\n\n| fault | at | points | {' | '.join(columns)} | lost, replayed or silent |")
    print("|" + " --- |" * (len(columns) + 4))
    total = collections.Counter()
    for (fault, call), verdicts in found.items():
        counted = [verdicts[column] for column in columns]
        rest = sum(verdicts.values()) - sum(counted)
        total.update({"points": sum(verdicts.values()), "rest": rest, **verdicts})
        print(f"| {fault} | `{call}` | {sum(verdicts.values())} | {' | '.join(map(str, counted))} | {rest} |")
    print(f"| all | | {total['points']} | {' | '.join(str(total[column]) for column in columns)} | {total['rest']} |\n")
    for verdict, inject in bad[:40]:
        print(f"{verdict}: {inject}", file=sys.stderr)
    return total["points"], bool(bad)


def called(trace):
    """The calls of an undisturbed renewal: thread, name, and the line."""
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+)\s+(\w+)\(", line)
        if found:
            yield *found.groups(), line


def held_calls(own):
    """What an undisturbed renewal calls while it holds its first lock: the name, and the how manieth of its thread. All from its
    temp file on; of what it only looks at before that, every twentieth."""
    endpoint = Endpoint()
    home = Home(endpoint.url, own)
    trace = home.path / "trace"
    home.run(trace=trace, calls=["all"])
    lock = f"{home.store}.lock" if own else ".oauth_refresh.lock"
    counts, held, staged, found = collections.Counter(), False, False, []
    for thread, call, line in called(trace):
        counts[thread, call] += 1
        held = held or call.startswith("mkdir") and f'{lock}"' in line
        staged = staged or held and ".nolapse-tmp" in line
        if staged or held and counts[thread, call] % 20 == 0:
            found.append((call, counts[thread, call]))
        if held and call == "rmdir" and f'{lock}"' in line:
            break
    endpoint.close()
    shutil.rmtree(home.path)
    return found


def delegated_calls():
    """The same of a delegated renewal. All from its last look at the login's lock before it starts `claude` until it has read what
    that left, and all that change something after that; of the others every twentieth."""
    endpoint = Endpoint()
    home = Home(endpoint.url, False, "delegate")
    trace = home.path / "trace"
    home.run(trace=trace, calls=["all"])
    assert endpoint.made == 1 and home.refresh() == endpoint.live, "the undisturbed run did not renew"
    lines = list(called(trace))
    endpoint.close()
    shutil.rmtree(home.path)
    begun = next(i for i, (_, call, line) in enumerate(lines) if call == "execve" and i)
    first = max(i for i, (_, _, line) in enumerate(lines[:begun]) if '.oauth_refresh.lock"' in line)
    last = next(i for i, (_, _, line) in enumerate(lines) if i > begun and '.credentials.json"' in line)
    counts, found = collections.Counter(), []
    for i, (thread, call, _) in enumerate(lines):
        counts[thread, call] += 1
        near = first <= i <= last and call != "rt_sigaction"
        if near or i > last and call in CALLS and call != "openat" or counts[thread, call] % 20 == 0:
            found.append((call, counts[thread, call]))
    return found


def stopped(log):
    """The processes that stopped so far: the one that strace runs, or what is to become a program that it starts."""
    said = log.read_text(errors="replace") if log.exists() else ""
    return [int(pid) for pid in re.findall(r"^(\d+)\s+--- stopped by SIGSTOP", said, re.M)]


def go_on(started, log):
    """Continues what is stopped, until all of it has ended."""
    until = time.monotonic() + 120
    while started.poll() is None:
        assert time.monotonic() < until, "it does not end"
        for pid in stopped(log):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def wait_until(done):
    until = time.monotonic() + 120
    while not done():
        assert time.monotonic() < until, "nothing comes of it"
        time.sleep(0.02)


def judged(home, endpoint, other, before, between):
    """What became of a login that one renewal was stopped at, with a second one meanwhile, once all have gone on."""
    if endpoint.reused:
        return "replayed"
    if not home.whole():
        return "emptied"
    if home.refresh() != endpoint.live:
        kept = endpoint.live in home.rescued() + home.rescued(other)
        said = home.alerted() | home.alerted(other)
        return "kept in `rescue/`, alerted" if kept and said else "lost"
    if f"ACCESS-r{endpoint.made}" not in home.store.read_text():
        return "store behind"
    return "renewed by the second" if not before and between else "renewed by the first"


def stop_point(inject, own, modes):
    """One renewal that is stopped, one from another state directory meanwhile, and then both go on."""
    endpoint = Endpoint()
    home = Home(endpoint.url, own, modes[0])
    other = home.path / "other-state"
    try:
        log = home.path / "log"
        first = home.start(inject, log=log)
        wait_until(lambda: stopped(log) or first.poll() is not None)
        if not stopped(log):
            return "ran through"
        # a `claude` that is not stopped keeps its locks young until it ends
        wait_until(lambda: not home.claude_runs(stopped(log)[0]))
        before = endpoint.made
        home.age_locks()
        home.run(state=other, mode=modes[1])
        between = endpoint.made
        go_on(first, log)
        return settled(home, endpoint, other, modes, before, between)
    finally:
        endpoint.close()
        shutil.rmtree(home.path, ignore_errors=True)


def settled(home, endpoint, other, modes, before, between):
    for state, mode in ((None, modes[0]), (other, modes[1]), (None, modes[0])):
        wait_until(lambda: not home.claude_runs())
        home.age_locks()
        home.settle_backoff(state or home.state)
        home.run(state=state, mode=mode)
    wait_until(lambda: not home.claude_runs())
    return judged(home, endpoint, other, before, between)


def claude_point(step, modes):
    """A renewal whose `claude` stops after this step of its own, and is given up on; a second one; and then it goes on."""
    endpoint = Endpoint()
    home = Home(endpoint.url, False, modes[0])
    other = home.path / "other-state"
    try:
        home.write(home.path / f"stop-at-{step}", "")
        first = home.start()
        note = home.path / "stopped"
        told = lambda: note.exists() and note.read_text()
        wait_until(lambda: told() or first.poll() is not None)
        if not told():
            return "ran through"
        pid = int(note.read_text())
        first.wait(timeout=120)
        before = endpoint.made
        home.age_locks()
        home.run(state=other, mode=modes[1])
        between = endpoint.made
        os.kill(pid, signal.SIGCONT)
        return settled(home, endpoint, other, modes, before, between)
    finally:
        endpoint.close()
        shutil.rmtree(home.path, ignore_errors=True)


STOPPED = ["renewed by the first", "renewed by the second", "kept in `rescue/`, alerted", "ran through", "store behind", "lost",
           "replayed", "emptied"]
BAD = {"store behind", "lost", "replayed", "emptied"}


def stop_table(what, where, jobs, run):
    """Runs `run` on each job, a place and what stops there, and prints what came of it by place."""
    found, bad = collections.defaultdict(collections.Counter), []
    with concurrent.futures.ThreadPoolExecutor(THREADS * 4) as pool:
        for (place, job), verdict in zip(jobs, pool.map(lambda job: run(job[1]), jobs)):
            found[place][verdict] += 1
            if verdict in BAD:
                bad.append((verdict, job))
    print(f"{what}:\n\n| {where} | points | {' | '.join(STOPPED)} |")
    print("|" + " --- |" * (len(STOPPED) + 2))
    total = collections.Counter()
    for place, verdicts in found.items():
        total.update(verdicts)
        print(f"| {place} | {sum(verdicts.values())} | {' | '.join(str(verdicts[column]) for column in STOPPED)} |")
    print(f"| all | {sum(total.values())} | {' | '.join(str(total[column]) for column in STOPPED)} |\n", flush=True)
    for verdict, job in bad[:40]:
        print(f"{verdict}: {job}", file=sys.stderr)
    return sum(total.values()), bool(bad)


def stop_sweep(what, calls, own, modes):
    # what a thread waits in may be called more or less often
    calls = sorted({(call, n) for call, n in calls if call not in ("futex", "epoll_wait", "epoll_pwait", "exit_group", "execve")})
    jobs = [(f"`{call}`", f"{call}:signal=SIGSTOP:when={n}") for call, n in calls]
    return stop_table(what, "stopped after", jobs, lambda inject: stop_point(inject, own, modes))


def stop_delegate():
    calls = delegated_calls()
    return [stop_sweep(f"A delegated renewal, a {second} one beside it", calls, False, ("delegate", mode))
            for second, mode in (("delegated", "delegate"), ("direct", "direct"))]


def stop_claude():
    steps = re.findall(r'did\("([a-z-]+)"\)', STANDIN.read_text())
    return [stop_table(f"A `claude` that was started for it, a {second} renewal beside it", "stopped after its step",
                       [(step, step) for step in steps], lambda step, mode=mode: claude_point(step, ("delegate", mode)))
            for second, mode in (("delegated", "delegate"), ("direct", "direct"))]


def main():
    unknown = [asked for asked in ASKED if not any(name.startswith(asked) for name in SWEEPS)]
    if unknown:
        sys.exit(f"SWEEP: no {unknown[0]}; there are {' '.join(SWEEPS)}")
    begun = time.time()
    results = []
    for sweep_name in (name for name in SWEEPS if any(name.startswith(asked) for asked in ASKED)):
        results += {
            "kill-login": lambda: [sweep(False)],
            "kill-own": lambda: [sweep(True)],
            "stop-login": lambda: [stop_sweep("A login", held_calls(False), False, ("direct", "direct"))],
            "stop-own": lambda: [stop_sweep("A grant that a store owns alone", held_calls(True), True, ("direct", "direct"))],
            "stop-delegate": stop_delegate,
            "stop-claude": stop_claude,
            "stop-mixed": lambda: [stop_sweep("A direct renewal, a delegated one beside it", held_calls(False), False, ("direct", "delegate"))],
        }[sweep_name]()
    print(f"{sum(points for points, _ in results)} points in {time.time() - begun:.0f} s", file=sys.stderr)
    sys.exit(1 if any(bad for _, bad in results) else 0)


main()

"""See check-root."""
import json, os, shutil, signal, subprocess, sys, tempfile, time

BIN, SWAPS, COMMANDS = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
ADA, BOB = 4242, 4244
STATE = ".local/state/nolapse"
NAMES = [STATE + "/" + name for name in (
    "pass.lock", "ledger.json", "fences.json", "history.jsonl", "history.1.jsonl", "passes.json", "install.json", "rescue",
    ".ledger.json.nolapse-tmp", ".fences.json.nolapse-tmp", ".passes.json.nolapse-tmp")] + [
    "nolapse.prom", ".nolapse.prom.nolapse-tmp", "page.html", ".page.html.nolapse-tmp",
    ".claude/.credentials.json", ".claude/.credentials.json.lock", ".clawdbot/agents/main/agent/auth-profiles.json",
    ".clawdbot/agents/main/agent/auth-profiles.json.lock", ".config/nolapse/config.toml"]
CONFIG = '[renew]\nmode = "off"\n[[channel]]\ntype = "log"\nmin_severity = "info"\n[metrics]\ntextfile = "~/nolapse.prom"\n'


def make():
    """A home of Ada's, and beside it what is not hers."""
    # a binary that Ada may run wherever it was built
    top = tempfile.mkdtemp()
    os.chmod(top, 0o755)
    home, out = top + "/home", top + "/out"
    os.mkdir(home)
    os.mkdir(out)
    os.chmod(out, 0o777)
    ms = int(time.time() * 1000)
    write(home + "/.claude/.credentials.json", json.dumps({"claudeAiOauth": {
        "accessToken": "sk-ant-oat01-ADAS", "refreshToken": "sk-ant-ort01-ADAS", "expiresAt": ms + 8 * 3600000,
        "refreshTokenExpiresAt": ms + 20 * 86400000, "scopes": ["user:inference"], "subscriptionType": "max"}}))
    write(home + "/.clawdbot/agents/main/agent/auth-profiles.json", json.dumps({"version": 1, "profiles": {
        "anthropic:claude-cli": {"type": "token", "provider": "anthropic", "token": "sk-ant-oat01-OLD", "expires": ms - 1}}}))
    write(home + "/.config/nolapse/config.toml", CONFIG)
    for name, uid in (("roots", 0), ("bobs", BOB)):
        write(f"{out}/{name}", json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-oat01-THEIRS"}, "profiles": {}}))
        os.chown(f"{out}/{name}", uid, uid)
    os.chmod(out + "/bobs", 0o666)
    os.chmod(out, 0o755)
    subprocess.run(["chown", "-hR", f"{ADA}:{ADA}", home], check=True)
    return top, home, out


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o600)


def outside(out):
    """Everything that is not Ada's, as it is."""
    def one(name):
        meta = os.lstat(f"{out}/{name}")
        with open(f"{out}/{name}", "rb") as file:
            return name, file.read(), meta.st_uid, meta.st_gid, meta.st_mode, meta.st_mtime_ns
    return sorted(one(name) for name in os.listdir(out))


def run(home, *args):
    env = {"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run([BIN, *args], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def links():
    tried = 0
    for name in NAMES:
        for target in ("roots", "bobs", "nothing"):
            top, home, out = make()
            link = home + "/" + name
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if os.path.lexists(link):
                os.remove(link)
            os.symlink(out + "/" + target, link)
            subprocess.run(["chown", "-hR", f"{ADA}:{ADA}", home], check=True)
            before = outside(out)
            for args in (["run"], ["status", "--html", home + "/page.html"], ["history"], ["doctor", "--fix"]):
                done = run(home, *args)
                assert 0 <= done.returncode <= 3, (name, target, args, done)
                assert b"THEIRS" not in done.stdout + done.stderr, (name, target, args)
            assert outside(out) == before, (name, target)
            own(home)
            tried += 1
            shutil.rmtree(top)
    return tried


def own(home):
    """Nothing in the home is anybody's but Ada's, and nothing of theirs came into it."""
    for top, dirs, files in os.walk(home):
        for name in dirs + files:
            path = os.path.join(top, name)
            try:
                meta = os.lstat(path)
            except FileNotFoundError:
                continue
            assert meta.st_uid == ADA, (path, meta.st_uid)
            if not os.path.islink(path) and os.path.isfile(path):
                with open(path, "rb") as file:
                    assert b"THEIRS" not in file.read(), path


def swapper(home, out, counted):
    """As Ada: each name is a file, then a link, in turn, until it is ended; how often is said in `counted`."""
    os.setgroups([])
    os.setgid(ADA)
    os.setuid(ADA)
    done = 0
    while True:
        for name in NAMES:
            path = home + "/" + name
            for target in ("roots", "bobs", "nothing"):
                try:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.symlink(out + "/" + target, path + ".swap")
                    if os.path.exists(path) and not os.path.islink(path):
                        os.rename(path, path + ".kept")
                    os.rename(path + ".swap", path)
                    done += 1
                    if os.path.lexists(path + ".kept"):
                        os.rename(path + ".kept", path)
                    else:
                        os.remove(path)
                    done += 1
                except OSError:
                    try:
                        os.remove(path + ".swap")
                    except OSError:
                        pass
        os.pwrite(counted, b"%d" % done, 0)


def race():
    top, home, out = make()
    before = outside(out)
    counted = os.memfd_create("swaps")
    pid = os.fork()
    if pid == 0:
        try:
            swapper(home, out, counted)
        finally:
            os._exit(1)
    given = (["run"], ["status", "--html", home + "/page.html"], ["sync"], ["check"], ["history"], ["doctor", "--fix"],
             ["alert", "silence", "--all", "--for", "1h"], ["metrics"])
    commands = swaps = 0
    try:
        while commands < COMMANDS or swaps < SWAPS:
            args = given[commands % len(given)]
            done = run(home, *args)
            assert 0 <= done.returncode <= 3, (args, done)
            assert b"THEIRS" not in done.stdout + done.stderr, args
            assert outside(out) == before, f"something outside the home was changed by {args}"
            commands += 1
            swaps = int(os.pread(counted, 20, 0) or 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert outside(out) == before
    own(home)
    shutil.rmtree(top)
    return swaps, commands


tried = links()
print(f"links: {tried} tried, 0 followed")
swaps, commands = race()
print(f"race: {swaps} swaps under {commands} commands, nothing outside the home made, changed or given away")

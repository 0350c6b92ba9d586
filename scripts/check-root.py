"""See check-root."""
import json, os, shutil, signal, subprocess, sys, tempfile, time

BIN, SWAPS = os.path.abspath(sys.argv[1]), int(sys.argv[2])
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


def swapper(home, out, swaps):
    """As Ada: each name is a file, then a link, in turn, as fast as it goes."""
    os.setgroups([])
    os.setgid(ADA)
    os.setuid(ADA)
    done = 0
    while done < swaps:
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
                    for rest in (path + ".swap",):
                        try:
                            os.remove(rest)
                        except OSError:
                            pass
    return done


def race():
    top, home, out = make()
    before = outside(out)
    pid = os.fork()
    if pid == 0:
        try:
            swapper(home, out, SWAPS)
        finally:
            os._exit(0)
    passes = 0
    try:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            for args in (["run"], ["status", "--html", home + "/page.html"], ["--config", home + "/.config/nolapse/config.toml", "sync"]):
                done = run(home, *args)
                assert 0 <= done.returncode <= 3, (args, done)
                assert b"THEIRS" not in done.stdout + done.stderr
                passes += 1
            assert outside(out) == before, "something outside the home was changed"
            time.sleep(0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    assert outside(out) == before
    own(home)
    shutil.rmtree(top)
    return passes


tried = links()
print(f"links: {tried} tried, 0 followed")
passes = race()
print(f"race: {SWAPS} swaps under {passes} commands, nothing outside the home made, changed or given away")

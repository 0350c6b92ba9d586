# see check-openclaw-view: VERSION, the directory with `openclaw` and `node`, nolapse
import hashlib, json, os, shutil, signal, subprocess, sys, tempfile, time

version, programs, nolapse = sys.argv[1:]
august = [int(part) for part in version.split(".")] >= [2026, 8]
top = os.path.dirname(os.path.abspath(__file__))
work = tempfile.mkdtemp()
home = os.path.join(work, "home")
env = {"HOME": home, "PATH": f"{programs}:/usr/bin:/bin", "NO_COLOR": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
OPUS = "anthropic/claude-opus-5"
DAY = 86400_000


def run(*args, stdin="", fine=(0,)):
    begun = time.monotonic()
    ran = subprocess.run(args, env=env, cwd=home, input=stdin, capture_output=True, text=True, timeout=180)
    if os.environ.get("VIEW_KEEP"):
        print(f"{time.monotonic() - begun:5.1f} s", *args[-9:], file=sys.stderr, flush=True)
    if ran.returncode not in fine:
        sys.exit(f"{' '.join(args)}: exit {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.stdout


def openclaw(*args, **more):
    return run("node", f"{programs}/openclaw", *args, **more)


def token(name):
    return "sk-ant-oat01-" + hashlib.sha512(name.encode()).hexdigest()[:95]


def write(path, text):
    path = os.path.join(home, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def paste(agent, profile, life, what="paste-token", secret=None):
    at = ["--agent", agent]
    args = [what, "--provider", profile.split(":")[0], "--profile-id", profile]
    args += ["--expires-in", life] if life else []
    args = args + at if august else at + args
    openclaw("models", "auth", *args, stdin=(secret or token(agent + profile)) + "\n")


def refer(agent, profile, source, pointer, provider):
    plan = {
        "version": 1, "protocolVersion": 1, "providerUpserts": {source: provider},
        "targets": [{
            "type": "auth-profiles.token.token", "path": f"profiles.{profile}.token", "pathSegments": ["profiles", profile, "token"],
            "agentId": agent, "authProfileProvider": "anthropic", "ref": {"source": "file", "provider": source, "id": pointer}}],
    }
    openclaw("secrets", "apply", "--from", write("plan.json", json.dumps(plan)))


# of providers that all versions have in their package: others are fetched at the first use
agents = {
    "main": {},
    "work": {},  # a token of its own in the place of the shared one, and an order
    "cool": {},  # refused for its bill, and disabled for hours
    "refs": {},
    "cli": {"models": {OPUS: {"agentRuntime": {"id": "claude-cli"}}}},
    "keys": {"model": "xai/grok-4"},  # a key in `.env`
    "bare": {"model": "google/gemini-3.1-pro-preview"},  # nothing
}
config = {
    "agents": {"defaults": {"model": OPUS}},
    "gateway": {"mode": "local", "port": 18915, "auth": {"mode": "token", "token": "view"}},
    "models": {"providers": {"anthropic": {"baseUrl": "http://127.0.0.1:18916", "models": []}}},
    "meta": {"lastTouchedVersion": version},
}
if august:
    config["agents"] |= {"ownership": "explicit", "entries": agents}
else:
    config["agents"]["list"] = [{"id": id, **entry, **({"default": True} if id == "main" else {})} for id, entry in agents.items()]
write(".openclaw/openclaw.json", json.dumps(config))
write(".openclaw/.env", "XAI_API_KEY=xai-0123456789abcdef0123456789abcdef0123456789abcdef\n")
write("one-value", token("one-value") + "\n")
grant = {"accessToken": token("login"), "refreshToken": "sk-ant-ort01-login", "expiresAt": int(time.time() * 1000) + 5 * 3600_000, "scopes": ["user:inference"]}
write(".claude/.credentials.json", json.dumps({"claudeAiOauth": grant}))

refused = write("refused", token("coolanthropic:cool")[-12:] + " billing\n")
api = subprocess.Popen([sys.executable, f"{top}/standins/anthropic-api", "18916", os.path.join(work, "log"), refused])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
try:
    paste("main", "anthropic:year", "8760h")
    paste("main", "anthropic:soon", "10h")
    paste("main", "anthropic:gone", "1s")
    paste("main", "anthropic:endless", None)
    paste("main", "anthropic:claude-cli", "8760h")
    paste("work", "anthropic:year", "5h")
    paste("work", "together:manual", None, "paste-api-key", "tgp_v1_0123456789abcdef0123456789abcdef0123456789abcdef")
    openclaw("models", "auth", "order", "set", "--provider", "anthropic", "--agent", "work", "anthropic:soon", "anthropic:year")
    paste("cool", "anthropic:cool", "8760h")
    openclaw("models", "auth", "order", "set", "--provider", "anthropic", "--agent", "cool", "anthropic:cool")
    openclaw("agent", "--local", "--agent", "cool", "--message", "ping", "--json", fine=(0, 1))
    refer("refs", "anthropic:value", "value", "value", {"source": "file", "path": os.path.join(home, "one-value"), "mode": "singleValue"})
    if august:
        refer("refs", "anthropic:login", "login", "/claudeAiOauth/accessToken",
              {"source": "file", "path": os.path.join(home, ".claude/.credentials.json"), "mode": "json"})

    theirs = {agent: json.loads((text := openclaw("models", "status", "--json", "--agent", agent))[text.index("{"):]) for agent in agents}
    status = json.loads(run(nolapse, "status", "--json", fine=(0, 1, 2)))
finally:
    api.kill()

ours = {agent["agent"]: agent for agent in status["agents"]}
if os.environ.get("VIEW_KEEP"):
    for name, value in [("theirs", theirs), ("ours", ours)]:
        json.dump(value, open(os.path.join(os.environ["VIEW_KEEP"], f"{version}.{name}.json"), "w"), indent=1)
shutil.rmtree(work, ignore_errors=True)


def differences():
    """Agent, what, theirs, ours."""
    for agent, one in theirs.items():
        auth, mine = one["auth"], ours.get(agent, {"profiles": [], "providers": [], "store": {"path": None}})
        held = {profile["id"]: profile for profile in mine["profiles"]}
        listed = {profile["profileId"]: profile for profile in auth["oauth"]["profiles"]}
        for id in sorted(held.keys() | listed.keys()):
            if id not in held or id not in listed:
                yield agent, f"{id} is listed", id in listed, id in held
                continue
            for what, left, right in [
                ("type", listed[id]["type"], held[id]["type"]),
                ("status", listed[id]["status"], held[id]["clock"]),
                ("health", listed[id]["status"], held[id]["health"]),
                ("end", listed[id].get("expiresAt"), held[id]["expires_at"]),
            ]:
                if left != right:
                    yield agent, f"{id} {what}", left, right
        uses = {provider["provider"]: provider for provider in mine["providers"]}
        effective = {}
        for provider in auth["providers"]:
            if provider["effective"]["kind"] == "env":
                effective[provider["provider"]] = "env"
        for provider in auth["oauth"]["providers"]:
            first = (provider.get("effectiveProfiles") or [None])[0]
            effective[provider["provider"]] = first["profileId"] if first else effective.get(provider["provider"])
        for provider in sorted(effective.keys() | uses.keys()):
            left, right = effective.get(provider), uses.get(provider, {}).get("uses")
            # one names the variable, the other does not
            right = "env" if (right or "").startswith(("env:", "dotenv:")) else right
            if left != right:
                yield agent, f"{provider} uses", left, right if provider in uses else "not in use"
        missing = sorted(auth["missingProvidersInUse"])
        lacks = sorted(name for name, one in uses.items() if one["in_use"] and one["uses"] is None)
        if missing != lacks:
            yield agent, "nothing for a provider in use", missing, lacks
        unusable = {one["profileId"]: one.get("until") for one in auth["unusableProfiles"]}
        held_back = {one["profile"]: None for provider in mine["providers"] for one in provider["passed_over"] if one["why"] == "held_back"}
        if unusable.keys() != held_back.keys():
            yield agent, "held back", unusable, held_back
        if one["auth"]["storePath"] != mine["store"]["path"]:
            yield agent, "store", one["auth"]["storePath"].replace(home, "~"), (mine["store"]["path"] or "").replace(home, "~")


# what docs/openclaw.md lists, by a word that begins its row there
def known(agent, what, left, right):
    subject, _, what = what.rpartition(" ")
    issues = theirs[agent]["auth"].get("modelRouteIssues", [])
    if what == "end" and left is None and held_status(agent, subject) == "expired":
        return "end"
    if right == "not in use":
        return "in use"
    if subject == "claude-cli" or subject.startswith("claude-cli is"):
        return "runtime"
    if subject == "anthropic:claude-cli" and what == "health" and right == "missing" and august:
        return "retired"
    if what in ("health", "status") and subject in ("anthropic:value", "anthropic:login") and left in ("static", "indeterminate"):
        return "reference"
    if what == "uses" and right is None and any(one["profileId"] == left for one in theirs[agent]["auth"]["unusableProfiles"]):
        return "held back"
    if what == "store" and not own(agent):
        return "place"
    unusable = {one["provider"] for one in theirs[agent]["auth"]["unusableProfiles"]}
    if what == "use" and left == [] and not august and unusable.issuperset(right):
        return "held back"
    if what == "use" and left == [] and all(any(one["provider"] == name and one["kind"] == "indeterminate" for one in issues) for name in right):
        return "indeterminate"
    return None


def held_status(agent, id):
    return next((one["status"] for one in theirs[agent]["auth"]["oauth"]["profiles"] if one["profileId"] == id), None)


def own(agent):
    return agent in ("main", "work", "cool", "refs")


rows = [(known(*row), *row) for row in differences()]
compared = sum(len(one["auth"]["oauth"]["profiles"]) for one in theirs.values())
for row in rows:
    if row[0] is None or os.environ.get("VIEW_KEEP"):
        print(version, *(row[1:] if row[0] is None else row), sep=" | ")
reasons = {row[0] for row in rows if row[0]}
print(f"{version}: {len(agents)} agents, {compared} profiles; differences as listed: {', '.join(sorted(reasons)) or 'none'}; others: {sum(row[0] is None for row in rows)}")
sys.exit(any(row[0] is None for row in rows))

//! A home, and a network of one token endpoint and one receiver of alerts. The endpoint is as strict as a real one: a refresh token
//! is good once, and one that comes back ends its whole family.

use crate::config::Config;
use crate::ctx::Ctx;
use crate::edge::host::{Clock, Host};
use crate::edge::http::{Http, HttpError, Reply};
use crate::notify::testing;
use crate::rules::policy::RenewMode;
use crate::secret::SecretUrl;
use crate::types::{DAY, Event, HOUR, MINUTE, Moment, Ms};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) const NOW: Moment = Moment::at(1_769_000_000_000);

/// How the endpoint answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// New tokens.
    Good,
    /// A new access token; the refresh token stays.
    SameRefresh,
    /// Nothing: the request does not leave.
    NotSent,
    /// The token is used up, and the answer is lost.
    Lost,
    /// A failure of its own; nothing is used up.
    Error,
}

/// What the endpoint knows of the tokens that came of one sign-in.
#[derive(Debug, Default)]
struct Family {
    live: String,
    spent: Vec<String>,
    /// A spent one came back.
    revoked: bool,
}

#[derive(Default)]
struct Inner {
    families: Vec<Family>,
    made: usize,
    says: VecDeque<Says>,
    /// Tokens that we posted after they had been used up.
    replayed: Vec<String>,
    /// The receiver takes nothing.
    deaf: bool,
    heard: Vec<Event>,
    ahead: Duration,
    somebody_died: bool,
    lost: bool,
}

/// What the world outside the home does.
#[derive(Default)]
pub(crate) struct Network(Mutex<Inner>);

impl Network {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A person signs in: a token of a family of its own.
    pub(crate) fn sign_in(&self) -> String {
        let mut inner = self.lock();
        let name = inner.name();
        inner.families.push(Family {
            live: name.clone(),
            ..Family::default()
        });
        name
    }

    /// What is said to the next requests.
    pub(crate) fn script(&self, says: impl IntoIterator<Item = Says>) {
        self.lock().says.extend(says);
    }

    /// It says what it says by itself.
    pub(crate) fn no_script(&self) {
        self.lock().says.clear();
    }

    /// Whether an answer was lost since this was last asked.
    pub(crate) fn took_lost(&self) -> bool {
        std::mem::take(&mut self.lock().lost)
    }

    pub(crate) fn deaf(&self, deaf: bool) {
        self.lock().deaf = deaf;
    }

    /// Another program posts a refresh token: the name of the new one.
    pub(crate) fn exchange(&self, name: &str) -> Option<String> {
        self.lock().exchange(name, true)
    }

    /// Whether this token is good now.
    pub(crate) fn is_live(&self, name: &str) -> bool {
        let families = &self.lock().families;
        families.iter().any(|family| !family.revoked && family.live == name)
    }

    pub(crate) fn replayed(&self) -> Vec<String> {
        self.lock().replayed.clone()
    }

    /// What the receiver heard since it was last asked.
    pub(crate) fn heard(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().heard)
    }

    /// A process of this home was killed.
    pub(crate) fn dies(&self) {
        self.lock().somebody_died = true;
    }

    pub(crate) fn somebody_died(&self) -> bool {
        self.lock().somebody_died
    }

    pub(crate) fn ahead(&self) -> Duration {
        self.lock().ahead
    }

    pub(crate) fn advance(&self, to: Duration) {
        self.lock().ahead = to;
    }

    pub(crate) fn answer(&self, url: &str, body: &[u8]) -> Result<Reply, HttpError> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match url.contains("token") {
            true => self.lock().token(body["refresh_token"].as_str().unwrap_or_default()),
            false => self.lock().hear(body),
        }
    }
}

impl Inner {
    fn name(&mut self) -> String {
        self.made += 1;
        format!("{:04}", self.made)
    }

    fn exchange(&mut self, name: &str, rotates: bool) -> Option<String> {
        let next = format!("{:04}", self.made + 1);
        let of = |family: &&mut Family| family.live == name || family.spent.iter().any(|spent| spent == name);
        let family = self.families.iter_mut().find(of)?;
        if family.live != name {
            family.revoked = true;
        }
        if family.revoked {
            return None;
        }
        if rotates {
            family.spent.push(std::mem::replace(&mut family.live, next.clone()));
        }
        self.made += 1;
        Some(next)
    }

    fn token(&mut self, posted: &str) -> Result<Reply, HttpError> {
        let says = self.says.pop_front().unwrap_or(Says::Good);
        if says == Says::NotSent {
            return Err(HttpError::NotSent("no route".into()));
        }
        if says == Says::Error {
            return Ok(reply(500, &json!({})));
        }
        let name = posted.trim_start_matches("sk-ant-ort01-REFRESH-");
        if self
            .families
            .iter()
            // where all are revoked already it harms nobody
            .any(|family| !family.revoked && family.spent.iter().any(|spent| spent == name))
        {
            self.replayed.push(name.to_owned());
        }
        let Some(new) = self.exchange(name, says != Says::SameRefresh) else {
            return Ok(reply(400, &json!({"error": "invalid_grant"})));
        };
        let mut tokens = json!({"access_token": access(&new), "expires_in": 28_800});
        match says {
            Says::Lost => {
                self.lost = true;
                return Err(HttpError::Unknown("the connection broke".into()));
            }
            Says::SameRefresh => {}
            _ => tokens["refresh_token"] = refresh(&new).into(),
        }
        Ok(reply(200, &tokens))
    }

    fn hear(&mut self, body: Value) -> Result<Reply, HttpError> {
        if self.deaf {
            return Err(HttpError::NotSent("no route".into()));
        }
        let event = serde_json::from_value(body).expect("an event");
        self.heard.push(event);
        Ok(reply(200, &json!({})))
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        retry_after: None,
        body: body.to_string().into_bytes(),
        whole: true,
    }
}

pub(crate) fn access(name: &str) -> String {
    format!("sk-ant-oat01-ACCESS-{name:-<88}")
}

pub(crate) fn refresh(name: &str) -> String {
    format!("sk-ant-ort01-REFRESH-{name}")
}

/// A home that is gone when dropped.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) network: Arc<Network>,
    /// What everybody's clock says.
    pub(crate) now: Moment,
}

impl World {
    /// With one agent of clawdbot, which has a key of its own.
    pub(crate) fn new() -> Self {
        // thousands of homes: in memory where there is such a place
        let memory = Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        Self {
            dir: dir.expect("a directory"),
            network: Arc::default(),
            now: NOW,
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.home().join(path)
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.at(".claude/.credentials.json")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.at(".clawdbot/agents/main/agent/auth-profiles.json")
    }

    pub(crate) fn write(path: &Path, value: &Value) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, format!("{value:#}\n")).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// A login with this refresh token, whose access token ends then.
    pub(crate) fn login(&self, name: &str, expires: Moment) {
        let oauth = json!({
            "accessToken": access(name), "refreshToken": refresh(name), "expiresAt": expires,
            "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
            "refreshTokenExpiresAt": self.now + 29 * DAY,
        });
        Self::write(&self.credentials(), &json!({"claudeAiOauth": oauth}));
    }

    /// A store whose copy of the login is this, beside a key of the agent's.
    pub(crate) fn copy(&self, profile: Value) {
        let own = json!({"type": "api_key", "provider": "openai", "key": "sk-proj-0123456789abcdef0123456789abcdef"});
        let profiles = json!({"anthropic:claude-cli": profile, "openai:own": own});
        Self::write(&self.store(), &json!({"version": 1, "profiles": profiles}));
    }

    /// What a pass works with whose state is in this directory, at this moment.
    pub(crate) fn ctx(&self, state: &str, now: Moment) -> Ctx {
        let host = Host {
            home: self.home().to_owned(),
            env: BTreeMap::new(),
            cwd: self.home().to_owned(),
            name: state.to_owned(),
            macos: false,
            own: vec!["nolapse".into()],
        };
        let mut config = Config::default();
        config.renew.mode = RenewMode::Direct;
        config.renew.lead = 15 * MINUTE;
        config.renew.token_url = SecretUrl::new("http://token.invalid/");
        config.channels = testing::channels("[[channel]]\ntype = \"webhook\"\nurl = \"http://hook.invalid/\"\n")
            .unwrap_or_else(|error| panic!("{error}"));
        Ctx {
            host,
            clock: Clock::Fixed(now),
            config,
            state_dir: self.at(state),
            http: Http::new(&BTreeMap::new()),
        }
    }
}

/// The access and refresh tokens' names in a credentials file, and its access token's end.
pub(crate) fn stored(path: &Path) -> Option<(String, String, Moment)> {
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let oauth = &value["claudeAiOauth"];
    Some((
        name(&oauth["accessToken"]),
        name(&oauth["refreshToken"]),
        Moment::at(oauth["expiresAt"].as_i64()?),
    ))
}

/// The name in a made-up token.
pub(crate) fn name(token: &Value) -> String {
    let token = token.as_str().unwrap_or_default();
    let after = token.split_once("ACCESS-").or_else(|| token.split_once("REFRESH-"));
    after.map_or("", |(_, name)| name).trim_end_matches('-').to_owned()
}

pub(crate) fn token(name: &str, expires: Moment) -> Value {
    json!({"type": "token", "provider": "anthropic", "token": access(name), "expires": expires})
}

pub(crate) fn oauth(name: &str, expires: Moment) -> Value {
    json!({"type": "oauth", "provider": "anthropic", "access": access(name), "refresh": refresh(name), "expires": expires})
}

pub(crate) const LIFE: Ms = 8 * HOUR;

//! A token endpoint on loopback: refresh tokens are single-use, reuse revokes the whole family, every exchange is counted, and it
//! misbehaves on command.

use crate::home::{access, refresh};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As the real one does.
    Good,
    /// A new access token, and no refresh token.
    NoRotation,
    /// Good, once the gate is open.
    Held(Arc<Gate>),
    /// Good, after this long.
    Slow(Duration),
    /// This, and the token is not spent.
    Status(u16, &'static str, &'static str),
    /// The token is spent, and this is the whole answer (of status 200).
    Spent(&'static str),
    /// The token is spent, and the answer breaks off.
    Cut,
    /// The token is spent, and the connection is closed without an answer.
    HangUp,
    /// The token is spent, and nothing is said for this long.
    Silent(Duration),
    /// `invalid_scope`, unless these scopes are asked for.
    OnlyScope(&'static str),
}

/// What a test opens when it has seen what it waited for.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

impl Answer {
    pub fn held() -> (Self, Arc<Gate>) {
        let gate = Arc::<Gate>::default();
        (Self::Held(gate.clone()), gate)
    }
}

struct State {
    live: String,
    spent: BTreeSet<String>,
    revoked: bool,
    made: u32,
    seen: Vec<Value>,
    script: VecDeque<Answer>,
}

pub struct Endpoint {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Endpoint {
    /// Knows the login `n`; answers as scripted, then as the real one.
    pub fn start(n: &str, script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/oauth/token", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            live: refresh(n),
            spent: BTreeSet::new(),
            revoked: false,
            made: 0,
            seen: Vec::new(),
            script: script.into(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { url, state }
    }

    pub fn config(&self) -> String {
        format!(
            "[renew]\nmode = \"direct\"\ntoken_url = \"{}\"\ntimeout = \"5s\"\n",
            self.url
        )
    }

    /// How many token pairs were given out.
    pub fn made(&self) -> u32 {
        self.state.lock().unwrap().made
    }

    /// The bodies that were posted.
    pub fn seen(&self) -> Vec<Value> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The refresh token that is good now; `None` once a spent one was posted again.
    pub fn live(&self) -> Option<String> {
        let state = self.state.lock().unwrap();
        (!state.revoked).then(|| state.live.clone())
    }

    /// What a client of the same server does: spends `token`.
    pub fn spend(&self, token: &str) -> Option<(String, String)> {
        exchange(&mut self.state.lock().unwrap(), token, true)
    }
}

fn exchange(state: &mut State, token: &str, rotate: bool) -> Option<(String, String)> {
    if state.spent.contains(token) {
        state.revoked = true;
    }
    if state.revoked || token != state.live {
        return None;
    }
    state.made += 1;
    let n = format!("r{}", state.made);
    if rotate {
        state.spent.insert(token.to_owned());
        state.live = refresh(&n);
    }
    Some((access(&n), state.live.clone()))
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let Some(body) = request(&mut stream) else { return };
    let token = body["refresh_token"].as_str().unwrap_or_default().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.seen.push(body.clone());
        state.script.pop_front().unwrap_or(Answer::Good)
    };
    let spend = |rotate| exchange(&mut state.lock().unwrap(), &token, rotate);
    let good = |tokens: Option<(String, String)>, with_refresh: bool| match tokens {
        None => (
            400,
            r#"{"error":"invalid_grant","error_description":"Refresh token not found or invalid"}"#.to_owned(),
        ),
        Some((access, refresh)) => {
            let mut body = json!({
                "token_type": "Bearer", "access_token": access, "expires_in": 28800,
                "refresh_token_expires_in": 2_600_000, "scope": "user:inference user:profile",
            });
            if with_refresh {
                body["refresh_token"] = refresh.into();
            }
            (200, body.to_string())
        }
    };
    let ((status, body), headers) = match answer {
        Answer::Good => (good(spend(true), true), ""),
        Answer::NoRotation => (good(spend(false), false), ""),
        Answer::Held(gate) => {
            let answer = good(spend(true), true);
            gate.wait();
            (answer, "")
        }
        Answer::Slow(time) => {
            let answer = good(spend(true), true);
            std::thread::sleep(time);
            (answer, "")
        }
        Answer::Status(status, headers, body) => ((status, body.to_owned()), headers),
        Answer::Spent(body) => {
            spend(true);
            ((200, body.to_owned()), "")
        }
        Answer::Cut => {
            let (_, body) = good(spend(true), true);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                body.len(),
                &body[..body.len() / 2]
            );
            return;
        }
        Answer::HangUp => {
            spend(true);
            return;
        }
        Answer::Silent(time) => {
            spend(true);
            std::thread::sleep(time);
            return;
        }
        Answer::OnlyScope(scope) if body["scope"] != scope => ((400, r#"{"error":"invalid_scope"}"#.to_owned()), ""),
        Answer::OnlyScope(_) => (good(spend(true), true), ""),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
}

fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse::<usize>()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return serde_json::from_str(body).ok();
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

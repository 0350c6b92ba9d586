//! A tiny receiver on loopback that behaves as it is told, and keeps what reached it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Answer(u16),
    /// Accepts and never reads.
    Deaf,
    /// Reads everything and never answers.
    Mute,
}

pub struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    manner: Manner,
    seen: Vec<(String, String)>,
    held: Vec<TcpStream>,
}

impl Receiver {
    pub fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            manner,
            seen: Vec::new(),
            held: Vec::new(),
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn now(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// Answers those that were left without an answer.
    pub fn release(&self, status: u16) {
        for mut stream in std::mem::take(&mut self.state.lock().unwrap().held) {
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    }

    /// Request lines with bodies, in order.
    pub fn seen(&self) -> Vec<(String, String)> {
        let seen = self.state.lock().unwrap().seen.clone();
        for (_, body) in &seen {
            super::outputs::hold(body);
        }
        seen
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|(line, _)| line).collect()
    }

    /// Bodies as events.
    pub fn events(&self) -> Vec<Value> {
        let parse = |(_, body): (String, String)| serde_json::from_str(&body).unwrap();
        self.seen().into_iter().map(parse).collect()
    }

    /// A channel of this name that ends here.
    pub fn channel(&self, name: &str, keys: &str) -> String {
        format!(
            "[[channel]]\ntype = \"webhook\"\nname = \"{name}\"\nurl = \"{}\"\n{keys}\n",
            self.url()
        )
    }
}

fn serve(stream: TcpStream, shared: &Mutex<State>) {
    let manner = shared.lock().unwrap().manner;
    if manner == Manner::Deaf {
        shared.lock().unwrap().held.push(stream);
        return;
    }
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    shared
        .lock()
        .unwrap()
        .seen
        .push((line, String::from_utf8(body).unwrap()));
    match manner {
        Manner::Answer(status) => {
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
        _ => shared.lock().unwrap().held.push(reader.into_inner()),
    }
}

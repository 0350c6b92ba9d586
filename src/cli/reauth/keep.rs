//! Where the token of a sign-in for a year is put.

use super::{ReauthArgs, Target, Told, note};
use crate::by_hand::{self, Wanted};
use crate::cli::{Fatal, run, token, usage};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::replace::{self, NotPut, Over};
use crate::layout::one_line;
use crate::look::{self, World};
use crate::pass::{self, Scope};
use crate::report::Exit;
use crate::rules::login::{Kept, SetupToken};
use crate::rules::memory::{Entry, Ledger};
use crate::rules::resolve::OAUTH_VAR;
use crate::rules::view::{AgentView, View};
use crate::secret::Secret;
use crate::stores::dotenv;
use crate::stores::store::Recorded;
use crate::types::{Meta, Ms};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A token that was just issued.
pub(super) struct Fresh<'a> {
    ctx: &'a Ctx,
    told: &'a Told,
    token: &'a Secret,
    dates: SetupToken,
    /// Where it is by now.
    stored: Vec<String>,
    /// All of it went well.
    fine: bool,
}

impl<'a> Fresh<'a> {
    pub(super) fn new(ctx: &'a Ctx, told: &'a Told, token: &'a Secret, life: Ms) -> Self {
        let issued_at = ctx.clock.now();
        Self {
            ctx,
            told,
            token,
            dates: SetupToken {
                issued_at,
                expires_at: issued_at + life,
                kept: None,
            },
            stored: Vec::new(),
            fine: true,
        }
    }

    /// Puts it in its place, remembers when it ends, and makes a pass with it.
    pub(super) async fn store(
        mut self,
        ledger: &Ledger,
        view: &View,
        target: &Target,
        args: &ReauthArgs,
    ) -> Result<Exit, Fatal> {
        match target {
            Target::Agents(labels) => self.in_agents(ledger, view, labels, args).await,
            Target::Env(paths) => self.in_envs(paths).await,
            Target::File(path) => self.in_file(path).await,
        }
        if self.stored.is_empty() {
            return Err(self.kept_aside());
        }
        let (ctx, until) = (self.ctx, self.dates.expires_at);
        note(
            ctx,
            Entry {
                whom: "setup-token".into(),
                text: format!("a new setup token was put into {}", self.stored.join(", ")),
                until: Some(until),
                ..Entry::default()
            },
        );
        let report = pass::run(ctx, Scope::Whole).await;
        self.told.done(
            &json!({
                "event": "done",
                "flow": "setup_token",
                "fingerprint": self.token.fingerprint().to_string(),
                "expires_at": until,
                "stored": self.stored,
            }),
            &format!(
                "a setup token is in place, until {}\n{}{}",
                ctx.when(until),
                run::story(ctx, &report),
                run::summary(ctx, &report, false)
            ),
        );
        Ok(if self.fine { Exit::Fine } else { Exit::Unknown })
    }

    async fn in_agents(&mut self, ledger: &Ledger, view: &View, labels: &[String], args: &ReauthArgs) {
        let chosen: Vec<_> = view
            .agents
            .iter()
            .filter(|agent| labels.contains(&agent.label()))
            .collect();
        let wanted = Wanted {
            id: args.profile.clone(),
            provider: "anthropic".into(),
            credential: Recorded::Token(self.token.clone(), Some(self.dates.expires_at)),
            replace: args.replace,
        };
        let dates = Some(self.dates.clone());
        let world = World::of(self.ctx, ledger, view);
        let (text, all) = token::store_everywhere(world, &chosen, &wanted, dates).await;
        self.fine = all;
        self.told.text(&text);
        let after = look::look(self.ctx, ledger);
        let holds = |agent: &&AgentView| labels.contains(&agent.label()) && agent.holds(&args.profile, self.token);
        let labels = after.agents.iter().filter(holds).map(|agent| agent.label());
        self.stored.extend(labels);
    }

    async fn in_envs(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let here = one_line(&self.ctx.host.tilde(path));
            match into_env(path, self.token) {
                Ok(()) => {
                    self.stored.push(self.ctx.host.tilde(path));
                    self.told.text(&format!("{here}: sets {OAUTH_VAR}\n"));
                }
                Err(why) => {
                    self.fine = false;
                    self.told.text(&format!("{here}: not written: {why}\n"));
                }
            }
        }
        let kept = paths.first().map(|path| Kept {
            path: path.clone(),
            var: Some(OAUTH_VAR.into()),
        });
        self.remember(kept).await;
    }

    async fn in_file(&mut self, path: &Path) {
        let write = || {
            let target = files::real_target(path)?;
            let keep = files::stat(&target).map(|meta| Meta { mode: 0o600, ..meta });
            replace::replace(&target, format!("{}\n", self.token.expose()).as_bytes(), keep.as_ref())
        };
        match write() {
            Ok(()) => {
                let here = self.ctx.host.tilde(path);
                self.told.text(&format!("{}: holds the token\n", one_line(&here)));
                self.stored.push(here);
            }
            Err(error) => {
                self.fine = false;
                self.told.text(&format!("not written: {}\n", files::io_words(&error)));
            }
        }
        let kept = Kept {
            path: path.to_owned(),
            var: None,
        };
        self.remember(Some(kept)).await;
    }

    /// Nothing else tells when it ends.
    async fn remember(&mut self, kept: Option<Kept>) {
        let dates = SetupToken {
            kept,
            ..self.dates.clone()
        };
        if let Err(why) = by_hand::remember(self.ctx, self.token, dates).await {
            self.fine = false;
            self.told.text(&format!("{why}\n"));
        }
    }

    /// A year's token that exists nowhere else is not thrown away.
    fn kept_aside(&self) -> Fatal {
        let dir = self.ctx.state_dir.join("rescue");
        let path = dir.join(format!("setup-token-{}", self.dates.issued_at));
        let kept = files::make_dirs(&dir)
            .and_then(|()| files::create_new(&path, format!("{}\n", self.token.expose()).as_bytes()));
        match kept {
            Ok(()) => usage(
                format!(
                    "the token could not be stored; it is kept in `{}`",
                    self.ctx.host.tilde(&path)
                ),
                format!(
                    "fix what is wrong, then run `nolapse token add < {}` and remove it",
                    path.display()
                ),
            ),
            Err(error) => usage(
                format!("the token could not be stored anywhere: {}", files::io_words(&error)),
                "make the state directory writable and run `nolapse reauth` again",
            ),
        }
    }
}

fn into_env(path: &Path, token: &Secret) -> Result<(), String> {
    let io = |error: std::io::Error| files::io_words(&error);
    let target = files::real_target(path).map_err(io)?;
    let (text, meta) = match files::read_unmixed(&target) {
        Ok(snapshot) => (
            String::from_utf8(snapshot.bytes).map_err(|_| "it is not UTF-8 text")?,
            Some(snapshot.meta),
        ),
        Err(files::ReadError::Absent) => (String::new(), None),
        Err(error) => return Err(error.to_string()),
    };
    let patched = dotenv::set(&text, OAUTH_VAR, token)?;
    let before = meta.is_some().then_some(text.as_str());
    let mut staged = replace::stage(&target, meta.as_ref()).map_err(io)?;
    staged.write(patched.as_bytes()).map_err(io)?;
    match staged.put(Over::read(before), &|| true) {
        Ok(synced) => synced.map_err(io),
        Err(NotPut::Io(error)) => Err(io(error)),
        Err(error) => Err(error.to_string()),
    }
}

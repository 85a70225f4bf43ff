//! Closing in the server too, where the file does not load.
//!
//! A server that is told to reload a file with one bad line keeps what it has, open lines too, until somebody mends the
//! line. It is never told to load that file. Instead the last text that loads lies in its place for a moment, with the
//! gated lines closed and two rules on top by which can be asked whether the server has taken it; then the file is back.

use crate::Error;
use crate::edit::{Edited, Locked};
use crate::force::{InForce, in_force};
use crate::good::LastGood;
use crate::seen::Seen;
use crate::server::Server;
use crate::standin::{Back, stand_in};
use crate::{clock, swap};
use goahead_rules::hba::{self, Dialect, Expected, From, Probe, Problem};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How often closing begins anew when somebody else changes the file.
const TRIES: u32 = 3;

/// What closing has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The rules that were open and are closed on disk now.
    pub rules: Vec<String>,
    /// Why the file does not load, apart from us; empty when it does.
    pub problems: Vec<Problem>,
    /// What the server goes by.
    pub goes_by: GoesBy,
}

/// What a server goes by after its file's gated lines were closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoesBy {
    /// The file, of which it was told; or it does not run.
    File,
    /// The last text that loads, with the gated lines closed. The file does not load, and lies there untouched.
    StandIn,
    /// What it loaded earlier, and open lines may be among that, for this reason.
    Earlier(String),
}

impl Closed {
    /// Whether anything was open on disk.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a server loads what is there now.
    #[must_use]
    pub fn loads(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong with the file, what the server does meanwhile, and what to do; none where it loads.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let problem = self.problems.first()?;
        let server = match &self.goes_by {
            GoesBy::File => "no gated line is open".to_owned(),
            GoesBy::StandIn => "the server has loaded the last text that does, with the gated lines closed".to_owned(),
            GoesBy::Earlier(why) => {
                format!("the server keeps the rules that it has, and open ones may be among them: {why}")
            }
        };
        Some(format!("the file does not load, so {server}: {problem}; {}", problem.mend))
    }
}

impl Locked {
    /// Closes every gated rule on disk, and in the server: by telling it to reload, or, where the file does not load, by
    /// `good` standing in for it. Asking whether that was taken lasts at most `limit`.
    ///
    /// # Errors
    /// As [`Locked::edit`] has, and those of telling the server.
    pub fn shut(
        &self,
        dialect: &Dialect,
        good: &mut LastGood,
        server: &mut dyn Server,
        limit: Duration,
    ) -> Result<Closed, Error> {
        let mut rules = Vec::new();
        for _ in 0..TRIES {
            good.look(self.target(), dialect);
            let Edited { previous, text, .. } = self.edit(|text| Ok(hba::close(text)), |_| Ok(()))?;
            rules.extend(hba::open_gated(&previous));
            let problems = self.problems(&text, dialect);
            let goes_by = if problems.is_empty() {
                self.tell(server)?;
                Some(GoesBy::File)
            } else if !server.runs() || !(self.must_reload() || good.may_be_open()) {
                Some(GoesBy::File)
            } else if swap::is_shut(self.place()) {
                Some(GoesBy::StandIn)
            } else {
                self.shut_by(dialect, good, server, limit)?
            };
            if let Some(goes_by) = goes_by {
                return Ok(Closed { rules, problems, goes_by });
            }
        }
        Err(Error::Conflict { path: self.target().to_owned(), tries: TRIES })
    }

    /// Tells the server of the text, if it does not know it yet; one that does not run reads it when it starts.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn tell(&self, server: &mut dyn Server) -> Result<(), Error> {
        if self.must_reload() {
            match server.reload() {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Untold { path: self.target().to_owned(), problem });
                }
                _ => self.reloaded(),
            }
        }
        Ok(())
    }

    /// None: somebody else has changed the file meanwhile.
    fn shut_by(
        &self,
        dialect: &Dialect,
        good: &mut LastGood,
        server: &mut dyn Server,
        limit: Duration,
    ) -> Result<Option<GoesBy>, Error> {
        let seen = Seen::read(self.target())?;
        if let Some(why) = good.failed(&seen.identity) {
            return Ok(Some(GoesBy::Earlier(why)));
        }
        let earlier = |why: &str| Ok(Some(GoesBy::Earlier(why.to_owned())));
        let Some(text) = good.closed() else {
            return earlier("nobody has seen the last text that loaded");
        };
        let Some((listens, source)) = server.listens().and_then(|listens| Some((listens.clone(), listens.source()?)))
        else {
            return earlier("nobody can ask it from this machine: it listens on no address given as a number");
        };
        let (lines, probes) = sentinels(source);
        let text = stand_in(&lines, &text);
        if !self.problems(&text, dialect).is_empty() {
            return earlier("a file that the last text includes does not load either");
        }
        let taken = self.standing_in(&seen, &text, || -> io::Result<bool> {
            server.reload()?;
            let InForce { wrong, skipped, .. } = in_force(&probes, &listens, limit, &mut || {});
            Ok(wrong.is_empty() && skipped.is_empty())
        })?;
        let Some((taken, Back::File)) = taken else { return Ok(None) };
        // Whoever had the file open may have mended it meanwhile, and told the server too early.
        if !seen.is_still_at(self.target())? {
            return Ok(None);
        }
        let why = match taken {
            Ok(true) => {
                swap::set_shut(self.place(), &seen.identity);
                return Ok(Some(GoesBy::StandIn));
            }
            Ok(false) => format!("it did not load the last text within {limit:?}"),
            Err(problem) => format!("it cannot be told to reload: {problem}"),
        };
        good.fail(seen.identity, &why);
        Ok(Some(GoesBy::Earlier(why)))
    }
}

/// Whether the server goes by the last text that loads, with the gated lines closed, because the file that lies there
/// does not load.
#[must_use]
pub fn is_shut(path: &std::path::Path) -> bool {
    crate::place::Place::find(path).is_ok_and(|place| swap::is_shut(&place))
}

/// Two rules for two users that nobody has, and what shows that both are in force. Any other rules treat the two alike:
/// nobody knows their names.
fn sentinels(source: IpAddr) -> (String, [Probe; 2]) {
    let name = format!("goahead-{:x}-{:x}", std::process::id(), clock::boottime());
    let bits = if source.is_ipv4() { 32 } else { 128 };
    let line =
        |kind: &str, method: &str| format!("host \"{name}-{kind}\" \"{name}-{kind}\" {source}/{bits} {method}\n");
    let probe = |kind: &str, expected: Expected| Probe {
        rule: kind.to_owned(),
        user: format!("{name}-{kind}").into_bytes(),
        from: From::One(source),
        expected,
    };
    (
        [line("in", "scram-sha-256"), line("out", "reject")].concat(),
        [probe("in", Expected::Challenge), probe("out", Expected::Refusal)],
    )
}

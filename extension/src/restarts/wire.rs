//! What the set forms take and give: one JSON object per call of a host.

use crate::sets::Invalid;
use crate::store::{self, Store};
use goahead_rules::duration::{self, GoDuration};
use goahead_rules::hostname::{Fqdn, GroupName, HolderId};
use goahead_rules::restart::Checked;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// One call as it came.
#[derive(Deserialize)]
pub struct RawAsk {
    #[serde(default)]
    fqdn: String,
    #[serde(default)]
    uptime: String,
    request_id: Option<String>,
    reason: Option<String>,
    boot_id: Option<String>,
    checks: Option<Vec<RawChecked>>,
    op: Wants,
    #[serde(default)]
    group: String,
    #[serde(default)]
    id: String,
}

/// The result of a check as the service reports it.
#[derive(Deserialize)]
struct RawChecked {
    command: Vec<String>,
    exit_code: Option<i32>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Wants {
    /// May I restart?
    #[serde(rename = "request")]
    Restart,
    /// Should I restart?
    #[serde(rename = "inquire")]
    Reason,
    /// FleetLock's RecursiveLock.
    #[serde(rename = "lock")]
    Lock,
    /// FleetLock's UnlockIfHeld.
    #[serde(rename = "unlock")]
    Unlock,
}

/// One call, validated.
pub struct Ask {
    /// What is asked.
    pub wants: Wants,
    /// The name as it was sent, echoed in the answer.
    pub sent: String,
    /// Normalized FQDN, or FleetLock id.
    pub holder: String,
    /// FleetLock's group, the name of a cluster.
    pub group: String,
    /// Uptime as it was sent.
    pub uptime_text: String,
    /// Uptime in microseconds.
    pub uptime: i64,
    /// The request_id, None when empty.
    pub request_id: Option<String>,
    /// Why the host wants to restart.
    pub reason: Option<String>,
    /// Boot id of the host.
    pub boot_id: Option<String>,
    /// Results of the inquiry checks.
    pub checks: Option<Vec<Checked>>,
    /// 8 random letters for a request_id.
    pub fresh_id: String,
    /// Random 0 to 29: seconds after which to ask again.
    pub ask_again_in: u8,
}

fn invalid(message: impl Into<String>, hint: &'static str) -> Invalid {
    Invalid { message: message.into(), hint }
}

/// Longest reason that is kept, in characters.
const REASON: usize = 1_000;

impl Ask {
    /// Validates a call. Nothing of an invalid one reaches a table.
    pub fn new(raw: RawAsk) -> Result<Self, Invalid> {
        let wants = raw.op;
        let holder = match wants {
            Wants::Restart | Wants::Reason => {
                let fqdn = Fqdn::parse(&raw.fqdn).map_err(|problem| {
                    invalid(
                        format!("fqdn is not a host name: {problem}"),
                        "send the host's fully qualified domain name",
                    )
                })?;
                fqdn.as_str().to_owned()
            }
            Wants::Lock | Wants::Unlock => {
                let id = HolderId::parse(&raw.id).map_err(|problem| {
                    invalid(format!("id: {problem}"), "send 1 to 128 characters of [A-Za-z0-9._:-]")
                })?;
                GroupName::parse(&raw.group)
                    .map_err(|problem| invalid(format!("group: {problem}"), "send the name of a cluster"))?;
                id.as_str().to_owned()
            }
        };
        let uptime = match wants {
            Wants::Restart | Wants::Reason => uptime(&raw.uptime)?,
            Wants::Lock | Wants::Unlock => 0,
        };
        let request_id = raw.request_id.filter(|id| !id.is_empty());
        if request_id.as_ref().is_some_and(|id| id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(invalid(
                "request_id is not one of ours",
                "send the request_id of the last answer, 8 letters, or none",
            ));
        }
        let boot_id = raw.boot_id.filter(|id| !id.is_empty()).map(|id| id.to_ascii_lowercase());
        if boot_id
            .as_ref()
            .is_some_and(|id| id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        {
            return Err(invalid(
                "boot_id is not a boot id",
                "send the content of /proc/sys/kernel/random/boot_id, or none",
            ));
        }
        let (fresh_id, ask_again_in) = draw();
        Ok(Self {
            wants,
            sent: raw.fqdn,
            holder,
            group: raw.group,
            uptime_text: raw.uptime,
            uptime,
            request_id,
            reason: raw.reason.map(|reason| printable(&reason)).filter(|reason| !reason.is_empty()),
            boot_id,
            checks: raw.checks.map(|checks| {
                checks
                    .into_iter()
                    .map(|check| Checked { command: check.command.join(" "), exit_code: check.exit_code })
                    .collect()
            }),
            fresh_id,
            ask_again_in,
        })
    }
}

/// A call that SQL made directly.
pub fn ask_of_sql(op: Wants, fqdn: &str, uptime: &str, request_id: Option<&str>, reason: Option<&str>) -> RawAsk {
    RawAsk {
        op,
        fqdn: fqdn.to_owned(),
        uptime: uptime.to_owned(),
        request_id: request_id.map(str::to_owned),
        reason: reason.map(str::to_owned),
        boot_id: None,
        checks: None,
        group: String::new(),
        id: String::new(),
    }
}

impl RawAsk {
    /// Adds the results of checks, given as JSON.
    pub fn with_checks(mut self, checks: Option<serde_json::Value>) -> Result<Self, Invalid> {
        self.checks = checks.map(serde_json::from_value).transpose().map_err(|problem| {
            invalid(format!("checks: {problem}"), "give [{\"command\": [\"program\", \"argument\"], \"exit_code\": 0}]")
        })?;
        Ok(self)
    }
}

/// Microseconds of an uptime as hosts send it.
pub fn uptime(text: &str) -> Result<i64, Invalid> {
    let hint = "send a duration such as 2h31m, 358h14m48s or 1.5h";
    match duration::parse(text) {
        Ok(GoDuration(nanos)) if nanos < 0 || text.len() > 64 => Err(invalid("uptime is out of range", hint)),
        Ok(uptime) => Ok(uptime.as_micros()),
        Err(problem) => Err(invalid(format!("uptime {problem}"), hint)),
    }
}

/// One line without control characters, cut to [`REASON`] characters.
fn printable(text: &str) -> String {
    let line: String = text.trim().chars().take(REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// 8 random letters and a random number from 0 to 29.
fn draw() -> (String, u8) {
    let mut bytes = [0_u8; 18];
    // SAFETY: fills the buffer that it is given.
    if !unsafe { pgrx::pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        store::fail(
            pgrx::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "no random bytes to be had",
            "the operating system's random generator does not answer",
        );
    }
    let number = |i: usize| usize::from(u16::from_ne_bytes([bytes[2 * i], bytes[2 * i + 1]]));
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let id = (0..8).map(|i| char::from(letters[number(i) % letters.len()])).collect();
    (id, (number(8) % 30) as u8)
}

/// goahead's response object, keys in the original's order.
#[derive(Serialize)]
pub struct Answer {
    timestamp: String,
    go_ahead: bool,
    unknown_host: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    ask_again_in: String,
    request_id: String,
    found_cluster: String,
    requesting_fqdn: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    reported_uptime: String,
}

impl Answer {
    /// An answer without a go-ahead and without an invitation to ask again.
    pub fn new(ask: &Ask, cluster: &str, message: String) -> Self {
        Self {
            timestamp: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            go_ahead: false,
            unknown_host: false,
            ask_again_in: String::new(),
            request_id: ask.fresh_id.clone(),
            found_cluster: cluster.to_owned(),
            requesting_fqdn: ask.sent.clone(),
            message,
            reported_uptime: ask.uptime_text.clone(),
        }
    }

    /// The answer to a host outside of every cluster.
    pub fn unknown(ask: &Ask, message: String) -> Self {
        Self { unknown_host: true, ..Self::new(ask, "unknown", message) }
    }

    /// The go-ahead.
    pub fn granted(self) -> Self {
        Self { go_ahead: true, ..self }
    }

    /// Invites the host to ask again with this request_id.
    pub fn ask_again(mut self, ask: &Ask, request_id: &str) -> Self {
        self.ask_again_in = format!("{}s", ask.ask_again_in);
        self.request_id = request_id.to_owned();
        self
    }
}

/// A check that the service is to run.
#[derive(Serialize)]
pub struct Check {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The exit code that means yes.
    pub exit_code_for_reboot: i32,
}

/// What became of one call.
#[derive(Serialize)]
pub struct Outcome {
    /// One of the outcomes of the interface, see the comment on the function.
    pub outcome: &'static str,
    /// Which condition said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
    /// The cluster of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// goahead's response object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why, where there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
    /// Checks to run before the inquiry can be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
}

impl Outcome {
    /// An outcome without particulars.
    pub fn new(outcome: &'static str) -> Self {
        Self { outcome, condition: None, cluster: None, answer: None, message: None, hint: None, checks: None }
    }

    /// An outcome with goahead's response object.
    pub fn answered(outcome: &'static str, cluster: &str, answer: Answer) -> Self {
        Self { cluster: Some(cluster.to_owned()), answer: Some(answer), ..Self::new(outcome) }
    }
}

impl From<Invalid> for Outcome {
    fn from(invalid: Invalid) -> Self {
        Self { message: Some(invalid.message), hint: Some(invalid.hint), ..Self::new("invalid") }
    }
}

/// Remembers names that match no cluster, so that an operator sees misspelt ones.
pub fn remember_unknown(store: &mut Store<'_, '_>, names: Vec<(String, Option<String>)>) {
    if names.is_empty() {
        return;
    }
    // A name that another transaction is about to write is in the list already.
    let (names, blacklists): (Vec<String>, Vec<Option<String>>) =
        names.into_iter().filter(|(name, _)| store.try_lock(store::HOST_LOCK, store::name_key(name))).unzip();
    store.run(
        "INSERT INTO goahead._unknown_host AS u (name, blacklist)
         SELECT DISTINCT ON (n.name) n.name, n.blacklist FROM unnest($1, $2) AS n (name, blacklist) ORDER BY n.name
         ON CONFLICT (name) DO UPDATE SET last_seen = pg_catalog.clock_timestamp(), times = u.times + 1, blacklist = EXCLUDED.blacklist",
        &[names.into(), blacklists.into()],
    );
}

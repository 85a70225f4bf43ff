//! What is said between client and service: a reason or an inquiry, a request, a wait, the request again, the hooks.

use std::time::Duration;

use goahead_rules::duration::{self, GoDuration};
use serde::Serialize;
use serde_json::Value;

use super::config::Config;
use super::http::Service;
use super::log::{Log, Stop};
use super::signals::Signals;
use super::{Args, hooks};
use crate::http_client::{Answer, excerpt, go};

/// The longest wait that the service may ask for; its own are below half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What is sent.
#[derive(Debug, Serialize)]
struct Payload<'a> {
    fqdn: String,
    uptime: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    restart_reason: &'a str,
    /// Tells two boots apart without any clock; the original service ignores it
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
}

/// What the client reads of an answer. Any other field may be missing or of any form.
#[derive(Debug, Default, PartialEq, Eq)]
struct Response {
    go_ahead: bool,
    ask_again_in: String,
    request_id: String,
    found_cluster: String,
    message: String,
}

/// The whole run, from the condition script to the last hook.
///
/// # Errors
/// When it ends before a restart was carried out, denied or found needless.
pub async fn hold(config: &Config, args: &Args, service: &Service, signals: &Signals, log: Log) -> Result<(), Stop> {
    let conversation = Conversation { config, args, service, signals, log };
    match hooks::local_reason(config, Some(args.condition_timeout), signals, log).await? {
        Some(reason) if args.dry_run => {
            conversation.pretend(&reason)?;
            conversation.inquire().await.map(drop)
        }
        Some(reason) => conversation.restart(&reason).await,
        None => {
            log.info("Did not find local reason to restart. Asking if I should restart, because of other reasons.");
            if !conversation.inquire().await? {
                return Ok(());
            }
            let reason = "forced by middle-ware";
            if args.dry_run { conversation.pretend(reason) } else { conversation.restart(reason).await }
        }
    }
}

struct Conversation<'a> {
    config: &'a Config,
    args: &'a Args,
    service: &'a Service,
    signals: &'a Signals,
    log: Log,
}

impl Conversation<'_> {
    /// Whether the service knows a reason to restart.
    async fn inquire(&self) -> Result<bool, Stop> {
        let response = self.send("inquireRestart", "v1/inquire/restart/", "", "inquire").await?;
        let wanted = response.message.starts_with("YesInquireToRestart");
        if wanted {
            self.log.info(&format!("Received reason from middle-ware to restart: {}", response.message));
        } else if self.args.dry_run {
            self.log.info(&format!("Dry run: the service knows no reason to restart: {}", response.message));
        }
        Ok(wanted)
    }

    async fn restart(&self, reason: &str) -> Result<(), Stop> {
        // Found out before a place is taken that would stay taken.
        hooks::find(&self.config.hooks, self.log)?;
        let response = self.request("", reason).await?;
        if response.found_cluster.is_empty() || response.ask_again_in.is_empty() {
            return Err(Stop::Warning("doRestart", format!("{} Exiting...", response.message)));
        }
        self.wait(&response.ask_again_in).await?;
        let response = self.request(&response.request_id, reason).await?;
        if !response.go_ahead {
            self.log.info(&format!("Did not recieve go ahead to restart. Reason: {}", response.message));
            return Ok(());
        }
        self.log.info("Received go ahead to restart");
        let environment = [
            ("GOAHEAD_FQDN", self.fqdn()),
            ("GOAHEAD_CLUSTER", response.found_cluster),
            // A variable cannot hold what its reader would take for its end.
            ("GOAHEAD_REASON", reason.replace('\0', "")),
        ];
        hooks::run(self.config, &environment, self.args.hook_timeout, self.signals, self.log).await
    }

    /// Says what `restart` would do.
    fn pretend(&self, reason: &str) -> Result<(), Stop> {
        self.log.info(&format!("Dry run: would request a restart of {} with the reason: {reason}", self.fqdn()));
        for hook in hooks::find(&self.config.hooks, self.log)? {
            self.log.info(&format!("Dry run: would execute after the go-ahead: {}", hook.display()));
        }
        Ok(())
    }

    async fn wait(&self, ask_again_in: &str) -> Result<(), Stop> {
        self.log.info(&format!("Sleeping for {ask_again_in}"));
        let wait = duration::parse(ask_again_in).map_err(|error| {
            Stop::fatal(format!("Error while trying to parse response.AskagainIn to Duration. Error: {error}"))
        })?;
        // Go sleeps no time at all for a negative one.
        let wait = Duration::from_nanos(u64::try_from(wait.0).unwrap_or(0));
        if wait > LONGEST_WAIT {
            return Err(Stop::fatal(format!(
                "The service asks to wait {ask_again_in} before the next request; more than {} is not waited for",
                go(LONGEST_WAIT)
            )));
        }
        self.signals.unless(tokio::time::sleep(wait)).await
    }

    async fn request(&self, request_id: &str, reason: &str) -> Result<Response, Stop> {
        let path = "v1/request/restart/os";
        let response = self.send("askForOSRestart", path, request_id, reason).await?;
        self.log.info(&format!("Received valid response from {}{path}", self.service.url));
        Ok(response)
    }

    async fn send(&self, function: &'static str, path: &str, request_id: &str, reason: &str) -> Result<Response, Stop> {
        let payload =
            Payload { fqdn: self.fqdn(), uptime: uptime()?, request_id, restart_reason: reason, boot_id: boot_id() };
        let payload = serde_json::to_string(&payload)
            .map_err(|error| Stop::fatal(format!("Error while json.Marshal request. Error: {error}")))?;
        let answer = self.signals.unless(self.service.post(path, &payload)).await??;
        read(function, &answer)
    }

    fn fqdn(&self) -> String {
        self.config.fqdn.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
    }
}

/// Reads an answer: leniently, except that only a plain `true` is a go-ahead.
fn read(function: &'static str, answer: &Answer) -> Result<Response, Stop> {
    let fields = match serde_json::from_str(&answer.body) {
        Ok(Value::Object(fields)) => fields,
        other => {
            let why = other.map_or_else(|error| error.to_string(), |_| "it is no object".to_owned());
            let body = excerpt(&answer.body);
            return Err(Stop::Warning(function, format!("Could not parse JSON response: {body} Error: {why}")));
        }
    };
    let text = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if !(200..300).contains(&answer.status) || !text("error").is_empty() {
        // Problem documents (RFC 9457) say it in other words than goahead's own errors.
        let why = ["error", "detail", "title"].into_iter().map(text).find(|text| !text.is_empty());
        let why = why.unwrap_or_else(|| format!("HTTP {}: {}", answer.status, excerpt(&answer.body)));
        return Err(Stop::fatal(format!("Recieved error: {why}")));
    }
    Ok(Response {
        go_ahead: fields.get("go_ahead") == Some(&Value::Bool(true)),
        ask_again_in: text("ask_again_in"),
        request_id: text("request_id"),
        found_cluster: text("found_cluster"),
        message: text("message"),
    })
}

/// How long this machine is up, in whole seconds as Go writes them.
fn uptime() -> Result<String, Stop> {
    let failed = |why: String| Stop::fatal(format!("Error while trying to open /proc/uptime. Error: {why}"));
    let text = std::fs::read_to_string("/proc/uptime").map_err(|error| failed(error.to_string()))?;
    let seconds: i64 = text
        .split(['.', ' '])
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .ok_or_else(|| failed(format!("it says {text:?}")))?;
    Ok(GoDuration(seconds.saturating_mul(1_000_000_000)).to_string())
}

fn boot_id() -> Option<String> {
    goahead_hba_file::boot_id().ok().filter(|id| !id.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

//! What the rules do after a reload, as a health check from this machine gets to see it.

use crate::force::{InForce, Listens, Wrong, in_force};
use crate::probe::Reply;
use goahead_rules::hba::{self, Entry, Expected, Shadow};
use std::path::Path;
use std::time::Duration;

/// A rule that has another effect than it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The name of the rule.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
    /// Whether it lets somebody in where it says that it does not.
    pub lets_in: bool,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// Rules with another effect than they say.
    pub complaints: Vec<Complaint>,
    /// Rules that nobody on this machine can ask about, or for which no time was left.
    pub skipped: Vec<String>,
}

/// Asks about each rule of `text`, which was written to `path`, for at most `limit` in all; `between` is called before
/// each question. `entries` is what the text says, `shadows` which of its rules come too late as far as that can be read:
/// those that come too late for everything are not asked about. Nothing is complained of when the file has changed since.
#[must_use]
pub fn effect(
    (path, text): (&Path, &[u8]),
    entries: &[Entry],
    shadows: &[Shadow],
    major: u32,
    listens: &Listens,
    limit: Duration,
    between: &mut dyn FnMut(),
) -> Effect {
    let mut probes = hba::probes(entries, major);
    probes.retain(|probe| !shadows.iter().any(|shadow| shadow.whole && shadow.rule == probe.rule));
    if probes.is_empty() {
        return Effect::default();
    }
    let InForce { wrong, skipped, .. } = in_force(&probes, listens, limit, between);
    // Somebody may have been quicker with the next state.
    let complaints = if wrong.is_empty() || crate::read(path).is_ok_and(|now| now != text) {
        Vec::new()
    } else {
        let shadow = |wrong: &Wrong| shadows.iter().find(|shadow| shadow.rule == wrong.rule);
        wrong.iter().map(|wrong| complain(path, wrong, shadow(wrong))).collect()
    };
    Effect { complaints, skipped }
}

fn complain(path: &Path, wrong: &Wrong, shadow: Option<&Shadow>) -> Complaint {
    let Wrong { rule, expected, source, target, reply } = wrong;
    let wanted = match expected {
        Expected::Challenge => "opens",
        Expected::Refusal => "closes",
    };
    let (what, mend) = match shadow {
        Some(Shadow { line, file, text, .. }) => (
            "gate shadowed",
            format!(
                "line {line} of {} comes first: {text:?}; give rule {rule:?} a smaller place than that one has (hba_set)",
                file.display()
            ),
        ),
        None => (
            "not loaded",
            format!(
                "look in the server's log whether it has reloaded and whether it is this server that listens on {target}, \
                 then SELECT pg_reload_conf()"
            ),
        ),
    };
    Complaint {
        rule: rule.clone(),
        message: format!(
            "{what}: {} {wanted} rule {rule:?}, but a health check from {source} at {target} gets to see that {reply}",
            path.display()
        ),
        mend,
        lets_in: *expected == Expected::Refusal && matches!(reply, Reply::Challenged { .. }),
    }
}

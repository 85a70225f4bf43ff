//! A cluster on its way from harepd: doors that a harepd may hold open, of which no ack and no timeline tells.
//!
//! harepd lets writes in where its node is the primary by its own `repmgr.nodes` and by that of a neighbour or of the
//! witness, and closes for nobody's lease. So its word is weighed as another harepd weighs it: whom it contradicts stays
//! closed, unless the witness's table names them.

use super::facts::Role;
use super::reason::Reason;
use super::settings::Settings;
use super::verdict::{Said, Verdict, View};
use std::collections::BTreeMap;

/// What the masters that the harepd at `voter` names are worth: an ack, or why they are none.
///
/// # Errors
/// It names another, or it names this node and may not count.
pub fn harepd_ack(settings: &Settings, voter: &str, names_us: bool, masters: &[String]) -> Result<(), Reason> {
    let voter = voter.to_owned();
    match (names_us, settings.migrate_from_harepd) {
        (true, true) => Ok(()),
        (true, false) => Err(Reason::HarepdNotCounted { voter }),
        (false, _) => Err(Reason::HarepdNamesOther { voter, masters: masters.to_vec() }),
    }
}

/// Whether this node is to ask a witness for its `repmgr.nodes` before it decides ([`View::witness_names_us`]): a primary
/// that is in doubt without that.
pub fn asks_witness(settings: &Settings, view: &View<'_>) -> bool {
    view.me.is_some_and(|me| me.role == Role::Primary) && !doubts(settings, view).is_empty()
}

/// Why this node needs the witness's word to open, or to stay open.
pub(super) fn doubts(settings: &Settings, view: &View<'_>) -> Vec<Reason> {
    let contradicted = contradicted(settings, view);
    // Whoever is open heard the other when it opened.
    let may_run_harepd = settings.migrate_from_harepd && settings.has_witness() && !view.is_continuous();
    let doubt = |node: &str| {
        let voter = node.to_owned();
        match contradicted.get(node) {
            Some(masters) => Some(Reason::HarepdContradicts { voter, masters: masters.clone() }),
            None => (may_run_harepd && said(view, node).is_none()).then_some(Reason::HarepdUnheard { voter }),
        }
    };
    settings.other_data_nodes().filter_map(doubt).collect()
}

/// See [`Verdict::contradicted`]: silence takes nothing back.
pub(super) fn contradicted(settings: &Settings, view: &View<'_>) -> BTreeMap<String, Vec<String>> {
    let others = |node: &str| match said(view, node) {
        Some(Said::Harepd { names_us: false, masters }) if !masters.is_empty() => Some(masters.clone()),
        Some(_) => None,
        None => view.own_previous()?.contradicted.get(node).cloned(),
    };
    settings.other_data_nodes().filter_map(|node| Some((node.to_owned(), others(node)?))).collect()
}

/// What a node said; none: nothing.
fn said<'a>(view: &View<'a>, node: &str) -> Option<&'a Said> {
    let heard = view.heard.iter().find(|heard| heard.peer == node)?;
    (!matches!(heard.said, Said::Silent(_))).then_some(&heard.said)
}

/// Whether this verdict waits for a witness's word.
pub(super) fn is_in_doubt(verdict: &Verdict) -> bool {
    let doubt = |reason: &Reason| matches!(reason, Reason::HarepdContradicts { .. } | Reason::HarepdUnheard { .. });
    verdict.rw_reasons.iter().any(doubt)
}

//! A cluster on its way from harepd: doors that a harepd may hold open, of which no ack and no timeline tells.
//!
//! harepd lets writes in where its node is the primary by its own `repmgr.nodes` and by that of a neighbour or of the
//! witness, and closes for nobody's lease. So its word is weighed as another harepd weighs it: whom it contradicts stays
//! closed, unless the witness's table names them.

use super::reason::Reason;
use super::settings::Settings;
use super::verdict::{Heard, Said, Verdict};

/// Whether this node, as a primary, is to ask a witness for its `repmgr.nodes` before it decides
/// ([`View::witness_names_us`](super::View::witness_names_us)).
pub fn asks_witness(settings: &Settings, heard: &[Heard], previous: Option<&Verdict>) -> bool {
    !doubts(settings, heard, previous, false).is_empty()
}

/// Why this node needs the witness's word to be open, or, where it is not `continuous`, to open.
pub(super) fn doubts(
    settings: &Settings,
    heard: &[Heard],
    previous: Option<&Verdict>,
    continuous: bool,
) -> Vec<Reason> {
    let doubt = |node: &str| {
        let voter = || node.to_owned();
        match heard.iter().find(|heard| heard.peer == node).map(|heard| &heard.said) {
            Some(Said::Harepd { names_us: false, masters }) if !masters.is_empty() => {
                Some(Reason::HarepdContradicts { voter: voter(), masters: masters.clone() })
            }
            Some(Said::Answer(_) | Said::Harepd { .. }) => None,
            Some(Said::Silent(_)) | None => contradicted(previous, node).or_else(|| {
                let may_run_harepd = settings.migrate_from_harepd && settings.has_witness() && !continuous;
                may_run_harepd.then(|| Reason::HarepdUnheard { voter: voter() })
            }),
        }
    };
    settings.other_data_nodes().filter_map(doubt).collect()
}

/// What this harepd said when it was last heard, as long as that closes.
fn contradicted(previous: Option<&Verdict>, node: &str) -> Option<Reason> {
    let mut said = previous.into_iter().flat_map(|previous| &previous.rw_reasons);
    said.find(|reason| matches!(reason, Reason::HarepdContradicts { voter, .. } if voter == node)).cloned()
}

/// Whether this verdict waits for a witness's word.
pub(super) fn is_in_doubt(verdict: &Verdict) -> bool {
    let doubt = |reason: &Reason| matches!(reason, Reason::HarepdContradicts { .. } | Reason::HarepdUnheard { .. });
    verdict.rw_reasons.iter().any(doubt)
}

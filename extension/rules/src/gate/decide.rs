//! The decision of one round.

use super::Settings;
use super::verdict::{Manual, Rw, SourceSays, Verdict, View};
use super::wire::{Micros, NodeFacts, Want};
use std::collections::BTreeMap;

/// What to ask the voters for. `me` are this node's facts, `previous` the last verdict of this process.
pub fn wants(
    _settings: &Settings,
    _me: Option<&NodeFacts>,
    _manual: &Manual,
    _sources: &[SourceSays],
    _veto: Option<&str>,
    _now: Micros,
) -> Want {
    Want::Nothing
}

/// Decides how the doors are to stand, and until when.
pub fn decide(settings: &Settings, view: &View<'_>) -> Verdict {
    Verdict {
        incarnation: view.round.incarnation,
        round: view.round.number,
        rw: Rw::Closed,
        ro: false,
        asked: view.round.asked,
        decided: view.now,
        expires: view.round.asked + settings.lease.as_micros() as Micros,
        open_by: view.round.asked + settings.round.as_micros() as Micros,
        rw_reasons: vec![],
        ro_reasons: vec![],
        warnings: vec![],
        acks: vec![],
        primary: None,
        system_identifier: None,
        named_since: BTreeMap::new(),
    }
}

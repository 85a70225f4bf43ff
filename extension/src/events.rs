//! History: what changed, written by the transaction that changed it.

use crate::store::{self, Store};
use serde_json::Value;

/// One change of state.
pub struct Event {
    /// granted, completed, frozen …
    pub kind: &'static str,
    /// The cluster it happened in.
    pub cluster: Option<String>,
    /// The host, job or rollout it is about.
    pub subject: Option<String>,
    /// Particulars, an object.
    pub detail: Value,
}

/// Writes events in their order; the actor is the caller of the transaction.
pub fn write(store: &mut Store<'_, '_>, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let actor = store::actor(store);
    let column = |make: &dyn Fn(&Event) -> Option<String>| events.iter().map(make).collect::<Vec<_>>();
    store.begin();
    store.run(
        "INSERT INTO goahead._event (kind, cluster, subject, actor, detail)
         SELECT n.kind, n.cluster, n.subject, $5, n.detail::jsonb
           FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                WITH ORDINALITY AS n (kind, cluster, subject, detail, place)
          ORDER BY n.place",
        &[
            column(&|event| Some(event.kind.to_owned())).into(),
            column(&|event| event.cluster.clone()).into(),
            column(&|event| event.subject.clone()).into(),
            column(&|event| Some(event.detail.to_string())).into(),
            actor.into(),
        ],
    );
}

//! The rules that pg_hba.conf is to have: rows, replicated, and judged before they become one.

use super::server;
use crate::events::{self, Event};
use crate::store::{self, Row, Store};
use goahead_rules::hba::{Desired, Dialect, Fields, Method, Problem};
use pgrx::prelude::*;
use serde_json::json;

/// Methods that believe a machine which the rule itself names, or everybody: such a line lets its author log in as any
/// user, superusers included. Those that remain check a secret that the server keeps or settings that are not the rule's.
const BELIEVING: [Method; 5] = [Method::Trust, Method::Ident, Method::Ldap, Method::Radius, Method::Oauth];

/// A row.
pub struct Rule {
    name: String,
    kind: String,
    database: String,
    user: String,
    address: Option<String>,
    method: String,
    options: String,
    applies: String,
    otherwise: String,
}

impl Rule {
    fn of(row: &Row<'_>) -> Self {
        Self {
            name: row.get(1),
            kind: row.get(2),
            database: row.get(3),
            user: row.get(4),
            address: row.opt(5),
            method: row.get(6),
            options: row.get(7),
            applies: row.get(8),
            otherwise: row.get(9),
        }
    }

    fn judge(&self, dialect: &Dialect) -> Result<Desired, Vec<Problem>> {
        Desired::new(
            Fields {
                name: &self.name,
                kind: &self.kind,
                database: &self.database,
                user: &self.user,
                address: self.address.as_deref().unwrap_or_default(),
                method: &self.method,
                options: &self.options,
                applies: &self.applies,
                otherwise: &self.otherwise,
            },
            dialect,
        )
    }
}

/// The rules in their order, as what this server can load.
pub fn desired(store: &mut Store<'_, '_>) -> Vec<Desired> {
    let dialect = server::dialect();
    let rows = store.rows(
        "SELECT r.name, r.type, r.database, r.user_name, r.address, r.method, r.options, r.applies, r.otherwise
           FROM goahead._hba_rule r ORDER BY r.position, r.name",
        &[],
        Rule::of,
    );
    rows.iter().map(|rule| rule.judge(&dialect).unwrap_or_else(|problems| refuse(&problems))).collect()
}

fn refuse(problems: &[Problem]) -> ! {
    let text = |what: &dyn Fn(&Problem) -> String| problems.iter().map(what).collect::<Vec<_>>().join("; ");
    store::fail(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        text(&|problem| problem.to_string()),
        text(&|problem| problem.mend.clone()),
    )
}

// An argument called type cannot be written in Rust, so the declaration is.
#[pg_extern(sql = r#"
CREATE FUNCTION goahead.hba_set(name text, "type" text, database text, user_name text, address text, method text, options text DEFAULT '',
    applies text DEFAULT 'any', otherwise text DEFAULT 'reject', place int DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments)]
fn hba_set(
    name: Option<&str>,
    kind: Option<&str>,
    database: Option<&str>,
    user_name: Option<&str>,
    address: Option<&str>,
    method: Option<&str>,
    options: Option<&str>,
    applies: Option<&str>,
    otherwise: Option<&str>,
    place: Option<i32>,
) -> bool {
    let text = |value: Option<&str>, or: &str| value.unwrap_or(or).to_owned();
    let rule = Rule {
        name: text(name, ""),
        kind: text(kind, ""),
        database: text(database, ""),
        user: text(user_name, ""),
        address: address.filter(|address| !address.is_empty()).map(str::to_owned),
        method: text(method, ""),
        options: text(options, ""),
        applies: text(applies, "any"),
        otherwise: text(otherwise, "reject"),
    };
    let judged = rule.judge(&server::dialect()).unwrap_or_else(|problems| refuse(&problems));
    for method in [judged.method(), judged.otherwise()] {
        if BELIEVING.contains(&method) && !server::is_superuser_session() {
            store::fail(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!(
                    "rule {:?}, method: {} lets whoever writes the rule log in as anybody",
                    rule.name,
                    method.as_str()
                ),
                "only a superuser may set it; use scram-sha-256",
            );
        }
    }
    store::decide(|store| set(store, &rule, place))
}

fn set(store: &mut Store<'_, '_>, rule: &Rule, place: Option<i32>) -> bool {
    store.lock(store::SINGLE_LOCK, store::HBA);
    let actor = store::actor(store);
    let changed = store.run(
        "INSERT INTO goahead._hba_rule AS r (name, position, type, database, user_name, address, method, options, applies, otherwise, changed_by)
         VALUES ($1, coalesce($2, (SELECT coalesce(max(o.position), 0) + 1 FROM goahead._hba_rule o)), $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (name) DO UPDATE SET position = coalesce($2, r.position), type = EXCLUDED.type, database = EXCLUDED.database,
                user_name = EXCLUDED.user_name, address = EXCLUDED.address, method = EXCLUDED.method, options = EXCLUDED.options,
                applies = EXCLUDED.applies, otherwise = EXCLUDED.otherwise, changed_at = pg_catalog.clock_timestamp(), changed_by = EXCLUDED.changed_by
          WHERE (r.position, r.type, r.database, r.user_name, r.address, r.method, r.options, r.applies, r.otherwise)
                IS DISTINCT FROM (coalesce($2, r.position), EXCLUDED.type, EXCLUDED.database, EXCLUDED.user_name, EXCLUDED.address,
                                  EXCLUDED.method, EXCLUDED.options, EXCLUDED.applies, EXCLUDED.otherwise)
         RETURNING r.name",
        &[
            rule.name.as_str().into(),
            place.into(),
            rule.kind.as_str().into(),
            rule.database.as_str().into(),
            rule.user.as_str().into(),
            rule.address.as_deref().into(),
            rule.method.as_str().into(),
            rule.options.as_str().into(),
            rule.applies.as_str().into(),
            rule.otherwise.as_str().into(),
            actor.into(),
        ],
    );
    if changed > 0 {
        // Options may hold a secret; events are for more eyes.
        let detail = json!({
            "type": rule.kind, "database": rule.database, "user_name": rule.user, "address": rule.address,
            "method": rule.method, "applies": rule.applies, "otherwise": rule.otherwise,
        });
        events::write(store, &[Event { kind: "hba_set", cluster: None, subject: Some(rule.name.clone()), detail }]);
    }
    changed > 0
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_drop(name: Option<&str>) -> bool {
    let name = store::said(name, "the rule's name", "SELECT name FROM goahead.hba_desired lists them").to_owned();
    store::decide(|store| {
        store.lock(store::SINGLE_LOCK, store::HBA);
        let there =
            store.run("DELETE FROM goahead._hba_rule WHERE name = $1 RETURNING name", &[name.as_str().into()]) > 0;
        if there {
            let event = Event { kind: "hba_drop", cluster: None, subject: Some(name), detail: json!({}) };
            events::write(store, &[event]);
        }
        there
    })
}

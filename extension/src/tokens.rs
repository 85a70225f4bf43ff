//! Bearer tokens of the HTTP API: 256 random bits, of which only a hash is kept.

use crate::events::{self, Event};
use crate::store;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

/// What a token begins with, so that scanners for leaked secrets can tell it.
const PREFIX: &str = "goahead_";

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn create_token(
    role: Option<&str>,
    names: default!(Option<Vec<Option<String>>>, "NULL"),
    note: default!(Option<&str>, "NULL"),
) -> String {
    let role = store::said(role, "the role", "use host, reader, operator or admin");
    if !matches!(role, "host" | "reader" | "operator" | "admin") {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("there is no role {role:?} for a token"),
            "roles are host, reader, operator and admin",
        );
    }
    let mut bits = [0_u8; 32];
    // SAFETY: fills the buffer that it is given.
    if !unsafe { pg_sys::pg_strong_random(bits.as_mut_ptr().cast(), bits.len()) } {
        store::fail(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "no random bytes to be had",
            "the operating system's random generator does not answer",
        );
    }
    let secret: String =
        PREFIX.chars().chain(bits.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).map(char::from)).collect();
    store::decide(|store| {
        store.begin();
        store.durable();
        let actor = store::actor(store);
        let id: i64 = store
            .first(
                "INSERT INTO goahead._token (hash, role, names, note, created_by) VALUES ($1, $2, $3, $4, $5) RETURNING id",
                &[hash(&secret).into(), role.into(), names.into(), note.into(), actor.into()],
                |row| row.get(1),
            )
            .expect("INSERT RETURNING gives its row");
        let detail = json!({ "token": id, "role": role });
        events::write(store, &[Event { kind: "token_created", cluster: None, subject: None, detail }]);
    });
    secret
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn revoke_token(id: i64) -> bool {
    store::decide(|store| {
        store.begin();
        store.durable();
        let revoked = store.run(
            "UPDATE goahead._token SET revoked_at = pg_catalog.clock_timestamp() WHERE id = $1 AND revoked_at IS NULL",
            &[id.into()],
        ) > 0;
        if revoked {
            let detail = json!({ "token": id });
            events::write(store, &[Event { kind: "token_revoked", cluster: None, subject: None, detail }]);
        }
        revoked
    })
}

#[pg_extern(stable, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn check_token(secret: &str) -> Option<JsonB> {
    store::read(|store| {
        store.first(
            "SELECT pg_catalog.jsonb_build_object('id', id, 'role', role, 'names', names) FROM goahead._token
              WHERE hash = $1 AND revoked_at IS NULL",
            &[hash(secret).into()],
            |row| row.get(1),
        )
    })
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

//! Settings of clusters: judged when written, cached per backend by version, seen by everybody at the next call.

use crate::events::{self, Event};
use crate::store::{self, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::pattern::{ClusterPatterns, Match, Matcher};
use goahead_rules::settings::{self, Settings, Source};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Where to find a cluster's name.
pub const WHICH: &str = "SELECT name FROM goahead.clusters lists them";

/// How many clusters' settings a backend keeps.
const KEPT: usize = 20_000;

thread_local! {
    static PATTERNS: RefCell<Option<Rc<Patterns>>> = const { RefCell::new(None) };
    // By cluster: the version and what it holds.
    static SETTINGS: RefCell<HashMap<i32, (i64, Rc<Settings>)>> = RefCell::new(HashMap::new());
}

/// The patterns of all clusters that are switched on, at one version.
pub struct Patterns {
    /// The version.
    pub version: i64,
    matcher: RefCell<Matcher>,
    ids: HashMap<String, i32>,
}

impl Patterns {
    /// The cluster that a host name belongs to.
    pub fn find(&self, name: &str) -> Match {
        self.matcher.borrow_mut().find(name).unwrap_or_else(|problem| {
            store::fail(
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                problem.to_string(),
                "set the cluster's name_pattern anew",
            )
        })
    }

    /// The cluster of a name, switched on or not.
    pub fn id(&self, name: &str) -> Option<i32> {
        self.ids.get(name).copied()
    }
}

/// The patterns as they are now; built anew only when settings have changed.
pub fn patterns(store: &mut Store<'_, '_>) -> Rc<Patterns> {
    let version = version(store);
    if let Some(cached) =
        PATTERNS.with_borrow(|cached| cached.as_ref().filter(|cached| cached.version == version).cloned())
    {
        return cached;
    }
    let rows = store.rows(
        "SELECT id, name, coalesce((settings ->> 'priority')::int, 0), coalesce(settings ->> 'name_pattern', ''),
                settings -> 'blacklist_name_pattern', coalesce((settings ->> 'enabled')::boolean, true)
           FROM goahead._cluster",
        &[],
        |row| {
            let blacklist = row.opt::<JsonB>(5).map(|list| match list.0 {
                Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                Value::String(one) => vec![one],
                _ => Vec::new(),
            });
            let patterns = ClusterPatterns {
                id: row.get(1),
                name: row.get(2),
                priority: row.get(3),
                name_pattern: row.get(4),
                blacklist: blacklist.unwrap_or_default(),
            };
            (patterns, row.get::<bool>(6))
        },
    );
    let ids = rows.iter().map(|(cluster, _)| (cluster.name.clone(), cluster.id)).collect();
    let enabled = rows.into_iter().filter(|(_, enabled)| *enabled).map(|(cluster, _)| cluster).collect();
    let matcher = Matcher::new(enabled).unwrap_or_else(|problem| {
        store::fail(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, problem.to_string(), "set the cluster's name_pattern anew")
    });
    let patterns = Rc::new(Patterns { version, matcher: RefCell::new(matcher), ids });
    PATTERNS.with_borrow_mut(|cached| *cached = Some(Rc::clone(&patterns)));
    patterns
}

fn version(store: &mut Store<'_, '_>) -> i64 {
    store.first("SELECT version FROM goahead._patterns", &[], |row| row.get(1)).unwrap_or(0)
}

/// Counts a change of patterns. Versions, these and the clusters' own, follow the clock, so that one of a
/// rolled-back transaction or of a dropped extension does not come again with other settings.
fn bump(store: &mut Store<'_, '_>) {
    store.run(
        "INSERT INTO goahead._patterns AS p (version) VALUES ((extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint)
         ON CONFLICT (singleton) DO UPDATE SET version = greatest(p.version + 1, EXCLUDED.version)",
        &[],
    );
}

/// Settings of clusters at the given versions, or newer ones where they have changed since.
pub fn settings(store: &mut Store<'_, '_>, wanted: Vec<(i32, i64)>) -> HashMap<i32, Rc<Settings>> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    SETTINGS.with_borrow(|cached| {
        for (id, version) in wanted {
            match cached.get(&id) {
                Some((at, settings)) if *at == version => drop(found.insert(id, Rc::clone(settings))),
                _ => missing.push(id),
            }
        }
    });
    if missing.is_empty() {
        return found;
    }
    let rows = store.rows(
        "SELECT id, version, settings FROM goahead._cluster WHERE id = ANY ($1)",
        &[missing.into()],
        |row| (row.get::<i32>(1), row.get::<i64>(2), row.get::<JsonB>(3).0),
    );
    SETTINGS.with_borrow_mut(|cached| {
        if cached.len() + rows.len() > KEPT {
            cached.clear();
        }
        for (id, version, value) in rows {
            // Judged when it was written; a file restored from a newer version may know more keys.
            match settings::read(&value, Source::Import) {
                Ok(accepted) => {
                    let settings = Rc::new(accepted.settings);
                    cached.insert(id, (version, Rc::clone(&settings)));
                    found.insert(id, settings);
                }
                Err(problem) => store::fail(
                    PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                    format!("settings of cluster {id}: {problem}"),
                    problem.hint,
                ),
            }
        }
    });
    found
}

/// The row of a cluster by name; an error that lists similar names otherwise.
pub fn id_of(store: &mut Store<'_, '_>, name: &str) -> i32 {
    store.first("SELECT id FROM goahead._cluster WHERE name = $1", &[name.into()], |row| row.get(1)).unwrap_or_else(
        || store::fail(PgSqlErrorCode::ERRCODE_NO_DATA_FOUND, format!("there is no cluster {name:?}"), WHICH),
    )
}

fn judged(
    store: &mut Store<'_, '_>,
    name: &str,
    value: &mut Value,
    source: Source,
) -> Result<Vec<String>, (String, String)> {
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err((
            format!("cluster name {name:?} is not valid"),
            "a name has 1 to 255 bytes without control characters".into(),
        ));
    }
    let accepted = settings::read(value, source)
        .map_err(|problem| (format!("cluster {name}: {problem}"), problem.hint.clone()))?;
    for window in &accepted.settings.restart_windows {
        let known = store.first(
            "SELECT true FROM pg_catalog.pg_timezone_names WHERE name = $1",
            &[window.time_zone.as_str().into()],
            |_| (),
        );
        if known.is_none() {
            return Err((
                format!("cluster {name}: restart_windows: time zone {:?} is not known", window.time_zone),
                "SELECT name FROM pg_timezone_names lists them, such as Europe/Berlin".into(),
            ));
        }
    }
    if let Some(blocker) = &accepted.settings.blocker {
        let usable =
            store.first("SELECT goahead._is_blocker($1)", &[blocker.as_str().into()], |row| row.get::<bool>(1));
        if usable != Some(true) {
            return Err((
                format!("cluster {name}: blocker: {blocker} is not a function that goahead can ask"),
                "name it with its schema and arguments, schema.function(text, text), returning text (a reason or null), and GRANT EXECUTE on it and USAGE on its schema to goahead_policy".into(),
            ));
        }
    }
    // Files of the original may give nanoseconds; what is kept is always a text that says its unit.
    for key in settings::SPANS {
        if let Some(nanoseconds) = value.get(key).and_then(Value::as_i64) {
            value[key] = GoDuration(nanoseconds).to_string().into();
        }
    }
    // Without the key the cluster's state would depend on who wrote it.
    value["enabled"] = accepted.settings.enabled.into();
    Ok(accepted.warnings)
}

/// The keys that decide which hosts belong to a cluster.
const BELONGING: [&str; 4] = ["enabled", "name_pattern", "blacklist_name_pattern", "priority"];

fn write(store: &mut Store<'_, '_>, name: &str, value: &Value, imported: Option<&[u8]>) {
    let before = store
        .first("SELECT settings FROM goahead._cluster WHERE name = $1", &[name.into()], |row| row.get::<JsonB>(1).0);
    // Every host's cluster is looked up anew after a change of patterns, so only such a change counts as one.
    if before.is_none_or(|before| BELONGING.iter().any(|key| before.get(key) != value.get(key))) {
        bump(store);
    }
    store.run(
        "INSERT INTO goahead._cluster AS c (name, settings, version, imported_hash, edited)
         VALUES ($1, $2, (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, $3, $3 IS NULL)
         ON CONFLICT (name) DO UPDATE SET settings = EXCLUDED.settings, version = greatest(c.version + 1, EXCLUDED.version),
                changed_at = pg_catalog.clock_timestamp(),
                imported_hash = coalesce(EXCLUDED.imported_hash, c.imported_hash), edited = EXCLUDED.edited",
        &[name.into(), JsonB(value.clone()).into(), imported.map(<[u8]>::to_vec).into()],
    );
    let how = if imported.is_some() { "import" } else { "sql" };
    let event = Event {
        kind: "settings_changed",
        cluster: Some(name.to_owned()),
        subject: None,
        detail: json!({ "by": how, "settings": value }),
    };
    events::write(store, &[event]);
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn set_cluster(name: Option<&str>, settings: Option<JsonB>) {
    let name = store::said(name, "the name of the cluster", "give it a name of 1 to 255 bytes");
    store::decide(|store| {
        // Null settings are judged as an empty object: the error then names the first key that is missing.
        let mut value = settings.map_or_else(|| json!({}), |settings| settings.0);
        if let Err((message, hint)) = judged(store, name, &mut value, Source::Sql) {
            store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint);
        }
        store.lock(store::SINGLE_LOCK, store::SETTINGS);
        store.durable();
        write(store, name, &value, None);
    });
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn drop_cluster(name: Option<&str>) {
    let name = store::said(name, "the cluster", WHICH);
    store::decide(|store| {
        store.lock(store::SINGLE_LOCK, store::SETTINGS);
        let id = id_of(store, name);
        store.lock(store::CLUSTER_LOCK, id);
        let held = store.rows(
            "SELECT holder FROM goahead._restart WHERE cluster_id = $1 AND ended_at IS NULL ORDER BY id LIMIT 5",
            &[id.into()],
            |row| row.get::<String>(1),
        );
        if !held.is_empty() {
            store::fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("cluster {name} has restarts in force: {}", held.join(", ")),
                "end them first with goahead.complete_restart, fail_restart or cancel_restart",
            );
        }
        store.durable();
        store.run("DELETE FROM goahead._host WHERE cluster_id = $1", &[id.into()]);
        store.run(
            "UPDATE goahead._rollout SET ended_at = pg_catalog.clock_timestamp(), outcome = 'stopped' WHERE cluster_id = $1 AND ended_at IS NULL",
            &[id.into()],
        );
        store.run("DELETE FROM goahead._cluster WHERE id = $1", &[id.into()]);
        bump(store);
        let event = Event { kind: "cluster_dropped", cluster: Some(name.to_owned()), subject: None, detail: json!({}) };
        events::write(store, &[event]);
    });
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn import_clusters(settings: JsonB, force: default!(bool, false)) -> SetOfIterator<'static, String> {
    let Value::Object(clusters) = settings.0 else {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the settings to import are not a JSON object",
            "give {\"cluster name\": {\"name_pattern\": …}, …}, as in the original's YAML files",
        );
    };
    let report = store::decide(|store| {
        store.lock(store::SINGLE_LOCK, store::SETTINGS);
        store.durable();
        let mut report = Vec::new();
        for (name, mut value) in clusters {
            let hash = Sha256::digest(value.to_string().as_bytes()).to_vec();
            let present = store.first(
                "SELECT imported_hash, edited FROM goahead._cluster WHERE name = $1",
                &[name.as_str().into()],
                |row| (row.opt::<Vec<u8>>(1), row.get::<bool>(2)),
            );
            let line = match present {
                Some((Some(before), _)) if before == hash && !force => {
                    format!("{name}: unchanged since its last import")
                }
                Some((_, true)) if !force => {
                    format!(
                        "warning: {name}: was edited by SQL since its last import and is left as it is; force overwrites it"
                    )
                }
                _ => match judged(store, &name, &mut value, Source::Import) {
                    Err((message, hint)) => format!("error: {message}; {hint}"),
                    Ok(warnings) => {
                        write(store, &name, &value, Some(&hash));
                        report.extend(warnings.into_iter().map(|warning| format!("warning: {name}: {warning}")));
                        format!("{name}: imported")
                    }
                },
            };
            report.push(line);
        }
        report
    });
    SetOfIterator::new(report)
}

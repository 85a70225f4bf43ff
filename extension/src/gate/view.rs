//! Looking at the file, and at texts that may become it. Nothing here writes.

use super::apply::{read_state, verdict};
use super::calls;
use super::server::{self, MAJOR};
use crate::store;
use goahead_hba_file::{AsServer, Error, Inside, versions};
use goahead_rules::hba::{self, Dialect, Entry, Keeper};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The major versions whose grammar [`hba`] was tried against.
const OLDEST: u32 = 14;
const NEWEST: u32 = 18;
/// Longest text that is checked, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// What is said of a line that keeps the file from loading after the gate had to close.
const SHUT: &str = "until then the server goes by the last text that loads, with the gated lines closed";

/// The file as it is, or a text for a server of a major version.
#[pg_extern(stable, parallel_unsafe, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn _hba_lines(
    content: Option<&str>,
    major: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(file, String),
        name!(line, i32),
        name!(rule, Option<String>),
        name!(type, Option<String>),
        name!(database, Option<Vec<String>>),
        name!(user_name, Option<Vec<String>>),
        name!(address, Option<String>),
        name!(netmask, Option<String>),
        name!(auth_method, Option<String>),
        name!(options, Option<Vec<String>>),
        name!(error, Option<String>),
        name!(hint, Option<String>),
    ),
> {
    let path = server::hba_file();
    let entries = match content {
        Some(content) => proposed(content, &path, major),
        None => present(&path),
    };
    let shut = content.is_none() && goahead_hba_file::is_shut(&path);
    let mend = |problem: &hba::Problem| if shut { format!("{}; {SHUT}", problem.mend) } else { problem.mend.clone() };
    let texts = |tokens: &[hba::Token]| tokens.iter().map(|token| token.text().into_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let rule = entry.verdict.as_ref().ok();
            let problem = entry.verdict.as_ref().err();
            (
                entry.file.display().to_string(),
                i32::try_from(entry.line).unwrap_or(i32::MAX),
                entry.managed,
                rule.map(|rule| rule.kind.as_str().to_owned()),
                rule.map(|rule| texts(&rule.databases)),
                rule.map(|rule| texts(&rule.users)),
                rule.and_then(|rule| rule.address.as_ref()).map(hba::Address::text),
                rule.and_then(|rule| rule.address.as_ref()).and_then(hba::Address::mask),
                rule.map(|rule| rule.method.as_str().to_owned()),
                rule.map(|rule| rule.options.shown()).filter(|options| !options.is_empty()),
                problem.map(|problem| problem.message.clone()).or_else(|| rule.and_then(|rule| rule.warning.clone())),
                problem.map(mend),
            )
        })
        .collect();
    TableIterator::new(rows)
}

fn present(path: &Path) -> Vec<Entry> {
    let raise = |error: Error| -> ! { server::raise(&error) };
    let text = goahead_hba_file::read(path).unwrap_or_else(|error| raise(error));
    hba::parse(&text, path, &server::dialect(), &AsServer)
}

fn proposed(content: &str, path: &Path, major: Option<i32>) -> Vec<Entry> {
    if content.len() > LONGEST {
        store::fail(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the text is longer than 16 MiB",
            "check the part that you are going to change",
        );
    }
    let dialect = match major.map(u32::try_from) {
        None => server::dialect(),
        Some(Ok(major)) if major == MAJOR => server::dialect(),
        Some(Ok(major)) if (OLDEST..=NEWEST).contains(&major) => Dialect::packaged(major),
        Some(_) => store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the grammar of PostgreSQL {} is not known", major.unwrap_or_default()),
            format!("major versions {OLDEST} to {NEWEST} are"),
        ),
    };
    let files = Inside::of(path).unwrap_or_else(|error| server::raise(&error));
    hba::parse(content.as_bytes(), files.path(), &dialect, &files)
}

#[pg_extern(stable, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_preview(state: default!(Option<&str>, "NULL")) -> String {
    let state = state.map_or_else(verdict, read_state);
    let rules = store::read(calls::desired);
    let text = goahead_hba_file::read(&server::hba_file()).unwrap_or_else(|error| server::raise(&error));
    let ours = hba::replace_foreign(&text, b"");
    String::from_utf8_lossy(&hba::install_part(&ours, Keeper::Rows, &rules, state, MAJOR)).into_owned()
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_versions()
-> TableIterator<'static, (name!(version, i64), name!(written, Option<TimestampWithTimeZone>), name!(size, i64))> {
    let versions = versions(&server::hba_file()).unwrap_or_else(|error| server::raise(&error));
    let rows: Vec<_> = versions
        .into_iter()
        .rev()
        .map(|version| {
            let since = version.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            let written = pgrx::datum::datetime_support::to_timestamp(since.as_secs_f64());
            (
                i64::try_from(version.number).unwrap_or(i64::MAX),
                Some(written),
                i64::try_from(version.size).unwrap_or(i64::MAX),
            )
        })
        .collect();
    TableIterator::new(rows)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_version(version: i64) -> String {
    let number = u64::try_from(version).unwrap_or(0);
    let text = goahead_hba_file::version(&server::hba_file(), number).unwrap_or_else(|error| server::raise(&error));
    String::from_utf8_lossy(&text).into_owned()
}

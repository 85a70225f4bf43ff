//! The gated lines of `haproxy`, as harepd writes them: for each address of HAProxy and each check user one line per
//! database.

use goahead_rules::hba::{Desired, Dialect, Fields};

use super::settings::Haproxy;

/// The lines as rules.
///
/// # Errors
/// Every problem, with its field and what to do.
pub fn rules(haproxy: &Haproxy, major: u32) -> Result<Vec<Desired>, String> {
    let dialect = Dialect::packaged(major);
    let (method, options) = split(&haproxy.allow);
    let (otherwise, _) = split(&haproxy.deny);
    let mut rules = Vec::new();
    for (at, server) in haproxy.servers.iter().enumerate() {
        let address = format!("{server}/{}", if server.is_ipv4() { 32 } else { 128 });
        let users = [(Some(&haproxy.read_write), "primary", "rw"), (haproxy.read_only.as_ref(), "standby", "ro")];
        for (user, applies, kind) in users {
            let Some(user) = user else { continue };
            let user = literal(user);
            // pgsql-check names no database, and then it is the user's name.
            let databases = std::iter::once(user.clone()).chain(haproxy.databases.iter().map(|name| literal(name)));
            let database = databases.collect::<Vec<_>>().join(",");
            let name = format!("haproxy-{kind}-{}", at + 1);
            let fields = Fields {
                name: &name,
                kind: "host",
                database: &database,
                user: &user,
                address: &address,
                method,
                options,
                applies,
                otherwise,
            };
            let problems = |problems: Vec<goahead_rules::hba::Problem>| {
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            };
            rules.push(Desired::new(fields, &dialect).map_err(problems)?.by_gate());
        }
    }
    Ok(rules)
}

/// A name that is taken as it is, whatever it looks like.
fn literal(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A method and its options.
fn split(method: &str) -> (&str, &str) {
    let method = method.trim();
    method.split_once(char::is_whitespace).map_or((method, ""), |(method, options)| (method, options.trim()))
}

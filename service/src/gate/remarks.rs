//! What an operator should know beside the verdict: said once in the log when it begins and when it ends, and shown in
//! every round while it lasts. None of it decides anything.

use super::facts::Found;
use super::settings::Settings;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remark {
    /// Which, while its text may change
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The local database does not answer
    Database,
    /// `repmgr.nodes` cannot be read
    Source,
    /// `repmgr.nodes` does not know this node
    Unknown,
    /// There is no line to open and to close
    NoLines,
    /// Nobody closes lines that a starting server finds open
    NoWorker,
}

impl Kind {
    /// Whether something does not work, rather than being left out.
    fn is_trouble(self) -> bool {
        matches!(self, Self::Database | Self::Source | Self::Unknown)
    }

    /// What is said when it is over; none: nobody waits for that.
    fn over(self) -> Option<&'static str> {
        match self {
            Self::Database => Some("the local database answers again"),
            Self::Source => Some("repmgr.nodes can be read again"),
            Self::Unknown => Some("repmgr.nodes knows this node now"),
            Self::NoLines | Self::NoWorker => None,
        }
    }
}

/// Remembers what was said.
#[derive(Debug, Default)]
pub struct Remarks(Vec<Remark>);

impl Remarks {
    /// Logs what is new and what is over. What is to be shown: all that no other place of a snapshot shows.
    pub fn look(&mut self, settings: &Settings, found: &Found) -> Vec<String> {
        let now = remarks(settings, found);
        for remark in now.iter().filter(|remark| !self.0.contains(remark)) {
            match remark.kind.is_trouble() {
                true => tracing::warn!("{}", remark.text),
                false => tracing::info!("{}", remark.text),
            }
        }
        // While the database is silent nobody knows whether the others are over.
        let known = found.local.is_some();
        let (lasting, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .filter(|old| now.iter().all(|remark| remark.kind != old.kind))
            .partition(|old| !known && old.kind != Kind::Database);
        for text in over.iter().filter_map(|old| old.kind.over()) {
            tracing::info!("{text}");
        }
        self.0 = lasting;
        self.0.extend(now);
        let elsewhere = |kind| matches!(kind, Kind::Database | Kind::Source);
        self.0.iter().filter(|remark| !elsewhere(remark.kind)).map(|remark| remark.text.clone()).collect()
    }
}

fn remarks(settings: &Settings, found: &Found) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut say = |kind, text| remarks.push(Remark { kind, text });
    let Some(local) = &found.local else {
        let why = found.error.as_deref().unwrap_or("it was not asked yet");
        say(Kind::Database, format!("the local database does not answer: {why}"));
        return remarks;
    };
    if let Some(database) = &settings.repmgr_database {
        match (&local.source, &local.source_error) {
            (Some(nodes), _) if nodes.iter().all(|row| row.node_name != settings.node) => say(
                Kind::Unknown,
                format!("repmgr.nodes has no node called {}: node must be its node_name there", settings.node),
            ),
            (None, Some(why)) => {
                say(
                    Kind::Source,
                    format!("repmgr.nodes cannot be read in database {database} (repmgr_database): {why}"),
                );
            }
            _ => {}
        }
    }
    if settings.haproxy.is_none() && (!local.extension || local.rules == 0) {
        let why = match local.extension {
            true => "no rule is set (goahead.hba_set)",
            false => "the extension goahead is not in the gate's database (CREATE EXTENSION goahead)",
        };
        say(
            Kind::NoLines,
            format!(
                "there are no lines in pg_hba.conf to open: {why}, and no haproxy is configured; HTTP is the only door"
            ),
        );
    } else if local.extension && !local.watchdog {
        let why = "PostgreSQL does not close the lines when it starts, so a copied pg_hba.conf may let traffic in until \
                   the gate closes it: set shared_preload_libraries = 'goahead' and goahead.gate = on, and restart it";
        say(Kind::NoWorker, why.to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use goahead_rules::gate::RepmgrNode;

    use super::super::settings::Haproxy;
    use super::super::snapshot::Local;
    use super::*;

    fn local() -> Local {
        Local { extension: true, rules: 1, watchdog: true, ..Local::default() }
    }

    fn found(local: Local) -> Found {
        Found { local: Some(local), error: None }
    }

    fn kinds(settings: &Settings, found: &Found) -> Vec<Kind> {
        remarks(settings, found).into_iter().map(|remark| remark.kind).collect()
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut settings = Settings::for_tests("n1");
        assert_eq!(kinds(&settings, &found(local())), []);
        let bare = Local { extension: false, rules: 0, watchdog: false, ..local() };
        assert_eq!(kinds(&settings, &found(bare.clone())), [Kind::NoLines]);
        assert_eq!(kinds(&settings, &found(Local { rules: 0, ..local() })), [Kind::NoLines]);
        assert_eq!(kinds(&settings, &found(Local { watchdog: false, ..local() })), [Kind::NoWorker]);
        settings.haproxy = Some(Haproxy {
            servers: Vec::new(),
            read_write: "harw".into(),
            read_only: None,
            allow: "md5".into(),
            deny: "reject".into(),
            databases: Vec::new(),
        });
        assert_eq!(kinds(&settings, &found(bare)), []);
    }

    #[test]
    fn a_source_that_does_not_know_this_node_is_named() {
        let mut settings = Settings::for_tests("n1");
        settings.repmgr_database = Some("repmgr".into());
        let node = |name: &str| RepmgrNode {
            node_id: 1,
            node_name: name.into(),
            kind: "primary".into(),
            active: true,
            host: None,
        };
        let knows = |name| found(Local { source: Some(vec![node(name)]), ..local() });
        assert_eq!(kinds(&settings, &knows("n1")), []);
        assert_eq!(kinds(&settings, &knows("other")), [Kind::Unknown]);
        let broken = found(Local { source_error: Some("no such database".into()), ..local() });
        assert_eq!(kinds(&settings, &broken), [Kind::Source]);
        assert!(remarks(&settings, &broken)[0].text.contains("no such database"));
    }

    #[test]
    fn a_silent_database_ends_nothing_but_its_own_answer() {
        let settings = Settings::for_tests("n1");
        let mut said = Remarks::default();
        let bare = found(Local { extension: false, ..local() });
        let shown = said.look(&settings, &bare);
        assert_eq!(shown.len(), 1);
        let silent = Found { local: None, error: Some("Connection refused".into()) };
        assert!(remarks(&settings, &silent)[0].text.contains("Connection refused"));
        assert_eq!(said.look(&settings, &silent), shown);
        assert_eq!(said.0.len(), 2);
        assert_eq!(said.look(&settings, &bare), shown);
        assert_eq!(said.look(&settings, &found(local())), Vec::<String>::new());
    }
}

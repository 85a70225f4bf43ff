//! The page: a section for each kind of work, each from a run of its own.
//!
//! A run replaces the sections that it measured and leaves the others as they are, word for word.

/// What stands above all sections.
const HEAD: &str = "# Benchmark\n\n\
    Written by `make bench`; every number is from one run on one machine, with the load client on it, too. Each section\n\
    says when and on what it was measured.\n";

/// A section of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Reboots of a fleet
    Restarts,
    /// Locks, beside etcd's
    Locks,
    /// Rendezvous, beside Redis' lists and PostgreSQL's notifications
    Rendezvous,
}

impl Section {
    /// Each, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Restarts, Self::Locks, Self::Rendezvous];

    /// The section that an argument names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.title().eq_ignore_ascii_case(name))
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Restarts => "Restarts",
            Self::Locks => "Locks",
            Self::Rendezvous => "Rendezvous",
        }
    }
}

/// The page with the text of one section replaced, or added where it belongs.
pub fn replace(page: &str, section: Section, text: &str) -> String {
    let mut all = String::from(HEAD);
    for each in Section::ALL {
        let body = if each == section { Some(text) } else { body(page, each) };
        if let Some(body) = body {
            all.push_str(&format!("\n## {}\n\n{}\n", each.title(), body.trim()));
        }
    }
    all
}

/// What a page has below the heading of a section.
fn body(page: &str, section: Section) -> Option<&str> {
    let heading = format!("## {}\n", section.title());
    let start = if page.starts_with(&heading) { 0 } else { page.find(&format!("\n{heading}"))? + 1 } + heading.len();
    let end = page[start..].find("\n## ").map_or(page.len(), |length| start + length);
    Some(&page[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_its_own_section_only() {
        let page = replace("", Section::Rendezvous, "waiters\n");
        let page = replace(&page, Section::Restarts, "fleets\n\n### Latency\n\n| a |\n");
        assert!(page.starts_with(HEAD), "{page}");
        assert_eq!(body(&page, Section::Restarts).map(str::trim), Some("fleets\n\n### Latency\n\n| a |"));
        assert_eq!(body(&page, Section::Locks), None);

        let with_locks = replace(&page, Section::Locks, "pairs");
        let order: Vec<usize> = Section::ALL.iter().filter_map(|each| with_locks.find(each.title())).collect();
        assert!(order.len() == 3 && order.is_sorted(), "{with_locks}");
        let again = replace(&with_locks, Section::Locks, "more pairs");
        assert!(again.contains("\n## Locks\n\nmore pairs\n") && !again.contains("\npairs\n"), "{again}");
        assert_eq!(body(&again, Section::Restarts), body(&page, Section::Restarts));
        assert_eq!(body(&again, Section::Rendezvous).map(str::trim), Some("waiters"));
    }

    #[test]
    fn sections_go_by_their_names() {
        assert_eq!(Section::named("locks"), Some(Section::Locks));
        assert_eq!(Section::named("lock"), None);
    }
}

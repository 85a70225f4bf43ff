//! Which cluster a host belongs to: the first, by priority and name, whose pattern matches and whose blacklist does not.
//!
//! Patterns are those of the `regex` crate, which are RE2's as in Go, and match anywhere in the name unless anchored.
//! Host names have no case, so patterns have none either: names arrive in lower case, and `^WEB`, written for the original
//! goahead, which compared names as they were sent, goes on to match the same hosts. A pattern with a capital letter in it
//! disregards case (`(?-i)` turns that off); one without is used as it stands. Names are ASCII, and so are `\d`, `\w`,
//! `\s` and `\b`, as in Go.
//!
//! With thousands of clusters nothing is matched against all of them: an automaton finds the literals in a name that
//! patterns insist on, and only the few patterns left are compiled, into a bounded cache.

mod cache;
mod literals;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use regex_syntax::hir::Hir;

use cache::Cache;
use literals::Literals;

/// The longest pattern in bytes; an enumeration of a thousand host names fits.
pub const MAX_PATTERN: usize = 64 * 1024;
/// The largest compiled pattern in bytes, as the `regex` crate counts them.
pub const MAX_COMPILED: usize = 2 << 20;

/// Why a pattern cannot be used; the pattern itself is left for the caller to name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern, which the original took to match every host.
    #[error("is empty and would match every host; write .* if that is meant")]
    Empty,
    /// More than [`MAX_PATTERN`] bytes.
    #[error("has {0} bytes; at most {MAX_PATTERN} are allowed")]
    TooLong(usize),
    /// Not a regular expression.
    #[error("is not a regular expression: {problem} at character {position} ({near:?})")]
    Syntax {
        /// What is wrong, in the words of the `regex` crate.
        problem: String,
        /// Where, the first character being 1.
        position: usize,
        /// The pattern from there on, shortened.
        near: String,
    },
    /// More than [`MAX_COMPILED`] bytes when compiled.
    #[error("needs more than {MAX_COMPILED} bytes when compiled; shorten it or lower its {{n,m}} repetitions")]
    TooLarge,
    /// One of the above, in a cluster that is in use.
    #[error("pattern {pattern:?} of cluster {cluster} {problem}")]
    OfCluster {
        /// The cluster's name.
        cluster: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: Box<PatternError>,
    },
}

/// Judges a pattern when it is configured.
///
/// # Errors
/// An empty, overlong or malformed pattern, or one that is too large when compiled.
pub fn validate_pattern(pattern: &str) -> Result<(), PatternError> {
    parse(pattern)?;
    cache::compile(pattern).map(|_| ())
}

/// Whether no host name can match: the pattern insists on a character that host names do not have (they are made of
/// `a-z`, `0-9`, `.`, `-` and `_`). Such a pattern is valid and a mistake. Nothing is said of a malformed one.
#[must_use]
pub fn never_matches(pattern: &str) -> bool {
    parse(pattern).is_ok_and(|hir| literals::required(&hir).iter().any(Vec::is_empty))
}

/// The patterns of one enabled cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPatterns {
    /// The cluster's row.
    pub id: i32,
    /// The cluster's name, which orders clusters of one priority.
    pub name: String,
    /// Clusters of a higher priority are asked first.
    pub priority: i32,
    /// What its hosts' names match.
    pub name_pattern: String,
    /// What the names of hosts match that it passes over.
    pub blacklist: Vec<String>,
}

/// Where a name belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// In the cluster of this id.
    Cluster(i32),
    /// In no cluster; this one would have taken it but for its blacklist.
    Blacklisted {
        /// The id of the first cluster whose pattern matched.
        cluster: i32,
        /// The first pattern of its blacklist that matched.
        pattern: String,
    },
    /// In no cluster.
    None,
}

/// All enabled clusters, ready to be searched.
pub struct Matcher {
    /// In the order in which they are asked.
    clusters: Vec<ClusterPatterns>,
    /// For each cluster, what a name must contain beside the literal that made it a candidate.
    checks: Vec<Box<[Literals]>>,
    /// Finds the literals in a name.
    automaton: AhoCorasick,
    /// The clusters, as indexes, that each literal of the automaton makes candidates.
    owners: Vec<Vec<u32>>,
    /// The clusters that insist on no literal.
    always: Vec<u32>,
    cache: Cache,
}

impl Matcher {
    /// Prepares the clusters; their name patterns are read, but not compiled.
    ///
    /// # Errors
    /// The first name pattern that [`validate_pattern`] would have refused for its text. Blacklists and compiled sizes come
    /// to light in [`Matcher::find`].
    pub fn new(mut clusters: Vec<ClusterPatterns>) -> Result<Self, PatternError> {
        clusters.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        let mut required = Vec::with_capacity(clusters.len());
        for cluster in &clusters {
            let hir =
                parse(&cluster.name_pattern).map_err(|problem| of_cluster(cluster, &cluster.name_pattern, problem))?;
            required.push(literals::required(&hir));
        }
        let mut always = Vec::new();
        let mut owners: Vec<Vec<u32>> = Vec::new();
        let keys = literals::choose_keys(&required);
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut needles: Vec<&[u8]> = Vec::new();
        for (index, (sets, key)) in (0..).zip(required.iter().zip(&keys)) {
            let Some(key) = key else {
                always.push(index);
                continue;
            };
            for literal in &sets[*key] {
                let number = *numbers.entry(literal).or_insert_with(|| {
                    needles.push(literal);
                    owners.push(Vec::new());
                    needles.len() - 1
                });
                owners[number].push(index);
            }
        }
        let automaton = AhoCorasick::new(&needles)
            .expect("literals in memory are shorter than the automaton's limit of 2^31 states");
        let checks = required.into_iter().zip(keys).map(|(sets, key)| literals::checks(sets, key)).collect();
        Ok(Self { clusters, checks, automaton, owners, always, cache: Cache::default() })
    }

    /// The cluster of a host name in lower case.
    ///
    /// # Errors
    /// A pattern that it had to try turns out to be malformed or too large, because it was never validated.
    pub fn find(&mut self, name: &str) -> Result<Match, PatternError> {
        let mut blacklisted = Match::None;
        'clusters: for index in self.candidates(name) {
            let cluster = &self.clusters[index];
            let mut matches = |pattern: &str| {
                self.cache.is_match(pattern, name).map_err(|problem| of_cluster(cluster, pattern, problem))
            };
            if !matches(&cluster.name_pattern)? {
                continue;
            }
            for pattern in &cluster.blacklist {
                if matches(pattern)? {
                    if blacklisted == Match::None {
                        blacklisted = Match::Blacklisted { cluster: cluster.id, pattern: pattern.clone() };
                    }
                    continue 'clusters;
                }
            }
            return Ok(Match::Cluster(cluster.id));
        }
        Ok(blacklisted)
    }

    /// The clusters, as indexes in the order in which they are asked, that the name's literals do not rule out.
    fn candidates(&self, name: &str) -> Vec<usize> {
        let hits = self.automaton.find_overlapping_iter(name);
        let mut candidates = self.always.clone();
        candidates.extend(hits.flat_map(|hit| &self.owners[hit.pattern().as_usize()]));
        candidates.sort_unstable();
        candidates.dedup();
        let candidates = candidates.into_iter().map(|index| index as usize);
        candidates.filter(|&index| literals::pass(&self.checks[index], name)).collect()
    }
}

/// Reads a pattern without regard to case. ASCII classes keep it small; only a pattern that names a Unicode class
/// (`\pL`) is refused that way, and read again with Unicode's.
fn parse(pattern: &str) -> Result<Hir, PatternError> {
    check_length(pattern)?;
    read(pattern, false).or_else(|_| read(pattern, true))
}

fn read(pattern: &str, unicode: bool) -> Result<Hir, PatternError> {
    let mut parser = regex_syntax::ParserBuilder::new();
    parser.unicode(unicode).utf8(false).case_insensitive(has_capitals(pattern));
    parser.build().parse(pattern).map_err(|error| {
        let (problem, at) = match &error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
            other => (other.to_string(), 0),
        };
        let (before, after) = pattern.split_at(at);
        let near = after.chars().take(20).collect();
        PatternError::Syntax { problem, position: before.chars().count() + 1, near }
    })
}

/// Whether case has to be disregarded. Names have no capitals, so only a pattern with capitals needs it, and those
/// without are smaller and faster to compile as they stand.
fn has_capitals(pattern: &str) -> bool {
    pattern.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_length(pattern: &str) -> Result<(), PatternError> {
    match pattern.len() {
        0 => Err(PatternError::Empty),
        length if length > MAX_PATTERN => Err(PatternError::TooLong(length)),
        _ => Ok(()),
    }
}

fn of_cluster(cluster: &ClusterPatterns, pattern: &str, problem: PatternError) -> PatternError {
    PatternError::OfCluster { cluster: cluster.name.clone(), pattern: pattern.to_owned(), problem: Box::new(problem) }
}

//! What a name must contain for a pattern to match it, found without compiling the pattern.
//!
//! A pattern's requirement is a list of sets: of each set, at least one literal stands in every name that matches. So
//! `^(foobar-)(aa|bb)[0-9]{2}[.]dc1` requires one of `foobar-aa`, `foobar-bb` and also `.dc1`. The walk errs on one side
//! only: it may ask for too little, never for too much.

use std::cmp::Reverse;
use std::collections::HashMap;

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Alternative literals in lower case. None at all means that no name qualifies.
pub(super) type Literals = Vec<Box<[u8]>>;

/// How many literals a product of alternatives may have, `(a|b)(c|d)` having four.
const MAX_PRODUCT: usize = 16;
/// How many when only one side has alternatives, which happens with enumerations such as `web(01|02|…)`.
const MAX_ENUMERATION: usize = 1_024;
/// How long a product's literals may get, in bytes.
const MAX_LITERAL: usize = 64;
/// How many characters of a class count as alternatives.
const MAX_CLASS: usize = 4;
/// Shorter literals stand in too many names to be worth searching for, if there is anything else.
const SHORT: usize = 3;

/// What is known of a part of a pattern.
struct Known {
    /// All that the part can match, when that is a short list.
    exact: Option<Literals>,
    /// What it requires beside.
    sets: Vec<Literals>,
}

impl Known {
    const NOTHING: Self = Self { exact: None, sets: Vec::new() };

    fn exactly(literals: Literals) -> Self {
        Self { exact: Some(literals), sets: Vec::new() }
    }

    /// The requirements, with the exact list as one of them.
    fn into_sets(self) -> Vec<Literals> {
        let mut sets = self.sets;
        if let Some(exact) = self.exact {
            require(&mut sets, exact);
        }
        sets
    }
}

/// The sets that a pattern requires; an empty list when it may match any name, an empty set when it matches none.
pub(super) fn required(hir: &Hir) -> Vec<Literals> {
    walk(hir).into_sets()
}

fn require(sets: &mut Vec<Literals>, literals: Literals) {
    if literals.iter().all(|literal| !literal.is_empty()) {
        sets.push(literals);
    }
}

fn walk(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::exactly(nothing()),
        HirKind::Literal(literal) if literal.0.iter().all(|&byte| in_names(byte)) => {
            Known::exactly(vec![literal.0.clone()])
        }
        HirKind::Literal(_) => Known::exactly(Vec::new()),
        HirKind::Class(class) => letters(class).map_or(Known::NOTHING, Known::exactly),
        HirKind::Repetition(repetition) => repeated(repetition),
        HirKind::Capture(capture) => walk(&capture.sub),
        HirKind::Concat(parts) => concatenated(parts),
        HirKind::Alternation(branches) => alternated(branches),
    }
}

/// The one literal that is always there.
fn nothing() -> Literals {
    vec![Box::default()]
}

fn in_names(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

/// The characters of names in a class, if they are few.
fn letters(class: &Class) -> Option<Literals> {
    let holds = |byte: u8| match class {
        Class::Bytes(class) => class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte)),
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
    };
    let found = (b'-'..=b'z').filter(|&byte| in_names(byte) && holds(byte));
    let few = found.clone().nth(MAX_CLASS).is_none();
    few.then(|| found.map(|byte| Box::from([byte])).collect())
}

fn repeated(repetition: &Repetition) -> Known {
    let (min, max) = (repetition.min, repetition.max);
    let known = walk(&repetition.sub);
    let Some(exact) = known.exact else {
        return if min == 0 { Known::NOTHING } else { Known { exact: None, sets: known.sets } };
    };
    if min == 0 {
        let optional = || exact.into_iter().chain(nothing()).collect();
        return if max == Some(1) { Known::exactly(optional()) } else { Known::NOTHING };
    }
    let mut power = exact.clone();
    // What is empty, or matches no name, is the same however often it is repeated: up to 2^32 times.
    let mut count = if longest(&exact) == 0 { min } else { 1 };
    while count < min {
        let Some(product) = product(&power, &exact) else { break };
        power = product;
        count += 1;
    }
    if Some(count) == max {
        return Known::exactly(power);
    }
    let mut sets = Vec::new();
    require(&mut sets, power);
    Known { exact: None, sets }
}

fn concatenated(parts: &[Hir]) -> Known {
    let mut sets = Vec::new();
    let mut run = nothing();
    let mut whole = true;
    for part in parts {
        let known = walk(part);
        sets.extend(known.sets);
        if let Some(product) = known.exact.as_ref().and_then(|exact| product(&run, exact)) {
            run = product;
        } else {
            whole = false;
            require(&mut sets, run);
            run = known.exact.unwrap_or_else(nothing);
        }
    }
    if whole {
        return Known::exactly(run);
    }
    require(&mut sets, run);
    Known { exact: None, sets }
}

/// One literal of any branch's best set, or all that the branches match when every one is exact.
fn alternated(branches: &[Hir]) -> Known {
    let known: Vec<Known> = branches.iter().map(walk).collect();
    if known.iter().all(|known| known.exact.is_some()) {
        return Known::exactly(known.into_iter().filter_map(|known| known.exact).flatten().collect());
    }
    let mut union = Literals::new();
    for branch in known {
        let Some(best) = branch.into_sets().into_iter().max_by_key(|set| (set.is_empty(), shortest(set))) else {
            return Known::NOTHING;
        };
        union.extend(best);
    }
    Known { exact: None, sets: vec![union] }
}

/// Every literal of one list followed by every one of the other, unless that grows too large.
fn product(first: &Literals, second: &Literals) -> Option<Literals> {
    let count = first.len() * second.len();
    let limit = if first.len().min(second.len()) <= 1 { MAX_ENUMERATION } else { MAX_PRODUCT };
    if count > limit || longest(first) + longest(second) > MAX_LITERAL {
        return None;
    }
    let pairs = first.iter().flat_map(|head| second.iter().map(move |tail| [&head[..], &tail[..]].concat()));
    Some(pairs.map(Vec::into_boxed_slice).collect())
}

fn longest(set: &Literals) -> usize {
    set.iter().map(|literal| literal.len()).max().unwrap_or(0)
}

fn shortest(set: &Literals) -> usize {
    set.iter().map(|literal| literal.len()).min().unwrap_or(0)
}

/// For each pattern the index of the set to search names for: the one that the fewest patterns share, so that a domain
/// common to all does not make candidates of all. None for a pattern without requirements.
pub(super) fn choose_keys(required: &[Vec<Literals>]) -> Vec<Option<usize>> {
    let mut shared: HashMap<&[u8], u32> = HashMap::new();
    for literal in required.iter().flatten().flatten() {
        *shared.entry(literal).or_default() += 1;
    }
    let cost = |set: &Literals| {
        let sharers = set.iter().map(|literal| u64::from(shared[&literal[..]])).sum::<u64>();
        (!set.is_empty() && shortest(set) < SHORT, sharers, Reverse(shortest(set)))
    };
    let key = |sets: &Vec<Literals>| (0..sets.len()).min_by_key(|&index| cost(&sets[index]));
    required.iter().map(key).collect()
}

/// The sets that are worth a look before a pattern is compiled: all but the one that was searched for and the long ones.
pub(super) fn checks(mut sets: Vec<Literals>, key: Option<usize>) -> Box<[Literals]> {
    if let Some(key) = key {
        sets.remove(key);
    }
    sets.retain(|set| set.len() <= MAX_PRODUCT);
    sets.into_boxed_slice()
}

/// Whether a name has what the sets ask for.
pub(super) fn pass(sets: &[Literals], name: &str) -> bool {
    let holds = |literal: &[u8]| name.as_bytes().windows(literal.len()).any(|window| window == literal);
    sets.iter().all(|set| set.iter().any(|literal| holds(literal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requirement as text: sets separated by `&`, literals by `|`, `!` for what cannot match.
    fn shown(pattern: &str) -> String {
        let set = |set: &Literals| match set.is_empty() {
            true => "!".to_owned(),
            false => set.iter().map(|literal| str::from_utf8(literal).unwrap()).collect::<Vec<_>>().join("|"),
        };
        let hir = super::super::parse(pattern).unwrap();
        required(&hir).iter().map(set).collect::<Vec<_>>().join(" & ")
    }

    #[test]
    fn finds_what_a_pattern_insists_on() {
        for (pattern, requirement) in [
            ("^(foobar-)(aa|bb)[[:digit:]]{2}.(domain).(tld)$", "foobar-aa|foobar-bb & domain & tld"),
            ("^WEB[12]\\.Example", "web1.example|web2.example"),
            ("web|db", "web|db"),
            ("web|d[0-9]b|", ""),
            ("web.x|d[0-9]bc", "web|bc"),
            ("web?", "web|we"),
            ("w(eb)*x", "w & x"),
            ("w(eb)+x", "w & eb & x"),
            ("w(eb){2}x", "webebx"),
            ("w(eb){2,}x", "w & ebeb & x"),
            ("w(eb){0}x", "wx"),
            ("(a.b)+c", "a & b & c"),
            ("(a.b)*c", "c"),
            ("[a-d]x|[a-e]y.", "ax|bx|cx|dx|y"),
            ("([ab]{2})x", "aax|abx|bax|bbx"),
            ("[a-d]{2}[ab]x", "aa|ab|ac|ad|ba|bb|bc|bd|ca|cb|cc|cd|da|db|dc|dd & ax|bx"),
            (".*", ""),
            ("^$", ""),
            ("( ){4000000000}", "!"),
            ("( |){4000000000}x", "x"),
            ("a b", "!"),
            ("(a b)?c", "c"),
            ("a b|c", "c"),
            ("a b|c.dd", "dd"),
            ("a b.cc|d.ee", "ee"),
        ] {
            let found = shown(pattern);
            let sorted = |text: &str, by: &str| {
                let mut parts: Vec<_> = text.split(by).map(str::to_owned).collect();
                parts.sort_unstable();
                parts
            };
            let pieces = |text: &str| -> Vec<_> { sorted(text, " & ").iter().map(|set| sorted(set, "|")).collect() };
            assert_eq!(pieces(&found), pieces(requirement), "{pattern}: {found}");
        }
    }

    #[test]
    fn searches_for_what_is_rare() {
        let read = |patterns: &[&str]| -> Vec<Vec<Literals>> {
            patterns.iter().map(|pattern| required(&super::super::parse(pattern).unwrap())).collect()
        };
        let patterns = ["^app1-\\d+\\.a-long-domain", "^app2-\\d+\\.a-long-domain", "^ab\\d+\\.a-long-domain", "\\d"];
        let keys = choose_keys(&read(&patterns));
        assert_eq!(keys, [Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn checks_only_what_is_short() {
        let set =
            |size: usize| -> Literals { (0..size).map(|number| number.to_string().into_bytes().into()).collect() };
        let sets = vec![set(1), set(MAX_PRODUCT), set(MAX_PRODUCT + 1)];
        assert_eq!(*checks(sets.clone(), Some(0)), [set(MAX_PRODUCT)]);
        assert_eq!(*checks(sets, Some(2)), [set(1), set(MAX_PRODUCT)]);
        assert!(pass(&[set(2)], "a1") && !pass(&[set(2)], "a2"));
    }

    #[test]
    fn stays_small() {
        let product = "(a|b)".repeat(40);
        assert!(required(&super::super::parse(&product).unwrap()).iter().all(|set| set.len() <= MAX_PRODUCT));
        let names: Vec<_> = (0..300).map(|number| format!("web{number:03}")).collect();
        let enumeration = format!("^({})\\.example\\.org$", names.join("|"));
        let sets = required(&super::super::parse(&enumeration).unwrap());
        assert_eq!(sets.len(), 1);
        assert_eq!((sets[0].len(), shortest(&sets[0])), (300, "web000.example.org".len()));
        let nested = "((((a|bc){9}){9}){9}){9}";
        let size: usize = required(&super::super::parse(nested).unwrap()).iter().flatten().map(|l| l.len()).sum();
        assert!(size <= MAX_PRODUCT * MAX_LITERAL, "{size}");
    }
}

//! The comment at the end of each line of ours, which says all that closing needs: the database may be down, and whatever
//! else edits the file may have moved the line.

use super::desired::Applies;
use super::lex::is_blank;
use super::method::Method;

/// Who keeps a rule in the block, and alone takes it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// The extension: it is a row.
    #[default]
    Rows,
    /// The gate's process: it comes from its configuration. Its tag says `by=gate`.
    Gate,
}

/// What a tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub name: String,
    pub applies: Applies,
    pub keeper: Keeper,
    /// Never one that lets everybody in: then it is `reject`.
    pub otherwise: Method,
    /// Whether it says `otherwise`, as all that are written here do.
    pub full: bool,
}

/// The longest name of a rule.
pub(super) const MAX_NAME: usize = 63;

/// Whether a rule may have this name: 1 to 63 of `A-Z a-z 0-9 _ . -`, so that it stands in a comment and a file name alike.
pub(super) fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The tag that a comment is, `#` included; none if it is a comment of somebody else. A word that is not known, or the
/// backslash of a continued line, does not unmake it.
pub(super) fn read(comment: &[u8]) -> Option<Tag> {
    let mut words = comment.strip_prefix(b"#")?.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let name = words.next()?.strip_prefix(b"goahead:")?;
    if !is_name(name) {
        return None;
    }
    let name = String::from_utf8(name.to_vec()).ok()?;
    let (mut applies, mut otherwise, mut keeper) = (None, None, Keeper::Rows);
    for word in words {
        if let Some(value) = word.strip_prefix(b"applies=") {
            applies = applies.or(Applies::from_word(value));
        } else if word == b"by=gate" {
            keeper = Keeper::Gate;
        } else if let Some(value) = word.strip_prefix(b"otherwise=") {
            otherwise = otherwise.or(Method::from_word(value).filter(|method| method.can_close()));
        }
    }
    let full = otherwise.is_some();
    Some(Tag { name, applies: applies?, keeper, otherwise: otherwise.unwrap_or(Method::Reject), full })
}

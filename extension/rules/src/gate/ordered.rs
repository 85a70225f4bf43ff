//! Which orders of an operator a gate takes.

use super::facts::Role;

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It would open a node that holds no data.
    #[error("this node is a witness: it takes no traffic; give the order on the primary")]
    Witness,
    /// It would wait for a promotion, and open then without a majority.
    #[error("this node is a standby; promote it first, or give the order on the primary (reads alone: --ro)")]
    Standby,
}

/// Whether an order to open the read-write door is taken. On a standby it could do nothing now; were it kept, a promotion
/// before its end would open the node without a majority and past the hold-down. `role` is none while the database does
/// not answer.
///
/// # Errors
/// Why it is not taken.
pub fn may_open_rw(witness: bool, role: Option<Role>) -> Result<(), NotTaken> {
    match role {
        _ if witness => Err(NotTaken::Witness),
        Some(Role::Standby) => Err(NotTaken::Standby),
        Some(Role::Primary) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_may_be_the_primary_is_ordered_to_open() {
        assert_eq!(may_open_rw(false, Some(Role::Primary)), Ok(()));
        assert_eq!(may_open_rw(false, None), Ok(()));
        assert_eq!(may_open_rw(false, Some(Role::Standby)), Err(NotTaken::Standby));
        assert_eq!(may_open_rw(true, None), Err(NotTaken::Witness));
        assert!(NotTaken::Standby.to_string().contains("promote it first"));
    }
}

//! The user that a program runs as.

use rustix::process::geteuid;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name
    pub name: String,
    /// Its number
    pub uid: u32,
    /// The number of its primary group
    pub gid: u32,
}

impl User {
    /// Looks a user up by name, through the system's name service.
    ///
    /// # Errors
    /// When there is none, or the name service fails; says which.
    pub fn find(name: &str) -> Result<Self, String> {
        match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
            Ok(None) => Err(format!("there is no user {name:?} on this machine")),
            Err(error) => Err(format!("cannot look up the user {name:?}: {error}")),
        }
    }

    /// Whether this process runs as this user already.
    pub fn is_current(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Whether this is the superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let root = User::find("root").expect("every machine has root");
        assert!(root.is_root());
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(User::find("no such user").unwrap_err().contains("no such user"));
    }
}

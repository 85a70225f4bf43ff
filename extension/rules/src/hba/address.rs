//! Addresses.

use std::net::IpAddr;

/// From where a connection comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `all`.
    All,
    /// `samehost`.
    SameHost,
    /// `samenet`.
    SameNet,
    /// An address and a mask of its family, which may have gaps.
    Net {
        /// As written: bits beyond the mask may be set.
        ip: IpAddr,
        /// The mask.
        mask: IpAddr,
    },
    /// A host name, or `.suffix`; a misspelt address is one too.
    Name(Vec<u8>),
}

impl Address {
    /// The address as `pg_hba_file_rules` shows it.
    #[must_use]
    pub fn text(&self) -> String {
        unimplemented!()
    }
    /// The mask as `pg_hba_file_rules` shows it.
    #[must_use]
    pub fn mask(&self) -> Option<String> {
        unimplemented!()
    }
}

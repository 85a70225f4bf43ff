//! The options of a method.

/// Options, as the server keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {}
impl Options {
    /// As `pg_hba_file_rules` shows them: `name=value`, defaults added.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        unimplemented!()
    }
}

//! The decisions of goahead: pure functions over facts, shared by the extension and the service.
pub mod command;
pub mod duration;
pub mod hba;

//! The decisions of goahead: pure functions over facts, shared by the extension and the service.
pub mod command;
pub mod duration;
pub mod gate;
pub mod hba;
pub mod hostname;
pub mod lease;
pub mod lock;
pub mod operation;
pub mod pattern;
pub mod rendezvous;
pub mod restart;
pub mod settings;
pub mod window;

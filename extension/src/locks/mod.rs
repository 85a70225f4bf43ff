//! Locks: who holds which slot, who waits for it.

mod calls;
mod engine;
mod facts;
mod operations;
mod settings;
mod sweep;
mod wire;
mod writes;

pub use sweep::{prune, sweep};

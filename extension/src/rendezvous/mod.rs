//! Rendezvous: keys that somebody signals and others wait for, and barriers.

mod barriers;
mod calls;
mod engine;
mod points;
mod sweep;
mod wire;

pub use sweep::{housekeeping, sweep};

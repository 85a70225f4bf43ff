//! Restarts: who may restart now.

mod calls;
mod checks;
mod clusters;
mod effects;
mod engine;
mod operators;
mod rollouts;
mod sweep;
mod wire;
mod world;
mod writes;

pub use sweep::{deadlines, housekeeping};

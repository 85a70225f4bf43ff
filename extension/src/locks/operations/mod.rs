//! Operations: what units do while they hold a lock, such as a restart of services.

mod calls;
mod conclude;
mod operators;
mod rows;
mod turn;

pub use operators::forget;
pub use rows::{trim, wait_for};

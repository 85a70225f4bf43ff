//! The file under hostile circumstances.

mod bed;
mod between;
mod files;
mod force;
mod gated;
mod killed;
mod mounts;
mod probe;

//! The file under hostile circumstances.

mod bed;
mod between;
mod fake;
mod files;
mod force;
mod full;
mod gated;
mod keeper;
mod killed;
mod mounts;
mod probe;
mod shut;

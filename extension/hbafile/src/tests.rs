//! The file under hostile circumstances.

mod bed;
mod between;
mod files;
mod gated;
mod killed;
mod mounts;

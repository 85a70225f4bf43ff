//! The file under hostile circumstances.

mod bed;
mod files;
mod gated;
mod killed;
mod mounts;

//! The file under hostile circumstances.

mod files;

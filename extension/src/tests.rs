//! The SQL functions in a real backend: privileges, errors, what is written.

mod access;
mod calls;
mod coordinator;
mod hba;
mod locks;
mod operations;
mod operators;
mod rendezvous;
mod settings;
mod support;

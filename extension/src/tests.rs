//! The SQL functions in a real backend: privileges, errors, what is written.

mod access;
mod calls;
mod locks;
mod operators;
mod rendezvous;
mod settings;
mod support;

//! goahead_client's replacement: the real binary against recorded answers, under both of its names.

mod answers;
mod failures;
mod flow;
mod support;
mod tls;

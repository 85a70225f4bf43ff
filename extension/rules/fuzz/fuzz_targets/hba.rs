#![no_main]
//! Any bytes as pg_hba.conf: nothing panics, and every edit keeps what it promises.

use goahead_rules::hba::check_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| check_text(text));

//! What must hold of any bytes, for the fuzzer and the property tests.

use std::path::Path;

use super::{
    Desired, Dialect, Fields, NoFiles, State, close, inspect, install, open_gated, parse, problems, remove, shadows,
};

/// Does everything that can be done with a text, on every major.
///
/// # Panics
/// When an edit is not idempotent, leaves a gated rule open, changes a foreign byte, or writes a rule that does not read
/// back.
pub fn check_text(text: &[u8]) {
    let fields = Fields {
        name: "harw",
        kind: "host",
        database: "harw",
        user: "\"/odd # name\"",
        address: "10.0.0.5",
        method: "scram-sha-256",
        options: "",
        applies: "primary",
        otherwise: "reject",
    };
    let foreign = remove(text);
    assert!(remove(&foreign) == foreign, "nothing of ours is left");
    assert!(remains(&foreign, text), "foreign bytes keep their order");
    let closed = close(text);
    assert_eq!(open_gated(&closed), Vec::<String>::new(), "all are closed");
    assert!(close(&closed) == closed, "closing twice is closing once");
    assert!(remove(&closed) == foreign, "closing leaves foreign bytes alone");
    for major in 14..=18 {
        let dialect = Dialect::packaged(major);
        let entries = parse(text, Path::new("pg_hba.conf"), &dialect, &NoFiles);
        let _ = (problems(&entries), shadows(&entries, major));
        let rule = [Desired::new(fields, &dialect).expect("the rule is a good one")];
        let open = install(text, &rule, State::PRIMARY, major);
        assert!(open.ends_with(&foreign), "foreign bytes stand below the block");
        assert!(remove(&open) == foreign, "what was installed can be removed");
        assert!(install(&open, &rule, State::PRIMARY, major) == open, "installing twice is installing once");
        assert!(inspect(&open, &rule, State::PRIMARY, major).none(), "what was installed has not drifted");
        assert!(close(&open) == install(text, &rule, State::CLOSED, major), "closing is installing closed");
        let first = parse(&open, Path::new("pg_hba.conf"), &dialect, &NoFiles).swap_remove(0);
        assert_eq!(first.managed.as_deref(), Some("harw"), "our rule is the first");
        assert!(first.verdict.is_ok(), "our rule loads");
    }
}

/// Whether one text is the other with whole lines left out, empty ones not counted.
fn remains(part: &[u8], whole: &[u8]) -> bool {
    let mut left = written(whole);
    written(part).all(|line| left.any(|other| other == line))
}

fn written(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.iter().all(|byte| matches!(byte, b'\r' | b'\n')))
}

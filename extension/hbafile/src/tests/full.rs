//! A full disk: a small file system of the test's own, in a mount namespace.

use super::bed::SOON;
use super::mounts::in_namespace;
use crate::{Error, edit, open_rules};
use goahead_rules::hba::{self, Desired, Dialect, Fields, State};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

fn rules() -> Vec<Desired> {
    let fields = Fields {
        name: "rw",
        kind: "host",
        database: "all",
        user: "harw",
        address: "10.0.0.5/32",
        method: "scram-sha-256",
        options: "",
        applies: "primary",
        otherwise: "reject",
    };
    vec![Desired::new(fields, &Dialect::packaged(15)).expect("a good rule")]
}

fn install(path: &Path, state: State) -> Result<crate::Edited, Error> {
    edit(path, SOON, |text| Ok(hba::install(text, &rules(), state, 15)), |_| Ok(()))
}

/// Writes until nothing fits any more.
fn fill(directory: &Path) {
    let mut file = File::create(directory.join("fill")).expect("create");
    for size in [4096, 1] {
        while file.write_all(&vec![b'x'; size]).and_then(|()| file.sync_all()).is_ok() {}
    }
    fs::write(directory.join("more"), "x").expect_err("it is full");
}

/// How many closed texts lie ready.
fn spares(directory: &Path) -> usize {
    let names = fs::read_dir(directory).expect("read").map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".goahead_hba.spare")).count()
}

#[test]
fn what_is_open_can_be_closed_on_a_full_disk_and_nothing_is_opened() {
    let test = "tests::full::what_is_open_can_be_closed_on_a_full_disk_and_nothing_is_opened";
    let Some(path) = super::mounts::place() else {
        // Over the directory that the file lies in, so that nothing of the test is left there.
        let script =
            "mount -t tmpfs -o size=128k tmpfs \"$(dirname \"$1\")\"; trap 'umount \"$(dirname \"$1\")\"' EXIT";
        return in_namespace(test, script);
    };
    let directory = path.parent().expect("a directory");
    fs::write(&path, "local all all trust\n").expect("write");
    install(&path, State::PRIMARY).expect("there is room");
    assert_eq!(open_rules(&path).expect("it reads"), ["rw"]);
    fill(directory);
    // Neither the same lines with another comment above, nor anything else that is new.
    edit(&path, SOON, |text| Ok([b"# new\n", text].concat()), |_| Ok(())).expect_err("it does not fit");
    assert_eq!(open_rules(&path).expect("it reads"), ["rw"]);

    install(&path, State::CLOSED).expect("it is closed");
    assert!(open_rules(&path).expect("it reads").is_empty());
    let text = fs::read_to_string(&path).expect("read");
    assert!(text.ends_with("local all all trust\n"), "{text}");
    assert!(crate::Locked::take(&path, SOON, &mut || {}).expect("the lock").must_reload());
    // What is taken is used up, and what is closed needs none.
    assert_eq!(spares(directory), 0);

    fill(directory);
    let error = install(&path, State::PRIMARY).expect_err("what could not be closed is not opened");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(open_rules(&path).expect("it reads").is_empty());

    fs::remove_file(directory.join("fill")).expect("room");
    install(&path, State::PRIMARY).expect("there is room again");
    assert_eq!(open_rules(&path).expect("it reads"), ["rw"]);
    assert_eq!(spares(directory), 1);
    fs::rename(directory.join(".goahead_hba.spare"), directory.join(".goahead_hba.spare.new")).expect("rename");
    install(&path, State::CLOSED).expect("it is closed");
    assert_eq!(spares(directory), 0);
}

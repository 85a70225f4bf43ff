//! Places that cannot be written. They need a mount namespace of their own, which root may have.

use super::bed::{Bed, put};
use crate::Error;
use std::path::PathBuf;
use std::process::Command;

/// Set for the test's second process: which place it is to try.
const PLACE: &str = "GOAHEAD_TEST_PLACE";

/// Runs the test of this name again after `script`, in a mount namespace, with the file as `$1`.
pub fn in_namespace(test: &str, script: &str) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has mount namespaces everywhere");
        return;
    }
    let bed = Bed::new("one\n");
    let myself = std::env::current_exe().expect("this program");
    // In a chroot the root is no mount point, and cannot be made private: hence each script unmounts what it mounted.
    let script = format!("mount --make-rprivate / 2>/dev/null || :\n{script}\n\"$2\" --exact \"$3\" --nocapture");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "unchanged", "sh", "-ec", &script])
        .args(["sh".as_ref(), bed.path().as_os_str(), myself.as_os_str(), test.as_ref()])
        .env(PLACE, bed.path())
        .output()
        .expect("unshare");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(bed.text(), "one\n");
    assert!(bed.names().iter().all(|name| !name.contains("new") && !name.contains("0000")), "{:?}", bed.names());
}

/// In the second process: where the file is to be.
pub fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// In the second process: the file cannot be replaced, and keeps its bytes.
fn is_unwritable() -> bool {
    let Some(path) = place() else { return false };
    let error = put(&path, "two\n").expect_err("it is not written");
    assert!(matches!(&error, Error::Unwritable { .. }), "{error}");
    assert!(error.to_string().starts_with("hba_unwritable: ") && error.mend().contains("directory"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "one\n");
    true
}

#[test]
fn a_bind_mounted_file() {
    if !is_unwritable() {
        in_namespace(
            "tests::mounts::a_bind_mounted_file",
            "cp -p \"$1\" \"$1.other\"; mount --bind \"$1.other\" \"$1\"; trap 'umount \"$1\"' EXIT",
        );
    }
}

#[test]
fn a_read_only_directory() {
    if !is_unwritable() {
        let script = "d=$(dirname \"$1\"); mount --bind \"$d\" \"$d\"; trap 'umount \"$d\"' EXIT
            mount -o remount,ro,bind \"$d\"";
        in_namespace("tests::mounts::a_read_only_directory", script);
    }
}

#[test]
fn a_directory_of_somebody_else() {
    if !is_unwritable() {
        let script = "chmod 755 \"$(dirname \"$1\")\"; chmod 644 \"$1\"; set -- \"$1\" setpriv \"$2\" \"$3\"
            exec setpriv --reuid 12345 --regid 12345 --clear-groups \"$3\" --exact \"$4\" --nocapture";
        in_namespace("tests::mounts::a_directory_of_somebody_else", script);
    }
}

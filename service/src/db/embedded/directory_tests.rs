//! One process per data directory, and a socket path that fits.

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("goahead-directory-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn open(&self) -> Directory {
        let lock = lock(&self.0).unwrap();
        Directory { root: self.0.clone(), user: None, _lock: lock }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let scratch = Scratch::new("lock");
    let held = scratch.open();
    let refused = lock(&scratch.0).unwrap_err();
    assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
    drop(held);
    lock(&scratch.0).unwrap();
}

#[test]
fn a_long_path_gets_its_socket_elsewhere() {
    let scratch = Scratch::new("short");
    let mut directory = scratch.open();
    assert_eq!(directory.socket(8442).unwrap(), scratch.0.join("socket"));
    directory.root = scratch.0.join("x".repeat(100));
    let far = directory.far_socket().unwrap();
    assert!(far.as_os_str().len() < 60, "{}", far.display());
    assert_eq!(far, directory.far_socket().unwrap());
}

#[test]
fn a_socket_directory_that_others_may_enter_is_refused() {
    let scratch = Scratch::new("open");
    let directory = scratch.open();
    let socket = directory.socket(8442).unwrap();
    std::fs::set_permissions(&socket, Permissions::from_mode(0o755)).unwrap();
    assert!(directory.socket(8442).unwrap_err().contains("alone may enter"));
    std::fs::remove_dir(&socket).unwrap();
    std::os::unix::fs::symlink("/tmp", &socket).unwrap();
    assert!(directory.socket(8442).unwrap_err().contains("alone may enter"));
}

#[test]
fn versions_are_read_from_the_directory() {
    let scratch = Scratch::new("version");
    let directory = scratch.open();
    assert_eq!(directory.major(), Ok(None));
    std::fs::create_dir(directory.cluster()).unwrap();
    std::fs::write(directory.cluster().join("PG_VERSION"), "15\n").unwrap();
    assert_eq!(directory.major(), Ok(Some(15)));
    std::fs::write(directory.cluster().join("PG_VERSION"), "new\n").unwrap();
    assert!(directory.major().is_err());
}

//! A full disk grants nothing that is not written, loses nothing that was, and is over when there is space again.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use goahead_tests::fleet::{self, REQUEST};
use goahead_tests::process::User;
use goahead_tests::service::{DataDirectory, Setup};
use goahead_tests::{SOON, eventually};
use postgres::{Client, NoTls};

/// Clusters with room for everybody who asks here.
const CLUSTERS: &str = "web:\n  enabled: true\n  name_pattern: '^web-'\n  allowed_parallel_restarts: 1000\n";

#[test]
fn a_full_disk_grants_nothing_that_is_not_written() {
    let outside = goahead_tests::directory(User::ME);
    std::fs::set_permissions(outside.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let Some(disk) = Disk::mount(&outside.path().join("disk")) else {
        eprintln!("skipped: only root may mount a small disk, and not everywhere");
        return;
    };
    let include = outside.path().join("include");
    std::fs::create_dir(&include).expect("mkdir");
    std::fs::write(include.join("clusters.yml"), CLUSTERS).expect("write");
    let data = DataDirectory::below(&disk.0);
    let service = Setup::embedded(&data).flag("--include-dir", &include).start();
    let mut granted = vec!["web-0.example.org".to_owned()];
    fleet::grant(&service.http, &granted[0], "100h");

    let filler = fill(&disk.0);
    // The space that the database has reserved lasts for a while.
    let mut asked = 0;
    eventually("the disk is felt", 2 * SOON, || {
        asked += 1;
        let fqdn = format!("web-{asked}.example.org");
        let first = service.http.post(REQUEST, &fleet::ask(&fqdn, "100h", None));
        if first.status == 200 {
            let id = first.json()["request_id"].as_str().map(ToOwned::to_owned);
            let second = service.http.post(REQUEST, &fleet::ask(&fqdn, "100h", id.as_deref()));
            if second.status == 200 && second.json()["go_ahead"] == true {
                granted.push(fqdn);
            }
            // Makes the reserved space end sooner; fails when it has.
            let _ = superuser(&data).map(|mut client| {
                client.batch_execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000))")
            });
            return None;
        }
        assert_eq!(first.status, 503, "{}", first.body);
        Some(())
    });

    std::fs::remove_file(filler).expect("rm");
    let fqdn = "web-last.example.org";
    let id = eventually("the service is back", 4 * SOON, || {
        let reply = service.http.post(REQUEST, &fleet::ask(fqdn, "100h", None));
        (reply.status == 200).then(|| reply.json()["request_id"].as_str().map(ToOwned::to_owned))
    });
    let last = fleet::request(&service.http, fqdn, "100h", id.as_deref());
    assert_eq!(last["go_ahead"], true, "{last}");
    granted.push(fqdn.to_owned());

    let mut client = superuser(&data).expect("the database runs");
    for fqdn in granted {
        let rows = client.query("SELECT FROM goahead._restart WHERE holder = $1 AND ended_at IS NULL", &[&fqdn]);
        assert_eq!(rows.expect("restarts").len(), 1, "{fqdn} was told to go ahead, and it is not written");
    }
}

/// Writes until nothing more fits; gives the file to remove.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).expect("create");
    // Once in large pieces, then in small ones for the rest.
    for size in [1 << 20, 1 << 12] {
        let piece = vec![0_u8; size];
        while file.write_all(&piece).is_ok() {}
    }
    path
}

/// A small file system in memory.
struct Disk(PathBuf);

impl Disk {
    /// None where this may not be done.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("mkdir");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=160m,mode=755", "tmpfs"]).arg(at);
        command.output().is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because the last process on it may be about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A connection as superuser to the private database, if it runs.
fn superuser(data: &DataDirectory) -> Option<Client> {
    Client::connect(&data.url()?, NoTls).ok()
}

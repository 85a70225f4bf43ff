//! What a section was measured on.

use std::path::Path;
use std::process::Command;

/// The machine, its system, the versions that `programs` print of themselves, and the date: one line.
pub fn line(peers: &[String]) -> String {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key).map(ToOwned::to_owned));
        line.map(|rest| rest.trim_start_matches([' ', '\t', ':', '=', '"']).trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let peers: String = peers.iter().map(|peer| format!(" {peer}.")).collect();
    format!(
        "Machine: {} cores, {}, {} RAM, {}, Linux {}. {}.{peers} Written {}.",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        first("/etc/os-release", "PRETTY_NAME="),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        version(&goahead_tests::postgres::programs().join("postgres"), "--version"),
        version(Path::new("date"), "-I"),
    )
}

/// The first line that a program prints when given `argument`; empty when it cannot be run.
pub fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// A size from /proc/PID/status, such as `VmRSS:`, in KiB; 0 when it cannot be read.
pub fn memory(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// KiB in MiB.
#[expect(clippy::cast_precision_loss, reason = "sizes of memory")]
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

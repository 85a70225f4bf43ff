//! `make bench`: how fast the service is over a durable database, beside its peers and the limits on the same machine.
//!
//! `bench FILE` measures everything and writes FILE, a page of sections; `--section NAME` measures one section and leaves
//! the others of the page as they are; `--quick` measures less of each. `bench --only WORK` shows what the smallest fleet
//! does at one kind of restarts' work, for comparing two builds.

mod connection;
mod database;
mod locks;
mod machine;
mod measured;
mod peer;
mod rendezvous;
mod restarts;
mod sections;

use std::process::ExitCode;

use goahead_tests::postgres::Postgres;

use sections::Section;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--only", work] = arguments[..] {
        let Some(work) = restarts::Work::ALL.into_iter().find(|each| format!("{each:?}").eq_ignore_ascii_case(work))
        else {
            return usage(&format!("{work} is none of {:?}", restarts::Work::ALL));
        };
        restarts::only(work);
        return ExitCode::SUCCESS;
    }
    let quick = arguments.contains(&"--quick");
    arguments.retain(|argument| *argument != "--quick");
    let (chosen, file) = match arguments[..] {
        ["--section", name, file] | [file, "--section", name] => match Section::named(name) {
            Some(section) => (vec![section], file),
            None => return usage(&format!("{name} is none of {:?}", Section::ALL)),
        },
        [file] if !file.starts_with('-') => (Section::ALL.to_vec(), file),
        _ => return usage("one FILE is needed"),
    };
    for section in chosen {
        let text = match section {
            Section::Restarts => restarts::measure(quick),
            Section::Locks => locks::measure(quick),
            Section::Rendezvous => rendezvous::measure(quick),
        };
        // At once, so that a failure later does not cost what was measured before.
        let page = match std::fs::read_to_string(file) {
            Ok(page) => page,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{file}: {error}"),
        };
        std::fs::write(file, sections::replace(&page, section, &text))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        println!("## {}\n\n{text}", section.title());
    }
    ExitCode::SUCCESS
}

fn usage(wrong: &str) -> ExitCode {
    let works = restarts::Work::ALL;
    eprintln!("{wrong}\nusage: bench [--quick] [--section restarts|locks|rendezvous] FILE, or bench --only {works:?}");
    ExitCode::from(2)
}

/// A server with the defaults, but for the memory that anybody would give one with a million rows.
fn server() -> Postgres {
    Postgres::with(&["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"])
}

/// Runs the load to its end: one thread, whose tasks share what they like.
fn on_one_thread<T>(work: impl Future<Output = std::io::Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = tokio::task::LocalSet::new().block_on(&runtime, work);
    done.unwrap_or_else(|error| panic!("the load client: {error}"))
}

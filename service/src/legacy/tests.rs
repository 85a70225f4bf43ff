use super::*;

fn run(words: &[&str]) -> Translation {
    translate(words.iter().map(OsString::from))
}

fn ours(words: &[&str]) -> Translation {
    Translation::Run(words.iter().map(OsString::from).collect())
}

#[test]
fn the_client_takes_gos_four_ways_to_write_a_flag() {
    let wanted = ours(&[
        "goahead",
        "client",
        "--legacy-output",
        "--config=/tmp/c.yml",
        "--debug",
        "--disabled=/etc/goahead/disabled",
    ]);
    for words in [
        &["/usr/bin/goahead_client", "-config", "/tmp/c.yml", "-debug"][..],
        &["goahead_client", "--config", "/tmp/c.yml", "--debug"],
        &["goahead_client", "-debug=true", "-config=/tmp/c.yml"],
        &["goahead_client", "--debug=1", "--config=/tmp/c.yml", "--", "-nonsense"],
    ] {
        assert_eq!(run(words), wanted, "{words:?}");
    }
}

#[test]
fn defaults_are_the_original_s() {
    assert_eq!(
        run(&["goahead_client", "-debug=false"]),
        ours(&[
            "goahead",
            "client",
            "--legacy-output",
            "--config=/etc/goahead/client.yml",
            "--disabled=/etc/goahead/disabled"
        ])
    );
}

#[test]
fn misuse_is_told_in_gos_words() {
    for (words, complaint) in [
        (&["goahead_client", "-nope"][..], "flag provided but not defined: -nope"),
        (&["goahead_client", "-config"], "flag needs an argument: -config"),
        (&["goahead_client", "---config"], "bad flag syntax: ---config"),
        (&["goahead_client", "-debug=maybe"], "invalid boolean value \"maybe\" for -debug: parse error"),
    ] {
        match run(words) {
            Translation::Misuse(text) => assert!(text.starts_with(complaint), "{text}"),
            other => panic!("{words:?}: {other:?}"),
        }
    }
}

#[test]
fn the_server_is_recognised_by_its_flags_alone() {
    assert_eq!(
        run(&["goahead", "-config", "/tmp/config.yml"]),
        ours(&["goahead", "serve", "--config=/tmp/config.yml"])
    );
    assert_eq!(run(&["goahead", "-debug"]), ours(&["goahead", "serve", "--config=/etc/goahead/config.yml", "--debug"]));
    for words in [
        &["goahead"][..],
        &["goahead", "--help"],
        &["goahead", "-h"],
        &["goahead", "serve", "--config", "x"],
        &["goahead", "--debug", "serve"],
    ] {
        assert_eq!(run(words), ours(words), "{words:?}");
    }
}

#[test]
fn web_rendezvous_takes_its_flags_and_has_its_defaults() {
    let wanted = |keep, port, url, timeout| {
        ours(&[
            "goahead",
            "serve",
            "--listen=off",
            "--admin-listen=off",
            "--insecure",
            &format!("--keep-marks{keep}"),
            &format!("--rendezvous-listen=[::]:{port}"),
            &format!("--postgres-url={url}"),
            &format!("--rendezvous-timeout={timeout}"),
        ])
    };
    let usual = "postgres://postgres:pgpass@postgres:5432/{{.}}?sslmode=disable";
    assert_eq!(run(&["/bin/web-rendezvous"]), wanted("=false", "8080", usual, "30"));
    assert_eq!(
        run(&["web-rendezvous", "-port", "9", "--timeout=0.5", "-postgresURL=postgres://h/{{.}}", "-keep-marks"]),
        wanted("", "9", "postgres://h/{{.}}", "0.5")
    );
    match run(&["web-rendezvous", "-help"]) {
        Translation::Print(usage) => {
            for part in [
                "Usage of web-rendezvous:\n",
                "  -port string\n    \tPort to listen on (default \"8080\")\n",
                "{{.}} will be replaced with the db name (default \"postgres://postgres:pgpass@postgres:5432/{{.}}?sslmode=disable\")\n",
                "  -timeout float\n    \tTimeout in seconds (default 30)\n",
            ] {
                assert!(usage.contains(part), "{part}: {usage}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn harepd_takes_its_flags() {
    for (words, wanted) in [
        (&["/usr/sbin/harepd"][..], &["goahead", "gate", "-f=conf.yaml"][..]),
        (
            &["harepd", "-f", "/etc/harepd/conf.yml", "--server-only"],
            &["goahead", "gate", "-f=/etc/harepd/conf.yml", "--server-only"],
        ),
        (&["harepd", "--f=/c.yml", "-client-only=true"], &["goahead", "gate", "--client-only", "-f=/c.yml"]),
        (&["harepd", "-f=-c", "-client-only", "-server-only"], &["goahead", "gate", "-f=-c", "--server-only"]),
        (&["harepd", "-client-only=false"], &["goahead", "gate", "-f=conf.yaml"]),
    ] {
        assert_eq!(run(words), ours(wanted), "{words:?}");
    }
    match run(&["harepd", "--help"]) {
        Translation::Print(usage) => {
            for part in [
                "Usage of harepd:\n",
                "  -client-only\n    \tRun the client only\n",
                "  -f string\n    \tPath to config file (default \"conf.yaml\")\n",
                "  -server-only\n    \tRun the server only\n",
            ] {
                assert!(usage.contains(part), "{part}: {usage}");
            }
        }
        other => panic!("{other:?}"),
    }
    match run(&["harepd", "-preflight"]) {
        Translation::Misuse(text) => {
            assert!(text.starts_with("flag provided but not defined: -preflight"), "{text}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn version_and_help_are_printed() {
    assert!(matches!(run(&["goahead", "-version"]), Translation::Print(text) if text.starts_with("goahead version ")));
    assert!(
        matches!(run(&["goahead_client", "--help"]), Translation::Print(text) if text.contains("-disabled string"))
    );
}

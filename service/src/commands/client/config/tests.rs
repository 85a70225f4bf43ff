//! Config files as people write them.

use super::*;

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("script"), "").unwrap();
        std::fs::create_dir(directory.path().join("hooks.d")).unwrap();
        Self { directory }
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The required settings, and `more`.
    fn text(&self, more: &str) -> String {
        format!(
            "service_url: https://goahead.example.org\nrestart_condition_script: {}\nos_restart_hooks_dir: {}\n{more}\n",
            self.at("script"),
            self.at("hooks.d")
        )
    }

    fn read(&self, text: &str) -> Result<Config, String> {
        let path = self.directory.path().join("client.yml");
        std::fs::write(&path, text).unwrap();
        match read(&path, Log { legacy: false, debug: false }) {
            Ok(config) => Ok(config),
            Err(Stop::Fatal(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn defaults_are_goahead_client_s() {
    let files = Files::new();
    let config = files.read(&files.text("")).unwrap();
    assert_eq!(
        config,
        Config {
            timeout: Duration::from_secs(5),
            service_url: "https://goahead.example.org/".to_owned(),
            ca_file: None,
            fqdn: None,
            client_certificate: None,
            token_file: None,
            condition: vec![files.at("script")],
            condition_text: files.at("script"),
            condition_code: 0,
            hooks: files.at("hooks.d").into(),
            hooks_may_fail: false,
        }
    );
}

#[test]
fn every_key_is_read() {
    let files = Files::new();
    for name in ["ca.pem", "key.pem", "cert.pem"] {
        std::fs::write(files.at(name), "").unwrap();
    }
    let config = files.read(&format!(
        "---\ntimeout: 3s\nservice_url: http://h/base/\nservice_url_ca_file: {}\nrequesting_fqdn: host.example.org\n\
         ssl_private_key: {}\nssl_certificate_file: {}\nssl_require_and_verify_client_cert: true\n\
         restart_condition_script: {} -a 'b c'\nrestart_condition_script_exit_code_for_reboot: 2\n\
         os_restart_hooks_dir: {}\nos_restart_hooks_allow_fail: yes\nunknown_key: 1\n",
        files.at("ca.pem"),
        files.at("key.pem"),
        files.at("cert.pem"),
        files.at("script"),
        files.at("hooks.d"),
    ));
    let config = config.unwrap();
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.service_url, "http://h/base/");
    assert_eq!(config.ca_file, Some(files.at("ca.pem").into()));
    assert_eq!(config.fqdn.as_deref(), Some("host.example.org"));
    assert_eq!(config.client_certificate, Some((files.at("cert.pem").into(), files.at("key.pem").into())));
    assert_eq!(config.condition, [files.at("script"), "-a".to_owned(), "b c".to_owned()]);
    assert_eq!(config.condition_code, 2);
    assert!(config.hooks_may_fail);
}

#[test]
fn what_is_missing_is_named() {
    let files = Files::new();
    let all = files.text("");
    for key in ["service_url", "restart_condition_script", "os_restart_hooks_dir"] {
        let text: String = all.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        let error = files.read(&text).unwrap_err();
        assert_eq!(error, format!("Missing {key} setting in config file: {}", files.at("client.yml")));
    }
    assert!(files.read("").unwrap_err().starts_with("Missing service_url setting"));
    assert!(files.read("--- [1, 2]").unwrap_err().contains("YAML unmarshal error"));
    assert!(files.read("a: b: c").unwrap_err().contains("YAML unmarshal error"));
}

#[test]
fn files_that_are_not_there_are_named() {
    let files = Files::new();
    for key in ["service_url_ca_file", "ssl_private_key", "ssl_certificate_file"] {
        let error = files.read(&files.text(&format!("{key}: /no/such/file"))).unwrap_err();
        assert_eq!(error, format!("Failed to find configured {key} /no/such/file"));
    }
    for key in ["restart_condition_script", "os_restart_hooks_dir"] {
        let text: String =
            files.text("").lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        let error = files.read(&format!("{text}{key}: /no/such/file\n")).unwrap_err();
        assert_eq!(error, format!("Failed to find configured {key} /no/such/file"));
    }
}

#[test]
fn addresses_that_nobody_can_ask_are_refused() {
    let files = Files::new();
    for url in
        ["goahead.example.org", "/v1/", "ftp://h/", "https://", "https://user:secret@h/", "https://h/?a=b", "x y"]
    {
        let text = files.text("").replace("https://goahead.example.org", url);
        let error = files.read(&text).unwrap_err();
        assert!(error.starts_with(&format!("Failed to parse/validate service_url setting {url}")), "{error}");
    }
}

#[test]
fn a_timeout_means_what_was_meant() {
    let files = Files::new();
    for (text, wanted) in [
        ("7", Duration::from_secs(7)),
        ("0", Duration::from_secs(5)),
        ("1m30s", Duration::from_secs(90)),
        ("'250ms'", Duration::from_millis(250)),
        ("5000000000", Duration::from_secs(5)),
    ] {
        assert_eq!(files.read(&files.text(&format!("timeout: {text}"))).unwrap().timeout, wanted, "{text}");
    }
    for text in ["5000", "-1s", "1d", "soon"] {
        let error = files.read(&files.text(&format!("timeout: {text}"))).unwrap_err();
        assert!(error.contains(&format!("timeout setting {text}")), "{error}");
    }
}

#[test]
fn a_client_certificate_that_is_insisted_on_must_be_complete() {
    let files = Files::new();
    std::fs::write(files.at("cert.pem"), "").unwrap();
    let certificate = format!("ssl_certificate_file: {}", files.at("cert.pem"));
    assert_eq!(files.read(&files.text(&certificate)).unwrap().client_certificate, None);
    let required = format!("{certificate}\nssl_require_and_verify_client_cert: on");
    assert!(files.read(&files.text(&required)).unwrap_err().contains("needs both"));
    let unclear = "ssl_require_and_verify_client_cert: maybe";
    assert!(files.read(&files.text(unclear)).unwrap_err().contains("true or false"));
}

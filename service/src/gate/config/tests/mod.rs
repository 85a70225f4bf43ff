use super::*;

mod harepd;
mod own;
mod readme;

/// A machine with these addresses, and a home.
pub fn parse_at(text: &str, mode: Mode, ours: &[&str]) -> Result<Loaded, ConfigError> {
    let machine = Machine {
        env: &|name| (name == "HOME").then(|| "/home/p".to_owned()),
        is_ours: &|address| ours.contains(&address.to_string().as_str()),
    };
    parse(text, &Overrides { mode, ..Overrides::default() }, &machine)
}

/// The one warning that speaks of all these words.
pub fn warned(loaded: &Loaded, words: &[&str]) {
    let fitting = loaded.warnings.iter().filter(|text| words.iter().all(|word| text.contains(word))).count();
    assert_eq!(fitting, 1, "{words:?} in {:#?}", loaded.warnings);
}

/// The error speaks of all these words.
pub fn refused(result: Result<Loaded, ConfigError>, words: &[&str]) {
    let text = result.unwrap_err().to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

//! Configured commands: split into words once, names filled in afterwards, never read by a shell.
//!
//! The original goahead replaced its templates first and split afterwards, so that a host name could add arguments,
//! lose them all by a quote, or choose the program that ran. Here a name stays inside the word that asked for it.

/// The opening of a template; `{:%fqdn%:}` and its like.
const OPEN: &str = "{:%";
/// The end of a template.
const CLOSE: &str = "%:}";

/// What the templates stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// `{:%fqdn%:}`: the host's full name.
    pub fqdn: &'a str,
    /// `{:%hostname%:}`: the first label of it.
    pub hostname: &'a str,
    /// `{:%cluster%:}`: the cluster's name.
    pub cluster: &'a str,
    /// `{:%uptime%:}`: the uptime that the host reported, as a Go duration.
    pub uptime: &'a str,
}

/// Why a command cannot be run; the command itself is left for the caller to name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing, or an empty word, where the program should be.
    #[error("no program is named")]
    NoProgram,
    /// A quote without its partner.
    #[error("a quote is not closed")]
    OpenQuote,
    /// A NUL character, which no argument can carry.
    #[error("a NUL character cannot be passed to a program")]
    Nul,
    /// A template in the first word: a name would choose the program.
    #[error(
        "the program {0:?} contains a template, so that a host would choose what runs; \
         name the program in full and pass the template as an argument"
    )]
    TemplateInProgram(String),
    /// Something in the form of a template that is none.
    #[error("unknown template {0:?}; known are {{:%fqdn%:}}, {{:%hostname%:}}, {{:%cluster%:}} and {{:%uptime%:}}")]
    UnknownTemplate(String),
    /// A name that the program would read as an option or as another folder: the template, then the name.
    #[error("{{:%{0}%:}} stands for {1:?}, which the program could take for an option or a folder")]
    UnsafeName(&'static str, String),
}

/// Splits a command into words as a POSIX shell does: blanks separate, quotes and backslashes keep together, an unquoted
/// `#` at the start of a word begins a comment. Nothing is expanded.
///
/// # Errors
/// When there is no first word, a quote is not closed or a NUL character is found.
pub fn split(command: &str) -> Result<Vec<String>, CommandError> {
    if command.contains('\0') {
        return Err(CommandError::Nul);
    }
    let words = shell_words::split(command).map_err(|_| CommandError::OpenQuote)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(CommandError::NoProgram),
    }
}

/// Judges a command when it is configured, before there is any host: whatever passes here fails in [`render`] only
/// because of a name.
///
/// # Errors
/// As [`split`]; also a template in the program and an unknown or unfinished template anywhere.
pub fn validate(command: &str) -> Result<(), CommandError> {
    parse(command).map(|_| ())
}

/// The argument vector to run, program first: the words of `command` with the templates in them replaced.
///
/// # Errors
/// As [`validate`]; also a name that would turn its word into an option (it leads the word and begins with `-`), is `.`
/// or `..`, or carries a NUL character. Host names never do, but FleetLock's ids may.
pub fn render(command: &str, names: &Names<'_>) -> Result<Vec<String>, CommandError> {
    let words = parse(command)?;
    words.iter().map(|parts| fill(parts, names)).collect()
}

/// One piece of a word.
enum Part {
    Text(String),
    Template(Template),
}

#[derive(Clone, Copy)]
struct Template {
    name: &'static str,
    value: for<'a> fn(&Names<'a>) -> &'a str,
}

const TEMPLATES: [Template; 4] = [
    Template { name: "fqdn", value: |names| names.fqdn },
    Template { name: "hostname", value: |names| names.hostname },
    Template { name: "cluster", value: |names| names.cluster },
    Template { name: "uptime", value: |names| names.uptime },
];

fn parse(command: &str) -> Result<Vec<Vec<Part>>, CommandError> {
    let words = split(command)?;
    if let Some(program) = words.first().filter(|program| program.contains(OPEN)) {
        return Err(CommandError::TemplateInProgram(program.clone()));
    }
    words.iter().map(|word| parts(word)).collect()
}

fn parts(word: &str) -> Result<Vec<Part>, CommandError> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some((text, after)) = rest.split_once(OPEN) {
        let unknown = |found: &str| CommandError::UnknownTemplate(found.to_owned());
        let (name, after) = after.split_once(CLOSE).ok_or_else(|| unknown(&rest[text.len()..]))?;
        let template = TEMPLATES
            .into_iter()
            .find(|template| template.name == name)
            .ok_or_else(|| unknown(&format!("{OPEN}{name}{CLOSE}")))?;
        parts.push(Part::Text(text.to_owned()));
        parts.push(Part::Template(template));
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn fill(parts: &[Part], names: &Names<'_>) -> Result<String, CommandError> {
    let mut word = String::new();
    for part in parts {
        match part {
            Part::Text(text) => word.push_str(text),
            Part::Template(template) => {
                let value = (template.value)(names);
                if value.contains('\0') {
                    return Err(CommandError::Nul);
                }
                if (word.is_empty() && value.starts_with('-')) || matches!(value, "." | "..") {
                    return Err(CommandError::UnsafeName(template.name, value.to_owned()));
                }
                word.push_str(value);
            }
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: Names<'_> = Names { fqdn: "web1.example.org", hostname: "web1", cluster: "web", uptime: "2h31m0s" };

    #[test]
    fn splits_as_a_shell_does() {
        let words = split("  a 'b  c' \"d $e\"\\ f\tg\\'h ''  # not this").unwrap();
        assert_eq!(words, ["a", "b  c", "d $e f", "g'h", ""]);
        assert_eq!(split("a $(b) `c` | d; e > f *").unwrap().len(), 9);
        assert_eq!(split("a 'b"), Err(CommandError::OpenQuote));
        assert_eq!(split("a \"b"), Err(CommandError::OpenQuote));
        for nothing in ["", " \n", "# only a comment", "''", "'' a"] {
            assert_eq!(split(nothing), Err(CommandError::NoProgram), "{nothing:?}");
        }
        assert_eq!(split("a \0"), Err(CommandError::Nul));
    }

    #[test]
    fn fills_in_the_four_names() {
        let command = "/bin/echo {:%fqdn%:} -h={:%hostname%:} '{:%cluster%:} {:%uptime%:}' {:%fqdn%:}{:%fqdn%:}";
        assert_eq!(
            render(command, &NAMES).unwrap(),
            ["/bin/echo", "web1.example.org", "-h=web1", "web 2h31m0s", "web1.example.orgweb1.example.org"]
        );
        assert_eq!(render("/bin/true", &NAMES).unwrap(), ["/bin/true"]);
    }

    #[test]
    fn a_name_stays_in_its_word() {
        let fqdn = "a b' \"$(touch x)\" ; {:%cluster%:} #";
        let names = Names { fqdn, ..NAMES };
        assert_eq!(render("p {:%fqdn%:} x{:%fqdn%:}", &names).unwrap(), ["p", fqdn, &format!("x{fqdn}")]);
    }

    #[test]
    fn a_name_never_chooses_the_program() {
        for command in ["/tmp/{:%fqdn%:}_panic", "'{:%cluster%:}' x", "{:%nonsense%:}", "/bin/{:% x"] {
            let error = validate(command).unwrap_err();
            assert!(matches!(error, CommandError::TemplateInProgram(_)), "{command}: {error}");
            assert_eq!(render(command, &NAMES).unwrap_err(), error);
        }
    }

    #[test]
    fn a_misspelt_template_is_found() {
        for (command, found) in [
            ("p {:%host%:}", "{:%host%:}"),
            ("p {:%%:}", "{:%%:}"),
            ("p {:%FQDN%:}", "{:%FQDN%:}"),
            ("p x{:%fqdn%}y", "{:%fqdn%}y"),
            ("p {:%fq dn%:}", "{:%fq"),
            ("p {:%fqdn%:} {:%{:%fqdn%:}", "{:%{:%fqdn%:}"),
        ] {
            let error = validate(command).unwrap_err();
            assert_eq!(error, CommandError::UnknownTemplate(found.into()), "{command}");
            assert_eq!(render(command, &NAMES).unwrap_err(), error);
        }
        let message = validate("p {:%x%:}").unwrap_err().to_string();
        for known in TEMPLATES {
            assert!(message.contains(&format!("{{:%{}%:}}", known.name)), "{message}");
        }
        assert_eq!(validate("p { % } {: %fqdn%:} %:}"), Ok(()));
    }

    #[test]
    fn a_name_never_becomes_an_option_or_a_folder() {
        let unsafe_names = |fqdn| render("p {:%fqdn%:}", &Names { fqdn, ..NAMES });
        assert_eq!(
            unsafe_names("--force").unwrap_err().to_string(),
            "{:%fqdn%:} stands for \"--force\", which the program could take for an option or a folder"
        );
        assert!(unsafe_names("-").is_err());
        assert_eq!(unsafe_names("a\0"), Err(CommandError::Nul));
        let names = Names { cluster: "..", uptime: "-5m0s", ..NAMES };
        assert!(render("p /srv/{:%cluster%:}", &names).is_err());
        assert!(render("p {:%uptime%:}", &names).is_err());
        assert_eq!(render("p --uptime={:%uptime%:}", &names).unwrap()[1], "--uptime=-5m0s");
    }

    proptest! {
        #[test]
        fn names_change_no_count(
            command in "[a-z]{1,3}( ('|\")?[a-z{:%} ]{0,6}(\\{:%(fqdn|hostname|cluster|uptime)%:\\})?){0,4}",
            fqdn in "\\PC{0,20}",
        ) {
            let names = Names { fqdn: &fqdn, ..NAMES };
            if let Ok(words) = render(&command, &names) {
                prop_assert_eq!(words.len(), split(&command).unwrap().len());
                prop_assert_eq!(&words[0], &split(&command).unwrap()[0]);
                prop_assert_eq!(validate(&command), Ok(()));
            }
        }
    }
}

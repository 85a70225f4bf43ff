//! Where a libpq connection string points.

/// The host of a libpq connection string, keywords or URI: `hostaddr` before `host`, the first of several. None where there
/// is none, or a socket directory.
pub fn host(conninfo: &str) -> Option<String> {
    let text = conninfo.trim();
    let found = match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri_host(rest),
        None => {
            let pairs = keywords(text);
            let value = |name: &str| pairs.iter().rev().find(|(key, value)| key == name && !value.is_empty());
            value("hostaddr").or_else(|| value("host")).map(|(_, value)| value.clone())
        }
    };
    let first = found?.split(',').next().unwrap_or_default().trim().to_owned();
    (!first.is_empty() && !first.starts_with(['/', '@'])).then_some(first)
}

fn uri_host(rest: &str) -> Option<String> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| decoded(value)).next_back()
    };
    let authority = before.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let first = hosts.split(',').next().unwrap_or_default();
    let bare = match first.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => first.split(':').next().unwrap_or_default(),
    };
    parameter("hostaddr").or_else(|| parameter("host")).or_else(|| Some(decoded(bare)))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// `keyword = value` pairs as libpq reads them: values may be in single quotes, a backslash escapes.
fn keywords(text: &str) -> Vec<(String, String)> {
    let mut pairs = vec![];
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next_if_eq(&'=').is_none() {
            return pairs;
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        while let Some(c) = chars.next_if(|c| if quoted { *c != '\'' } else { !c.is_whitespace() }) {
            let c = if c == '\\' { chars.next().unwrap_or('\\') } else { c };
            value.push(c);
        }
        chars.next_if(|c| quoted && *c == '\'');
        pairs.push((key, value));
    }
}

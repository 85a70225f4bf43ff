//! What reserved keys stand for: something out there that is tried until it answers.

use crate::probe::{Prober, Target, Template};

/// Tries targets on behalf of those who wait.
#[derive(Clone)]
pub struct Probes {
    prober: Prober,
    template: Option<Template>,
}

/// Why a reserved key stands for nothing that could be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unprobed {
    /// There is no such kind
    Unknown,
    /// The service was not told where the databases are
    NoTemplate,
    /// What is wrong with it
    Wrong(String),
}

impl Probes {
    /// Probes by `prober`; of databases by `template`.
    pub fn new(prober: Prober, template: Option<Template>) -> Self {
        Self { prober, template }
    }

    /// Tries targets.
    pub fn prober(&self) -> &Prober {
        &self.prober
    }

    /// What a key that begins with `_` stands for: `_postgres/DATABASE`, `_port/HOST/PORT`, `_http/HOST:PORT/PATH` or
    /// `_https/…`.
    ///
    /// # Errors
    /// Why it stands for nothing.
    pub fn target(&self, key: &str) -> Result<Target, Unprobed> {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        match kind {
            "_postgres" => {
                let template = self.template.as_ref().ok_or(Unprobed::NoTemplate)?;
                match rest {
                    "" => Err(Unprobed::Wrong("write /_postgres/DATABASE".into())),
                    name => Ok(template.for_database(name)),
                }
            }
            "_port" => match rest.rsplit_once('/') {
                Some((host, port)) => Target::host_and_port(host, port).map_err(Unprobed::Wrong),
                None => Err(Unprobed::Wrong("write /_port/HOST/PORT".into())),
            },
            "_http" | "_https" if !rest.is_empty() => {
                Target::http(&format!("{}://{rest}", &kind[1..])).map_err(Unprobed::Wrong)
            }
            "_http" | "_https" => Err(Unprobed::Wrong(format!("write /{kind}/HOST:PORT/PATH"))),
            _ => Err(Unprobed::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Allow, EACH};

    fn probes(template: Option<&str>) -> Probes {
        let template = template.map(|text| Template::parse(text).unwrap());
        Probes::new(Prober::new(Allow::default(), EACH), template)
    }

    #[tokio::test]
    async fn reserved_keys_name_targets() {
        let probes = probes(Some("postgres://u:p@db/{{.}}?sslmode=disable"));
        for (key, target) in [
            ("_port/memcached/11211", "tcp://memcached:11211"),
            ("_port/::1/80", "tcp://[::1]:80"),
            ("_port/[::1]/80", "tcp://[::1]:80"),
            ("_http/web:8080/health?deep=1", "http://web:8080/health?deep=1"),
            ("_https/web/", "https://web/"),
            ("_postgres/my_db", "postgres://u@db:5432/my_db"),
            ("_postgres/x?host=evil", "postgres://u@db:5432/x?host=evil"),
            ("_postgres/../etc", "postgres://u@db:5432/../etc"),
        ] {
            assert_eq!(probes.target(key).map(|target| target.to_string()), Ok(target.to_owned()), "{key}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_tried_is_told() {
        let probes = probes(None);
        for (key, wanted) in [
            ("_abc", Unprobed::Unknown),
            ("_portx/h/1", Unprobed::Unknown),
            ("_postgres/db", Unprobed::NoTemplate),
            ("_port/h", Unprobed::Wrong("write /_port/HOST/PORT".into())),
            ("_http/", Unprobed::Wrong("write /_http/HOST:PORT/PATH".into())),
        ] {
            assert_eq!(probes.target(key).err(), Some(wanted), "{key}");
        }
        for key in ["_port/h/0", "_port/h/65536", "_port/h/x", "_port//1", "_http/u:p@h/", "_http/h:x/", "_port/a b/1"]
        {
            assert!(matches!(probes.target(key), Err(Unprobed::Wrong(_))), "{key}");
        }
    }
}

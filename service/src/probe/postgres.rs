//! A PostgreSQL database: it takes a connection and answers `SELECT 1`.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Allow, Miss, Target, port};
use crate::db::{Address, error_chain};

/// What stands for the database's name in a [`Template`].
const PLACE: &str = "{{.}}";

/// A database to probe.
#[derive(Clone)]
pub struct Server {
    address: Address,
    tls: MakeRustlsConnect,
    /// The operator named its host: the allow-list, which is for what callers name, does not count.
    exempt: bool,
}

impl Server {
    /// The database of a connection string, as libpq reads it.
    ///
    /// # Errors
    /// What is wrong with it or not supported, by name; which certificate cannot be read. Never with the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let address = Address::parse(text).map_err(|error| error.to_string())?;
        let tls = address.trust.connector()?;
        Ok(Self { address, tls, exempt: false })
    }

    /// User, hosts and database for people; no password.
    pub fn describe(&self) -> String {
        self.address.describe()
    }
}

/// web-rendezvous' `postgresURL`: a connection string with `{{.}}` where the database's name goes.
///
/// The string is read once, with the `{{.}}` in it; a name later takes its place in what was read and can never become
/// another parameter. Its hosts are those of the operator, and exempt from the allow-list.
#[derive(Clone)]
pub struct Template(Server);

impl Template {
    /// Reads a template. Without `{{.}}` all names stand for the one database of the string, as in the original.
    ///
    /// # Errors
    /// What is wrong with it or not supported, by name; never with the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = normalized(text);
        let mut server = Server::parse(&text)?;
        server.exempt = true;
        let database = server.address.hosts.first().and_then(Config::get_dbname).unwrap_or_default();
        if database.matches(PLACE).count() != text.matches("{{").count() {
            return Err(format!(
                "{PLACE} stands for the database's name and can be nowhere else; write another {{ as %7B"
            ));
        }
        Ok(Self(server))
    }

    /// The database called `name`, whatever characters that has.
    pub fn for_database(&self, name: &str) -> Target {
        let mut server = self.0.clone();
        for config in &mut server.address.hosts {
            if let Some(place) = config.get_dbname() {
                let filled = place.replace(PLACE, name);
                config.dbname(filled);
            }
        }
        Target::Postgres(Box::new(server))
    }
}

/// Without the password.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({})", self.0.describe())
    }
}

/// Go's templates allow blanks around the dot.
fn normalized(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        normal.push_str(before);
        match after.split_once("}}") {
            Some((inside, tail)) if inside.trim() == "." => {
                normal.push_str(PLACE);
                rest = tail;
            }
            _ => {
                normal.push_str("{{");
                rest = after;
            }
        }
    }
    normal.push_str(rest);
    normal
}

/// Asks the first host that answers. Each gets its share of `limit`.
///
/// # Errors
/// As [`port::connect`] where no connection is made; `NotYet` with what the server said, which may not have the
/// database or the user yet; `Wrong` for a name that no database can have.
pub(super) async fn select_one(server: &Server, allow: &Allow, limit: Duration) -> Result<(), Miss> {
    let everything = Allow::everything();
    let allow = if server.exempt { &everything } else { allow };
    let share = limit / u32::try_from(server.address.hosts.len()).unwrap_or(u32::MAX).max(1);
    let mut last = Err(Miss::NotYet("there is no host to ask".into()));
    for config in &server.address.hosts {
        if config.get_dbname().is_some_and(|name| name.is_empty() || name.contains('\0')) {
            return Err(Miss::Wrong("this is no name that a database can have".into()));
        }
        last = match timeout(share, ask(config, &server.tls, allow, share)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(miss)) => Err(miss),
            Err(_) => Err(Miss::NotYet(format!("no answer within {share:?}"))),
        };
    }
    last
}

async fn ask(config: &Config, tls: &MakeRustlsConnect, allow: &Allow, limit: Duration) -> Result<(), Miss> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let host = config.get_hosts().first();
    let name = match host {
        Some(Host::Tcp(name)) => port::bare(name),
        _ => "",
    };
    match (config.get_hostaddrs().first(), host) {
        (Some(address), _) => {
            let stream = port::connect_address(*address, port, allow, limit).await?;
            let shown = if name.is_empty() { address.to_string() } else { name.to_owned() };
            converse(config, tls, &shown, stream).await
        }
        (None, Some(Host::Tcp(_))) => {
            let stream = port::connect(name, port, allow, limit).await?;
            converse(config, tls, name, stream).await
        }
        (None, Some(Host::Unix(directory))) => {
            allow.judge_socket(directory).map_err(Miss::Refused)?;
            let path = directory.join(format!(".s.PGSQL.{port}"));
            let stream = UnixStream::connect(&path)
                .await
                .map_err(|error| Miss::NotYet(format!("cannot connect to {}: {error}", path.display())))?;
            converse(config, tls, "localhost", stream).await
        }
        (None, None) => Err(Miss::Wrong("there is no host to ask".into())),
    }
}

async fn converse<S>(config: &Config, tls: &MakeRustlsConnect, host: &str, stream: S) -> Result<(), Miss>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut tls = tls.clone();
    let tls = MakeTlsConnect::<S>::make_tls_connect(&mut tls, host).map_err(|error| Miss::Wrong(error.to_string()))?;
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|error| missed(&error))?;
    let asked = async {
        let result = query(&client, config).await;
        // The connection says goodbye and ends when its client is gone.
        drop(client);
        result
    };
    let (result, _) = tokio::join!(asked, connection);
    result
}

async fn query(client: &Client, config: &Config) -> Result<(), Miss> {
    client.simple_query("SELECT 1").await.map_err(|error| missed(&error))?;
    let wanted = match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite => "off",
        TargetSessionAttrs::ReadOnly => "on",
        _ => return Ok(()),
    };
    // tokio-postgres looks after this only where it connects by itself.
    let rows = client.simple_query("SHOW transaction_read_only").await.map_err(|error| missed(&error))?;
    let fits = rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some(wanted)));
    if fits { Ok(()) } else { Err(Miss::NotYet(format!("the database's transaction_read_only is not {wanted}"))) }
}

fn missed(error: &tokio_postgres::Error) -> Miss {
    Miss::NotYet(error.as_db_error().map_or_else(|| error_chain(error), |db| db.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(target: &Target) -> &[Config] {
        match target {
            Target::Postgres(server) => &server.address.hosts,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_name_takes_the_place_and_nothing_else() {
        let template = Template::parse("postgres://u:p@db,other:6432/{{.}}?sslmode=disable").unwrap();
        for name in ["mydb", "x?host=evil", "x&sslmode=require", "../etc", "a b' host=evil", "{{.}}", "%00", "é"] {
            let target = template.for_database(name);
            for (config, (host, port)) in configs(&target).iter().zip([("db", 5432), ("other", 6432)]) {
                assert_eq!(config.get_dbname(), Some(name));
                assert_eq!(config.get_hosts(), [Host::Tcp(host.into())]);
                assert_eq!(config.get_ports(), [port]);
                assert_eq!(config.get_user(), Some("u"));
            }
        }
        assert!(!format!("{:?}", template.for_database("x")).contains(":p@"));
    }

    #[test]
    fn the_place_may_be_part_of_the_name_or_have_blanks() {
        for (text, wanted) in [
            ("postgres://db/test_{{.}}", "test_x"),
            ("postgres://db/{{ . }}", "x"),
            ("host=db dbname={{ .}}", "x"),
            ("postgres://db/?dbname={{.}}_{{.}}", "x_x"),
            // One database for all names, as in the original.
            ("postgres://db/fixed", "fixed"),
        ] {
            let target = Template::parse(text).unwrap().for_database("x");
            assert_eq!(configs(&target)[0].get_dbname(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_used_is_refused_by_name() {
        for (text, named) in [
            ("postgres://{{.}}/x", "{{.}}"),
            ("postgres://db/{{.}}?user={{.}}", "{{.}}"),
            ("postgres://u:{{.}}@db/{{.}}", "{{.}}"),
            ("postgres://db/{{.Name}}", "{{.}}"),
            ("postgres://db/{{.}}?sslmode=sometimes", "sslmode=sometimes"),
            ("postgres://db/{{.}}?krbsrvname=x", "krbsrvname"),
            ("postgres://db/{{.}}?sslrootcert=/no/such/file&sslmode=verify-ca", "/no/such/file"),
            ("mysql://db/{{.}}", "neither a URL"),
            ("postgres://u:secret@db/{{.}}?port=x", "port=x"),
        ] {
            let told = Template::parse(text).err().unwrap_or_else(|| panic!("{text} was accepted"));
            assert!(told.contains(named), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}

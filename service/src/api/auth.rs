//! Who may call what: tokens, client certificates, the roles they carry and the names they speak for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use goahead_rules::hostname::Fqdn;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::Refusal;
use super::{App, Options, Shared, native, origin};
use crate::peer::Peer;

/// What a caller may do beside speaking for its own host; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees clusters, hosts, restarts and events.
    Reader,
    /// Freezes, completes, starts rollouts.
    Operator,
    /// Changes settings.
    Admin,
}

impl Role {
    /// The name used in `--cert-role` and by tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Reader, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no role; use reader, operator or admin"))
    }
}

/// One `--cert-role NAME=ROLE`: the client certificate of that name has that role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertRole {
    /// A DNS name or the common name of the certificate, in any case.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
}

impl std::str::FromStr for CertRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((name, role)) if !name.is_empty() => Ok(Self { name: name.to_ascii_lowercase(), role: role.parse()? }),
            _ => Err("write NAME=ROLE, as in ops.example.org=operator".to_owned()),
        }
    }
}

/// A caller, as far as its credentials prove it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caller {
    /// How events name it: `token 7`, `certificate web1.example.org`. Empty without credentials.
    pub actor: String,
    role: Option<Role>,
    names: Vec<String>,
}

impl Caller {
    /// Whether it may speak as `name`, a host name or a FleetLock id. Host names compare in lower case; a name with a
    /// wildcard in a certificate speaks for nobody. Operators and admins may speak for every host.
    fn speaks_for(&self, name: &str) -> bool {
        let host = Fqdn::parse(name).ok();
        self.role >= Some(Role::Operator)
            || self
                .names
                .iter()
                .any(|own| own == name || host.as_ref().is_some_and(|host| own.eq_ignore_ascii_case(host.as_str())))
    }
}

/// A token as the database knows it.
#[derive(Debug, Clone, Deserialize)]
struct Token {
    id: i64,
    role: String,
    names: Option<Vec<String>>,
}

/// How long an answer about a token is believed, so that a revoked one stops working within this time.
const BELIEVED: Duration = Duration::from_secs(30);

/// The most tokens that are remembered; callers that invent tokens cannot make it grow.
const REMEMBERED: usize = 4096;

/// Answers about tokens by the SHA-256 of the token; the token itself is not kept.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], Known>>);

/// What the database said about a token, and when; nobody for a token that it does not know.
struct Known {
    at: Instant,
    caller: Option<Caller>,
}

impl Tokens {
    fn recall(&self, hash: &[u8; 32]) -> Option<Option<Caller>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|known| known.at.elapsed() < BELIEVED).map(|known| known.caller.clone())
    }

    fn remember(&self, hash: [u8; 32], caller: Option<Caller>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, known| known.at.elapsed() < BELIEVED);
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        known.insert(hash, Known { at: Instant::now(), caller });
    }
}

/// The token in an `Authorization` header: a bearer token, or the password of Basic credentials.
fn token_in(parts: &Parts) -> Result<Option<String>, Refusal> {
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed = || unauthorized("The Authorization header is neither Bearer nor Basic");
    let (scheme, value) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(value.to_owned()))
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let credentials = decoded.ok_or_else(malformed)?;
        credentials.split_once(':').map(|(_, password)| Some(password.to_owned())).ok_or_else(malformed)
    } else {
        Err(malformed())
    }
}

fn unauthorized(detail: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, detail)
        .hint("Send `Authorization: Bearer` with a token from `goahead token create`, or a client certificate")
}

/// What the credentials of a request prove. A wrong token is an error even where none is needed.
async fn identify(app: &App, parts: &Parts) -> Result<Option<Caller>, Refusal> {
    let by_certificate = parts.extensions.get::<Peer>().and_then(|peer| by_certificate(peer, &app.state.options));
    let Some(secret) = token_in(parts)? else {
        return Ok(by_certificate);
    };
    let mut caller = by_token(app, &secret).await?.ok_or_else(|| unauthorized("The token is unknown or revoked"))?;
    if let Some(certificate) = by_certificate {
        caller.role = caller.role.max(certificate.role);
        caller.names.extend(certificate.names);
    }
    Ok(Some(caller))
}

fn by_certificate(peer: &Peer, options: &Options) -> Option<Caller> {
    let certificate = peer.certificate.as_ref()?;
    let names: Vec<String> =
        certificate.names.iter().chain(&certificate.common_name).filter(|name| !name.contains('*')).cloned().collect();
    let role = options
        .cert_roles
        .iter()
        .filter(|mapped| names.iter().any(|name| name.eq_ignore_ascii_case(&mapped.name)))
        .map(|mapped| mapped.role)
        .max();
    let actor = format!("certificate {}", names.first().map_or("without a name", String::as_str));
    Some(Caller { actor, role, names })
}

async fn by_token(app: &App, secret: &str) -> Result<Option<Caller>, Refusal> {
    let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    if let Some(known) = app.tokens.recall(&hash) {
        return Ok(known);
    }
    let found = native::fetch::<Option<Token>>(app, "SELECT goahead.check_token($1)", &[&secret]).await?;
    let caller = found.map(|token| Caller {
        actor: format!("token {}", token.id),
        role: token.role.parse().ok(),
        names: token.names.unwrap_or_default(),
    });
    app.tokens.remember(hash, caller.clone());
    Ok(caller)
}

/// Lets a caller of a drop-in API in: anyone, unless the operator asks for credentials.
pub async fn admit(app: &App, parts: &Parts) -> Result<Caller, Refusal> {
    let options = &app.state.options;
    origin::check(&parts.uri, &parts.headers, options, !options.loopback_only)?;
    if !options.require_auth && !options.bind_names {
        return Ok(Caller::default());
    }
    identify(app, parts).await?.ok_or_else(|| unauthorized("This service asks every caller for credentials"))
}

/// Lets a caller see the status page: anyone, unless the operator asks for credentials; then those of a reader.
pub async fn admit_reader(app: &App, parts: &Parts) -> Result<(), Refusal> {
    if app.state.options.require_auth {
        require(app, parts, Role::Reader).await.map(|_| ())
    } else {
        origin::check(&parts.uri, &parts.headers, &app.state.options, false)
    }
}

/// With `--bind-names`, refuses a caller that speaks for somebody else.
pub fn check_name(caller: &Caller, name: &str, options: &Options) -> Result<(), Refusal> {
    if !options.bind_names || caller.speaks_for(name) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, format!("These credentials do not speak for {name:?}"))
        .hint("The name must be in the client certificate or among the names of the token"))
}

/// Lets a caller of the native API in: only with credentials of at least `role`.
async fn require(app: &App, parts: &Parts, role: Role) -> Result<Caller, Refusal> {
    origin::check(&parts.uri, &parts.headers, &app.state.options, false)?;
    let caller = identify(app, parts).await?.ok_or_else(|| unauthorized("This call needs credentials"))?;
    if caller.role >= Some(role) {
        return Ok(caller);
    }
    let article = if role == Role::Reader { "a" } else { "an" };
    Err(Refusal::new(StatusCode::FORBIDDEN, format!("This call needs {article} {}'s credentials", role.as_str()))
        .hint("Use a token of that role, or map the client certificate to it with --cert-role"))
}

/// A caller with at least the role reader; as an argument of a handler it refuses all others.
pub struct Reader;

impl FromRequestParts<Shared> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        require(app, parts, Role::Reader).await.map(|_| Self)
    }
}

/// A caller with at least the role operator; as an argument of a handler it refuses all others.
pub struct Operator(pub Caller);

impl FromRequestParts<Shared> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        require(app, parts, Role::Operator).await.map(Self)
    }
}

/// A caller with the role admin; as an argument of a handler it refuses all others.
pub struct Admin(pub Caller);

impl FromRequestParts<Shared> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        require(app, parts, Role::Admin).await.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PeerCertificate;

    fn parts(authorization: &str) -> Parts {
        let request = axum::http::Request::builder().header(AUTHORIZATION, authorization).body(());
        request.expect("a request").into_parts().0
    }

    fn peer(names: &[&str], common_name: Option<&str>) -> Peer {
        Peer {
            address: ([127, 0, 0, 1], 1).into(),
            tls: true,
            certificate: Some(PeerCertificate {
                names: names.iter().map(|&name| name.to_owned()).collect(),
                common_name: common_name.map(str::to_owned),
            }),
        }
    }

    #[test]
    fn tokens_come_as_bearer_or_as_basic_password() {
        assert_eq!(token_in(&parts("Bearer abc")), Ok(Some("abc".into())));
        assert_eq!(token_in(&parts("bearer  abc ")), Ok(Some("abc".into())));
        assert_eq!(token_in(&parts("Basic dXNlcjphOmI=")), Ok(Some("a:b".into())));
        for wrong in ["abc", "Digest x", "Basic ???", "Basic dXNlcg=="] {
            assert_eq!(token_in(&parts(wrong)).map_err(|r| r.status.as_u16()), Err(401), "{wrong}");
        }
    }

    #[test]
    fn certificates_map_to_roles_and_names() {
        let options =
            Options { cert_roles: vec!["OPS.example.org=operator".parse().expect("a mapping")], ..Options::default() };
        let ops = by_certificate(&peer(&["web1.example.org"], Some("ops.example.org")), &options).expect("a caller");
        assert_eq!(ops.role, Some(Role::Operator));
        assert_eq!(ops.actor, "certificate web1.example.org");
        let host = by_certificate(&peer(&["*.example.org", "web1.example.org"], None), &options).expect("a caller");
        assert_eq!(host.role, None);
        assert!(host.speaks_for("WEB1.example.org"));
        assert!(!host.speaks_for("web2.example.org"));
        assert!(!host.speaks_for("*.example.org"));
        assert!(ops.speaks_for("web2.example.org"));
    }

    #[test]
    fn fleetlock_ids_compare_by_byte() {
        let caller = Caller { names: vec!["A:1".into()], ..Caller::default() };
        assert!(caller.speaks_for("A:1"));
        assert!(!caller.speaks_for("a:1"));
    }

    #[test]
    fn names_bind_only_when_asked() {
        let bound = Options { bind_names: true, ..Options::default() };
        let nobody = Caller::default();
        assert_eq!(check_name(&nobody, "web1.example.org", &Options::default()), Ok(()));
        assert_eq!(check_name(&nobody, "web1.example.org", &bound).map_err(|r| r.status.as_u16()), Err(403));
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Some(Role::Admin) > Some(Role::Operator) && Some(Role::Operator) > Some(Role::Reader));
        assert!(None < Some(Role::Reader));
        assert!("root".parse::<Role>().is_err());
        assert!("=admin".parse::<CertRole>().is_err());
    }

    #[test]
    fn remembered_tokens_are_bounded() {
        let tokens = Tokens::default();
        for n in 0..=REMEMBERED {
            tokens.remember(Sha256::digest(n.to_le_bytes()).into(), None);
        }
        assert!(tokens.0.lock().expect("unpoisoned").len() <= REMEMBERED);
        let hash = Sha256::digest(REMEMBERED.to_le_bytes()).into();
        assert_eq!(tokens.recall(&hash), Some(None));
        assert_eq!(tokens.recall(&[0; 32]), None);
    }
}

//! A web page: one GET of HTTP/1.1, success when it is answered with 2xx. Only the head of the answer is read.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Allow, Miss, Target, port};

/// The most that the head of an answer may take, in bytes.
const HEAD: usize = 64 << 10;

/// How TLS is spoken: with the system's trust, which is read at the first use.
pub(super) struct Tls(OnceLock<TlsConnector>);

impl Tls {
    pub(super) fn system() -> Self {
        Self(OnceLock::new())
    }

    /// With these authorities instead of the system's.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self(OnceLock::from(connector(roots)))
    }

    fn connector(&self) -> &TlsConnector {
        self.0.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            connector(roots)
        })
    }
}

fn connector(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has all that its default versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// The target of an `http://` or `https://` URL.
///
/// # Errors
/// What is wrong with it.
pub(super) fn target(url: &str) -> Result<Target, String> {
    // What follows # is the browser's alone.
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    // The URL is not quoted: there may be a password in it.
    let uri: Uri = url.parse().map_err(|error| format!("this is no URL: {error}"))?;
    let Some(authority) = uri.authority() else { return Err("the URL lacks its host".into()) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("the URL begins neither with http:// nor with https://".into());
    }
    if authority.as_str().contains('@') {
        return Err("a user or password in the URL is not supported".into());
    }
    if !port::could_be_a_host(port::bare(authority.host())) {
        return Err(format!("{:?} is no host name or address", authority.host()));
    }
    let number = authority.as_str().rsplit_once(':').map(|(_, number)| number).filter(|number| !number.ends_with(']'));
    if let Some(number) = number
        && !matches!(authority.port_u16(), Some(1..))
    {
        return Err(format!("{number:?} is no port; a number from 1 to 65535 is wanted"));
    }
    Ok(Target::Http(uri))
}

/// Asks for `uri` once.
///
/// # Errors
/// `NotYet` without an answer of 2xx; as [`port::connect`] where no connection is made.
pub(super) async fn get(uri: &Uri, allow: &Allow, tls: &Tls, limit: Duration) -> Result<(), Miss> {
    let host = port::bare(uri.host().unwrap_or_default());
    let secure = uri.scheme_str() == Some("https");
    let number = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = port::connect(host, number, allow, limit).await?;
    if !secure {
        return exchange(stream, uri).await;
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Miss::Wrong(format!("{host} is no name that a certificate can carry")))?;
    // Another certificate may take the place of one that is not trusted: some servers start before they have theirs.
    let stream = tls.connector().connect(name, stream).await.map_err(|error| Miss::NotYet(format!("TLS: {error}")))?;
    exchange(stream, uri).await
}

async fn exchange<S>(stream: S, uri: &Uri) -> Result<(), Miss>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let passing = |error: hyper::Error| Miss::NotYet(format!("no HTTP answer: {error}"));
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(USER_AGENT, concat!("goahead/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Miss::Wrong(error.to_string()))?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(stream)).await.map_err(passing)?;
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(passing)?,
        // An error of the connection reaches the sender too; this only keeps it running.
        response = async { let _ = connection.await; std::future::pending().await } => response,
    };
    judge(&response)
}

fn judge<B>(response: &Response<B>) -> Result<(), Miss> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    Err(Miss::NotYet(match location.filter(|_| status.is_redirection()) {
        Some(location) => format!("HTTP {status} to {location}, and redirects are not followed"),
        None => format!("HTTP {status}"),
    }))
}

//! Talking to a service over HTTP/1.1 or HTTPS: a request there, an answer back, over a connection that is kept.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use goahead_rules::duration::GoDuration;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub mod trust;

/// The longest body that is read, in bytes; the service's own answers to clients stay far below.
const BODY: usize = 1 << 20;

/// What the service answered, whatever its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status
    pub status: u16,
    /// How long its `Retry-After` asks to wait before another try
    pub retry_after: Option<Duration>,
    /// Where a redirection points
    pub location: Option<String>,
    /// The body as text
    pub body: String,
}

/// Why there is no answer. Whether the request was carried out is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another try may succeed
    #[error("{0}")]
    Passing(String),
    /// No other try will
    #[error("{0}")]
    Lasting(String),
}

/// Errors of the network and of the protocol pass, or nobody could tell.
fn passing(error: impl fmt::Display) -> Failure {
    Failure::Passing(error.to_string())
}

/// A service, and how it is spoken to.
pub struct Client {
    base: Uri,
    tls: Option<TlsConnector>,
    authorization: Option<HeaderValue>,
    user_agent: HeaderValue,
    connect_timeout: Duration,
    keeps: bool,
    /// The connection of the last answer, for the next request
    idle: Mutex<Option<Connection>>,
}

impl Client {
    /// A client of the service at `url`: `http` or `https`, a host, a port where it is not the scheme's, a path if the
    /// service is below one. It connects within 5 s, keeps a connection, and is called goahead.
    ///
    /// # Errors
    /// When `url` is none of these; says what is wrong with it. A password in an address would end up in logs, so it
    /// is none either.
    pub fn new(url: &str) -> Result<Self, String> {
        let base: Uri = url.parse().map_err(|error| format!("{url:?} is no address: {error}"))?;
        let authority = base.authority().map_or("", |authority| authority.as_str());
        if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none_or(str::is_empty) {
            return Err(format!("{url:?} is no address of a service; write it as https://goahead.example.org:8443"));
        }
        if authority.contains('@') || base.query().is_some() {
            return Err("an address of a service has no user, password or query".to_owned());
        }
        Ok(Self {
            base,
            tls: None,
            authorization: None,
            user_agent: HeaderValue::from_static(concat!("goahead/", env!("CARGO_PKG_VERSION"))),
            connect_timeout: Duration::from_secs(5),
            keeps: true,
            idle: Mutex::new(None),
        })
    }

    /// Whether it needs to be told how TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.base.scheme_str() == Some("https")
    }

    /// How TLS is spoken, see [`trust::connector`].
    pub fn tls(mut self, tls: TlsConnector) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The Authorization header of every request, see [`trust::bearer`].
    pub fn authorization(mut self, header: Option<HeaderValue>) -> Self {
        self.authorization = header;
        self
    }

    /// What it is called.
    pub fn user_agent(mut self, name: &'static str) -> Self {
        self.user_agent = HeaderValue::from_static(name);
        self
    }

    /// How long connecting may take, the lookup of the name included.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Connects anew for every request.
    pub fn keep_nothing(mut self) -> Self {
        self.keeps = false;
        self
    }

    /// Sends a request with a JSON body to `path` (with its query) below the service's address and reads the answer,
    /// all of it within `limit`; whoever asks the service to wait adds some seconds to that wait. Dropping the future
    /// closes the connection, so that the service learns that nobody waits any more.
    ///
    /// # Errors
    /// When there was no answer; says what was met. It tries once.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let request = self.request(method, path, body)?;
        timeout(limit, self.exchange(request))
            .await
            .unwrap_or_else(|_| Err(passing(format!("no answer within {}", go(limit)))))
    }

    fn request(&self, method: Method, path: &str, body: Option<&str>) -> Result<Request<Full<Bytes>>, Failure> {
        let authority = self.base.authority().map_or("", |authority| authority.as_str());
        let below = self.base.path().trim_end_matches('/');
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{below}/{}", path.trim_start_matches('/')))
            .header(HOST, authority)
            .header(USER_AGENT, self.user_agent.clone())
            .body(body.map_or_else(Full::default, |body| Full::new(Bytes::copy_from_slice(body.as_bytes()))))
            .map_err(|error| Failure::Lasting(error.to_string()))?;
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        if let Some(mut connection) = self.idle()
            && connection.sender.ready().await.is_ok()
        {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return self.read(response, connection).await,
                Err(mut error) => match error.take_message() {
                    // It was closed meanwhile, and nothing of this request has left.
                    Some(unsent) => request = unsent,
                    None => return Err(passing(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.sender.send_request(request).await.map_err(passing)?;
        self.read(response, connection).await
    }

    async fn read(&self, response: Response<Incoming>, connection: Connection) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let location = header(LOCATION);
        let body = Limited::new(response.into_body(), BODY).collect().await.map_err(passing)?.to_bytes();
        if self.keeps {
            *self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(connection);
        }
        Ok(Answer { status, retry_after, location, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let host = self.base.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = self.base.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 });
        let limit = self.connect_timeout;
        let stream = match timeout(limit, connect(host, port, limit)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(passing(format!("not connected within {}", go(limit)))),
        };
        // A small request is not to wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        if !self.is_secure() {
            return Connection::open(stream).await;
        }
        let tls = self.tls.as_ref().ok_or_else(|| Failure::Lasting("nobody said whom to trust".to_owned()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Lasting(format!("{host} is no name that a certificate can carry")))?;
        let stream = tls.connect(name, stream).await.map_err(|error| match error.kind() {
            // A certificate that is not trusted now will not be in a second either.
            std::io::ErrorKind::InvalidData => Failure::Lasting(format!("TLS: {error}")),
            _ => passing(format!("TLS: {error}")),
        })?;
        Connection::open(stream).await
    }
}

/// An open connection; dropped, it is closed.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Connection {
    async fn open(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(passing)?;
        // Its errors reach the sender too.
        let task = tokio::spawn(connection).abort_handle();
        Ok(Self { sender, task })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to the first address that answers. Each gets its share of `limit`, so that a dead one hides no other.
async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Failure> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| passing(format!("cannot look up {host}: {error}")))?
        .collect();
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = format!("{host} has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("cannot connect to {address}: {error}"),
            Err(_) => last = format!("cannot connect to {address} within {}", go(share)),
        }
    }
    Err(passing(last))
}

/// A name as one segment of a path, whatever it contains.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The beginning of a body, for a message.
pub fn excerpt(body: &str) -> String {
    body.trim().chars().take(200).collect()
}

/// What an answer that is no success says, in the words of its problem document (RFC 9457) where it is one.
pub fn problem(answer: &Answer) -> String {
    let fields: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |key: &str| fields.get(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    match (text("detail").or(text("title")).or(text("error")), text("hint")) {
        (Some(why), Some(hint)) => format!("{why} ({hint})"),
        (Some(why), None) => why.to_owned(),
        (None, _) => format!("HTTP {}: {}", answer.status, excerpt(&answer.body)).trim_end_matches(": ").to_owned(),
    }
}

/// A duration in Go's form, as the service reads and writes them.
pub fn go(duration: Duration) -> GoDuration {
    GoDuration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;

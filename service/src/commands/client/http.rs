//! Talking to the service: one JSON body there, one back, tried again while that can help.
//!
//! Trying again is safe: a repeated request gets the answer it had, and a host that was told to go ahead keeps that.

use std::time::Duration;

use goahead_rules::duration::GoDuration;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::log::{Log, Stop};

/// The longest body that is read, in bytes; the service's own answers stay below a thousand.
const BODY: usize = 1 << 20;
/// How long after the first try another one may begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause that a service's Retry-After can ask for between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The service, and how it is spoken to.
pub struct Service {
    /// Its address, with a slash at the end
    pub url: String,
    /// How TLS is spoken; used when the address begins with `https`
    pub tls: TlsConnector,
    /// The Authorization header, where one is sent
    pub authorization: Option<HeaderValue>,
    /// How long connecting may take
    pub connect_timeout: Duration,
    /// How long one try may take in all
    pub timeout: Duration,
    /// How often a request is tried
    pub tries: u32,
    /// Where it is told
    pub log: Log,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status
    pub status: u16,
    /// The body as text
    pub body: String,
}

/// Why a try gave no answer.
enum Failure {
    /// Another try may succeed, after the pause that the service asked for
    Passing(String, Option<Duration>),
    /// No other try will
    Lasting(String),
}

/// Errors of the network and of the protocol pass, or nobody could tell.
fn passing(error: impl std::fmt::Display) -> Failure {
    Failure::Passing(error.to_string(), None)
}

impl Service {
    /// Sends `payload` to `path` below the service's address.
    ///
    /// # Errors
    /// When no try was answered; says what the last one met.
    pub async fn post(&self, path: &str, payload: &str) -> Result<Answer, Stop> {
        let url = format!("{}{path}", self.url);
        self.log.debug("doRequest", &format!("sending HTTP request {url}"));
        self.log.debug("getPayload", &format!("Trying to send payload: {payload}"));
        let started = Instant::now();
        let mut number = 1;
        loop {
            let pause = rand::random_range(0.5..1.5) * f64::from(1 << (number - 1).min(3));
            let pause = Duration::from_secs_f64(pause);
            let (why, asked) = match timeout(self.timeout, self.attempt(&url, payload)).await {
                Ok(Ok(answer)) => {
                    self.log.debug("doRequest", &format!("Received response: {}", answer.body));
                    return Ok(answer);
                }
                Ok(Err(Failure::Passing(why, asked))) => (why, asked),
                Ok(Err(Failure::Lasting(why))) => return Err(failed(&url, &why)),
                Err(_) => (format!("no answer within {}", go(self.timeout)), None),
            };
            let pause = pause.max(asked.unwrap_or_default().min(LONGEST_PAUSE));
            if number >= self.tries || started.elapsed() + pause > PATIENCE {
                return Err(failed(&url, &format!("{why} (tried {number} times)")));
            }
            let rounded = go(Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)));
            number += 1;
            self.log.info(&format!(
                "Error while issuing request to {url} Error: {why}; trying again in {rounded} ({number} of {})",
                self.tries
            ));
            sleep(pause).await;
        }
    }

    async fn attempt(&self, url: &str, payload: &str) -> Result<Answer, Failure> {
        let uri: Uri = url.parse().map_err(|error| Failure::Lasting(format!("{error}")))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = match timeout(self.connect_timeout, connect(host, port, self.connect_timeout)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(passing(format!("not connected within {}", go(self.connect_timeout)))),
        };
        if !secure {
            return self.exchange(stream, &uri, payload).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Lasting(format!("{host} is no name that a certificate can carry")))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| match error.kind() {
            // A certificate that is not trusted now will not be in a second either.
            std::io::ErrorKind::InvalidData => Failure::Lasting(format!("TLS: {error}")),
            _ => passing(format!("TLS: {error}")),
        })?;
        self.exchange(stream, &uri, payload).await
    }

    async fn exchange<S>(&self, stream: S, uri: &Uri, payload: &str) -> Result<Answer, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(passing)?;
        // Errors of the connection reach the sender too.
        let connection = tokio::spawn(connection);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri.path())
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("goahead_client/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::copy_from_slice(payload.as_bytes())))
            .map_err(|error| Failure::Lasting(error.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = sender.send_request(request).await.map_err(passing)?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (location, pause) = (header(LOCATION), header(RETRY_AFTER));
        let body = Limited::new(response.into_body(), BODY).collect().await.map_err(passing)?.to_bytes();
        connection.abort();
        let body = String::from_utf8_lossy(&body).into_owned();
        match status {
            // A proxy in between speaks these when it cannot reach the service.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                let pause = pause.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
                Err(Failure::Passing(format!("HTTP {status}: {}", excerpt(&body)), pause))
            }
            // A redirected POST would arrive as a GET without its body.
            status if status.is_redirection() => Err(Failure::Lasting(format!(
                "HTTP {status} to {}; set service_url to where the service is",
                location.as_deref().unwrap_or("nowhere")
            ))),
            status => Ok(Answer { status: status.as_u16(), body }),
        }
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

fn failed(url: &str, why: &str) -> Stop {
    Stop::fatal(format!("Error while issuing request to {url} Error: {why}"))
}

/// The beginning of a body, for a message.
pub fn excerpt(body: &str) -> String {
    body.trim().chars().take(200).collect()
}

/// A duration in Go's form.
pub fn go(duration: Duration) -> GoDuration {
    GoDuration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

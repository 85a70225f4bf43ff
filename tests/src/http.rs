//! A small HTTP client that takes every status for an answer.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code
    pub status: u16,
    /// The Content-Type, empty when there is none
    pub content_type: String,
    /// The Retry-After header
    pub retry_after: Option<String>,
    /// The body
    pub body: String,
}

impl Reply {
    /// The body as JSON; text that is none becomes a JSON string.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| Value::String(self.body.clone()))
    }
}

/// A client of one base address.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    base: String,
    headers: Vec<(String, String)>,
}

impl Http {
    /// A client of `base` (`http://127.0.0.1:1234`) that trusts `authority` (PEM) and no other.
    pub fn new(base: &str, authority: Option<&str>) -> Self {
        let roots = authority.map(|pem| Certificate::from_pem(pem.as_bytes()).expect("a PEM certificate"));
        let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots.into_iter().collect()))).build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .tls_config(tls)
            .build();
        Self { agent: config.into(), base: base.to_owned(), headers: Vec::new() }
    }

    /// The same client with one more header on every request.
    pub fn header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same client with a bearer token on every request.
    pub fn token(&self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    /// One request; an error is one of transport.
    pub fn try_send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Reply, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body).expect("a valid request")),
            None => self.agent.run(request.body(()).expect("a valid request")),
        };
        let mut response = response?;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let (content_type, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        Ok(Reply {
            status: response.status().as_u16(),
            content_type,
            retry_after,
            body: response.body_mut().with_config().limit(64 << 20).read_to_string()?,
        })
    }

    /// The lines of an answer to GET that goes on, as they come, for at most a minute.
    pub fn lines(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let mut request = ureq::http::Request::builder().uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = self.agent.run(request.body(()).expect("a valid request")).expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        BufReader::new(response.into_body().into_reader()).lines().map_while(Result::ok)
    }

    /// One request that must be answered.
    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Reply {
        self.try_send(method, path, body).unwrap_or_else(|error| panic!("{method} {}{path}: {error}", self.base))
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    /// POST of a JSON value.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(body.to_string().as_bytes()))
    }

    /// POST of a JSON value; an error is one of transport.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<Reply, ureq::Error> {
        self.try_send("POST", path, Some(body.to_string().as_bytes()))
    }
}

//! A harepd for tests: its wire format put together and taken apart by hand, its decisions as its own logic has them
//! (rows of the table: the order of its questions, whom it believes, what it does then).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Text as field `tag`.
pub fn text(tag: u8, value: &str) -> Vec<u8> {
    if value.is_empty() {
        return Vec::new();
    }
    let mut field = vec![tag << 3 | 2, u8::try_from(value.len()).unwrap()];
    field.extend_from_slice(value.as_bytes());
    field
}

/// A small number from 0 as field `tag`.
pub fn number(tag: u8, value: u8) -> Vec<u8> {
    assert!(value < 128);
    if value == 0 { Vec::new() } else { vec![tag << 3, value] }
}

/// What a harepd's table says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub ip: String,
    pub node_id: u8,
    pub node_name: String,
    pub witness: String,
    pub slaves: Vec<String>,
    pub master: Vec<String>,
}

impl Known {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            [text(1, &self.ip), number(2, self.node_id), text(3, &self.node_name), text(4, &self.witness)].concat();
        bytes.extend(self.slaves.iter().flat_map(|slave| text(5, slave)));
        bytes.extend(self.master.iter().flat_map(|master| text(6, master)));
        bytes
    }

    pub fn read(mut bytes: &[u8]) -> Self {
        let mut known = Self::default();
        while let [key, value, rest @ ..] = bytes {
            if *key == 2 << 3 {
                known.node_id = *value;
                bytes = rest;
                continue;
            }
            let (field, rest) = rest.split_at(usize::from(*value));
            let field = String::from_utf8(field.to_vec()).unwrap();
            match key >> 3 {
                1 => known.ip = field,
                3 => known.node_name = field,
                4 => known.witness = field,
                5 => known.slaves.push(field),
                6 => known.master.push(field),
                other => panic!("field {other}"),
            }
            bytes = rest;
        }
        known
    }

    /// What harepd compares: both lists, sorted.
    fn compared(&self) -> [Vec<String>; 2] {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        [sorted(&self.master), sorted(&self.slaves)]
    }
}

/// A message with its prefix: not compressed, four bytes of length.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    Bytes::from(frame)
}

/// What came with one question.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A harepd's server: what it says (none: an error, as without a witness's row), and what it was asked.
#[derive(Clone, Default)]
pub struct Says(pub Arc<Mutex<Option<Known>>>, pub Arc<Mutex<Vec<Question>>>);

impl Says {
    pub fn of(known: Known) -> Self {
        Self(Arc::new(Mutex::new(Some(known))), Arc::default())
    }

    /// Serves at this address until the task that is given is aborted, or dropped with the runtime; its port.
    pub async fn serve(&self, address: SocketAddr) -> (u16, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let says = says.clone();
                let service = hyper::service::service_fn(move |request| says.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (port, task)
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Infallible>
    {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
        self.1.lock().unwrap().push(Question { method, path, headers: head.headers, body });
        let known = self.0.lock().unwrap().clone();
        let mut trailers = HeaderMap::new();
        let mut frames = Vec::new();
        match known {
            Some(known) => {
                frames.push(Ok(Frame::data(framed(&known.bytes()))));
                trailers.insert("grpc-status", "0".parse().unwrap());
            }
            None => {
                trailers.insert("grpc-status", "2".parse().unwrap());
                trailers.insert("grpc-message", "sql: no rows in result set".parse().unwrap());
            }
        }
        frames.push(Ok(Frame::trailers(trailers)));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    }
}

/// A harepd's question to a server, and the bytes of the answer; an error for every status but 0.
pub async fn ask(to: SocketAddr, question: &[u8]) -> Result<(HeaderMap, Bytes), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(to).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://{to}/models.ClusterInfo/GetClusterInfo"))
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-go/1.35.0")
        .header("te", "trailers")
        .body(Full::new(framed(question)))
        .unwrap();
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.map_err(|error| failed(&error))?;
    let mut all = headers;
    all.extend(body.trailers().cloned().unwrap_or_default());
    match all.get("grpc-status").map(|status| status.to_str().unwrap().to_owned()).as_deref() {
        Some("0") => Ok((all, body.to_bytes())),
        other => Err(format!("grpc-status {other:?}: {:?}", all.get("grpc-message"))),
    }
}

/// What a harepd does with its lines: read-write, read-only; none: nothing, whatever they were stays.
pub type Lines = Option<(bool, bool)>;

/// A harepd's client.
pub struct Harepd {
    pub primary_ip: String,
    pub table: Known,
    pub neighbours: Vec<SocketAddr>,
    pub witness: SocketAddr,
}

impl Harepd {
    /// One pass.
    pub async fn pass(&self) -> Lines {
        for neighbour in &self.neighbours {
            let Some(known) = self.learn(*neighbour).await else { continue };
            if known.compared() == self.table.compared() {
                return self.lines(&known);
            }
            // The first that answers is the last that is asked.
            break;
        }
        match self.learn(self.witness).await {
            Some(known) if known.compared() == self.table.compared() => self.lines(&known),
            _ => Some((false, false)),
        }
    }

    async fn learn(&self, from: SocketAddr) -> Option<Known> {
        let question = [text(1, &self.primary_ip), number(2, 1)].concat();
        let (_, answer) = ask(from, &question).await.ok()?;
        Some(Known::read(&answer[5..]))
    }

    fn lines(&self, known: &Known) -> Lines {
        let [masters, _] = known.compared();
        let mut lines = None;
        for master in masters {
            lines = Some((master == self.primary_ip, true));
            if master == self.primary_ip {
                break;
            }
        }
        lines
    }
}

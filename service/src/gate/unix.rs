//! Talking to a gate of this machine: HTTP/1.1 with JSON over a unix socket that only its own user may open.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// The longest answer, in bytes.
const LONGEST: usize = 4 << 20;
/// The longest path of a socket that every system can bind.
const PATH: usize = 100;

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves `router` at `path`, with permissions 0600.
///
/// # Errors
/// When another process serves there, or the system refuses.
pub async fn serve(path: &Path, router: Router) -> Result<Socket, String> {
    let named = |error: std::io::Error| format!("the socket {} cannot be made: {error}", path.display());
    if path.as_os_str().len() > PATH {
        return Err(format!("{} is too long for a socket: choose a shorter state_dir", path.display()));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(format!("another gate runs with this state_dir: it answers at {}", path.display()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    // Bound under another name, so that nobody can connect before only we may.
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(named)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(named)?;
    std::fs::rename(&new, path).map_err(named)?;
    let task = tokio::spawn(async move {
        // It ends only with the task.
        let _ = axum::serve(listener, router).await;
    });
    Ok(Socket { path: path.to_owned(), task: task.abort_handle() })
}

/// Posts `body` to a gate's socket and reads its answer, all within `limit`.
///
/// # Errors
/// What was met, or the gate's own words.
pub async fn call<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
    limit: Duration,
) -> Result<T, String> {
    let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    let answered = timeout(limit, exchange(socket, path, body)).await;
    let (status, body) = answered.map_err(|_| format!("no answer at {} within {limit:?}", socket.display()))??;
    if status != 200 {
        return Err(String::from_utf8_lossy(&body).trim().to_owned());
    }
    serde_json::from_slice(&body).map_err(|error| format!("the gate's answer cannot be read: {error}"))
}

async fn exchange(socket: &Path, path: &str, body: Vec<u8>) -> Result<(u16, Bytes), String> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| format!("no gate answers at {}: {error}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection).abort_handle();
    let request = Request::post(path)
        .header("host", "gate")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::routing::post;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_process_serves_a_socket_that_is_its_user_s_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let router = || Router::new().route("/x", post(|body: String| async move { body }));
        let socket = serve(&path, router()).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(call::<String>(&path, "/x", &"a", LIMIT).await, Ok("a".to_owned()));
        assert!(call::<String>(&path, "/y", &"a", LIMIT).await.is_err());
        assert!(serve(&path, router()).await.unwrap_err().contains("another gate"));
        drop(socket);
        assert!(call::<String>(&path, "/x", &"a", LIMIT).await.unwrap_err().contains("no gate answers"));
        // What a killed gate left behind is in nobody's way.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(serve(&path, router()).await.unwrap());
        assert!(!path.exists());
    }
}

//! Which gate an operator speaks to: the one of this node, wherever it keeps its sockets.

use std::path::{Path, PathBuf};

use super::super::{Failure, small_runtime};
use crate::gate::config::Loaded;
use crate::gate::control;

/// Where the units in tools/systemd keep state. systemd tells it to them and not to an operator's shell.
const OF_UNITS: &str = "/var/lib/goahead-gate";

/// The state directory of the gate that runs for this file.
///
/// # Errors
/// That none answers, where it was looked for, and what to do.
pub fn find(loaded: &Loaded) -> Result<PathBuf, Failure> {
    let settings = &loaded.settings;
    let mut places = vec![settings.state_dir.as_path()];
    if loaded.state_dir_by_default && settings.state_dir != Path::new(OF_UNITS) {
        places.push(Path::new(OF_UNITS));
    }
    small_runtime()?.block_on(first(&settings.node, &places)).map_err(Failure::new)
}

async fn first(node: &str, places: &[&Path]) -> Result<PathBuf, String> {
    let mut missed = Vec::new();
    for place in places {
        match control::status(place).await {
            Ok(snapshot) if snapshot.node == node => return Ok(place.to_path_buf()),
            Ok(snapshot) => missed.push(format!("the gate of {} is that of {}", place.display(), snapshot.node)),
            Err(why) => missed.push(why),
        }
    }
    Err(format!(
        "no gate of {node} answers: {}. Does it run? Ask as its own user or as root, with the file that it was started \
         with (-f); where systemd gives it another directory, say so in that file: state_dir",
        missed.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use axum::{Json, Router};

    use super::*;
    use crate::gate::settings::Mode;
    use crate::gate::snapshot::Snapshot;
    use crate::gate::unix;

    #[tokio::test]
    async fn only_the_gate_of_this_node_is_spoken_to() {
        let (mine, other, empty) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let gate = |node: &'static str| {
            let status = async move || Json(Snapshot::nothing(node, Mode::Dual, false));
            Router::new().route(control::STATUS, post(status))
        };
        let _mine = unix::serve(&mine.path().join(control::CONTROL), gate("n1")).await.unwrap();
        let _other = unix::serve(&other.path().join(control::CONTROL), gate("n2")).await.unwrap();
        let places = [empty.path(), other.path(), mine.path()];
        assert_eq!(first("n1", &places).await.unwrap(), mine.path());
        let why = first("n1", &places[..2]).await.unwrap_err();
        assert!(why.contains("that of n2") && why.contains("state_dir"), "{why}");
    }
}

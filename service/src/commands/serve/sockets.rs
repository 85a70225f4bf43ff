//! The up to three listeners: bound before anything else, opened once there is something to serve.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::Config;
use super::{admin, say};
use crate::api;
use crate::listener::{self, Answers, Listener, Protocol, tls};

/// Bound sockets; none where the operator wants none.
pub struct Sockets {
    main: Option<TcpListener>,
    admin: Option<TcpListener>,
    rendezvous: Option<TcpListener>,
}

impl Sockets {
    /// Binds what is configured.
    ///
    /// # Errors
    /// Which address cannot be bound.
    pub async fn bind(config: &Config) -> Result<Self, String> {
        let bind = async |flag, address: Option<std::net::SocketAddr>| match address {
            Some(address) => listener::bind(flag, address).await.map(Some),
            None => Ok(None),
        };
        let main = bind("listen", config.listen).await?;
        let admin = bind("admin-listen", config.admin_listen).await?;
        let rendezvous = match bind("rendezvous-listen", config.rendezvous_listen).await {
            // An installation of before this listener keeps starting after an upgrade.
            Err(error) if config.rendezvous_listen_is_default && main.is_some() => {
                tracing::warn!("no rendezvous: {error}; or --rendezvous-listen off");
                None
            }
            bound => bound?,
        };
        Ok(Self { main, admin, rendezvous })
    }

    /// The name under which this process claims jobs: no other process has it now, and the next one here has it again.
    pub fn runner_name(&self) -> String {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let socket = self.main.as_ref().or(self.admin.as_ref()).or(self.rendezvous.as_ref());
        match socket.map(TcpListener::local_addr) {
            Some(Ok(address)) => format!("{host} {address}"),
            _ => format!("{host} process {}", std::process::id()),
        }
    }

    /// Opens the listeners and says where they are.
    ///
    /// # Errors
    /// When the operating system does not know an address that it gave.
    pub fn open(
        self,
        config: &Config,
        state: &api::State,
        certificates: Option<&watch::Sender<Arc<rustls::ServerConfig>>>,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let mut opening = Opening { state, certificates, tasks: Vec::new() };
        if let Some(socket) = self.main {
            let state = api::State { options: options(config, &socket), ..state.clone() };
            let how = (config.tls.is_some(), config.max_connections, Protocol::Any);
            opening.open("listening on", socket, how, api::router(state))?;
        }
        if let Some(socket) = self.admin {
            let router = admin::router(admin::Admin { db: state.db.clone(), metrics: state.metrics.clone() });
            let how = (config.admin_tls, config.max_connections, Protocol::Any);
            opening.open("admin listening on", socket, how, router)?;
        }
        if let Some(socket) = self.rendezvous {
            let options = options(config, &socket);
            // Where only this machine can call, a page with a name on the Internet is no caller of ours.
            let options = api::Options { dotless_hosts: options.loopback_only, ..options };
            let service = api::rendezvous(api::State { options, ..state.clone() }, config.rendezvous_timeout);
            let how = (config.rendezvous_tls, config.rendezvous_max_connections, Protocol::Small);
            opening.open("rendezvous listening on", socket, how, service)?;
        }
        Ok(opening.tasks)
    }
}

struct Opening<'a> {
    state: &'a api::State,
    certificates: Option<&'a watch::Sender<Arc<rustls::ServerConfig>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Opening<'_> {
    fn open(
        &mut self,
        what: &str,
        socket: TcpListener,
        (encrypted, limit, protocol): (bool, usize, Protocol),
        service: impl Answers,
    ) -> std::io::Result<()> {
        let tls = self.certificates.filter(|_| encrypted).map(watch::Sender::subscribe);
        let scheme = if tls.is_some() { "https" } else { "http" };
        say(&format!("{what} {scheme}://{}", socket.local_addr()?));
        let listener = Listener { socket, tls, limit, protocol, connections: self.state.metrics.connections.clone() };
        self.tasks.push(tokio::spawn(listener.run(service, self.state.closing.clone())));
        Ok(())
    }
}

fn options(config: &Config, socket: &TcpListener) -> api::Options {
    let mut host_names = config.public_hosts.clone();
    host_names.extend(config.tls.iter().flat_map(tls::server_names));
    api::Options {
        require_auth: config.require_auth,
        bind_names: config.bind_names,
        allow_commands_over_http: config.allow_commands_over_http,
        host_names,
        cert_roles: config.cert_roles.clone(),
        loopback_only: socket.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        dotless_hosts: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::serve::config::Layer;
    use crate::logging;

    fn config(rendezvous: std::net::SocketAddr, is_default: bool, listen: &str) -> Config {
        let layer = Layer {
            database_url: Some("postgres://db/x".into()),
            listen: Some(listen.into()),
            admin_listen: Some("off".into()),
            ..Layer::default()
        };
        let config = Config::load(layer, None, &logging::Options::default()).unwrap();
        Config { rendezvous_listen: Some(rendezvous), rendezvous_listen_is_default: is_default, ..config }
    }

    #[tokio::test]
    async fn a_taken_address_that_nobody_asked_for_stops_nobody() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let sockets = Sockets::bind(&config(address, true, "127.0.0.1:0")).await.unwrap();
        assert!(sockets.main.is_some() && sockets.rendezvous.is_none());
        for (is_default, listen) in [(false, "127.0.0.1:0"), (true, "off")] {
            let error = Sockets::bind(&config(address, is_default, listen)).await.err().unwrap();
            assert!(error.contains("--rendezvous-listen") && error.contains("another program"), "{error}");
        }
    }
}

//! Which service a command speaks to.

use std::path::PathBuf;

use super::Failure;
use crate::http_client::Client;
use crate::http_client::trust::{self, Trust};

/// Flags that say where the service is, whom to trust there, and who calls.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    /// The address of the service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8443", env = "GOAHEAD_URL", global = true)]
    url: String,
    #[command(flatten)]
    credentials: Credentials,
}

/// Flags that say whom to trust where a service is, and who calls.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct Credentials {
    /// A file that holds the token to call with; `goahead token create` makes one
    #[arg(long, value_name = "FILE", env = "GOAHEAD_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's: of an authority, or the service's own
    #[arg(long, value_name = "FILE", env = "GOAHEAD_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// The client certificate (PEM) to call with
    #[arg(long, value_name = "FILE", env = "GOAHEAD_CERT_FILE", requires = "key_file", global = true)]
    cert_file: Option<PathBuf>,
    /// The private key (PEM) of the client certificate
    #[arg(long, value_name = "FILE", env = "GOAHEAD_KEY_FILE", requires = "cert_file", global = true)]
    key_file: Option<PathBuf>,
}

impl ServiceArgs {
    /// A client of that service. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or a file cannot be read; says which.
    pub fn client(&self) -> Result<Client, Failure> {
        self.credentials.client("--url", &self.url)
    }

    /// The address, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Credentials {
    /// A client of the service at `url`, which the user gave as the value of `flag`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or a file cannot be read; says which.
    pub fn client(&self, flag: &str, url: &str) -> Result<Client, Failure> {
        let mut client = Client::new(url).map_err(|why| Failure::new(format!("{flag}: {why}")))?;
        if client.is_secure() {
            let trust = Trust {
                ca_file: self.ca_file.as_deref(),
                client_certificate: self.cert_file.as_deref().zip(self.key_file.as_deref()),
            };
            let tls = trust::connector(trust, |text| tracing::debug!("{text}"));
            client = client.tls(tls.map_err(|error| Failure::new(error.to_string()))?);
        }
        let token = self.token_file.as_deref().map(|file| {
            trust::bearer(file).map_err(|why| Failure::new(format!("--token-file {}: {why}", file.display())))
        });
        Ok(client.authorization(token.transpose()?))
    }
}

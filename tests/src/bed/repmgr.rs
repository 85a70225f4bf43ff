//! PostgreSQL's and repmgr's configuration of a machine.

use std::path::Path;

use super::node::Node;
use crate::postgres::programs;
use crate::process::User;

/// Connections that a server takes.
pub(super) const CONNECTIONS: u8 = 60;

/// A question of repmgrd that was under way when the network parted would wait for its answer for a quarter of an hour.
const SILENCE: &str = "tcp_user_timeout=2000 keepalives_idle=1 keepalives_interval=1 keepalives_count=2";

/// Writes a file that belongs to user postgres.
pub(super) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    User::postgres().give(path);
}

/// repmgr.conf: failover by repmgrd, two seconds after the primary is gone.
pub(super) fn configure(node: &Node) {
    let (bin, data, conf) = (programs(), node.data(), node.repmgr_conf());
    let (bin, data, conf) = (bin.display(), data.display(), conf.display());
    let log = node.path("log");
    let text = format!(
        "node_id={number}
node_name='{name}'
conninfo='host={address} port={port} user=repmgr dbname=repmgr connect_timeout=2 {SILENCE}'
data_directory='{data}'
pg_bindir='{bin}'
failover=automatic
promote_command='{bin}/repmgr standby promote -f {conf} --log-to-file'
follow_command='{bin}/repmgr standby follow -f {conf} --log-to-file --upstream-node-id=%n'
reconnect_attempts=2
reconnect_interval=1
monitor_interval_secs=1
degraded_monitoring_timeout=-1
witness_sync_interval=2
service_start_command='{bin}/pg_ctl -D {data} -w -l {log} start'
service_stop_command='{bin}/pg_ctl -D {data} -m fast -w stop'
service_restart_command='{bin}/pg_ctl -D {data} -m fast -w -l {log} restart'
service_reload_command='{bin}/pg_ctl -D {data} reload'
",
        number = node.number,
        name = node.name,
        address = node.address,
        port = node.ports.postgres,
        log = log.display(),
    );
    write(&node.repmgr_conf(), &text);
}

/// What of postgresql.conf is this machine's own; it comes last, after what a clone brought along.
pub(super) fn own_settings(node: &Node) -> String {
    format!("listen_addresses = '{}'\nunix_socket_directories = '{}'\n", node.address, node.socket().display())
}

/// How `standby` reaches `primary`, in the words that `repmgr standby clone` writes.
pub(super) fn primary_conninfo(primary: &Node, standby: &Node) -> String {
    format!(
        "primary_conninfo = 'user=repmgr connect_timeout=2 host={} port={} application_name={}'\n",
        primary.address, primary.ports.postgres, standby.name
    )
}

/// What of postgresql.conf is the same everywhere.
pub(super) fn common_settings(port: u16, libraries: &str) -> String {
    format!(
        "port = {port}
shared_preload_libraries = '{libraries}'
shared_buffers = 16MB
max_connections = {CONNECTIONS}
fsync = off
wal_log_hints = on
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = 128MB
logging_collector = off
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 1s
"
    )
}

//! A fleet that is known already, written straight into the private tables.

use goahead_tests::postgres::Database;

use super::load::Fleet;

/// Writes clusters and hosts, and lets the database settle.
pub fn fill(database: &Database<'_>, fleet: Fleet) {
    let mut client = database.connect();
    let clusters = i64::from(fleet.clusters);
    let settings = "SELECT count(goahead.set_cluster('c' || lpad(n::text, 5, '0'), jsonb_build_object(
            'name_pattern', '^c' || lpad(n::text, 5, '0') || '-[^.]+\\.example\\.org$',
            'allowed_parallel_restarts', 1000000)))
        FROM generate_series(0, $1::bigint - 1) AS n";
    client.query_one(settings, &[&clusters]).expect("set_cluster");
    let hosts = "INSERT INTO goahead._host (fqdn, cluster_id, patterns_version, first_seen, last_seen, uptime_us)
        SELECT 'c' || lpad((n % $1)::text, 5, '0') || '-h' || lpad(n::text, 7, '0') || '.example.org', c.id,
               (SELECT version FROM goahead._patterns), now(), now(), 3600000000
        FROM generate_series(0, $2::bigint - 1) AS n
        JOIN goahead._cluster AS c ON c.name = 'c' || lpad((n % $1)::text, 5, '0')";
    client.execute(hosts, &[&clusters, &i64::from(fleet.hosts)]).expect("hosts");
    for statement in ["SELECT goahead.sweep()", "VACUUM (ANALYZE)", "CHECKPOINT"] {
        client.batch_execute(statement).expect(statement);
    }
}

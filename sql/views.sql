-- What people look at. The views are the API; the tables below them may change.
CREATE VIEW goahead.clusters AS
SELECT c.name,
       coalesce((c.settings ->> 'enabled')::boolean, true) AS enabled,
       c.settings ->> 'allowed_parallel_restarts' AS allowed_parallel_restarts,
       c.known_hosts,
       c.frozen_reason, c.frozen_until, c.frozen_at, c.frozen_by,
       c.settings,
       c.imported_hash IS NOT NULL AS imported,
       c.edited,
       c.created_at, c.changed_at
  FROM goahead._cluster c;
COMMENT ON VIEW goahead.clusters IS 'Clusters and their settings';
COMMENT ON COLUMN goahead.clusters.known_hosts IS 'Hosts that have called so far; counted once a minute';
COMMENT ON COLUMN goahead.clusters.edited IS 'Set by SQL since its last import, so imports leave it alone unless forced';

CREATE VIEW goahead.hosts AS
SELECT h.fqdn, c.name AS cluster, h.first_seen, h.last_seen,
       h.uptime_us * interval '1 microsecond' AS uptime,
       h.boot_id,
       r.state AS restart, r.slot, r.granted_at,
       h.last_restart
  FROM goahead._host h
  JOIN goahead._cluster c ON c.id = h.cluster_id
  LEFT JOIN goahead._restart r ON r.holder = h.fqdn AND r.kind = 'goahead' AND r.ended_at IS NULL;
COMMENT ON VIEW goahead.hosts IS 'Hosts that belong to a cluster, and the slot that each holds';
COMMENT ON COLUMN goahead.hosts.last_seen IS 'At a resolution of 5 minutes';
COMMENT ON COLUMN goahead.hosts.last_restart IS 'The last restart that was seen to reboot, see goahead.restarts';

CREATE VIEW goahead.unknown_hosts AS
SELECT u.name, u.first_seen, u.last_seen, u.times, u.blacklist
  FROM goahead._unknown_host u;
COMMENT ON VIEW goahead.unknown_hosts IS 'Names that match no cluster, the newest 10000; blacklist is the pattern that keeps one out';

CREATE VIEW goahead.requests AS
SELECT h.fqdn, c.name AS cluster, h.request_id, h.request_at AS asked_at,
       h.request_at + goahead.go_duration(coalesce(nullif(c.settings ->> 'request_timeout', '0'), '10m')) AS expires_at,
       nullif(h.denial, '') AS denied_by, nullif(h.denial_detail, '') AS denial, h.denied_at
  FROM goahead._host h
  JOIN goahead._cluster c ON c.id = h.cluster_id
 WHERE h.request_id IS NOT NULL OR h.denied_at IS NOT NULL;
COMMENT ON VIEW goahead.requests IS 'Hosts that asked: the request_id that was handed out and the last denial';

CREATE VIEW goahead.restarts AS
SELECT r.id, r.cluster, r.holder AS host, f.fqdn AS named, r.kind, r.state, r.slot, r.reason, r.uptime,
       r.granted_at, r.rebooted_at, r.overdue_at, r.ended_at,
       coalesce(r.ended_at, pg_catalog.clock_timestamp()) - r.granted_at AS duration,
       r.checking, r.successes, r.ended_by, r.note
  FROM goahead._restart r
  LEFT JOIN goahead._fleetlock_name f ON r.kind = 'fleetlock' AND f.holder = r.holder;
COMMENT ON VIEW goahead.restarts IS 'Go-aheads, in force (ended_at null: they hold their slot) and past';
COMMENT ON COLUMN goahead.restarts.named IS 'The host name that an operator gave to a FleetLock id';

CREATE VIEW goahead.cluster_status AS
SELECT c.name AS cluster,
       coalesce((c.settings ->> 'enabled')::boolean, true) AS enabled,
       c.settings ->> 'allowed_parallel_restarts' AS allowed_parallel_restarts,
       c.known_hosts,
       coalesce(r.running, 0) AS running,
       coalesce(r.overdue, 0) AS overdue,
       r.hosts,
       CASE WHEN c.frozen_until IS NULL OR c.frozen_until > pg_catalog.clock_timestamp() THEN c.frozen_reason END AS frozen,
       o.id AS rollout
  FROM goahead._cluster c
  LEFT JOIN (SELECT o.cluster_id, count(*) AS running, count(o.overdue_at) AS overdue, pg_catalog.array_agg(o.holder ORDER BY o.id) AS hosts
               FROM goahead._restart o WHERE o.ended_at IS NULL GROUP BY o.cluster_id) r ON r.cluster_id = c.id
  LEFT JOIN goahead._rollout o ON o.cluster_id = c.id AND o.ended_at IS NULL;
COMMENT ON VIEW goahead.cluster_status IS 'One line per cluster: who restarts now, and what stands in the way';

CREATE VIEW goahead.rollouts AS
SELECT o.id, o.cluster, o.reason, o.started_at, o.started_by, o.ended_at, o.outcome,
       n.done, n.running, n.remaining,
       CASE WHEN o.ended_at IS NULL AND n.done > 0
            THEN (pg_catalog.clock_timestamp() - o.started_at) / n.done * (n.running + n.remaining) END AS estimate
  FROM goahead._rollout o
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE s.done) AS done,
              count(*) FILTER (WHERE NOT s.done AND s.running) AS running,
              count(*) FILTER (WHERE NOT s.done AND NOT s.running) AS remaining
         FROM (SELECT h.fqdn,
                      r.id IS NOT NULL AS running,
                      r.id IS NULL AND (coalesce(h.last_restart > o.boundary, false)
                        OR h.last_seen - h.uptime_us * interval '1 microsecond' > o.started_at) AS done
                 FROM goahead._host h
                 LEFT JOIN goahead._restart r ON r.holder = h.fqdn AND r.kind = 'goahead' AND r.ended_at IS NULL AND r.id > o.boundary
                WHERE h.cluster_id = o.cluster_id) s) n;
COMMENT ON VIEW goahead.rollouts IS 'Rollouts: hosts that have restarted since, that restart now, that are left, and how long that will take at the pace so far';

CREATE VIEW goahead.jobs AS
SELECT j.id, j.kind, j.cluster, j.fqdn, j.command, j.state, j.run AS runs, j.runner, j.created_at, j.started_at, j.finished_at,
       j.exit_code, j.failure, j.output, j.restart_id AS restart,
       CASE WHEN j.state <> 'queued' THEN NULL
            WHEN j.system_identifier <> (SELECT i.system_identifier FROM pg_catalog.pg_control_system() i)
                 THEN 'of another server: run SELECT goahead.adopt(confirm => true) if this one takes over'
            WHEN NOT EXISTS (SELECT FROM goahead._runner u WHERE u.seen_at > pg_catalog.clock_timestamp() - interval '1 minute')
                 THEN 'no runner has been seen in the last minute: start goahead serve --run-jobs' END AS waits
  FROM goahead._job j;
COMMENT ON VIEW goahead.jobs IS 'Programs that the database wants run, and how they ended';

CREATE VIEW goahead.events AS
SELECT e.id, e.at, e.kind, e.cluster, e.subject, e.actor, e.detail
  FROM goahead._event e;
COMMENT ON VIEW goahead.events IS 'History; to follow it without a gap use goahead.list_events';

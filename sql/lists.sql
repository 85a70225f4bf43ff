-- Lists for the HTTP API, as jsonb: {"items": […], "next": cursor or null}. They read views, nothing else.
CREATE FUNCTION goahead._page(items jsonb, max int, next jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_build_object('items', coalesce(items, '[]'), 'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= max THEN next END) $$;
COMMENT ON FUNCTION goahead._page(jsonb, int, jsonb) IS 'A page of a list';

CREATE FUNCTION goahead.list_clusters(max int DEFAULT 100, after text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(s) || jsonb_build_object('settings', c.settings) AS item, s.cluster AS key
                    FROM goahead.cluster_status s JOIN goahead.clusters c ON c.name = s.cluster
                   WHERE after IS NULL OR s.cluster > after ORDER BY s.cluster LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key), greatest(max, 1), to_jsonb(pg_catalog.max(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_clusters(int, text) IS 'Clusters with status and settings, by name';

CREATE FUNCTION goahead.get_cluster(name text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb(s) || to_jsonb(c) - 'name' FROM goahead.cluster_status s JOIN goahead.clusters c ON c.name = s.cluster
     WHERE c.name = get_cluster.name
$$;
COMMENT ON FUNCTION goahead.get_cluster(text) IS 'One cluster with status and settings; null if there is none';

CREATE FUNCTION goahead.list_hosts(cluster text, max int DEFAULT 100, after text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(h) AS item, h.fqdn AS key FROM goahead.hosts h
                   WHERE h.cluster = list_hosts.cluster AND (after IS NULL OR h.fqdn > after) ORDER BY h.fqdn LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key), greatest(max, 1), to_jsonb(pg_catalog.max(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_hosts(text, int, text) IS 'Hosts of a cluster, by name';

CREATE FUNCTION goahead.get_host(fqdn text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb(h)
           || jsonb_build_object(
                'request', (SELECT to_jsonb(r) - 'fqdn' - 'cluster' - 'request_id' FROM goahead.requests r WHERE r.fqdn = h.fqdn),
                'restarts', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.id DESC), '[]')
                               FROM (SELECT * FROM goahead.restarts x WHERE x.host = h.fqdn ORDER BY x.id DESC LIMIT 10) t),
                'explain', (SELECT jsonb_agg(to_jsonb(e)) FROM goahead.explain_restart(h.fqdn) e))
      FROM goahead.hosts h WHERE h.fqdn = lower(rtrim(get_host.fqdn, '.'))
$$;
COMMENT ON FUNCTION goahead.get_host(text) IS 'One host with its restarts and what would stand against a restart now; null if it never called';

CREATE FUNCTION goahead.list_restarts(max int DEFAULT 100, before bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(r) AS item, r.id AS key FROM goahead.restarts r
                   WHERE before IS NULL OR r.id < before ORDER BY r.id DESC LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key DESC), greatest(max, 1), to_jsonb(min(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_restarts(int, bigint) IS 'Restarts, newest first';

CREATE FUNCTION goahead.list_rollouts(max int DEFAULT 100, before bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(r) AS item, r.id AS key FROM goahead.rollouts r
                   WHERE before IS NULL OR r.id < before ORDER BY r.id DESC LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key DESC), greatest(max, 1), to_jsonb(min(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_rollouts(int, bigint) IS 'Rollouts, newest first';

-- Only what every older transaction has finished is shown, in the order (xid, id): a cursor never skips a late commit.
CREATE FUNCTION goahead.list_events(after text DEFAULT NULL, max int DEFAULT 100) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH cursor AS (SELECT split_part(coalesce(after, '0.0'), '.', 1)::xid8 AS xid, split_part(coalesce(after, '0.0'), '.', 2)::bigint AS id),
         page AS (SELECT jsonb_build_object('id', e.id, 'at', e.at, 'kind', e.kind, 'cluster', e.cluster, 'subject', e.subject,
                                            'actor', e.actor, 'detail', e.detail, 'cursor', e.xid || '.' || e.id) AS item, e.xid, e.id
                    FROM goahead._event e, cursor c
                   WHERE (e.xid, e.id) > (c.xid, c.id) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
                   ORDER BY e.xid, e.id LIMIT greatest(max, 1))
    SELECT jsonb_build_object('items', coalesce(jsonb_agg(item ORDER BY xid, id), '[]'),
                              'next', coalesce((SELECT p.item ->> 'cursor' FROM page p ORDER BY p.xid DESC, p.id DESC LIMIT 1), after))
      FROM page
$$;
COMMENT ON FUNCTION goahead.list_events(text, int) IS 'Events after a cursor, oldest first; next is the cursor to go on with';

-- The names are in an unlogged table, which a standby does not have: there the list is empty.
CREATE FUNCTION goahead.list_unknown_hosts(max int DEFAULT 100) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN goahead._page('[]', 1, NULL);
    END IF;
    RETURN (SELECT jsonb_build_object('items', coalesce(jsonb_agg(to_jsonb(u) ORDER BY u.last_seen DESC), '[]'), 'next', NULL)
              FROM (SELECT * FROM goahead.unknown_hosts ORDER BY last_seen DESC LIMIT greatest(max, 1)) u);
END
$$;
COMMENT ON FUNCTION goahead.list_unknown_hosts(int) IS 'Names that match no cluster, newest first';

CREATE FUNCTION goahead.list_tokens() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('items', coalesce(jsonb_agg(to_jsonb(t) - 'hash' ORDER BY t.id), '[]'), 'next', NULL) FROM goahead._token t
$$;
COMMENT ON FUNCTION goahead.list_tokens() IS 'Tokens without their secrets, which nobody keeps';

CREATE FUNCTION goahead.stats() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN jsonb_build_object(
        'clusters', (SELECT count(*) FROM goahead._cluster),
        'known_hosts', (SELECT coalesce(sum(known_hosts), 0) FROM goahead._cluster),
        'running', (SELECT count(*) FROM goahead._restart WHERE ended_at IS NULL),
        'overdue', (SELECT count(*) FROM goahead._restart WHERE ended_at IS NULL AND overdue_at IS NOT NULL),
        'jobs_queued', (SELECT count(*) FROM goahead._job WHERE state = 'queued'),
        'jobs_running', (SELECT count(*) FROM goahead._job WHERE state = 'running'),
        'jobs_failed', (SELECT count(*) FROM goahead._job WHERE state = 'failed'),
        'operations_open', (SELECT count(*) FROM goahead._operation WHERE ended_at IS NULL),
        'operations_failed', (SELECT count(*) FROM goahead._operation WHERE state = 'failed'),
        'units_blocked', (SELECT count(*) FROM goahead._unit WHERE blocked_by IS NOT NULL),
        'locks_halted', (SELECT count(*) FROM goahead._lock WHERE halted IS NOT NULL),
        'unknown_hosts', jsonb_array_length(goahead.list_unknown_hosts(10000) -> 'items'));
END
$$;
COMMENT ON FUNCTION goahead.stats() IS 'Gauges for monitoring';

CREATE FUNCTION goahead.adopt(confirm boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here    bigint := (SELECT system_identifier FROM pg_catalog.pg_control_system());
    foreign_jobs bigint := (SELECT count(*) FROM goahead._job j WHERE j.system_identifier <> here AND j.state IN ('queued', 'running'));
BEGIN
    IF NOT confirm THEN
        RETURN pg_catalog.format('%s unfinished jobs belong to another server. If that one is gone and this one takes over: SELECT goahead.adopt(confirm => true)', foreign_jobs);
    END IF;
    UPDATE goahead._job SET system_identifier = here WHERE system_identifier <> here;
    -- Transaction ids of the other server mean nothing here: its events are all in the past.
    UPDATE goahead._event SET xid = '0' WHERE xid >= pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) AND xid <> pg_catalog.pg_current_xact_id();
    RETURN pg_catalog.format('adopted %s jobs', foreign_jobs);
END
$$;
COMMENT ON FUNCTION goahead.adopt(boolean) IS 'Makes a restored copy the one that runs jobs; until then it claims none, so that a copy made for a test touches no host';

CREATE FUNCTION goahead.list_locks(max int DEFAULT 100, after text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(l) AS item, l.name AS key FROM goahead.locks l
                   WHERE after IS NULL OR l.name > after ORDER BY l.name LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key), greatest(max, 1), to_jsonb(pg_catalog.max(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_locks(int, text) IS 'Locks, by name';

CREATE FUNCTION goahead.get_lock(lock text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(l) FROM goahead.locks l WHERE l.name = get_lock.lock $$;
COMMENT ON FUNCTION goahead.get_lock(text) IS 'One lock with its holders; null if there is none';

CREATE FUNCTION goahead.list_lock_queue(lock text, max int DEFAULT 100, after bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (SELECT to_jsonb(q) AS item, q.ticket AS key FROM goahead.lock_queue q
                   WHERE q.lock = list_lock_queue.lock AND (after IS NULL OR q.ticket > after) ORDER BY q.ticket LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key), greatest(max, 1), to_jsonb(pg_catalog.max(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_lock_queue(text, int, bigint) IS 'Holders and waiters of a lock, in the order of tickets';

-- Who may do what. Everything belongs to goahead_owner, which has no other right: a definer function gains nothing more.
-- Every function is closed to PUBLIC first and opened by name below; one that is forgotten stays closed.
DO $own$
DECLARE
    it record;
BEGIN
    EXECUTE 'ALTER SCHEMA goahead OWNER TO goahead_owner';
    FOR it IN SELECT c.oid::pg_catalog.regclass AS name, c.relkind FROM pg_catalog.pg_class c
               WHERE c.relnamespace OPERATOR(pg_catalog.=) 'goahead'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v') LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO goahead_owner', CASE it.relkind WHEN 'r' THEN 'TABLE' ELSE 'VIEW' END, it.name);
    END LOOP;
    FOR it IN SELECT p.oid::pg_catalog.regprocedure AS name, p.prokind FROM pg_catalog.pg_proc p
               WHERE p.pronamespace OPERATOR(pg_catalog.=) 'goahead'::pg_catalog.regnamespace LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', it.name);
        EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO goahead_owner', it.name);
    END LOOP;
END
$own$;

ALTER FUNCTION goahead._ask_blocker(text, text, text) OWNER TO goahead_policy;
REVOKE ALL ON FUNCTION goahead._ask_blocker(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION goahead._ask_blocker(text, text, text) TO goahead_owner;

GRANT USAGE ON SCHEMA goahead TO goahead_reader, goahead_client, goahead_operator, goahead_admin, goahead_service, goahead_gate, goahead_hba, goahead_policy;

GRANT SELECT ON goahead.clusters, goahead.hosts, goahead.unknown_hosts, goahead.requests, goahead.restarts, goahead.cluster_status,
                goahead.rollouts, goahead.jobs, goahead.events TO goahead_reader;
GRANT EXECUTE ON FUNCTION goahead.version(), goahead.go_duration(text) TO goahead_reader, goahead_client, goahead_service;
GRANT EXECUTE ON FUNCTION
    goahead.explain_restart(text, text), goahead.list_clusters(int, text), goahead.get_cluster(text), goahead.list_hosts(text, int, text),
    goahead.get_host(text), goahead.list_restarts(int, bigint), goahead.list_rollouts(int, bigint), goahead.list_events(text, int),
    goahead.list_unknown_hosts(int), goahead.stats()
    TO goahead_reader;

GRANT EXECUTE ON FUNCTION goahead.request_restart(text, text, text, text), goahead.inquire_restart(text, text, jsonb) TO goahead_client;

GRANT EXECUTE ON FUNCTION
    goahead.complete_restart(text, text), goahead.fail_restart(text, text), goahead.cancel_restart(text, text),
    goahead.freeze(text, text, timestamptz), goahead.thaw(text), goahead.start_rollout(text, text), goahead.stop_rollout(bigint),
    goahead.name_fleetlock_id(text, text)
    TO goahead_operator;

GRANT EXECUTE ON FUNCTION
    goahead.set_cluster(text, jsonb), goahead.drop_cluster(text), goahead.import_clusters(jsonb, boolean), goahead.create_token(text, text[], text),
    goahead.revoke_token(bigint), goahead.list_tokens(), goahead.adopt(boolean)
    TO goahead_admin;

GRANT EXECUTE ON FUNCTION
    goahead.request_restarts(text), goahead.inquire_restarts(text), goahead.fleetlock(text), goahead.claim_jobs(text, int, int),
    goahead.finish_job(bigint, int, text, int, text, text), goahead.release_job(bigint, int, text), goahead.release_runner(text),
    goahead.sweep(), goahead.check_token(text)
    TO goahead_service;

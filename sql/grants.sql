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
ALTER FUNCTION goahead._is_blocker(text) OWNER TO goahead_policy;
ALTER FUNCTION goahead._ask_policy(text, text, text, text[], text[]) OWNER TO goahead_policy;
ALTER FUNCTION goahead._is_policy(text) OWNER TO goahead_policy;
REVOKE ALL ON FUNCTION goahead._ask_policy(text, text, text, text[], text[]), goahead._is_policy(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION goahead._ask_policy(text, text, text, text[], text[]), goahead._is_policy(text) TO goahead_owner;
REVOKE ALL ON FUNCTION goahead._ask_blocker(text, text, text), goahead._is_blocker(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION goahead._ask_blocker(text, text, text), goahead._is_blocker(text) TO goahead_owner;

-- How the functions that are called all the time are planned. A backend keeps its plans, and one made while the tables
-- were still empty would read them from end to end once they are not: rows are found by index, whatever the statistics
-- say. Arrays of one and of a hundred calls want the same plan, so it is made once (a third of the time of a call was
-- planning), and never worth compiling.
DO $plans$
DECLARE
    it text;
BEGIN
    FOREACH it IN ARRAY ARRAY['request_restart', 'inquire_restart', 'judge_restarts',
                              'judge_rendezvous', '_watch', '_leave', 'signal', 'is_signalled', 'arrive',
                              'judge_locks', 'acquire', 'renew', 'release', 'withdraw', 'check_fence', 'request_operation', 'next_operation', 'finish_operation',
                              'claim_jobs', 'finish_job', 'release_job', 'sweep'] LOOP
        EXECUTE (SELECT pg_catalog.string_agg(pg_catalog.format('ALTER FUNCTION %s SET %s;', p.oid::pg_catalog.regprocedure, setting), ' ')
                   FROM pg_catalog.pg_proc p,
                        pg_catalog.unnest(ARRAY['enable_seqscan = off', 'enable_hashjoin = off', 'enable_mergejoin = off', 'jit = off',
                                                'plan_cache_mode = force_generic_plan']) AS setting
                  WHERE p.pronamespace OPERATOR(pg_catalog.=) 'goahead'::pg_catalog.regnamespace AND p.proname OPERATOR(pg_catalog.=) it);
    END LOOP;
END
$plans$;

GRANT USAGE ON SCHEMA goahead TO goahead_reader, goahead_client, goahead_operator, goahead_admin, goahead_service, goahead_gate, goahead_hba, goahead_policy;

GRANT SELECT ON goahead.clusters, goahead.hosts, goahead.unknown_hosts, goahead.requests, goahead.restarts, goahead.cluster_status,
                goahead.rollouts, goahead.jobs, goahead.events, goahead.locks, goahead.lock_queue, goahead.lock_waits,
                goahead.operations, goahead.units, goahead.rendezvous, goahead.barriers TO goahead_reader;
GRANT EXECUTE ON FUNCTION goahead.version(), goahead.go_duration(text) TO goahead_reader, goahead_client, goahead_service;
GRANT EXECUTE ON FUNCTION goahead._passed(bigint, bigint, bigint), goahead._is_heard(bigint, bigint) TO goahead_reader;
GRANT EXECUTE ON FUNCTION
    goahead.explain_restart(text, text), goahead.list_clusters(int, text), goahead.get_cluster(text), goahead.list_hosts(text, int, text),
    goahead.get_host(text), goahead.list_restarts(int, bigint), goahead.list_rollouts(int, bigint), goahead.list_events(text, int),
    goahead.list_unknown_hosts(int), goahead.stats(), goahead.list_locks(int, text), goahead.get_lock(text),
    goahead.list_lock_queue(text, int, bigint), goahead.list_operations(int, bigint, text), goahead.get_unit(text),
    goahead.rendezvous_keys(), goahead.list_rendezvous(int, text)
    TO goahead_reader;

GRANT EXECUTE ON FUNCTION goahead.request_restart(text, text, text, text), goahead.inquire_restart(text, text, jsonb),
    goahead.acquire(text, text, interval, int, jsonb, interval, interval, boolean, boolean), goahead.renew(text, text, bigint, interval),
    goahead.release(text, text, bigint), goahead.withdraw(text, text), goahead.check_fence(text, bigint),
    goahead.acquire_all(text[], text, interval, jsonb),
    goahead.request_operation(text, text, text, text[], jsonb, int), goahead.next_operation(text, interval, interval, interval, boolean, boolean),
    goahead.finish_operation(bigint, text, bigint, text, text), goahead.signal(text, jsonb, interval), goahead.unsignal(text),
    goahead.is_signalled(text), goahead._watch(text), goahead._leave(text, boolean), goahead.arrive(text, int, text, bigint),
    goahead.depart(text, text)
    TO goahead_client;
GRANT EXECUTE ON PROCEDURE goahead.wait_for_lock(text, text, interval, interval, int, bigint), goahead.await(text, interval, boolean, jsonb),
    goahead.await_barrier(text, int, text, interval, boolean, bigint)
    TO goahead_client;

GRANT EXECUTE ON FUNCTION
    goahead.complete_restart(text, text, text), goahead.fail_restart(text, text, text), goahead.cancel_restart(text, text, text),
    goahead.freeze(text, text, timestamptz), goahead.thaw(text), goahead.start_rollout(text, text), goahead.stop_rollout(bigint),
    goahead.forget_host(text), goahead.name_fleetlock_id(text, text), goahead.break_lock(text, text, text), goahead.forget_holder(text),
    goahead.resume_unit(text, text), goahead.resume_lock(text, text), goahead.drop_operation(bigint, text), goahead.forget_rendezvous()
    TO goahead_operator;

GRANT EXECUTE ON FUNCTION
    goahead.set_cluster(text, jsonb), goahead.drop_cluster(text), goahead.import_clusters(jsonb, boolean), goahead.create_token(text, text[], text),
    goahead.set_lock(text, int, interval, text, text), goahead.drop_lock(text), goahead.revoke_token(bigint), goahead.list_tokens(), goahead.adopt(boolean)
    TO goahead_admin;

GRANT EXECUTE ON FUNCTION
    goahead.judge_restarts(text, text), goahead.judge_locks(text, boolean), goahead.judge_rendezvous(text, boolean), goahead.claim_jobs(text, int, int),
    goahead.finish_job(bigint, int, text, int, text, text), goahead.release_job(bigint, int, text), goahead.release_runner(text),
    goahead.sweep(), goahead.check_token(text)
    TO goahead_service;

-- The file decides who may log in as whom: these two are as good as superuser, and nobody else's.
GRANT SELECT ON goahead.hba_desired TO goahead_hba, goahead_gate;
GRANT SELECT ON goahead.switchovers TO goahead_reader, goahead_hba, goahead_gate;
GRANT EXECUTE ON FUNCTION goahead.version(), goahead.hba_rules(), goahead.hba_preview(text), goahead.hba_apply(text),
    goahead.node_state(), goahead.topology()
    TO goahead_hba, goahead_gate;
GRANT EXECUTE ON FUNCTION goahead.hba_check(text, int), goahead.hba_set(text, text, text, text, text, text, text, text, text, int),
    goahead.hba_drop(text), goahead.hba_versions(), goahead.hba_version(bigint), goahead.hba_restore(bigint)
    TO goahead_hba;
GRANT EXECUTE ON FUNCTION goahead.record_gate(jsonb) TO goahead_gate;

-- What the functions of the library do; those of sql/ are described where they are created.
COMMENT ON FUNCTION goahead.version() IS 'Version of the installed library; goahead serve wants the same major and minor';
COMMENT ON FUNCTION goahead.go_duration(text) IS 'A duration as Go writes it (300ms, 2h45m) as an interval';
COMMENT ON FUNCTION goahead.request_restart(text, text, text, text) IS 'May this host restart? The first call hands out a request_id, the second with it may be granted: go_ahead is true';
COMMENT ON FUNCTION goahead.inquire_restart(text, text, jsonb) IS 'Should this host restart? Yes when the message begins with YesInquireToRestart; checks lists programs whose exit codes are wanted in a second call';
COMMENT ON FUNCTION goahead.explain_restart(text, text) IS 'Every condition of a go-ahead and its verdict for a host that would ask now; changes nothing. Without an uptime the last one reported counts';
COMMENT ON FUNCTION goahead.judge_restarts(text, text) IS 'Judges a JSON array of calls (op: request, inquire, and FleetLock''s lock and unlock) in one transaction; outcomes: granted, handshake, denied, no, yes, checks, released, unknown, unknown_group, invalid, busy. locks says which locks it takes: none of clusters, those that are free, or all that it has to wait for';
COMMENT ON FUNCTION goahead.complete_restart(text, text, text) IS 'Ends the restart in force of a host (or FleetLock id) as completed; its completion actions run';
COMMENT ON FUNCTION goahead.fail_restart(text, text, text) IS 'Ends the restart in force of a host (or FleetLock id) as failed; its slot is free';
COMMENT ON FUNCTION goahead.cancel_restart(text, text, text) IS 'Takes back the go-ahead of a host (or FleetLock id) that will not restart; its slot is free';
COMMENT ON FUNCTION goahead.freeze(text, text, timestamptz) IS 'Denies go-aheads of a cluster with this reason until thawed or the given time; hosts that have one keep it';
COMMENT ON FUNCTION goahead.thaw(text) IS 'Ends the freeze of a cluster';
COMMENT ON FUNCTION goahead.start_rollout(text, text) IS 'Tells every inquiring host of a cluster that has not restarted since to restart; returns the rollout''s id';
COMMENT ON FUNCTION goahead.stop_rollout(bigint) IS 'Stops a rollout; restarts under way go on';
COMMENT ON FUNCTION goahead.forget_host(text) IS 'Forgets a scrapped host, so that no count and no rollout waits for it; its history stays. False if it was not known';
COMMENT ON FUNCTION goahead.name_fleetlock_id(text, text) IS 'Gives a FleetLock id a host name, for people to read';
COMMENT ON FUNCTION goahead.judge_locks(text, boolean) IS 'Judges a JSON array of calls (op: acquire, renew, release, withdraw, break, forget) in one transaction; outcomes: granted, queued, renewed, released, withdrawn, broken, forgotten, lost, other_token, not_queued, held, guarded, invalid, busy. Who does not wait gets calls back as busy whose lock somebody else is deciding about';
COMMENT ON FUNCTION goahead.acquire(text, text, interval, int, jsonb, interval, interval, boolean, boolean) IS 'Asks for a slot of a lock: granted, or queued with a position. Never waits; repeat it, or CALL wait_for_lock';
COMMENT ON FUNCTION goahead.acquire_all(text[], text, interval, jsonb) IS 'Asks for several locks one after another, in an order that is the same for everybody; stops at the first that is not granted. Repeat it until all are';
COMMENT ON FUNCTION goahead.renew(text, text, bigint, interval) IS 'Keeps a hold for another ttl, and confirms one that ended a wait: renewed, lost or other_token';
COMMENT ON FUNCTION goahead.release(text, text, bigint) IS 'Gives a slot back: released, lost, other_token, or guarded while a transaction that called check_fence is open';
COMMENT ON FUNCTION goahead.withdraw(text, text) IS 'Leaves the queue: withdrawn, not_queued, or held';
COMMENT ON FUNCTION goahead.check_fence(text, bigint) IS 'Whether the token belongs to a hold that is in force, and stays so until this transaction ends';
COMMENT ON FUNCTION goahead.break_lock(text, text, text) IS 'Takes a lock away from a holder, whose token is burned; kept as an event with the reason';
COMMENT ON FUNCTION goahead.forget_holder(text) IS 'Ends all holds and places of a holder that is gone, and drops its operations; returns how many holds and places';
COMMENT ON FUNCTION goahead.request_operation(text, text, text, text[], jsonb, int) IS 'Adds an operation to a unit''s queue and returns its id; one that is equal to the unit''s last, which has not begun, is that one. max_retry: attempts after the first, null for any number';
COMMENT ON FUNCTION goahead.next_operation(text, interval, interval, interval, boolean, boolean) IS 'Asks for the lock of a unit''s first operation: granted (with the token; do it), queued (with a position), nothing or blocked. Never waits; repeat it, also to keep a hold for another ttl, and to begin with what has a confirm_by. request_ttl and claim_within are for units that ask, go away and come back minutes later: how long the place lasts, and how long the lock is kept for the unit when its turn has come';
COMMENT ON FUNCTION goahead.finish_operation(bigint, text, bigint, text, text) IS 'Reports how an attempt ended (release, retry_release, retry_hold, failed) and gives the lock back: done, retry, hold, failed (the unit is blocked), lost (the hold of this token had ended: the attempt does not count as done), guarded or unknown';
COMMENT ON FUNCTION goahead.resume_unit(text, text) IS 'Lets a unit go on after a failed operation, and a lock that was halted by it, unless another unit is still blocked under it: resumed, not_blocked or unknown';
COMMENT ON FUNCTION goahead.resume_lock(text, text) IS 'Lets the others go on under a halted lock; units stay blocked: resumed, not_halted or unknown';
COMMENT ON FUNCTION goahead.drop_operation(bigint, text) IS 'Drops an operation that has not ended; a running one loses the lock: dropped, ended, guarded or unknown';
COMMENT ON FUNCTION goahead.set_lock(text, int, interval, text, text) IS 'Makes a lock or changes what is given: slots, lock_delay, policy (empty: none), on_failure (continue, or halt after a failed operation)';
COMMENT ON FUNCTION goahead.drop_lock(text) IS 'Drops a lock that nobody holds or waits for';
COMMENT ON FUNCTION goahead.judge_rendezvous(text, boolean) IS 'Judges a JSON array of calls (op: signal, unsignal, read, watch, leave, arrive, depart) in one transaction; outcomes: signalled, unsignalled, not_signalled, left, arrived, released, departed, not_here, invalid, busy. Who does not wait gets calls back as busy whose key somebody else is deciding about';
COMMENT ON FUNCTION goahead.signal(text, jsonb, interval) IS 'Signals a key, with a payload for those who wait for it; for ever, or for a time';
COMMENT ON FUNCTION goahead.unsignal(text) IS 'Resets a key; whether it was signalled. Who was woken by the signal stays so';
COMMENT ON FUNCTION goahead.is_signalled(text) IS 'Whether a key is signalled, and the payload. Answered by standbys too';
COMMENT ON FUNCTION goahead._watch(text) IS 'The same for a session that waits: it is shown, and woken by a signal even if that was reset since';
COMMENT ON FUNCTION goahead._leave(text, boolean) IS 'This session does not wait for a key any more; after a time-out the key is shown as timed out';
COMMENT ON FUNCTION goahead.arrive(text, int, text, bigint) IS 'Arrives at a barrier: ok when all parties of its generation are there. Repeat it with the generation that it returned; what is not repeated for a minute does not count';
COMMENT ON FUNCTION goahead.depart(text, text) IS 'Leaves a barrier that is not released yet; whether the member was there';
COMMENT ON FUNCTION goahead.forget_rendezvous() IS 'Drops all keys, waiters and barriers; returns how many';
COMMENT ON FUNCTION goahead._is_heard(bigint, bigint) IS 'Whether a waiter or a member that was heard of at this point of the monotonic clock still counts, for the views';
COMMENT ON FUNCTION goahead._passed(bigint, bigint, bigint) IS 'Whether a span in microseconds has passed since a point of the monotonic clock, for the views';
COMMENT ON FUNCTION goahead.set_cluster(text, jsonb) IS 'Creates a cluster or replaces its settings; every key is judged';
COMMENT ON FUNCTION goahead.drop_cluster(text) IS 'Removes a cluster without restarts in force, and its hosts; its history stays';
COMMENT ON FUNCTION goahead.import_clusters(jsonb, boolean) IS 'Writes clusters of the original''s files where they changed since their last import; returns a report. force overwrites clusters edited by SQL';
COMMENT ON FUNCTION goahead.create_token(text, text[], text) IS 'Makes a bearer token for role host, reader, operator or admin; this is the only time that its secret is seen';
COMMENT ON FUNCTION goahead.revoke_token(bigint) IS 'Revokes a token';
COMMENT ON FUNCTION goahead.check_token(text) IS 'Id, role and names of a token that is in force; null for any other';
COMMENT ON FUNCTION goahead.claim_jobs(text, int, int) IS 'Leases due jobs to a runner, for their timeout (or the default given, in milliseconds) and 10 s more';
COMMENT ON FUNCTION goahead.finish_job(bigint, int, text, int, text, text) IS 'Reports a run: done, again (a completion check that is to run again) or lost (the lease is no longer the runner''s)';
COMMENT ON FUNCTION goahead.release_job(bigint, int, text) IS 'Gives a claimed job back, to be run by another runner at once';
COMMENT ON FUNCTION goahead.release_runner(text) IS 'Gives back all that a runner of this name had claimed in its previous life';
COMMENT ON FUNCTION goahead.sweep() IS 'Judges deadlines, ends rollouts, counts and trims; to be called about once a second by any number of services';
COMMENT ON FUNCTION goahead._hba_lines(text, int) IS 'What hba_rules and hba_check show';
COMMENT ON FUNCTION goahead.hba_set(text, text, text, text, text, text, text, text, text, int) IS 'Sets a rule that pg_hba.conf of every node is to have; true if that changed anything. Databases and users are written as in the file; applies primary or standby: open while the gate lets such traffic in, else the method otherwise. The nodes'' files follow at their next hba_apply';
COMMENT ON FUNCTION goahead.hba_drop(text) IS 'Drops a rule; false if there was none. The nodes'' files follow at their next hba_apply';
COMMENT ON FUNCTION goahead.hba_preview(text) IS 'The managed block as hba_apply would write it for a state, with the lines that a gate keeps in it: closed, primary, standby, both; by default what the gate''s live verdict says, else closed';
COMMENT ON FUNCTION goahead.hba_apply(text) IS 'Brings the rules into this node''s pg_hba.conf and reloads it; true if the file changed. Lines that a gate has from its own configuration stay; the state closes them, only the gate opens them. A file that would not load is left as it is. Not in a transaction that has written';
COMMENT ON FUNCTION goahead.hba_versions() IS 'Previous versions of this node''s pg_hba.conf, newest first; ten are kept';
COMMENT ON FUNCTION goahead.hba_version(bigint) IS 'The text of a previous version';
COMMENT ON FUNCTION goahead.hba_restore(bigint) IS 'Brings back what a previous version had outside of the managed block, with the rules of now; true if the file changed. Not in a transaction that has written';
COMMENT ON FUNCTION goahead.node_state() IS 'What this node knows of itself: role, timeline, positions, receiver, standbys, files; no replicated table is asked';
COMMENT ON FUNCTION goahead.topology() IS 'What this node believes: its role, its neighbours in replication, its gate''s verdict, the gated rules that are open in its file';
COMMENT ON FUNCTION goahead.record_gate(jsonb) IS 'Notes verdicts and overrides that gates report, each id once, in goahead.events and goahead.switchovers; returns how many were new';

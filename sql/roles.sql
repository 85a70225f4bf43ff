-- The roles that goahead's privileges hang on. They belong to the server, not to one database: several databases with
-- the extension share them. All are NOLOGIN; people and services are made members of them.
DO $roles$
DECLARE
    wanted CONSTANT text[][] := ARRAY[
        ['goahead_owner',    'goahead: owns the tables and the functions that write them; nobody should be a member'],
        ['goahead_policy',   'goahead: blockers and policies run as this role, so grant it what they need to read'],
        ['goahead_reader',   'goahead: may read the views'],
        ['goahead_client',   'goahead: may call what hosts, lock users and nodes call'],
        ['goahead_operator', 'goahead: may freeze, complete, cancel, break and start rollouts'],
        ['goahead_admin',    'goahead: may change settings, commands, policies and tokens'],
        ['goahead_service',  'goahead: the HTTP service; claims jobs and speaks for its callers'],
        ['goahead_gate',     'goahead: the gate process; writes pg_hba.conf, so equivalent to superuser'],
        ['goahead_hba',      'goahead: people who manage pg_hba.conf by SQL, so equivalent to superuser']];
    entry text[];
    present pg_catalog.pg_roles%ROWTYPE;
    said  text;
BEGIN
    FOREACH entry SLICE 1 IN ARRAY wanted LOOP
        SELECT * INTO present FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) entry[1];
        IF NOT FOUND THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', entry[1]);
            EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', entry[1], entry[2]);
            CONTINUE;
        END IF;
        said := pg_catalog.shobj_description(present.oid, 'pg_authid');
        IF present.rolcanlogin OR present.rolsuper OR present.rolcreaterole OR present.rolcreatedb OR present.rolreplication
           OR present.rolbypassrls OR said IS NULL OR NOT pg_catalog.starts_with(said, 'goahead: ') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'duplicate_object',
                MESSAGE = pg_catalog.format('role %s exists and is not goahead''s', entry[1]),
                DETAIL  = 'goahead would give it rights over the state of the fleet.',
                HINT    = pg_catalog.format('Rename or drop it; or, if it is meant for goahead, make it NOLOGIN without other attributes and run: COMMENT ON ROLE %I IS %L', entry[1], entry[2]);
        END IF;
    END LOOP;
END
$roles$;

GRANT goahead_reader   TO goahead_operator;
GRANT goahead_operator TO goahead_admin;
GRANT goahead_client, goahead_operator, goahead_admin, goahead_reader TO goahead_service;

-- A schema of that name that is already there is an error: its owner could have prepared it.
CREATE SCHEMA goahead;
COMMENT ON SCHEMA goahead IS 'Coordination of a fleet: functions and views are the API, tables beginning with _ are private';

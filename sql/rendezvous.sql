-- Rendezvous: keys that somebody signals, who waits for them, barriers.
CREATE TABLE goahead._signal (
    key          text COLLATE "C" PRIMARY KEY CHECK (key <> '' AND pg_catalog.octet_length(key) <= 255),
    payload      jsonb,
    ttl_us       bigint CHECK (ttl_us > 0),
    since_epoch  bigint NOT NULL,
    since_us     bigint NOT NULL,
    signalled_at timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE goahead._signal IS 'Keys that were signalled and not reset';
-- the sweep: signals that may be over
CREATE INDEX _signal_end ON goahead._signal (since_epoch, (since_us + ttl_us)) WHERE ttl_us IS NOT NULL;

-- Observations, which whoever waits repeats. Not UNLOGGED, so that a standby can show them.
CREATE TABLE goahead._wait (
    key          text COLLATE "C" NOT NULL CHECK (key <> '' AND pg_catalog.octet_length(key) <= 255),
    service      text COLLATE "C" NOT NULL CHECK (pg_catalog.octet_length(service) <= 255),
    waiting      int NOT NULL CHECK (waiting >= 0),
    who          text[] NOT NULL DEFAULT '{}',
    since        timestamptz NOT NULL,
    heard_epoch  bigint NOT NULL,
    heard_us     bigint NOT NULL,
    timed_out_at timestamptz,
    woken        boolean NOT NULL DEFAULT false,
    payload      jsonb,
    PRIMARY KEY (key, service)
) WITH (fillfactor = 50);
COMMENT ON TABLE goahead._wait IS 'Who waits for a key: a row for each key and service (or session) with a count; and keys whose last waiter gave up';
COMMENT ON COLUMN goahead._wait.woken IS 'The key was signalled while this one waited, even if it was reset since: the wake-up is not missed';

CREATE TABLE goahead._barrier (
    key        text COLLATE "C" PRIMARY KEY CHECK (key <> '' AND pg_catalog.octet_length(key) <= 255),
    parties    int NOT NULL CHECK (parties BETWEEN 1 AND 10000),
    generation bigint NOT NULL CHECK (generation >= 1),
    used_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE goahead._barrier IS 'Barriers, with the generation that is gathering; one that was idle for a day is dropped';

CREATE TABLE goahead._arrival (
    key         text COLLATE "C" NOT NULL REFERENCES goahead._barrier ON DELETE CASCADE,
    member      text COLLATE "C" NOT NULL CHECK (member <> '' AND pg_catalog.octet_length(member) <= 255),
    generation  bigint NOT NULL,
    heard_epoch bigint NOT NULL,
    heard_us    bigint NOT NULL,
    told        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (key, member)
) WITH (fillfactor = 70);
COMMENT ON TABLE goahead._arrival IS 'Members that stand at a barrier, and those that were released until they are forgotten';
COMMENT ON COLUMN goahead._arrival.told IS 'The member knows that its generation was released';

SELECT pg_catalog.pg_extension_config_dump('goahead._signal', '');
SELECT pg_catalog.pg_extension_config_dump('goahead._barrier', '');
SELECT pg_catalog.pg_extension_config_dump('goahead._arrival', '');

CREATE VIEW goahead.rendezvous AS
WITH waits AS (
    SELECT w.key, coalesce(sum(w.waiting) FILTER (WHERE w.live), 0)::int AS waiting, min(w.since) FILTER (WHERE w.live) AS since,
           max(w.timed_out_at) AS timed_out_at, (pg_catalog.array_agg(p.peer ORDER BY w.service) FILTER (WHERE w.live AND p.peer IS NOT NULL))[1:16] AS who
      FROM (SELECT x.*, x.waiting > 0 AND NOT x.woken AND goahead._is_heard(x.heard_epoch, x.heard_us) AS live FROM goahead._wait x) w
      LEFT JOIN LATERAL (SELECT u AS peer FROM pg_catalog.unnest(w.who) AS u) p ON true
     GROUP BY w.key
)
SELECT coalesce(s.key, w.key) AS key,
       CASE WHEN s.key IS NOT NULL THEN 'signalled' WHEN w.waiting > 0 THEN 'waiting' ELSE 'timed out' END AS state,
       CASE WHEN s.key IS NOT NULL THEN s.signalled_at WHEN w.waiting > 0 THEN w.since ELSE w.timed_out_at END AS since,
       s.payload, s.ttl_us * interval '1 microsecond' AS ttl, coalesce(w.waiting, 0) AS waiting, w.who
  FROM (SELECT x.* FROM goahead._signal x WHERE x.ttl_us IS NULL OR NOT goahead._passed(x.since_epoch, x.since_us, x.ttl_us)) s
  FULL JOIN (SELECT * FROM waits WHERE waits.waiting > 0 OR waits.timed_out_at IS NOT NULL) w ON w.key = s.key;
COMMENT ON VIEW goahead.rendezvous IS 'Keys: signalled, waiting (somebody waits now), or timed out (the last who waited gave up)';

CREATE VIEW goahead.barriers AS
SELECT b.key, b.parties, b.generation, count(a.member)::int AS arrived, pg_catalog.array_agg(a.member ORDER BY a.member) FILTER (WHERE a.member IS NOT NULL) AS members
  FROM goahead._barrier b
  LEFT JOIN goahead._arrival a ON a.key = b.key AND a.generation = b.generation AND goahead._is_heard(a.heard_epoch, a.heard_us)
 GROUP BY b.key, b.parties, b.generation;
COMMENT ON VIEW goahead.barriers IS 'Barriers: the generation that is gathering, and who has arrived';

-- Waiting is for a procedure: it commits, so that others see that somebody waits, and looks again.
CREATE PROCEDURE goahead.await(key text, timeout interval DEFAULT '30 s', INOUT ok boolean DEFAULT NULL, INOUT payload jsonb DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    left_s double precision := extract(epoch FROM timeout);
    pause_s double precision := 0.02;
BEGIN
    LOOP
        SELECT w.ok, w.payload INTO ok, payload FROM goahead._watch(key) AS w;
        COMMIT;
        IF ok OR left_s OPERATOR(pg_catalog.<=) 0 THEN
            PERFORM goahead._leave(key, NOT ok);
            COMMIT;
            RETURN;
        END IF;
        PERFORM pg_catalog.pg_sleep(least(pause_s, left_s));
        left_s := left_s OPERATOR(pg_catalog.-) pause_s;
        pause_s := least(pause_s OPERATOR(pg_catalog.*) 1.5, 0.25);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE goahead.await(text, interval, boolean, jsonb) IS 'Waits until a key is signalled; ok is false when the time was over first. Call it outside of a transaction block';

CREATE PROCEDURE goahead.await_barrier(barrier text, parties int, member text, timeout interval DEFAULT '30 s',
                                       INOUT ok boolean DEFAULT NULL, INOUT generation bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    left_s double precision := extract(epoch FROM timeout);
    pause_s double precision := 0.02;
BEGIN
    LOOP
        SELECT a.ok, a.generation INTO ok, generation FROM goahead.arrive(barrier, parties, member, generation) AS a;
        COMMIT;
        IF ok THEN
            RETURN;
        END IF;
        IF left_s OPERATOR(pg_catalog.<=) 0 THEN
            -- Who goes away is no longer counted; unless the last has just come.
            IF NOT goahead.depart(barrier, member) THEN
                SELECT a.ok, a.generation INTO ok, generation FROM goahead.arrive(barrier, parties, member, generation) AS a;
                IF NOT ok THEN
                    PERFORM goahead.depart(barrier, member);
                END IF;
            END IF;
            COMMIT;
            RETURN;
        END IF;
        PERFORM pg_catalog.pg_sleep(least(pause_s, left_s));
        left_s := left_s OPERATOR(pg_catalog.-) pause_s;
        pause_s := least(pause_s OPERATOR(pg_catalog.*) 1.5, 0.25);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE goahead.await_barrier(text, int, text, interval, boolean, bigint) IS 'Arrives at a barrier and waits until all parties have; ok is false when the time was over first, and the member does not count any more. Call it outside of a transaction block';

CREATE FUNCTION goahead.rendezvous_keys() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'waiting_and_failed', (SELECT coalesce(jsonb_agg(k.key), '[]') FROM (SELECT r.key FROM goahead.rendezvous r WHERE r.state <> 'signalled' ORDER BY r.key LIMIT 10000) k),
        'marked', (SELECT coalesce(jsonb_agg(k.key), '[]') FROM (SELECT r.key FROM goahead.rendezvous r WHERE r.state = 'signalled' ORDER BY r.key LIMIT 10000) k))
$$;
COMMENT ON FUNCTION goahead.rendezvous_keys() IS 'Names of keys, waited for and signalled, at most 10000 of each: web-rendezvous'' own list';

CREATE FUNCTION goahead.list_rendezvous(max int DEFAULT 100, after text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH page AS (
        SELECT coalesce(r.key, b.key) AS key,
               jsonb_build_object('key', coalesce(r.key, b.key), 'state', coalesce(r.state, 'waiting'), 'since', r.since, 'payload', r.payload,
                                  'waiting', coalesce(r.waiting, 0), 'who', coalesce(to_jsonb(r.who), '[]'),
                                  'barrier', CASE WHEN b.key IS NOT NULL THEN to_jsonb(b) - 'key' END) AS item
          FROM goahead.rendezvous r
          FULL JOIN (SELECT * FROM goahead.barriers WHERE barriers.arrived > 0) b ON b.key = r.key
         WHERE after IS NULL OR coalesce(r.key, b.key) > after ORDER BY 1 LIMIT greatest(max, 1))
    SELECT goahead._page(jsonb_agg(item ORDER BY key), greatest(max, 1), to_jsonb(pg_catalog.max(key))) FROM page
$$;
COMMENT ON FUNCTION goahead.list_rendezvous(int, text) IS 'Keys and barriers, by name';

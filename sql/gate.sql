-- pg_hba.conf by SQL, and what gates report. What is here is replicated; what a node makes of it is in its own file.
CREATE TABLE goahead._hba_rule (
    name       text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.-]{1,63}$'),
    position   int NOT NULL,
    type       text NOT NULL CHECK (type IN ('local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc')),
    database   text NOT NULL CHECK (database <> ''),
    user_name  text NOT NULL CHECK (user_name <> ''),
    address    text CHECK (address <> ''),
    method     text NOT NULL CHECK (method <> ''),
    options    text NOT NULL DEFAULT '',
    applies    text NOT NULL DEFAULT 'any' CHECK (applies IN ('any', 'primary', 'standby')),
    otherwise  text NOT NULL DEFAULT 'reject' CHECK (otherwise <> ''),
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    changed_by text NOT NULL,
    CHECK ((type = 'local') = (address IS NULL)),
    -- one line each: nothing may break out of its line
    CHECK (pg_catalog.concat(database, user_name, address, method, options, otherwise) !~ '[\n\r]')
);
COMMENT ON TABLE goahead._hba_rule IS 'Rules that pg_hba.conf of every node is to have in its managed block, in this order';
COMMENT ON COLUMN goahead._hba_rule.applies IS 'When the rule is open: always, while the node takes read-write traffic, or while it takes read-only traffic';
COMMENT ON COLUMN goahead._hba_rule.otherwise IS 'The method of a gated rule while it is closed';

CREATE TABLE goahead._gate_entry (
    id      text COLLATE "C" PRIMARY KEY,
    node    text NOT NULL,
    at      timestamptz NOT NULL,
    kind    text NOT NULL CHECK (kind IN ('gate_verdict', 'gate_override')),
    rw      boolean,
    ro      boolean,
    reasons jsonb NOT NULL DEFAULT '[]',
    actor   text
);
COMMENT ON TABLE goahead._gate_entry IS 'What gates have reported of their verdicts and overrides, each once, however often it was sent';
-- the view switchovers: the verdicts of a node in their order
CREATE INDEX _gate_entry_node ON goahead._gate_entry (node, at, id);

SELECT pg_catalog.pg_extension_config_dump('goahead._hba_rule', '');
SELECT pg_catalog.pg_extension_config_dump('goahead._gate_entry', '');

CREATE VIEW goahead.hba_desired AS
SELECT r.position, r.name, r.type, r.database, r.user_name, r.address, r.method, r.options, r.applies, r.otherwise,
       r.changed_at, r.changed_by
  FROM goahead._hba_rule r
 ORDER BY r.position, r.name;
COMMENT ON VIEW goahead.hba_desired IS 'Rules that pg_hba.conf of every node is to have, in their order; goahead.hba_rules() shows what this node''s file has';

CREATE VIEW goahead.switchovers AS
SELECT o.node, o.at AS opened_at, c.at AS closed_at, coalesce(c.at, pg_catalog.clock_timestamp()) - o.at AS duration,
       o.reasons AS opened_for, c.reasons AS closed_for
  FROM (SELECT e.*, pg_catalog.lag(e.rw) OVER (PARTITION BY e.node ORDER BY e.at, e.id) AS before
          FROM goahead._gate_entry e WHERE e.kind = 'gate_verdict') o
  LEFT JOIN LATERAL (
       SELECT e.at, e.reasons FROM goahead._gate_entry e
        WHERE e.kind = 'gate_verdict' AND e.node = o.node AND (e.at, e.id) > (o.at, o.id) AND e.rw IS NOT TRUE
        ORDER BY e.at, e.id LIMIT 1) c ON true
 WHERE o.rw AND o.before IS NOT TRUE
 ORDER BY o.at DESC;
COMMENT ON VIEW goahead.switchovers IS 'Spans in which a node was open for read-write traffic, newest first, as its gate reported them';
COMMENT ON COLUMN goahead.switchovers.closed_at IS 'Null while it is open, or while the report of its end has not arrived: a gate that was killed reports nothing';

CREATE FUNCTION goahead.hba_rules() RETURNS TABLE (file text, line int, rule text, type text, database text[], user_name text[], address text,
    netmask text, auth_method text, options text[], error text, hint text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM goahead._hba_lines(NULL, NULL) $$;
COMMENT ON FUNCTION goahead.hba_rules() IS 'This node''s pg_hba.conf as it is on disk: every rule in order, the ones of goahead by name; a line whose type is null would not load';

CREATE FUNCTION goahead.hba_check(content text, major int DEFAULT NULL) RETURNS TABLE (file text, line int, rule text, type text, database text[],
    user_name text[], address text, netmask text, auth_method text, options text[], error text, hint text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM goahead._hba_lines(coalesce(content, ''), major) $$;
COMMENT ON FUNCTION goahead.hba_check(text, int) IS 'The same for a text, for a server of a major version (default: of this server''s); reads no file outside the directory of pg_hba.conf and changes nothing';

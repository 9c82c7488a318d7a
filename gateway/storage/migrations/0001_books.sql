-- The books. The journal is the truth and only grows; every other table is derived from it or names things in it.
-- All writing goes through the view `intake`: one INSERT is one batch, one transaction, one fsync.
BEGIN IMMEDIATE;

CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

-- One process from start to end. `seal` is an HMAC over its bounds, so that it can be dropped and the rest still verified.
CREATE TABLE segments (
    segment       TEXT PRIMARY KEY,
    node          TEXT NOT NULL,
    epoch         INTEGER NOT NULL UNIQUE,
    first_seq     INTEGER NOT NULL,
    previous_hash TEXT NOT NULL,
    last_seq      INTEGER,
    last_hash     TEXT,
    seal          TEXT,
    dropped       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- `subject` is the call, session or key that a row is about.
CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY,
    segment TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    doc     TEXT NOT NULL,
    hash    TEXT NOT NULL
) STRICT;

-- A call begins once and ends once, whatever the program does.
CREATE UNIQUE INDEX journal_subject ON journal (
    subject,
    CASE kind
        WHEN 'held' THEN -2 WHEN 'denied' THEN -2
        WHEN 'settled' THEN -1 WHEN 'voided' THEN -1 WHEN 'expired' THEN -1
        ELSE seq
    END
);

CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_is_never_cut BEFORE DELETE ON journal
WHEN NOT EXISTS (SELECT 1 FROM segments WHERE segment = OLD.segment AND dropped = 1 AND seal IS NOT NULL)
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

-- The end of the chain, one row. `mac` is an HMAC with the install key, which is not in this file.
CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash TEXT NOT NULL,
    mac  TEXT NOT NULL
) STRICT;

-- Whom calls are booked on: pseudonyms and plain values. `id` is a digest of `doc`.
CREATE TABLE attributions (
    id  TEXT PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attribution_terms (
    kind           TEXT NOT NULL,
    value          TEXT NOT NULL,
    attribution_id TEXT NOT NULL REFERENCES attributions (id),
    PRIMARY KEY (kind, value, attribution_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX attribution_terms_of ON attribution_terms (attribution_id, kind, value);

-- The only place with names of people, teams, programs and clients' session ids. A row can be erased.
CREATE TABLE names (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX names_by_name ON names (name, kind);

-- One row per held or denied call; `seq` is that of its first journal row, through which a call is found by its id.
-- `raised` holds the amounts after a top-up. `would_deny` is 1 where something that only observes would have refused it.
CREATE TABLE calls (
    seq                 INTEGER PRIMARY KEY,
    call_id             TEXT NOT NULL,
    started_at_us       INTEGER NOT NULL,
    session_id          TEXT NOT NULL,
    attribution_id      TEXT NOT NULL REFERENCES attributions (id),
    kind                TEXT NOT NULL,
    state               TEXT NOT NULL CHECK (state IN ('held', 'settled', 'voided', 'expired', 'denied')),
    raised              TEXT,
    ended_at_us         INTEGER,
    outcome             TEXT,
    estimated           TEXT,
    status              INTEGER,
    denied              INTEGER NOT NULL DEFAULT 0,
    would_deny          INTEGER NOT NULL DEFAULT 0,
    input_tokens        INTEGER NOT NULL DEFAULT 0,
    cached_input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens       INTEGER NOT NULL DEFAULT 0,
    usd_micros          INTEGER NOT NULL DEFAULT 0,
    requests            INTEGER NOT NULL DEFAULT 0,
    tool_calls          INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens  INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX calls_by_attribution ON calls (attribution_id, started_at_us);
CREATE INDEX calls_held ON calls (seq) WHERE state = 'held';

-- Sums of ended calls by the time of their hold: grain_s is 900 (a quarter of an hour) or 86400 (a day in UTC).
CREATE TABLE rollups (
    attribution_id      TEXT NOT NULL,
    grain_s             INTEGER NOT NULL,
    bucket_us           INTEGER NOT NULL,
    calls               INTEGER NOT NULL,
    denied              INTEGER NOT NULL,
    would_deny          INTEGER NOT NULL,
    estimated_calls     INTEGER NOT NULL,
    sessions_opened     INTEGER NOT NULL,
    input_tokens        INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens       INTEGER NOT NULL,
    usd_micros          INTEGER NOT NULL,
    requests            INTEGER NOT NULL,
    tool_calls          INTEGER NOT NULL,
    cache_write_tokens  INTEGER NOT NULL,
    reasoning_tokens    INTEGER NOT NULL,
    PRIMARY KEY (attribution_id, grain_s, bucket_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE session_rollups (
    session_id          TEXT NOT NULL,
    attribution_id      TEXT NOT NULL,
    last_at_us          INTEGER NOT NULL,
    calls               INTEGER NOT NULL,
    denied              INTEGER NOT NULL,
    would_deny          INTEGER NOT NULL,
    estimated_calls     INTEGER NOT NULL,
    sessions_opened     INTEGER NOT NULL,
    input_tokens        INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens       INTEGER NOT NULL,
    usd_micros          INTEGER NOT NULL,
    requests            INTEGER NOT NULL,
    tool_calls          INTEGER NOT NULL,
    cache_write_tokens  INTEGER NOT NULL,
    reasoning_tokens    INTEGER NOT NULL,
    PRIMARY KEY (session_id, attribution_id)
) STRICT, WITHOUT ROWID;

-- `client` and `agent_part` are pseudonyms of what the client sent. `ancestors` is a JSON array of ids, the parent first;
-- `parts` one of [unit, amount], what a child may use at most.
CREATE TABLE sessions (
    id             TEXT PRIMARY KEY,
    key_id         TEXT NOT NULL,
    mark_kind      TEXT NOT NULL,
    client         TEXT NOT NULL,
    agent_part     TEXT NOT NULL,
    state          TEXT NOT NULL,
    opened_at_us   INTEGER NOT NULL,
    run_started_us INTEGER NOT NULL,
    last_active_us INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    ancestors      TEXT NOT NULL,
    parts          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_mark ON sessions (key_id, mark_kind, client, opened_at_us);

-- Every session below another one, `distance` levels; nothing about sessions without a parent.
CREATE TABLE session_tree (
    ancestor_id TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    distance    INTEGER NOT NULL,
    PRIMARY KEY (ancestor_id, session_id)
) STRICT, WITHOUT ROWID;

-- Agents, keys, users and teams that are held as a whole. `name` is a pseudonym, of a key its id.
CREATE TABLE stops (
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    state  TEXT NOT NULL CHECK (state IN ('paused', 'stopped')),
    reason TEXT NOT NULL,
    actor  TEXT NOT NULL,
    at_us  INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE session_opens (
    attribution_id TEXT NOT NULL,
    at_us          INTEGER NOT NULL,
    session_id     TEXT NOT NULL,
    PRIMARY KEY (attribution_id, at_us, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_opens_by_time ON session_opens (at_us);

-- `doc` is the key with its names, without its digest.
CREATE TABLE keys (
    id     TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    doc    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests for more of a limit. `seq` is the last row of the journal about it; `said` is [reason, note], which can be erased.
CREATE TABLE quota_requests (
    id       TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,
    state    TEXT NOT NULL,
    asked_us INTEGER NOT NULL,
    said     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX quota_requests_by_time ON quota_requests (asked_us);
CREATE INDEX quota_requests_open ON quota_requests (state, asked_us);

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Which call was made with an Idempotency-Key, by digests; written with its hold. Rows leave when they are old.
CREATE TABLE idempotency (
    key_id      TEXT NOT NULL,
    key_digest  TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    call_id     TEXT NOT NULL,
    at_us       INTEGER NOT NULL,
    PRIMARY KEY (key_id, key_digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (at_us);

-- Alerts on their way out. Not chained; names stand in them as pseudonyms; rows leave when they are old.
CREATE TABLE alerts (
    id         TEXT PRIMARY KEY,
    at_us      INTEGER NOT NULL,
    last_at_us INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    severity   TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_by_time ON alerts (at_us);

CREATE TABLE deliveries (
    alert_id TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dead')),
    attempts INTEGER NOT NULL,
    due_us   INTEGER NOT NULL,
    error    TEXT NOT NULL,
    PRIMARY KEY (alert_id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (due_us) WHERE state = 'waiting';

-- Sessions with what clients called them, and with the last end of a call, of a descendant too, as their last activity.
CREATE VIEW sessions_shown AS
SELECT
    s.id, s.key_id, s.mark_kind, coalesce(client.name, s.client) AS client_id, coalesce(part.name, s.agent_part) AS agent_part,
    s.state, s.opened_at_us, s.run_started_us,
    max(
        s.last_active_us, coalesce((SELECT max(r.last_at_us) FROM session_rollups AS r WHERE r.session_id = s.id), 0),
        coalesce((
            SELECT max(r.last_at_us)
            FROM session_tree AS t CROSS JOIN session_rollups AS r ON r.session_id = t.session_id
            WHERE t.ancestor_id = s.id
        ), 0)
    ) AS last_active_us,
    s.reason, s.ancestors, s.parts, s.client
FROM sessions AS s
LEFT JOIN names AS client ON client.id = s.client
LEFT JOIN names AS part ON part.id = s.agent_part;

-- What rollups should hold, counted anew: the rows of which they are sums.
CREATE VIEW countable AS
SELECT
    session_id, attribution_id, started_at_us AS at_us, state = 'settled' AS calls, denied,
    would_deny, estimated IS NOT NULL AS estimated_calls, 0 AS sessions_opened, input_tokens, cached_input_tokens, output_tokens,
    usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
FROM calls
WHERE state IN ('settled', 'denied')
UNION ALL
SELECT session_id, attribution_id, at_us, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
FROM session_opens;

CREATE VIEW counted_rollups AS
SELECT
    attribution_id, grain.value AS grain_s, at_us / (grain.value * 1000000) * grain.value * 1000000 AS bucket_us,
    sum(calls) AS calls, sum(denied) AS denied, sum(would_deny) AS would_deny, sum(estimated_calls) AS estimated_calls,
    sum(sessions_opened) AS sessions_opened, sum(input_tokens) AS input_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(output_tokens) AS output_tokens, sum(usd_micros) AS usd_micros,
    sum(requests) AS requests, sum(tool_calls) AS tool_calls, sum(cache_write_tokens) AS cache_write_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM countable CROSS JOIN json_each('[900, 86400]') AS grain
GROUP BY 1, 2, 3;

CREATE VIEW counted_session_rollups AS
SELECT
    session_id, attribution_id,
    sum(calls) AS calls, sum(denied) AS denied, sum(would_deny) AS would_deny, sum(estimated_calls) AS estimated_calls,
    sum(sessions_opened) AS sessions_opened, sum(input_tokens) AS input_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(output_tokens) AS output_tokens, sum(usd_micros) AS usd_micros,
    sum(requests) AS requests, sum(tool_calls) AS tool_calls, sum(cache_write_tokens) AS cache_write_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM countable
GROUP BY 1, 2;

CREATE VIEW counted_session_tree AS
SELECT a.value AS ancestor_id, s.id AS session_id, a.key + 1 AS distance
FROM sessions AS s CROSS JOIN json_each(CASE WHEN json_valid(s.ancestors) THEN s.ancestors ELSE '[]' END) AS a;

-- What most batches do not have. Apart, because each statement costs something even where it has nothing to do.
CREATE VIEW intake_seldom AS
SELECT
    '' AS segment, '' AS segments_opened, '' AS segments_sealed, '' AS attributions, '' AS names, '' AS denied,
    '' AS sessions, '' AS session_opens, '' AS keys, '' AS meta, '' AS alerts, '' AS alert_counts, '' AS deliveries,
    '' AS idempotency, '' AS quota_requests, '' AS stops
WHERE FALSE;

CREATE TRIGGER intake_seldom_is_booked INSTEAD OF INSERT ON intake_seldom
BEGIN
    INSERT INTO segments (segment, node, epoch, first_seq, previous_hash)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(NEW.segments_opened);

    UPDATE segments SET last_seq = s.value ->> 1, last_hash = s.value ->> 2, seal = s.value ->> 3
    FROM json_each(NEW.segments_sealed) AS s
    WHERE segments.segment = s.value ->> 0;

    INSERT INTO attributions (id, doc)
    SELECT value ->> 0, value ->> 1 FROM json_each(NEW.attributions) WHERE TRUE
    ON CONFLICT DO NOTHING;

    INSERT INTO attribution_terms (kind, value, attribution_id)
    SELECT term.value ->> 0, term.value ->> 1, a.value ->> 0
    FROM json_each(NEW.attributions) AS a, json_each(a.value, '$[2]') AS term
    WHERE TRUE
    ON CONFLICT DO NOTHING;

    INSERT INTO names (id, kind, name)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.names) WHERE TRUE
    ON CONFLICT DO UPDATE SET name = excluded.name;

    INSERT INTO calls (seq, call_id, started_at_us, session_id, attribution_id, kind, state, outcome, denied)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 'denied', value ->> 6, value ->> 7
    FROM json_each(NEW.denied);

    INSERT INTO sessions (
        id, key_id, mark_kind, client, agent_part, state, opened_at_us, run_started_us, last_active_us, reason,
        ancestors, parts
    )
    SELECT
        value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
        value ->> 8, value ->> 9, value -> 10, value -> 11
    FROM json_each(NEW.sessions) WHERE TRUE
    ON CONFLICT DO UPDATE SET
        agent_part = excluded.agent_part,
        state = excluded.state,
        run_started_us = excluded.run_started_us,
        last_active_us = max(last_active_us, excluded.last_active_us),
        reason = excluded.reason;

    INSERT INTO session_tree (ancestor_id, session_id, distance)
    SELECT a.value, s.value ->> 0, a.key + 1
    FROM json_each(NEW.sessions) AS s CROSS JOIN json_each(s.value, '$[10]') AS a
    WHERE TRUE
    ON CONFLICT DO NOTHING;

    DELETE FROM stops
    WHERE (kind, name) IN (SELECT value ->> 0, value ->> 1 FROM json_each(NEW.stops));

    INSERT INTO stops (kind, name, state, reason, actor, at_us)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
    FROM json_each(NEW.stops)
    WHERE value ->> 2 <> 'open';

    INSERT INTO session_opens (attribution_id, at_us, session_id)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.session_opens);

    INSERT INTO rollups (
        attribution_id, grain_s, bucket_us, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
        cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
    )
    SELECT o.value ->> 0, grain.value, (o.value ->> 1) / (grain.value * 1000000) * grain.value * 1000000, 0, 0, 0, 0, count(*), 0, 0, 0, 0, 0, 0, 0, 0
    FROM json_each(NEW.session_opens) AS o CROSS JOIN json_each('[900, 86400]') AS grain
    GROUP BY 1, 2, 3
    ON CONFLICT DO UPDATE SET sessions_opened = sessions_opened + excluded.sessions_opened;

    INSERT INTO session_rollups (
        session_id, attribution_id, last_at_us, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
        cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
    )
    SELECT value ->> 2, value ->> 0, max(value ->> 1), 0, 0, 0, 0, count(*), 0, 0, 0, 0, 0, 0, 0, 0
    FROM json_each(NEW.session_opens)
    GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET sessions_opened = sessions_opened + excluded.sessions_opened;

    INSERT INTO keys (id, digest, doc)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.keys) WHERE TRUE
    ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, doc = excluded.doc;

    INSERT INTO quota_requests (id, seq, state, asked_us, said)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(NEW.quota_requests) WHERE TRUE
    ON CONFLICT DO UPDATE SET seq = excluded.seq, state = excluded.state, said = excluded.said;

    INSERT INTO meta (name, value)
    SELECT value ->> 0, value ->> 1 FROM json_each(NEW.meta) WHERE TRUE
    ON CONFLICT DO UPDATE SET value = excluded.value;

    INSERT INTO alerts (id, at_us, last_at_us, count, kind, severity, doc)
    SELECT value ->> 0, value ->> 1, value ->> 1, 1, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(NEW.alerts) WHERE TRUE
    ON CONFLICT DO NOTHING;

    INSERT INTO deliveries (alert_id, channel, state, attempts, due_us, error)
    SELECT a.value ->> 0, way.value, 'waiting', 0, a.value ->> 5, ''
    FROM json_each(NEW.alerts) AS a, json_each(a.value, '$[6]') AS way
    WHERE TRUE
    ON CONFLICT DO NOTHING;

    UPDATE alerts SET count = c.value ->> 1, last_at_us = c.value ->> 2
    FROM json_each(NEW.alert_counts) AS c
    WHERE alerts.id = c.value ->> 0;

    INSERT INTO idempotency (key_id, key_digest, body_digest, call_id, at_us)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(NEW.idempotency) WHERE TRUE
    ON CONFLICT DO UPDATE SET
        body_digest = excluded.body_digest, call_id = excluded.call_id, at_us = excluded.at_us;

    UPDATE deliveries
    SET state = d.value ->> 2, attempts = d.value ->> 3, due_us = d.value ->> 4, error = d.value ->> 5
    FROM json_each(NEW.deliveries) AS d
    WHERE deliveries.alert_id = d.value ->> 0 AND deliveries.channel = d.value ->> 1;
END;

-- One row put in here is one batch. Every column but the first six is a JSON array of rows, or null.
CREATE VIEW intake AS
SELECT
    0 AS previous_seq, '' AS previous_hash, 0 AS seq, '' AS hash, '' AS mac, '' AS segment,
    '' AS segments_opened, '' AS segments_sealed, '' AS journal, '' AS attributions, '' AS names, '' AS held, '' AS raised,
    '' AS ended, '' AS moved, '' AS denied, '' AS counted, '' AS sessions, '' AS session_opens, '' AS keys, '' AS meta,
    '' AS alerts, '' AS alert_counts, '' AS deliveries, '' AS idempotency, '' AS quota_requests,
    '' AS stops
WHERE FALSE;

CREATE TRIGGER intake_is_booked INSTEAD OF INSERT ON intake
BEGIN
    SELECT RAISE(ABORT, 'stale head')
    WHERE NOT EXISTS (SELECT 1 FROM head WHERE seq = NEW.previous_seq AND hash = NEW.previous_hash);

    INSERT INTO journal (seq, segment, at_us, kind, subject, doc, hash)
    SELECT value ->> 0, NEW.segment, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
    FROM json_each(NEW.journal);

    UPDATE head SET seq = NEW.seq, hash = NEW.hash, mac = NEW.mac WHERE one = 1;

    INSERT INTO intake_seldom
    SELECT
        NEW.segment, NEW.segments_opened, NEW.segments_sealed, NEW.attributions, NEW.names, NEW.denied, NEW.sessions,
        NEW.session_opens, NEW.keys, NEW.meta, NEW.alerts, NEW.alert_counts, NEW.deliveries, NEW.idempotency,
        NEW.quota_requests, NEW.stops
    WHERE coalesce(
        NEW.segments_opened, NEW.segments_sealed, NEW.attributions, NEW.names, NEW.denied, NEW.sessions,
        NEW.session_opens, NEW.keys, NEW.meta, NEW.alerts, NEW.alert_counts, NEW.deliveries, NEW.idempotency,
        NEW.quota_requests, NEW.stops
    ) IS NOT NULL;

    INSERT INTO calls (seq, call_id, started_at_us, session_id, attribution_id, kind, state, would_deny)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 'held', value ->> 6
    FROM json_each(NEW.held);

    -- Upserts, because an UPDATE FROM builds a table first. The row is always there; if it were not, `''` would be refused
    -- as an attribution.
    INSERT INTO calls (seq, call_id, started_at_us, session_id, attribution_id, kind, state, raised)
    SELECT value ->> 0, '', 0, '', '', '', 'held', value ->> 1 FROM json_each(NEW.raised) WHERE TRUE
    ON CONFLICT DO UPDATE SET raised = excluded.raised;

    INSERT INTO calls (
        seq, call_id, started_at_us, session_id, attribution_id, kind, state, ended_at_us, outcome, estimated, status,
        input_tokens, cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens,
        reasoning_tokens
    )
    SELECT
        value ->> 0, '', 0, '', '', '', value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
        value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13
    FROM json_each(NEW.ended) WHERE TRUE
    ON CONFLICT DO UPDATE SET
        state = excluded.state, ended_at_us = excluded.ended_at_us, outcome = excluded.outcome,
        estimated = excluded.estimated, status = excluded.status, input_tokens = excluded.input_tokens,
        cached_input_tokens = excluded.cached_input_tokens, output_tokens = excluded.output_tokens,
        usd_micros = excluded.usd_micros, requests = excluded.requests, tool_calls = excluded.tool_calls,
        cache_write_tokens = excluded.cache_write_tokens, reasoning_tokens = excluded.reasoning_tokens;

    INSERT INTO calls (seq, call_id, started_at_us, session_id, attribution_id, kind, state)
    SELECT value ->> 0, '', 0, '', value ->> 1, '', 'held' FROM json_each(NEW.moved) WHERE TRUE
    ON CONFLICT DO UPDATE SET attribution_id = excluded.attribution_id;

    -- Sums are taken from the rows just written, so that they cannot differ from them.
    INSERT INTO rollups (
        attribution_id, grain_s, bucket_us, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
        cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
    )
    SELECT
        c.attribution_id, 900, c.started_at_us / 900000000 * 900000000,
        sum(c.state = 'settled'), sum(c.denied), sum(c.would_deny), sum(c.estimated IS NOT NULL), 0, sum(c.input_tokens),
        sum(c.cached_input_tokens), sum(c.output_tokens), sum(c.usd_micros), sum(c.requests), sum(c.tool_calls),
        sum(c.cache_write_tokens), sum(c.reasoning_tokens)
    FROM json_each(NEW.counted) AS n CROSS JOIN calls AS c ON c.seq = n.value
    GROUP BY 1, 3
    ON CONFLICT DO UPDATE SET
        calls = calls + excluded.calls,
        denied = denied + excluded.denied,
        would_deny = would_deny + excluded.would_deny,
        estimated_calls = estimated_calls + excluded.estimated_calls,
        sessions_opened = sessions_opened + excluded.sessions_opened,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        usd_micros = usd_micros + excluded.usd_micros,
        requests = requests + excluded.requests,
        tool_calls = tool_calls + excluded.tool_calls,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;

    INSERT INTO rollups (
        attribution_id, grain_s, bucket_us, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
        cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
    )
    SELECT
        c.attribution_id, 86400, c.started_at_us / 86400000000 * 86400000000,
        sum(c.state = 'settled'), sum(c.denied), sum(c.would_deny), sum(c.estimated IS NOT NULL), 0, sum(c.input_tokens),
        sum(c.cached_input_tokens), sum(c.output_tokens), sum(c.usd_micros), sum(c.requests), sum(c.tool_calls),
        sum(c.cache_write_tokens), sum(c.reasoning_tokens)
    FROM json_each(NEW.counted) AS n CROSS JOIN calls AS c ON c.seq = n.value
    GROUP BY 1, 3
    ON CONFLICT DO UPDATE SET
        calls = calls + excluded.calls,
        denied = denied + excluded.denied,
        would_deny = would_deny + excluded.would_deny,
        estimated_calls = estimated_calls + excluded.estimated_calls,
        sessions_opened = sessions_opened + excluded.sessions_opened,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        usd_micros = usd_micros + excluded.usd_micros,
        requests = requests + excluded.requests,
        tool_calls = tool_calls + excluded.tool_calls,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;

    INSERT INTO session_rollups (
        session_id, attribution_id, last_at_us, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
        cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
    )
    SELECT
        c.session_id, c.attribution_id, max(coalesce(c.ended_at_us, c.started_at_us)),
        sum(c.state = 'settled'), sum(c.denied), sum(c.would_deny), sum(c.estimated IS NOT NULL), 0, sum(c.input_tokens),
        sum(c.cached_input_tokens), sum(c.output_tokens), sum(c.usd_micros), sum(c.requests), sum(c.tool_calls),
        sum(c.cache_write_tokens), sum(c.reasoning_tokens)
    FROM json_each(NEW.counted) AS n CROSS JOIN calls AS c ON c.seq = n.value
    GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET
        last_at_us = max(last_at_us, excluded.last_at_us),
        calls = calls + excluded.calls,
        denied = denied + excluded.denied,
        would_deny = would_deny + excluded.would_deny,
        estimated_calls = estimated_calls + excluded.estimated_calls,
        sessions_opened = sessions_opened + excluded.sessions_opened,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        usd_micros = usd_micros + excluded.usd_micros,
        requests = requests + excluded.requests,
        tool_calls = tool_calls + excluded.tool_calls,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

INSERT INTO head (one, seq, hash, mac) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', '');
INSERT INTO schema_version (version) VALUES (1);
COMMIT;

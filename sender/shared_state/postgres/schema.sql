-- The state that replicas share, in a schema of its own. Instants are microseconds of the server's clock.
--
-- Tables first, then functions, which a schema of an earlier version gets anew.
--
-- Every function but `enter` begins with `known`: a server that lost the state answers SND01, and one that was
-- restarted, or took over from another, SND02, until `enter` has noticed it. Each call is one transaction, and waits for
-- the server's disk where it says what may be sent, and what has ended.

CREATE SCHEMA IF NOT EXISTS sender;

CREATE TABLE sender.schema_version (version integer NOT NULL);
INSERT INTO sender.schema_version VALUES (3);

CREATE TABLE sender.workspaces (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    token text NOT NULL,                         -- names this epoch of the state
    host text NOT NULL,                          -- of the API
    born bigint NOT NULL,
    beat bigint NOT NULL,                        -- when an owner last said that it lives
    owners bigint NOT NULL DEFAULT 0,            -- the last number that was given
    generation integer NOT NULL DEFAULT 1,       -- grows with every restart and failover that was noticed
    server text NOT NULL,
    history text NOT NULL,                       -- system identifier and timeline
    history_before text NOT NULL DEFAULT '',
    left_at pg_lsn,                              -- how far the history before was followed
    changed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE sender.owners (
    workspace integer NOT NULL, owner bigint NOT NULL,
    deadline bigint NOT NULL,                    -- until when it lives; 0: it left in order
    lines bigint NOT NULL DEFAULT 0,             -- the number of its last outcome line
    untold boolean NOT NULL DEFAULT false,       -- it has not yet said what a restarted server may have forgotten
    PRIMARY KEY (workspace, owner)
) WITH (fillfactor = 50);

CREATE TABLE sender.held (                       -- jobs that are handed over
    workspace integer NOT NULL, key text COLLATE "C" NOT NULL, content text NOT NULL, owner bigint NOT NULL,
    taker bigint,                                -- who settles it, since its owner is dead
    detail bytea NOT NULL,
    PRIMARY KEY (workspace, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX held_by ON sender.held (workspace, (coalesce(taker, owner)));

CREATE TABLE sender.jobs (                       -- jobs that have ended
    workspace integer NOT NULL, key text COLLATE "C" NOT NULL, state text NOT NULL, content text NOT NULL,
    owner bigint NOT NULL, resendable boolean NOT NULL, result text,
    detail bytea,                                -- JSON; in doubt what reconcile looks for, and the error of its end
    until bigint,                                -- when it is forgotten; null: never
    PRIMARY KEY (workspace, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX doubts ON sender.jobs (workspace, key) WHERE state = 'in_doubt';
CREATE INDEX results ON sender.jobs USING hash (result) WHERE result IS NOT NULL;
CREATE INDEX forgotten ON sender.jobs (until) WHERE until IS NOT NULL;

CREATE TABLE sender.outbox (                     -- outcome lines that wait for a log
    workspace integer NOT NULL, owner bigint NOT NULL, number bigint NOT NULL, line bytea NOT NULL,
    PRIMARY KEY (workspace, owner, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE sender.tally (                      -- how many have ended, as each owner counts, forgotten or not
    workspace integer NOT NULL, owner bigint NOT NULL, state text NOT NULL, jobs bigint NOT NULL,
    PRIMARY KEY (workspace, owner, state)
) WITH (fillfactor = 50);

CREATE TABLE sender.notes (
    workspace integer NOT NULL, name text NOT NULL, value bytea NOT NULL, PRIMARY KEY (workspace, name)
) WITH (fillfactor = 50);

CREATE TABLE sender.lanes (
    workspace integer NOT NULL, name text NOT NULL,
    configured text NOT NULL, slots bigint NOT NULL, period bigint NOT NULL,
    held boolean NOT NULL DEFAULT false,         -- an operator paused it
    paused bigint NOT NULL DEFAULT 0,            -- until when the API asked to wait
    lowest bigint NOT NULL,                      -- nothing is given before it
    last double precision NOT NULL DEFAULT 0,    -- the last slot that was given
    span double precision NOT NULL DEFAULT 0, span_at bigint NOT NULL DEFAULT 0,
    active jsonb NOT NULL DEFAULT '{}',          -- when each owner last asked
    winner bigint,
    hungry bigint[] NOT NULL DEFAULT '{0,0}', hungry_by bigint[] NOT NULL DEFAULT '{0,0}',
    share double precision[] NOT NULL DEFAULT '{0,0,0}',
    PRIMARY KEY (workspace, name)
) WITH (fillfactor = 50);


CREATE FUNCTION sender.microseconds() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- The server as it runs now: another after a restart, a crash of one of its processes, and a failover.
CREATE FUNCTION sender.server_now() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()), pg_last_wal_replay_lsn())
$$;

CREATE FUNCTION sender.history_now() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/', system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)) FROM pg_control_system()
$$;

-- `living`: who has a deadline after it lives. While nobody could reach the server nobody could say that he lives: such
-- time counts for no one.
CREATE FUNCTION sender.known(space integer, epoch text, seen integer, lasts boolean, OUT now bigint, OUT living bigint)
LANGUAGE plpgsql AS $$
DECLARE
    found_generation integer;
    found_server text;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the server stands by for another' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    now := sender.microseconds();
    SELECT generation, server, least(now, beat + 10000000) INTO found_generation, found_server, living
    FROM sender.workspaces WHERE id = space AND token = epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the epoch marker is missing or another' USING ERRCODE = 'SND01';
    END IF;
    IF found_generation <> seen OR found_server <> sender.server_now() THEN
        RAISE EXCEPTION 'the server was restarted' USING ERRCODE = 'SND02';
    END IF;
    IF lasts AND current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    ELSIF NOT lasts THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END $$;

CREATE FUNCTION sender.require_alive(space integer, who bigint, living bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM sender.owners WHERE workspace = space AND owner = who AND deadline > living;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this replica was taken for dead' USING ERRCODE = 'SND01';
    END IF;
END $$;

-- Find or found the epoch; notice a server that was restarted or replaced.
CREATE FUNCTION sender.enter(space text, new_token text, api text, OUT id integer, OUT token text, OUT born bigint,
    OUT host text, OUT generation integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now bigint := sender.microseconds();
    running text := sender.server_now();
    present text := sender.history_now();
    w sender.workspaces;
BEGIN
    INSERT INTO sender.workspaces (name, token, host, born, beat, server, history)
    VALUES (space, new_token, api, now, now, running, present) ON CONFLICT (name) DO NOTHING;
    SELECT * INTO w FROM sender.workspaces WHERE name = space FOR UPDATE;
    IF w.server <> running THEN
        UPDATE sender.workspaces SET server = running, generation = w.generation + 1, changed = now, history = present,
            history_before = CASE WHEN history = present THEN history_before ELSE history END,
            left_at = CASE WHEN history = present THEN left_at ELSE pg_last_wal_replay_lsn() END
        WHERE workspaces.id = w.id RETURNING * INTO w;
        -- What was granted in its last moments may be forgotten: nothing starts before all of it is past.
        UPDATE sender.lanes SET lowest = now + sender.grant_time(slots, period) WHERE workspace = w.id;
        -- Those that live say again what is theirs; whoever does not is dead, and what it did last may be forgotten.
        UPDATE sender.owners SET untold = deadline > 0,
            deadline = CASE WHEN deadline > 0 THEN now + 22000000 ELSE 0 END
        WHERE workspace = w.id;
    END IF;
    id := w.id; token := w.token; born := w.born; host := w.host; generation := w.generation;
END $$;

CREATE FUNCTION sender.tell_history(space integer, OUT history text, OUT written bigint, OUT history_before text,
    OUT left_at bigint) LANGUAGE sql VOLATILE AS $$
    SELECT history, (pg_current_wal_flush_lsn() - '0/0')::bigint, history_before, (left_at - '0/0')::bigint
    FROM sender.workspaces WHERE id = space
$$;


-- Owners: replicas that say every few seconds that they live.

CREATE FUNCTION sender.join_owners(space integer, epoch text, seen integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    t record;
    number bigint;
BEGIN
    t := sender.known(space, epoch, seen, true);
    UPDATE sender.workspaces SET owners = owners + 1 WHERE id = space RETURNING owners INTO number;
    INSERT INTO sender.owners (workspace, owner, deadline) VALUES (space, number, t.now + 22000000);
    RETURN number;
END $$;

-- After a time in which nobody could say that he lives everybody gets another chance; after the server's clock was set
-- back nobody lives longer for it. What is past its time is forgotten on the way.
CREATE FUNCTION sender.beat(space integer, epoch text, seen integer, who bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t record;
    before bigint;
BEGIN
    t := sender.known(space, epoch, seen, false);
    PERFORM sender.require_alive(space, who, t.living);
    SELECT beat INTO before FROM sender.workspaces WHERE id = space FOR UPDATE;
    IF t.now < before - 1000000 THEN
        UPDATE sender.owners SET deadline = t.now + 22000000 WHERE workspace = space AND deadline > t.now + 22000000;
    ELSIF t.now - before > 10000000 THEN
        UPDATE sender.owners SET deadline = t.now + 22000000 WHERE workspace = space AND deadline > 0;
    END IF;
    UPDATE sender.workspaces SET beat = t.now WHERE id = space;
    UPDATE sender.owners SET deadline = t.now + 22000000 WHERE workspace = space AND owner = who;
    DELETE FROM sender.jobs WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM sender.jobs WHERE until < t.now AND workspace = space ORDER BY until LIMIT 2000
        FOR UPDATE SKIP LOCKED));
END $$;

-- Take an owner of whom nothing is left from the list; whether it was.
CREATE FUNCTION sender.forget_owner(space integer, who bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM sender.held WHERE workspace = space AND coalesce(taker, owner) = who)
        OR EXISTS (SELECT FROM sender.outbox WHERE workspace = space AND owner = who) THEN
        RETURN false;
    END IF;
    DELETE FROM sender.owners WHERE workspace = space AND owner = who;
    WITH gone AS (DELETE FROM sender.tally WHERE workspace = space AND owner = who RETURNING state, jobs)
    INSERT INTO sender.tally SELECT space, 0, state, jobs FROM gone ORDER BY state
    ON CONFLICT (workspace, owner, state) DO UPDATE SET jobs = tally.jobs + excluded.jobs;
    RETURN true;
END $$;

CREATE FUNCTION sender.leave_owners(space integer, epoch text, seen integer, who bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, true);
    IF NOT sender.forget_owner(space, who) THEN
        UPDATE sender.owners SET deadline = 0, untold = false WHERE workspace = space AND owner = who;
    END IF;
END $$;

CREATE FUNCTION sender.told(space integer, epoch text, seen integer, who bigint, OUT others bigint, OUT waits boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
BEGIN
    t := sender.known(space, epoch, seen, true);
    UPDATE sender.owners SET untold = false WHERE workspace = space AND owner = who AND untold;
    SELECT count(*) INTO others FROM sender.owners WHERE workspace = space AND untold;
    SELECT t.now < changed + 8000000 INTO waits FROM sender.workspaces WHERE id = space;
END $$;

CREATE FUNCTION sender.list_owners(space integer, epoch text, seen integer)
RETURNS TABLE (number bigint, unseen bigint, handed_over bigint) LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    t := sender.known(space, epoch, seen, false);
    RETURN QUERY SELECT o.owner, t.now + 22000000 - o.deadline, (
        SELECT count(*) FROM sender.held h WHERE h.workspace = space AND coalesce(h.taker, h.owner) = o.owner)
    FROM sender.owners o WHERE o.workspace = space AND o.deadline > 0;
END $$;


-- Jobs.

CREATE FUNCTION sender.find(space integer, epoch text, seen integer, who bigint, keys text[])
RETURNS TABLE (key text, state text, content text, owner bigint, resendable boolean, elsewhere boolean, result text,
    detail bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
BEGIN
    t := sender.known(space, epoch, seen, false);
    RETURN QUERY
    SELECT wanted.key, CASE WHEN h.key IS NULL THEN j.state ELSE 'handed_over' END, coalesce(h.content, j.content),
        coalesce(h.owner, j.owner), coalesce(j.resendable, true),
        h.owner IS NOT NULL AND h.owner <> who AND coalesce(o.deadline > t.living, false), j.result,
        CASE WHEN h.key IS NULL THEN j.detail END
    FROM unnest(keys) AS wanted (key)
    LEFT JOIN sender.held h ON h.workspace = space AND h.key = wanted.key COLLATE "C"
    LEFT JOIN sender.jobs j ON j.workspace = space AND j.key = wanted.key COLLATE "C"
    LEFT JOIN sender.owners o ON o.workspace = space AND o.owner = h.owner
    WHERE h.key IS NOT NULL OR j.key IS NOT NULL;
END $$;

-- `records`: what the caller saw of each, "state owner" or "". Returns those refused, as `find` does.
CREATE FUNCTION sender.hand_over(space integer, epoch text, seen integer, who bigint, keys text[], contents text[],
    details bytea[], records text[])
RETURNS TABLE (key text, state text, content text, owner bigint, resendable boolean, elsewhere boolean, result text,
    detail bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
    mine text[];
    fresh text[];
    ended text[];
BEGIN
    t := sender.known(space, epoch, seen, true);
    PERFORM sender.require_alive(space, who, t.living);
    WITH claimed AS (
        INSERT INTO sender.held AS h (workspace, key, content, owner, detail)
        SELECT space, wanted.key, wanted.content, who, wanted.detail
        FROM unnest(keys, contents, details) AS wanted (key, content, detail) ORDER BY wanted.key COLLATE "C"
        ON CONFLICT ON CONSTRAINT held_pkey DO UPDATE SET content = excluded.content, detail = excluded.detail
        WHERE h.owner = who AND h.taker IS NULL
        RETURNING h.key, h.xmax = 0 AS is_new
    )
    SELECT array_agg(c.key), array_agg(c.key) FILTER (WHERE c.is_new) INTO mine, fresh FROM claimed c;
    -- Only now, with the row in our hands, nobody ends the job unseen.
    SELECT array_agg(j.key) INTO ended
    FROM unnest(keys, records) AS wanted (key, record)
    JOIN sender.jobs j ON j.workspace = space AND j.key = wanted.key COLLATE "C"
    WHERE j.key = ANY (fresh) AND j.state <> 'failed' AND wanted.record <> j.state || ' ' || j.owner;
    IF ended IS NOT NULL THEN
        DELETE FROM sender.held h WHERE h.workspace = space AND h.key = ANY (ended);
    END IF;
    IF ended IS NULL AND cardinality(mine) = cardinality(keys) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT wanted.key, CASE WHEN j.key IS NULL OR h.key IS NOT NULL THEN 'handed_over' ELSE j.state END,
        coalesce(h.content, j.content, ''), coalesce(h.owner, j.owner, 0), coalesce(j.resendable, true),
        CASE WHEN h.key IS NOT NULL THEN coalesce(o.deadline > t.living, false) ELSE j.key IS NULL END, j.result,
        CASE WHEN h.key IS NULL THEN j.detail END
    FROM unnest(keys) AS wanted (key)
    LEFT JOIN sender.held h ON h.workspace = space AND h.key = wanted.key COLLATE "C"
    LEFT JOIN sender.jobs j ON j.workspace = space AND j.key = wanted.key COLLATE "C"
    LEFT JOIN sender.owners o ON o.workspace = space AND o.owner = h.owner
    WHERE mine IS NULL OR wanted.key <> ALL (mine) OR wanted.key = ANY (ended);
END $$;

-- Only what this replica itself handed over; what stood before stands again.
CREATE FUNCTION sender.release(space integer, epoch text, seen integer, who bigint, keys text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, true);
    DELETE FROM sender.held h WHERE h.workspace = space AND h.key = ANY (keys) AND h.owner = who AND h.taker IS NULL;
END $$;

-- Each key once, in their order. Returns the number of the last line.
-- A replica that was taken for dead may come late: its doubt says nothing against an acceptance that is known.
CREATE FUNCTION sender.finish(space integer, epoch text, seen integer, who bigint, keys text[], contents text[],
    states text[], resendables boolean[], new_results text[], details bytea[], lines bytea[], logged bigint, keep bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    t record;
    number bigint;
BEGIN
    t := sender.known(space, epoch, seen, true);
    INSERT INTO sender.owners AS o (workspace, owner, deadline, lines) VALUES (space, who, 0, cardinality(lines))
    ON CONFLICT (workspace, owner) DO UPDATE SET lines = o.lines + excluded.lines RETURNING o.lines INTO number;
    PERFORM FROM sender.jobs j WHERE j.workspace = space AND j.key = ANY (keys) ORDER BY j.key FOR UPDATE;
    INSERT INTO sender.tally AS counted (workspace, owner, state, jobs)
    SELECT space, who, change.state, sum(change.jobs) FROM (
        SELECT j.state, -1 AS jobs FROM unnest(keys, states) AS new (key, state)
        JOIN sender.jobs j ON j.workspace = space AND j.key = new.key COLLATE "C"
        WHERE NOT (j.state = 'sent' AND j.owner <> who AND new.state <> 'sent')
        UNION ALL
        SELECT new.state, 1 FROM unnest(keys, states) AS new (key, state)
        LEFT JOIN sender.jobs j ON j.workspace = space AND j.key = new.key COLLATE "C"
        WHERE j.key IS NULL OR NOT (j.state = 'sent' AND j.owner <> who AND new.state <> 'sent')
    ) AS change GROUP BY change.state ORDER BY change.state
    ON CONFLICT (workspace, owner, state) DO UPDATE SET jobs = counted.jobs + excluded.jobs;
    INSERT INTO sender.jobs AS j (workspace, key, state, content, owner, resendable, result, detail, until)
    SELECT space, new.key, new.state, new.content, who, new.resendable, new.result,
        new.detail, CASE WHEN new.state <> 'in_doubt' THEN t.now + keep END
    FROM unnest(keys, contents, states, resendables, new_results, details)
        AS new (key, content, state, resendable, result, detail)
    ON CONFLICT (workspace, key) DO UPDATE SET state = excluded.state, content = excluded.content,
        owner = excluded.owner, resendable = excluded.resendable, result = coalesce(excluded.result, j.result),
        detail = excluded.detail, until = excluded.until
    WHERE NOT (j.state = 'sent' AND j.owner <> excluded.owner AND excluded.state <> 'sent');
    DELETE FROM sender.held h WHERE h.workspace = space AND h.key = ANY (keys);
    DELETE FROM sender.outbox b WHERE b.workspace = space AND b.owner = who AND b.number <= logged;
    INSERT INTO sender.outbox SELECT space, who, number - cardinality(lines) + place, line
    FROM unnest(lines) WITH ORDINALITY AS new (line, place);
    RETURN number;
END $$;

-- Forget what is logged, take over what dead replicas left; the lines that wait then, with their numbers.
CREATE FUNCTION sender.waiting_lines(space integer, epoch text, seen integer, who bigint, logged bigint)
RETURNS TABLE (number bigint, line bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
    dead bigint;
    moved bigint;
BEGIN
    t := sender.known(space, epoch, seen, true);
    DELETE FROM sender.outbox b WHERE b.workspace = space AND b.owner = who AND b.number <= logged;
    FOR dead IN SELECT o.owner FROM sender.owners o
        WHERE o.workspace = space AND o.owner <> who AND o.deadline <= t.living FOR UPDATE SKIP LOCKED
    LOOP
        WITH moving AS (
            DELETE FROM sender.outbox b WHERE b.workspace = space AND b.owner = dead AND b.number IN (
                SELECT b.number FROM sender.outbox b WHERE b.workspace = space AND b.owner = dead
                ORDER BY b.number LIMIT 1000)
            RETURNING b.number, b.line
        ), room AS (
            UPDATE sender.owners o SET lines = o.lines + (SELECT count(*) FROM moving)
            WHERE o.workspace = space AND o.owner = who RETURNING o.lines - (SELECT count(*) FROM moving) AS above
        )
        INSERT INTO sender.outbox
        SELECT space, who, above + row_number() OVER (ORDER BY m.number), m.line FROM moving m, room;
        PERFORM sender.forget_owner(space, dead);
    END LOOP;
    RETURN QUERY SELECT b.number, b.line FROM sender.outbox b WHERE b.workspace = space AND b.owner = who
        ORDER BY b.number;
END $$;

-- Take what dead replicas left handed over; returns how many were taken now.
CREATE FUNCTION sender.take(space integer, epoch text, seen integer, who bigint, most bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    t record;
    number bigint;
BEGIN
    t := sender.known(space, epoch, seen, true);
    UPDATE sender.held SET taker = who WHERE workspace = space AND key IN (
        SELECT h.key FROM sender.held h WHERE h.workspace = space AND coalesce(h.taker, h.owner) <> who AND NOT EXISTS (
            SELECT FROM sender.owners o
            WHERE o.workspace = space AND o.owner = coalesce(h.taker, h.owner) AND o.deadline > t.living)
        LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN number;
END $$;

CREATE FUNCTION sender.doubts(space integer, epoch text, seen integer, who bigint, taken boolean, after text, most bigint)
RETURNS TABLE (key text, content text, detail bytea, resendable boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM sender.known(space, epoch, seen, false);
    IF taken THEN
        RETURN QUERY SELECT h.key, h.content, h.detail, coalesce(j.resendable, true)
        FROM sender.held h LEFT JOIN sender.jobs j ON j.workspace = h.workspace AND j.key = h.key
        WHERE h.workspace = space AND coalesce(h.taker, h.owner) = who AND h.taker = who
            AND h.key > after COLLATE "C" ORDER BY h.key LIMIT most;
    ELSE
        RETURN QUERY SELECT j.key, j.content, j.detail, j.resendable FROM sender.jobs j
        WHERE j.workspace = space AND j.state = 'in_doubt' AND j.key > after COLLATE "C"
            AND NOT EXISTS (SELECT FROM sender.held h WHERE h.workspace = space AND h.key = j.key)
        ORDER BY j.key LIMIT most;
    END IF;
END $$;

CREATE FUNCTION sender.known_results(space integer, epoch text, seen integer, wanted text[]) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, false);
    RETURN QUERY SELECT DISTINCT j.result FROM sender.jobs j WHERE j.workspace = space AND j.result = ANY (wanted);
END $$;

CREATE FUNCTION sender.count_jobs(space integer, epoch text, seen integer)
RETURNS TABLE (state text, jobs numeric) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM sender.known(space, epoch, seen, false);
    RETURN QUERY SELECT one.state, sum(one.jobs) FROM (
        SELECT c.state, c.jobs FROM sender.tally c WHERE c.workspace = space
        UNION ALL SELECT 'handed_over', count(*) FROM sender.held h WHERE h.workspace = space
        UNION ALL SELECT j.state, -1 FROM sender.held h JOIN sender.jobs j USING (workspace, key)
        WHERE h.workspace = space
    ) AS one GROUP BY one.state HAVING sum(one.jobs) > 0;
END $$;


-- Notes.

CREATE FUNCTION sender.get_note(space integer, epoch text, seen integer, wanted text) RETURNS bytea
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, false);
    RETURN (SELECT value FROM sender.notes WHERE workspace = space AND name = wanted);
END $$;

CREATE FUNCTION sender.put_note(space integer, epoch text, seen integer, wanted text, new bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, true);
    INSERT INTO sender.notes VALUES (space, wanted, new)
    ON CONFLICT (workspace, name) DO UPDATE SET value = excluded.value;
END $$;

-- Whether it was swapped.
CREATE FUNCTION sender.swap_note(space integer, epoch text, seen integer, wanted text, expected bytea, new bytea)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, true);
    IF expected IS NOT NULL AND new IS NOT NULL THEN
        UPDATE sender.notes SET value = new WHERE workspace = space AND name = wanted AND value = expected;
    ELSIF expected IS NOT NULL THEN
        DELETE FROM sender.notes WHERE workspace = space AND name = wanted AND value = expected;
    ELSIF new IS NOT NULL THEN
        INSERT INTO sender.notes VALUES (space, wanted, new) ON CONFLICT (workspace, name) DO NOTHING;
    ELSE
        RETURN NOT EXISTS (SELECT FROM sender.notes WHERE workspace = space AND name = wanted);
    END IF;
    RETURN FOUND;
END $$;

-- The value that stands, which is the first that was given.
CREATE FUNCTION sender.bind(space integer, epoch text, seen integer, fact text, new text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sender.known(space, epoch, seen, true);
    INSERT INTO sender.notes VALUES (space, 'fact: ' || fact, convert_to(new, 'UTF8'))
    ON CONFLICT (workspace, name) DO NOTHING;
    RETURN (SELECT convert_from(value, 'UTF8') FROM sender.notes WHERE workspace = space AND name = 'fact: ' || fact);
END $$;


-- Lanes. What came with version 3 is added here, so that it comes to earlier ones, too.

ALTER TABLE sender.lanes
    ADD COLUMN IF NOT EXISTS rank integer,       -- of the jobs that the last who asked has most of
    ADD COLUMN IF NOT EXISTS unsettled bigint NOT NULL DEFAULT 0,       -- when replicas differed in it, or the rate changed
    ADD COLUMN IF NOT EXISTS divided boolean NOT NULL DEFAULT false,    -- replicas hold parts, no slots are given
    ADD COLUMN IF NOT EXISTS version bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS division text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS begins bigint NOT NULL DEFAULT 0,          -- when its first parts may be used
    ADD COLUMN IF NOT EXISTS heard jsonb NOT NULL DEFAULT '{}',         -- when each owner last renewed its part
    ADD COLUMN IF NOT EXISTS care double precision NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS care_at bigint NOT NULL DEFAULT 0;

-- For how long something may still be written that was granted before: lanes of 20 and more may be divided, and parts
-- are held for seconds.
CREATE FUNCTION sender.grant_time(slots bigint, period bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN slots >= 20 AND period <= 1000000 THEN period + 5200000 ELSE period + 700000 END
$$;

-- declare, configured rate ('' as it is), limit, window | rate, limit, window | pause, microseconds | hold | go | distrust
CREATE FUNCTION sender.lane(space integer, epoch text, seen integer, lane text, asked text, arguments text[],
    OUT slots bigint, OUT period bigint, OUT held boolean, OUT now bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
    h sender.lanes;
    new_slots bigint;
    new_period bigint;
BEGIN
    t := sender.known(space, epoch, seen, asked <> 'look');
    IF asked = 'declare' THEN
        -- Nobody knows what was written before this state began: one window, and all that may be granted.
        INSERT INTO sender.lanes (workspace, name, configured, slots, period, lowest)
        VALUES (space, lane, arguments[1], arguments[2]::bigint, arguments[3]::bigint,
            t.now + sender.grant_time(arguments[2]::bigint, arguments[3]::bigint))
        ON CONFLICT (workspace, name) DO NOTHING;
    END IF;
    IF asked = 'look' THEN
        SELECT * INTO h FROM sender.lanes l WHERE l.workspace = space AND l.name = lane;
    ELSE
        SELECT * INTO h FROM sender.lanes l WHERE l.workspace = space AND l.name = lane FOR UPDATE;
    END IF;
    IF asked = 'declare' AND arguments[1] <> '' AND h.configured <> arguments[1] THEN
        UPDATE sender.lanes l SET configured = arguments[1] WHERE l.workspace = space AND l.name = lane;
        new_slots := arguments[2]; new_period := arguments[3];
    ELSIF asked = 'rate' THEN
        new_slots := arguments[1]; new_period := arguments[2];
    ELSIF asked = 'pause' THEN
        UPDATE sender.lanes l SET paused = greatest(l.paused, t.now + arguments[1]::bigint)
        WHERE l.workspace = space AND l.name = lane;
    ELSIF asked IN ('hold', 'go') THEN
        UPDATE sender.lanes l SET held = asked = 'hold' WHERE l.workspace = space AND l.name = lane;
    ELSIF asked = 'distrust' THEN
        UPDATE sender.lanes l SET lowest = greatest(l.lowest, t.now + l.period + 700000)
        WHERE l.workspace = space AND l.name = lane;
    END IF;
    IF new_slots IS NOT NULL THEN
        UPDATE sender.lanes l SET slots = new_slots, period = new_period, span = 0, span_at = 0, unsettled = t.now,
            lowest = CASE WHEN new_slots * h.period < h.slots * new_period  -- what the old rate granted still counts
                THEN greatest(l.lowest, l.last::bigint + greatest(new_period, h.period)) ELSE l.lowest END
        WHERE l.workspace = space AND l.name = lane;
    END IF;
    SELECT l.slots, l.period, l.held INTO slots, period, held FROM sender.lanes l
    WHERE l.workspace = space AND l.name = lane;
    slots := coalesce(slots, 0); period := coalesce(period, 0); held := coalesce(held, false);
    now := t.now;
END $$;

-- Slots follow each other on one line; `slots` of them take the widened period. A replica gets a run of them, as long
-- as all active replicas together reserve 0.42 s ahead, so that they come round in turn. Nothing is reserved further
-- ahead than 0.6 s (high) or 0.5 s; while a higher class is hungry, a lower one gets every 20th slot. In a slow lane who
-- had the last slot leaves the others the first word about the next, until it is 0.25 s ahead.
-- While the lane is divided no slots are given. `granted` is null when the lane has to be declared.
CREATE FUNCTION sender.reserve(space integer, epoch text, seen integer, who bigint, lane text, wants bigint[],
    widened bigint, part double precision, lead bigint, owed bigint, urgent integer,
    OUT now bigint, OUT granted bigint, OUT first double precision, OUT step double precision, OUT again double precision,
    OUT paused bigint, OUT held boolean, OUT slots bigint, OUT period bigint, OUT divided boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
    h sender.lanes;
    its_rank integer;
    replicas bigint;
    batch bigint;
    n bigint;
    horizon bigint;
    since double precision;
    line double precision;
BEGIN
    t := sender.known(space, epoch, seen, false);
    now := t.now;
    PERFORM sender.require_alive(space, who, t.living);
    SELECT * INTO h FROM sender.lanes l WHERE l.workspace = space AND l.name = lane FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF h.last > now + 2000000 + 2 * h.period THEN  -- the server's clock was set back
        h.last := 0; h.lowest := now + h.period + 700000; h.span_at := 0; h.paused := 0;
        h.hungry := '{0,0}'; h.share := '{0,0,0}';
    END IF;
    line := (h.period + widened) / part;  -- the most careful replica of the last 3 s decides
    IF NOT (line < h.span AND now - h.span_at < 3000000) THEN
        h.span := line; h.span_at := now;
    END IF;
    step := h.span / h.slots;
    SELECT jsonb_object_agg(key, value) INTO h.active
    FROM jsonb_each(h.active || jsonb_build_object(who::text, now)) WHERE value::bigint > now - 1500000;
    replicas := (SELECT count(*) FROM jsonb_object_keys(h.active));
    batch := greatest(1, least(500, floor(420000 / (replicas * step))));
    h.last := h.last + owed;
    first := greatest(h.last + step, h.lowest, CASE WHEN urgent > 0 THEN 0 ELSE h.paused END, now + lead);
    -- Of what it has most of (division.py): while replicas differ in it, the lane is not divided.
    FOR class IN 1..3 LOOP
        IF wants[class] > 0 AND (its_rank IS NULL OR wants[its_rank] < 20) THEN
            its_rank := class;
        END IF;
    END LOOP;
    IF its_rank <> h.rank THEN
        h.unsettled := now;
    END IF;
    h.rank := coalesce(its_rank, h.rank);
    granted := 0; again := now + 500000; divided := h.divided;
    IF h.divided THEN
        again := now + 300000;
    ELSIF urgent > 0 THEN
        granted := CASE WHEN h.held AND urgent < 2 THEN 0 ELSE 1 END;
    ELSIF batch = 1 AND replicas > 1 AND h.winner = who AND first > now + 250000 THEN
        again := first - 250000;
    ELSIF NOT h.held THEN
        FOR class IN 1..3 LOOP
            n := least(wants[class], batch - granted);
            horizon := CASE WHEN class = 1 THEN 600000 ELSE 500000 END;
            since := NULL;
            IF EXISTS (SELECT FROM generate_series(1, class - 1) AS above
                       WHERE h.hungry[above] > now AND h.hungry_by[above] <> who) THEN
                since := greatest(h.share[class], now - 1000000);
                n := least(n, floor((now - since) / (20 * step))::bigint + 1);
                horizon := 600000;
                again := least(again, greatest(since, now + 20000));
            END IF;
            n := greatest(0, least(n, floor((now + horizon - first - granted * step) / step)::bigint + 1));
            IF since IS NOT NULL AND n > 0 THEN
                h.share[class] := since + n * 20 * step;
            END IF;
            IF class < 3 AND wants[class] > n THEN
                h.hungry[class] := now + 450000; h.hungry_by[class] := who;
            ELSIF class < 3 AND h.hungry_by[class] = who THEN
                h.hungry[class] := 0; h.hungry_by[class] := 0;
            END IF;
            granted := granted + n;
        END LOOP;
        line := first + granted * step;
        IF line > now + 420000 THEN
            again := greatest(line - 420000, now);
        END IF;
    END IF;
    IF granted > 0 THEN
        h.last := first + (granted - 1) * step; h.winner := who;
    END IF;
    UPDATE sender.lanes l SET last = h.last, lowest = h.lowest, paused = h.paused, span = h.span, span_at = h.span_at,
        active = h.active, winner = h.winner, hungry = h.hungry, hungry_by = h.hungry_by, share = h.share,
        rank = h.rank, unsettled = h.unsettled
    WHERE l.workspace = space AND l.name = lane;
    paused := h.paused; held := h.held; slots := h.slots; period := h.period;
END $$;

-- Keep who holds which part of the lane (division.py): `renewed` takes the place of version `known`, unless it is null;
-- `parts` says whether there are any in it; `its_care` is the widened window of the caller's guard. While there are parts
-- no slots are given from the line. The first parts begin 0.25 s after its last slot, since a write may come late and the
-- line can make up for it no more; the line begins after the window of the last part.
-- `version` is null when the lane has to be declared.
CREATE FUNCTION sender.divide(space integer, epoch text, seen integer, who bigint, lane text, known bigint, renewed text,
    parts boolean, its_care double precision,
    OUT now bigint, OUT version bigint, OUT division text, OUT begins bigint, OUT lowest bigint, OUT slots bigint,
    OUT period bigint, OUT held boolean, OUT paused bigint, OUT unsettled bigint, OUT care double precision,
    OUT replicas bigint, OUT heard text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t record;
    h sender.lanes;
BEGIN
    t := sender.known(space, epoch, seen, false);
    now := t.now;
    PERFORM sender.require_alive(space, who, t.living);
    SELECT * INTO h FROM sender.lanes l WHERE l.workspace = space AND l.name = lane FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF (h.heard ->> who::text)::bigint < now - 4600000 THEN  -- others may have taken its part just now
        h.version := h.version + 1;
    END IF;
    SELECT jsonb_object_agg(key, least(value::bigint, now)) INTO h.heard  -- the server's clock may be set back
    FROM jsonb_each(h.heard || jsonb_build_object(who::text, now)) WHERE value::bigint > now - 60000000;
    IF h.begins > now + h.period + 10000000 THEN
        h.begins := now; h.lowest := now + sender.grant_time(h.slots, h.period);
    END IF;
    IF renewed IS NOT NULL AND known = h.version THEN
        h.version := h.version + 1; h.division := renewed;
        IF NOT parts THEN
            h.lowest := greatest(h.lowest, now + h.period + 50000); h.unsettled := now;
        ELSIF NOT h.divided THEN
            h.begins := greatest(h.last::bigint, h.lowest, now) + 250000;
        END IF;
        h.divided := parts;
    END IF;
    IF its_care >= h.care OR now - h.care_at > 5000000 THEN  -- the most careful replica of the last 5 s decides
        h.care := its_care; h.care_at := now;
    END IF;
    UPDATE sender.lanes l SET version = h.version, division = h.division, divided = h.divided, begins = h.begins,
        lowest = h.lowest, unsettled = h.unsettled, heard = h.heard, care = h.care, care_at = h.care_at
    WHERE l.workspace = space AND l.name = lane;
    version := h.version; division := h.division; begins := h.begins; lowest := h.lowest; slots := h.slots;
    period := h.period; held := h.held; paused := h.paused; unsettled := h.unsettled; care := h.care;
    replicas := (SELECT count(*) FROM jsonb_each(h.active) WHERE value::bigint > now - 1500000);
    heard := h.heard::text;
END $$;

-- Version 1: the tables of SQLite's schema 8. Text is stored once, names that repeat are numbers, times are
-- milliseconds since 1970, flags are 0 and 1. All numbers are BIGINT, so that both stores share statements.

CREATE TABLE meta (
    key TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE integrations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    resolve_after BIGINT                -- time without a report after which its alerts resolve, in milliseconds
);

CREATE TABLE plugins (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    UNIQUE (name, version)
);

CREATE SEQUENCE alert_numbers;

-- An alert's id is made of its number and its time: see AlertIds.
CREATE TABLE alerts (
    number BIGINT PRIMARY KEY,
    integration BIGINT NOT NULL,
    plugin BIGINT NOT NULL,
    status BIGINT NOT NULL,             -- 0 open, 1 acknowledged, 2 resolved
    urgency BIGINT NOT NULL,            -- 0 low to 3 critical
    occurrences BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    request BYTEA NOT NULL,
    title TEXT NOT NULL,
    description TEXT,                   -- empty: the same as the title
    dedup_key TEXT COLLATE "C",
    link TEXT,
    details TEXT,                       -- JSON
    last_occurred_at BIGINT,            -- null: when it was created
    due_at BIGINT,                      -- time of the automatic resolve
    previous BIGINT,                    -- the alert of the same problem before it
    transaction_id BIGINT NOT NULL,     -- the transaction that opened the alert
    hops BIGINT NOT NULL,               -- Tocsin hosts that news of the alert passed through: the largest number
    recorded BIGINT NOT NULL,           -- 1: holds the record of its request
    sender BYTEA,                       -- only with the record, as in requests
    size BIGINT,
    plugin_us BIGINT,
    event_id TEXT COLLATE "C"           -- of the event that opened it; empty: the same as dedup_key
);

CREATE INDEX alerts_feed ON alerts (transaction_id, number);
-- Lists read this index once for each combination of integration, urgency and status that they show.
CREATE INDEX alerts_listing ON alerts (integration, urgency, status, number);
CREATE INDEX alerts_due ON alerts (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX alerts_resolved ON alerts (updated_at) WHERE status = 2;
CREATE UNIQUE INDEX alerts_recorded ON alerts (request, integration) WHERE recorded = 1;

-- Same problem: the last alert of each key of an integration. No earlier one is unresolved.
CREATE TABLE problems (
    integration BIGINT NOT NULL,
    dedup_key TEXT COLLATE "C" NOT NULL,
    alert BIGINT NOT NULL,
    PRIMARY KEY (integration, dedup_key)
);

-- Same event: every event id that an integration has seen.
CREATE TABLE seen_events (
    integration BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    alert BIGINT,                       -- the alert that the event concerned
    PRIMARY KEY (integration, event_id)
);

-- History of an alert after it was opened.
CREATE TABLE changes (
    alert BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    change BIGINT NOT NULL,
    by TEXT NOT NULL,
    request BYTEA,
    count BIGINT NOT NULL,              -- number of times in a row
    last_at BIGINT,                     -- null: once
    data TEXT,                          -- JSON, see EntryData
    transaction_id BIGINT NOT NULL,     -- the transaction that wrote the entry last
    PRIMARY KEY (alert, seq)
);

CREATE INDEX changes_feed ON changes (transaction_id, alert, seq);

-- Records of requests, except those in rows of alerts.
CREATE TABLE requests (
    id BYTEA PRIMARY KEY,
    integration BIGINT NOT NULL,
    plugin BIGINT,
    received_at BIGINT NOT NULL,
    outcome BIGINT NOT NULL,            -- see RequestOutcome::ALL
    alert BIGINT,
    reason TEXT,
    sender BYTEA,                       -- the address, 4 or 16 bytes
    size BIGINT,                        -- of the body
    plugin_us BIGINT,
    transaction_id BIGINT,
    effects TEXT                        -- null: it opened `alert`, if that is there
);

CREATE INDEX requests_unusual ON requests (outcome, id) WHERE outcome > 0;

-- The records in rows of alerts, with the columns of `requests`.
CREATE VIEW folded_requests AS
    SELECT request AS id, integration, plugin, created_at AS received_at, CAST(0 AS BIGINT) AS outcome,
        number AS alert, CAST(NULL AS TEXT) AS reason, sender, size, plugin_us, transaction_id,
        CAST(NULL AS TEXT) AS effects
    FROM alerts WHERE recorded = 1;

-- Transactions with records, and the times until they were on disk.
CREATE TABLE transactions (
    id BIGINT PRIMARY KEY,
    us BIGINT                           -- null: not known yet
);

-- The last replay of each request that was run again.
CREATE TABLE replays (
    request BYTEA PRIMARY KEY,
    at BIGINT NOT NULL,
    by TEXT NOT NULL,
    tries BIGINT NOT NULL,
    plugin BIGINT,
    outcome BIGINT NOT NULL,
    reason TEXT,
    effects TEXT NOT NULL
);

-- Requests as they came.
CREATE TABLE kept_requests (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request BYTEA NOT NULL UNIQUE,
    integration BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,        -- 1: the plugin failed on it, and it waits for a replay
    size BIGINT NOT NULL,
    query TEXT NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    share BIGINT,                       -- 0 requests that wait for a replay, 1 malformed requests, null none
    sender BYTEA NOT NULL               -- IPv4 address, first 8 bytes of an IPv6 address, or empty
);

CREATE INDEX kept_waiting ON kept_requests (integration, seq) WHERE quarantined = 1;
CREATE INDEX kept_by_size ON kept_requests (integration, share, sender, size) WHERE share IS NOT NULL;
CREATE INDEX kept_by_age ON kept_requests (integration, share, seq) WHERE share IS NOT NULL;
CREATE INDEX kept_by_sender ON kept_requests (integration, share, sender, seq) WHERE share IS NOT NULL;

-- Requests and bytes of each sender in each share of an integration. The trigger below keeps the numbers.
CREATE TABLE kept_shares (
    integration BIGINT NOT NULL,
    share BIGINT NOT NULL,
    sender BYTEA NOT NULL,
    count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (integration, share, sender)
);

CREATE FUNCTION count_kept_shares() RETURNS trigger LANGUAGE plpgsql SET search_path = tocsin AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND old.share IS NOT NULL THEN
        UPDATE kept_shares SET count = count - 1, bytes = bytes - old.size
            WHERE integration = old.integration AND share = old.share AND sender = old.sender;
        DELETE FROM kept_shares
            WHERE integration = old.integration AND share = old.share AND sender = old.sender AND count <= 0;
    END IF;
    IF TG_OP <> 'DELETE' AND new.share IS NOT NULL THEN
        INSERT INTO kept_shares AS s VALUES (new.integration, new.share, new.sender, 1, new.size)
            ON CONFLICT (integration, share, sender)
            DO UPDATE SET count = s.count + 1, bytes = s.bytes + excluded.bytes;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER kept_shares_are_counted AFTER INSERT OR DELETE OR UPDATE OF share ON kept_requests
    FOR EACH ROW EXECUTE FUNCTION count_kept_shares();

-- Place in the feed up to which changes were routed. One row, or none.
CREATE TABLE router (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    cursor TEXT NOT NULL
);

CREATE TABLE destinations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    used BIGINT NOT NULL DEFAULT 0,     -- 1: it had a delivery
    parked_at BIGINT,                   -- null: not parked
    parked_reason TEXT,
    parked_settings TEXT,
    paused_until BIGINT
);

-- A message keeps its row while later news replaces its content. The replaced content moves to a row of its
-- own, which names the message.
CREATE TABLE deliveries (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id BYTEA NOT NULL UNIQUE,
    destination BIGINT NOT NULL,
    alert BIGINT NOT NULL,              -- 0: a digest
    kind BIGINT NOT NULL,               -- see Kind::ALL
    place BIGINT,
    changed_at BIGINT NOT NULL,
    since BIGINT NOT NULL,              -- change of the oldest news that the message stands for
    created_at BIGINT NOT NULL,
    state BIGINT NOT NULL,              -- 0 ready, 1 behind earlier news, 2 in flight, 3 delivered, 4 dead,
                                        -- 5 part of a message that waits
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    in_doubt BIGINT NOT NULL,
    opens BIGINT NOT NULL,              -- 1: a digest may replace it
    urgency BIGINT NOT NULL,
    integration BIGINT NOT NULL,
    reason TEXT,
    skipped TEXT,                       -- kinds, separated by spaces; null: none
    told_by BIGINT,                     -- the message that it is part of
    discarded_by TEXT,                  -- the actor who discarded it while an attempt ran
    finished_at BIGINT
);

CREATE INDEX deliveries_due ON deliveries (destination, due_at, seq) WHERE state = 0;
CREATE INDEX deliveries_opening ON deliveries (destination, seq) WHERE opens = 1 AND state = 0 AND in_doubt = 0;
CREATE INDEX deliveries_in_flight ON deliveries (destination, seq) WHERE state = 2;
CREATE INDEX deliveries_active ON deliveries (destination, alert, seq) WHERE state < 3;
CREATE INDEX deliveries_unfinished ON deliveries (id) WHERE state <> 3;
CREATE INDEX deliveries_dead ON deliveries (destination) WHERE state = 4;
CREATE INDEX deliveries_finished ON deliveries (finished_at, seq) WHERE state = 3;
CREATE INDEX deliveries_told ON deliveries (told_by) WHERE told_by IS NOT NULL;
CREATE INDEX deliveries_of_alert ON deliveries (alert);

CREATE TABLE attempts (
    delivery BYTEA NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    result BIGINT NOT NULL,             -- see AttemptResult::ALL
    reason TEXT,
    requests TEXT NOT NULL,             -- JSON
    PRIMARY KEY (delivery, number)
);

CREATE TABLE digests (
    delivery BIGINT PRIMARY KEY,        -- deliveries.seq
    count BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    urgencies TEXT NOT NULL,            -- JSON: numbers of alerts, from low to critical
    integrations TEXT NOT NULL          -- JSON: numbers of alerts by integration
);

-- Alerts that digests told of, as runs of consecutive numbers.
CREATE TABLE digest_alerts (
    destination BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    digest BIGINT NOT NULL,             -- deliveries.seq
    PRIMARY KEY (destination, first)
);

CREATE INDEX digest_alerts_of ON digest_alerts (digest);

-- Value that a notifier keeps about an alert at a destination.
CREATE TABLE notifier_states (
    alert BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    state TEXT NOT NULL,                -- JSON
    PRIMARY KEY (alert, destination)
);

CREATE TABLE timers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at BIGINT NOT NULL,
    alert BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    silence BIGINT,                     -- the silence whose end is the cause
    cause TEXT NOT NULL                 -- JSON, see TimerCause
);

CREATE INDEX timers_due ON timers (due_at);
CREATE INDEX timers_of_alert ON timers (alert);
CREATE INDEX timers_of_silence ON timers (silence) WHERE silence IS NOT NULL;

CREATE TABLE facts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL                -- JSON, see FactReason
);

CREATE INDEX facts_of_alert ON facts (alert, id);

CREATE TABLE silences (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conditions TEXT NOT NULL,           -- JSON
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    ended_by TEXT
);

-- One row for each act of a person or a program on a host.
CREATE TABLE audit (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,                -- as in the history of an alert
    action TEXT NOT NULL,               -- operation id of the route
    object TEXT,                        -- kind and number, id or name
    result TEXT NOT NULL,               -- done, or the code of an error
    detail TEXT,
    status BIGINT,                      -- of the answer; null without a request
    request BYTEA,                      -- id of the request, 16 bytes
    address TEXT                        -- of the client
);

-- Work that one host at a time does. Times, here and below, are those of the database.
CREATE TABLE leases (
    duty TEXT COLLATE "C" PRIMARY KEY,
    holder BYTEA,                       -- id of the host; null: free
    term BIGINT NOT NULL,               -- grows with each other holder
    until TIMESTAMPTZ NOT NULL
);

-- Hosts that use the database.
CREATE TABLE hosts (
    id BYTEA PRIMARY KEY,
    report TEXT NOT NULL,               -- JSON, see HostReport
    first_seen_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    stopped BIGINT NOT NULL             -- 1: as it should
);

-- Version 2. What came of every request in full, requests that wait for a replay, and the whole life
-- of an alert.

ALTER TABLE alerts ADD COLUMN last_occurred_at INTEGER;   -- null: when it was created
ALTER TABLE alerts ADD COLUMN due_at INTEGER;             -- when it resolves by itself
ALTER TABLE alerts ADD COLUMN previous INTEGER;           -- the alert of the same problem before it

CREATE INDEX due ON alerts (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX resolved ON alerts (updated_at) WHERE status = 2;

-- The last resolved alert of each problem.
CREATE TABLE former (
    integration INTEGER NOT NULL,
    dedup_key TEXT NOT NULL,
    alert INTEGER NOT NULL,
    PRIMARY KEY (integration, dedup_key)
) STRICT, WITHOUT ROWID;

INSERT INTO former
    SELECT integration, dedup_key, max(number) FROM alerts
    WHERE status = 2 AND dedup_key IS NOT NULL GROUP BY integration, dedup_key;

ALTER TABLE deliveries ADD COLUMN alert INTEGER;          -- the alert that the event touched

-- After how long its open alerts resolve by themselves, in milliseconds.
ALTER TABLE integrations ADD COLUMN resolve_after INTEGER;

ALTER TABLE changes ADD COLUMN count INTEGER NOT NULL DEFAULT 1;   -- how often in a row
ALTER TABLE changes ADD COLUMN last_at INTEGER;                    -- null: once
ALTER TABLE changes ADD COLUMN data TEXT;                          -- JSON, see EntryData

-- requests.outcome: also 4 unauthorized, 5 refused, 6 maintenance.
ALTER TABLE requests ADD COLUMN sender BLOB;              -- the address, 4 or 16 bytes
ALTER TABLE requests ADD COLUMN size INTEGER;             -- of the body
ALTER TABLE requests ADD COLUMN plugin_us INTEGER;
ALTER TABLE requests ADD COLUMN transaction_id INTEGER;
ALTER TABLE requests ADD COLUMN effects TEXT;             -- null: it opened `alert`, if that is there

-- Few requests have these outcomes, and they are what is looked for.
CREATE INDEX unusual ON requests (outcome, id) WHERE outcome > 0;

-- How long transactions took until they were on disk.
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY,
    us INTEGER NOT NULL
) STRICT;

-- What came of requests when they were run again, the last time.
CREATE TABLE replays (
    request BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    tries INTEGER NOT NULL,
    plugin INTEGER,
    outcome INTEGER NOT NULL,
    reason TEXT,
    effects TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests as they came.
CREATE TABLE kept_requests (
    seq INTEGER PRIMARY KEY,
    request BLOB NOT NULL UNIQUE,
    integration INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,     -- 1: the plugin failed on it, and it waits for a replay
    size INTEGER NOT NULL,
    query TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX quarantine ON kept_requests (integration, seq, size) WHERE quarantined = 1;

INSERT INTO kept_requests
    SELECT seq, request, integration, 1, length(query) + length(headers) + length(body), query,
        CAST(headers AS BLOB), body
    FROM raw_requests;
DROP TABLE raw_requests;

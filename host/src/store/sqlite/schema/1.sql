-- Version 1. Text is stored once, names that repeat are numbers, times are milliseconds since 1970.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE integrations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE plugins (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT;

-- An alert's id is made of its number and its time: see AlertIds.
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY,
    integration INTEGER NOT NULL,
    plugin INTEGER NOT NULL,
    status INTEGER NOT NULL,          -- 0 open, 1 acknowledged, 2 resolved
    urgency INTEGER NOT NULL,         -- 0 low to 3 critical
    occurrences INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    request BLOB NOT NULL,
    title TEXT NOT NULL,
    description TEXT,                 -- empty: the same as the title
    dedup_key TEXT,
    link TEXT,
    details TEXT                      -- JSON
) STRICT;

-- Same problem: one unresolved alert for each key of an integration.
CREATE UNIQUE INDEX unresolved ON alerts (integration, dedup_key)
    WHERE status < 2 AND dedup_key IS NOT NULL;

-- Same delivery: every event id that an integration has seen.
CREATE TABLE deliveries (
    integration INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (integration, event_id)
) STRICT, WITHOUT ROWID;

-- What happened to an alert after it was opened.
CREATE TABLE changes (
    alert INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    change INTEGER NOT NULL,
    by TEXT NOT NULL,
    request BLOB,
    PRIMARY KEY (alert, seq)
) STRICT, WITHOUT ROWID;

-- What came of every request that was genuine or could not be judged.
CREATE TABLE requests (
    id BLOB PRIMARY KEY,
    integration INTEGER NOT NULL,
    plugin INTEGER,
    received_at INTEGER NOT NULL,
    outcome INTEGER NOT NULL,         -- 0 events, 1 ignored, 2 malformed, 3 failed
    alert INTEGER,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- The requests on which a plugin failed, as they came; the oldest leave first.
CREATE TABLE raw_requests (
    seq INTEGER PRIMARY KEY,
    integration INTEGER NOT NULL,
    request BLOB NOT NULL,
    query TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX raw_requests_of_integration ON raw_requests (integration, seq);

-- Version 5. Deliveries to destinations, silences, and the reasons why a destination was not told.

-- Place in the feed up to which changes were routed. One row, or none.
CREATE TABLE router (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cursor TEXT NOT NULL
) STRICT;

CREATE TABLE destinations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    used INTEGER NOT NULL DEFAULT 0,  -- 1: it had a delivery
    parked_at INTEGER,                -- null: not parked
    parked_reason TEXT,
    parked_settings TEXT,
    paused_until INTEGER
) STRICT;

-- A message keeps its row while later news replaces its content. The replaced content moves to a row of its
-- own, which names the message.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    destination INTEGER NOT NULL,
    alert INTEGER NOT NULL,           -- 0: a digest
    kind INTEGER NOT NULL,            -- see Kind::ALL
    place INTEGER,
    changed_at INTEGER NOT NULL,
    since INTEGER NOT NULL,           -- change of the oldest news that the message stands for
    created_at INTEGER NOT NULL,
    state INTEGER NOT NULL,           -- 0 ready, 1 behind earlier news, 2 in flight, 3 delivered, 4 dead,
                                      -- 5 part of a message that waits
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    opens INTEGER NOT NULL,           -- 1: a digest may replace it
    urgency INTEGER NOT NULL,
    integration INTEGER NOT NULL,
    reason TEXT,
    skipped TEXT,                     -- kinds, separated by spaces; null: none
    told_by INTEGER,                  -- the message that it is part of
    discarded_by TEXT,                -- who discarded it while an attempt ran
    finished_at INTEGER
) STRICT;

CREATE INDEX deliveries_due ON deliveries (destination, due_at) WHERE state = 0;
CREATE INDEX deliveries_opening ON deliveries (destination) WHERE opens = 1 AND state = 0 AND in_doubt = 0;
CREATE INDEX deliveries_in_flight ON deliveries (seq) WHERE state = 2;
CREATE INDEX deliveries_active ON deliveries (alert, destination, since) WHERE state < 3;
CREATE INDEX deliveries_unfinished ON deliveries (id) WHERE state <> 3;
CREATE INDEX deliveries_dead ON deliveries (destination) WHERE state = 4;
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE state = 3;
CREATE INDEX deliveries_told ON deliveries (told_by) WHERE told_by IS NOT NULL;
CREATE INDEX deliveries_of_alert ON deliveries (alert);

CREATE TABLE attempts (
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    result INTEGER NOT NULL,          -- see AttemptResult::ALL
    reason TEXT,
    requests TEXT NOT NULL,           -- JSON
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE digests (
    delivery INTEGER PRIMARY KEY,     -- deliveries.seq
    count INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    urgencies TEXT NOT NULL,          -- JSON: numbers of alerts, from low to critical
    integrations TEXT NOT NULL        -- JSON: numbers of alerts by integration
) STRICT;

-- Alerts that digests told of, as runs of consecutive numbers.
CREATE TABLE digest_alerts (
    destination INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    digest INTEGER NOT NULL,          -- deliveries.seq
    PRIMARY KEY (destination, first)
) STRICT, WITHOUT ROWID;

CREATE INDEX digest_alerts_of ON digest_alerts (digest);

-- Value that a notifier keeps about an alert at a destination.
CREATE TABLE notifier_states (
    alert INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    state TEXT NOT NULL,              -- JSON
    PRIMARY KEY (alert, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE timers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at INTEGER NOT NULL,
    alert INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    silence INTEGER,                  -- the silence whose end is the cause
    cause TEXT NOT NULL               -- JSON, see TimerCause
) STRICT;

CREATE INDEX timers_due ON timers (due_at);
CREATE INDEX timers_of_alert ON timers (alert);
CREATE INDEX timers_of_silence ON timers (silence) WHERE silence IS NOT NULL;

CREATE TABLE facts (
    id INTEGER PRIMARY KEY,
    alert INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL              -- JSON, see FactReason
) STRICT;

CREATE INDEX facts_of_alert ON facts (alert);

CREATE TABLE silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conditions TEXT NOT NULL,         -- JSON
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    ended_by TEXT
) STRICT;

-- Tocsin hosts that news of the alert passed through before this one: the largest number of all reports.
ALTER TABLE alerts ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;

-- Version 7. Both keys of events are in trees of their own, which the host fills later than the alerts, in the
-- order of the keys: see unindexed_keys.rs. Alerts with higher numbers than meta.indexed_to are not in the
-- trees, or not all of them.

ALTER TABLE alerts ADD COLUMN event_id TEXT;   -- of the event that opened it; empty: the same as dedup_key

-- Same problem: the last alert of each key of an integration. No earlier one is unresolved.
CREATE TABLE problems (
    integration INTEGER NOT NULL,
    dedup_key TEXT NOT NULL,
    alert INTEGER NOT NULL,
    PRIMARY KEY (integration, dedup_key)
) STRICT, WITHOUT ROWID;

INSERT INTO problems
    SELECT integration, dedup_key, number FROM alerts INDEXED BY unresolved
    WHERE status < 2 AND dedup_key IS NOT NULL ORDER BY integration, dedup_key;
-- An unresolved alert is later than all resolved ones of its key.
INSERT INTO problems
    SELECT integration, dedup_key, alert FROM former WHERE true ORDER BY integration, dedup_key
    ON CONFLICT (integration, dedup_key) DO NOTHING;
INSERT INTO meta SELECT 'indexed_to', ifnull(max(number), 0) FROM alerts;

DROP INDEX unresolved;
DROP TABLE former;

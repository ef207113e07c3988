-- Version 6. The record of a request that opened exactly one alert, and did nothing else, is in the row of
-- the alert. Records of earlier versions stay in `requests`.

ALTER TABLE alerts ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;   -- 1: holds the record of its request
-- Only with the record:
ALTER TABLE alerts ADD COLUMN sender BLOB;                -- as in `requests`
ALTER TABLE alerts ADD COLUMN size INTEGER;
ALTER TABLE alerts ADD COLUMN plugin_us INTEGER;

CREATE UNIQUE INDEX recorded ON alerts (request, integration) WHERE recorded = 1;

-- The records in rows of alerts, with the columns of `requests`.
CREATE VIEW folded_requests AS
    SELECT request AS id, integration, plugin, created_at AS received_at, 0 AS outcome,
        number AS alert, NULL AS reason, sender, size, plugin_us, transaction_id, NULL AS effects
    FROM alerts WHERE recorded = 1;

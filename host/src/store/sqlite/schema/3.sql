-- Version 3. Shares of senders in the requests that are kept, and lists of alerts that are found fast.

-- The bound that a kept request counts against: 0 requests that wait for a replay, 1 malformed requests,
-- null none.
ALTER TABLE kept_requests ADD COLUMN share INTEGER;
-- The sender: an IPv4 address, the first 8 bytes of an IPv6 address, or empty where it is not known.
ALTER TABLE kept_requests ADD COLUMN sender BLOB NOT NULL DEFAULT x'';

-- What each sender has in each share of an integration. The triggers below keep it.
CREATE TABLE kept_shares (
    integration INTEGER NOT NULL,
    share INTEGER NOT NULL,
    sender BLOB NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (integration, share, sender)
) STRICT, WITHOUT ROWID;

CREATE INDEX shares_by_count ON kept_shares (integration, share, count);
CREATE INDEX shares_by_bytes ON kept_shares (integration, share, bytes);
CREATE INDEX kept_by_size ON kept_requests (integration, share, sender, size)
    WHERE share IS NOT NULL;
CREATE INDEX kept_by_age ON kept_requests (integration, share, seq, size) WHERE share IS NOT NULL;
CREATE INDEX kept_by_sender ON kept_requests (integration, share, sender, seq, size)
    WHERE share IS NOT NULL;

CREATE TRIGGER share_grows AFTER INSERT ON kept_requests WHEN new.share IS NOT NULL BEGIN
    INSERT INTO kept_shares VALUES (new.integration, new.share, new.sender, 1, new.size)
        ON CONFLICT (integration, share, sender)
        DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER share_shrinks AFTER DELETE ON kept_requests WHEN old.share IS NOT NULL BEGIN
    UPDATE kept_shares SET count = count - 1, bytes = bytes - old.size
        WHERE integration = old.integration AND share = old.share AND sender = old.sender;
    DELETE FROM kept_shares
        WHERE integration = old.integration AND share = old.share AND sender = old.sender
        AND count <= 0;
END;

CREATE TRIGGER share_is_left AFTER UPDATE OF share ON kept_requests
    WHEN old.share IS NOT NULL AND new.share IS NULL BEGIN
    UPDATE kept_shares SET count = count - 1, bytes = bytes - old.size
        WHERE integration = old.integration AND share = old.share AND sender = old.sender;
    DELETE FROM kept_shares
        WHERE integration = old.integration AND share = old.share AND sender = old.sender
        AND count <= 0;
END;

UPDATE kept_requests SET
    sender = ifnull((
        SELECT CASE WHEN length(r.sender) = 16 THEN substr(r.sender, 1, 8) ELSE r.sender END
        FROM requests r WHERE r.id = kept_requests.request), x''),
    share = CASE
        WHEN quarantined = 1 THEN 0
        WHEN (SELECT r.outcome FROM requests r WHERE r.id = kept_requests.request) = 2 THEN 1 END;
INSERT INTO kept_shares
    SELECT integration, share, sender, count(*), sum(size) FROM kept_requests
    WHERE share IS NOT NULL GROUP BY integration, share, sender;

-- All that a list of alerts can be filtered by, in the order in which it is shown: a filter that matches
-- few alerts or none reads this index, and not the alerts.
CREATE INDEX listing ON alerts (number, status, urgency, integration);

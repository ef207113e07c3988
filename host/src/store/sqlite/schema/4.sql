-- Version 4. A feed of changes, and a name for seen events that leaves `deliveries` to outgoing ones.

ALTER TABLE deliveries RENAME TO seen_events;

-- The transaction that opened the alert, or that wrote the history entry last. Numbers of transactions
-- grow in the order of commits. 0: before this version.
ALTER TABLE alerts ADD COLUMN transaction_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN transaction_id INTEGER NOT NULL DEFAULT 0;

-- Alerts need no such index: their numbers grow with their transactions.
CREATE INDEX feed ON changes (transaction_id, alert, seq);

-- meta.transaction: the last transaction that deleted alerts, after which no lower number is given.

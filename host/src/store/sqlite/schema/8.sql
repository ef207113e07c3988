-- Version 8. The audit: one row for each act of a person or a program on the host.

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,        -- milliseconds since 1970
    actor TEXT NOT NULL,        -- as in the history of an alert
    action TEXT NOT NULL,       -- operation id of the route
    object TEXT,                -- kind and number, id or name
    result TEXT NOT NULL,       -- done, or the code of an error
    detail TEXT,
    status INTEGER,             -- of the answer; null without a request
    request BLOB,               -- id of the request, 16 bytes
    address TEXT                -- of the client
) STRICT;

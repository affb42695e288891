-- The edits that all replicas have. A row without body is an edit that was retracted: followers
-- delete it. made and place order the edits; changed is the change that wrote the row last.
CREATE TABLE errata_edits (
    id text PRIMARY KEY,
    kind text NOT NULL,
    body text,
    seen text NOT NULL,
    made bigint NOT NULL,
    place integer NOT NULL,
    changed bigint NOT NULL
);

CREATE INDEX errata_edits_changed ON errata_edits (changed);

-- One row a change, numbered without gaps. The token is drawn: a database that was restored or
-- failed over to an older state has another one under the same number.
CREATE TABLE errata_changes (
    generation bigint PRIMARY KEY,
    token text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- Of texts of edits, by encoder and SHA-256 of the text: float32, little-endian.
CREATE TABLE errata_encodings (
    fingerprint text NOT NULL,
    text_hash bytea NOT NULL,
    vector bytea NOT NULL,
    PRIMARY KEY (fingerprint, text_hash)
);

-- schema: its version; fingerprint: the encoder of the edits; writer: the row that a writer locks.
CREATE TABLE errata_meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO errata_meta VALUES ('schema', '1'), ('writer', '')

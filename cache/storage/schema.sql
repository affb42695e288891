-- The edits somebody made with edit(): what must survive a kill. Everything else is derived.
-- position keeps the order in which the edits were made, body is EditKind.dump as JSON, seen is a
-- JSON list: the digests of the patches in files that the edit was made over.
CREATE TABLE edits (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    seen TEXT NOT NULL DEFAULT '[]'
);

-- generation: counts the changes, fingerprint: the encoder the edits were encoded with.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('generation', '0');

-- gate, model and patches by which decisions were made
CREATE TABLE fingerprints (
    number INTEGER PRIMARY KEY,
    gate TEXT NOT NULL,
    model TEXT NOT NULL,
    patches TEXT NOT NULL,
    UNIQUE (gate, model, patches)
);

-- patches that decisions name; content is the hash of question and answer, or of their like
CREATE TABLE patches (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    location TEXT NOT NULL,
    scope TEXT NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (id, location, content)
);

-- fired, withheld and replaced: numbers of patches, in order, in a JSON list
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    query TEXT NOT NULL,
    effective_query TEXT,
    conversation TEXT NOT NULL,
    route TEXT NOT NULL,
    shadow INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    patch INTEGER REFERENCES patches (number),
    probability REAL,
    threshold REAL,
    listed INTEGER NOT NULL,
    runner_up INTEGER REFERENCES patches (number),
    runner_up_probability REAL,
    runner_up_threshold REAL,
    fired TEXT NOT NULL,
    withheld TEXT NOT NULL,
    replaced TEXT NOT NULL,
    decision_ms REAL NOT NULL,
    total_ms REAL NOT NULL,
    fingerprints INTEGER NOT NULL REFERENCES fingerprints (number)
);

CREATE INDEX decisions_by_time ON decisions (time);

-- salt and form of the queries
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What was decided, by every process that logs here. names: of the patches that fired and of the
-- runner-up; decision: all of it, as JSON.
CREATE TABLE errata_decisions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time double precision NOT NULL,
    route text NOT NULL,
    probability double precision,
    ids text[] NOT NULL,
    locations text[] NOT NULL,
    decision text NOT NULL
);

CREATE INDEX errata_decisions_time ON errata_decisions (time);

-- schema: version of these tables; salt and form of the queries
CREATE TABLE errata_audit_meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO errata_audit_meta VALUES ('schema', '1')

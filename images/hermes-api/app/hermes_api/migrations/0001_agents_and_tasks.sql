-- In ascending order: `min_trust <= trust` is how tasks find agents.
CREATE TYPE trust AS ENUM ('untrusted', 'trusted', 'internal');

CREATE TABLE agents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    trust trust NOT NULL,
    -- SHA-256. The token itself has 256 random bits, so a slow hash would add nothing.
    token_digest bytea NOT NULL UNIQUE CHECK (length(token_digest) = 32),
    labels jsonb NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz
);

CREATE TYPE task_state AS ENUM ('queued', 'leased', 'done', 'failed', 'cancelled');

CREATE TABLE tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    payload jsonb,
    min_trust trust NOT NULL,
    priority smallint NOT NULL,
    state task_state NOT NULL DEFAULT 'queued',
    -- How often it was given to an agent. Together with the agent this names a lease.
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL CHECK (max_attempts > 0),
    run_after timestamptz NOT NULL DEFAULT now(),
    agent_id bigint REFERENCES agents ON DELETE SET NULL,
    leased_until timestamptz,
    result jsonb,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((state = 'leased') = (leased_until IS NOT NULL)),
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (attempt <= max_attempts)
);

CREATE INDEX tasks_queued ON tasks (priority DESC, min_trust DESC, id) WHERE state = 'queued';
CREATE INDEX tasks_leased ON tasks (leased_until) WHERE state = 'leased';
CREATE INDEX tasks_finished ON tasks (finished_at) WHERE finished_at IS NOT NULL;

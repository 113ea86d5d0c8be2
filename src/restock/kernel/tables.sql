-- What every service with events keeps beside its own tables.

-- Events on their way out: written in the transaction of their cause, published by the relay
-- after the commit, kept a week so that they can be published again.
CREATE TABLE outbox (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    subject      text NOT NULL,
    workspace_id uuid,
    data         jsonb NOT NULL,
    traceparent  text,
    occurred_at  timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- Events already handled: a consumer writes the id in the transaction of its effect.
CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_seen ON inbox (seen_at);

-- First answers, kept under their Idempotency-Key.
CREATE TABLE kept_answers (
    workspace_id uuid NOT NULL,
    user_id      uuid NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id, key)
);
CREATE INDEX kept_answers_created ON kept_answers (created_at);

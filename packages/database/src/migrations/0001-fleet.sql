-- The fleet's own tables. Postgres is the record; Redis holds only references to these rows.

-- Every accepted job, one row per message id: the primary key is the deduplication.
CREATE TABLE backhaul.jobs (
  message_id  text        PRIMARY KEY,
  queue       text        NOT NULL,
  name        text        NOT NULL,
  tenant      text,
  status      text        NOT NULL DEFAULT 'queued'
              CHECK (status IN ('queued', 'active', 'retrying', 'done', 'skipped', 'cancelled', 'dead')),
  priority    integer     NOT NULL,
  -- sha256 of routing key and canonical payload: the same id with another body is a conflict, not a redelivery.
  body_hash   bytea       NOT NULL,
  -- json, not jsonb: it is stored and handed back, never searched, and parsing it costs the bridge a seventh of the insert.
  payload     json        NOT NULL,
  traceparent text,
  attempts    integer     NOT NULL DEFAULT 0,
  failures    integer     NOT NULL DEFAULT 0,
  result      jsonb,
  error       jsonb,
  -- One entry per thing that happened after acceptance: started, failed, retried, finished.
  history     jsonb       NOT NULL DEFAULT '[]',
  received_at timestamptz NOT NULL DEFAULT now(),
  started_at  timestamptz,
  -- When a retry is due; the reconciler leaves the row alone until then.
  due_at      timestamptz,
  finished_at timestamptz,
  updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- What the reconciler walks; small, because finished rows are not in it.
CREATE INDEX jobs_unfinished ON backhaul.jobs (message_id) WHERE finished_at IS NULL;
-- What pruning walks; BRIN, because a btree would cost every insert and rows arrive in this order anyway.
CREATE INDEX jobs_received_at ON backhaul.jobs USING brin (received_at) WITH (pages_per_range = 32);

-- Effects on the outside world: claimed before they are made, confirmed after.
CREATE TABLE backhaul.effects (
  effect_key    text        PRIMARY KEY,
  message_id    text        NOT NULL,
  state         text        NOT NULL CHECK (state IN ('claimed', 'confirmed', 'unknown')),
  -- The fencing token: a worker whose claim was taken over can no longer confirm.
  attempt_token uuid        NOT NULL,
  lease_until   timestamptz NOT NULL,
  provider_id   text,
  detail        text,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX effects_message_id ON backhaul.effects (message_id);
CREATE INDEX effects_created_at ON backhaul.effects USING brin (created_at);

-- What could not be done, with everything that is needed to understand it and to try again.
CREATE TABLE backhaul.dead_letters (
  id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message_id  text        NOT NULL,
  -- bridge: the message never became a job; worker: the job failed for good.
  source      text        NOT NULL CHECK (source IN ('bridge', 'worker')),
  queue       text        NOT NULL,
  routing_key text,
  name        text,
  reason      text        NOT NULL,
  error       jsonb       NOT NULL,
  -- The first bytes of the message as it came; all of it when body_bytes is not larger.
  body_head   bytea,
  body_bytes  integer,
  body_hash   bytea       NOT NULL,
  payload     json,
  history     jsonb,
  attempts    integer     NOT NULL DEFAULT 0,
  -- How often the same message died for the same reason (a redelivery after a crash counts here, not as a new row).
  seen        integer     NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  retried_at  timestamptz,
  UNIQUE (message_id, source, reason, body_hash)
);
CREATE INDEX dead_letters_open ON backhaul.dead_letters (created_at DESC) WHERE retried_at IS NULL;

-- One row per fire of a schedule, however many schedulers run.
CREATE TABLE backhaul.job_runs (
  job_name      text        NOT NULL,
  scheduled_for timestamptz NOT NULL,
  message_id    text        NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (job_name, scheduled_for)
);

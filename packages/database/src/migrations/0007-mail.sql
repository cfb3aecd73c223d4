-- Mails: who must not be mailed, how fast they may leave, which provider got one, and all of them as operators see them.

-- Kept until somebody takes it back: an address that is gone does not come back by waiting.
CREATE TABLE backhaul.mail_suppressions (
  -- sha256 of the address in lower case.
  address_hash   bytea       PRIMARY KEY,
  -- Its first letter and its domain, for people who look it up.
  masked_address text        NOT NULL,
  reason         text        NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'manual')),
  -- What the provider said: an enhanced status code such as 5.1.1.
  code           text,
  created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mail_suppressions_created_at ON backhaul.mail_suppressions (created_at, address_hash);

-- The dispatch limit: one row for all workers, and who waits for a place.
CREATE TABLE backhaul.mail_limits (
  name    text        PRIMARY KEY,
  -- The end of the line: the next place for one who comes now.
  next_at timestamptz NOT NULL,
  -- The same for those whose place passed while they were on their way.
  late_at timestamptz NOT NULL,
  -- When the mail after the last one may leave.
  pace_at timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO backhaul.mail_limits (name, next_at, late_at, pace_at) VALUES ('mail', now(), now(), now());

CREATE TABLE backhaul.mail_slots (
  message_id text        PRIMARY KEY,
  due_at     timestamptz NOT NULL
);
CREATE INDEX mail_slots_due_at ON backhaul.mail_slots (due_at);

-- Which provider a claimed send was given to, noted before it was: a send in doubt may go to nobody else.
ALTER TABLE backhaul.effects ADD COLUMN provider text;

-- Mails by time: what the view below is read by.
CREATE INDEX jobs_emails ON backhaul.jobs (received_at, message_id) WHERE name = 'notification.send-email';

-- Every mail on record, without what it says.
CREATE VIEW backhaul.email_queue AS
  SELECT j.message_id,
    left(j.payload ->> 'email', 1) || '…@' || left(regexp_replace(j.payload ->> 'email', '^.*@', ''), 100) AS recipient,
    j.payload ->> 'template' AS template,
    CASE
      WHEN j.status = 'done' THEN 'sent'
      WHEN j.status = 'dead' THEN 'failed'
      WHEN j.status IN ('skipped', 'cancelled') THEN 'skipped'
      WHEN j.status = 'retrying' OR j.attempts > 1 THEN 'retrying'
      ELSE 'pending'
    END AS status,
    j.attempts,
    coalesce(j.error ->> 'code', j.result ->> 'reason', CASE WHEN j.status = 'retrying' THEN j.history -> -1 ->> 'code' END) AS error,
    j.status = 'dead' AND j.attempts > 1 AS failed_after_retries,
    e.provider,
    coalesce(e.provider_id, j.result ->> 'providerId') AS provider_id,
    j.due_at AS next_attempt_at,
    j.received_at AS created_at,
    j.updated_at
  FROM backhaul.jobs j
  LEFT JOIN LATERAL (
    SELECT provider, provider_id FROM backhaul.effects
    WHERE effects.message_id = j.message_id AND effect_key LIKE 'email:%' AND effect_key NOT LIKE '%:resend'
    ORDER BY effects.created_at DESC LIMIT 1
  ) e ON true
  WHERE j.name = 'notification.send-email'
  UNION ALL
  -- Those that never became a job, and those whose job was pruned.
  SELECT d.message_id,
    left(d.payload ->> 'email', 1) || '…@' || left(regexp_replace(d.payload ->> 'email', '^.*@', ''), 100),
    d.payload ->> 'template', 'failed', d.attempts, d.reason, d.attempts > 1, NULL, NULL, NULL, d.created_at, d.last_seen_at
  FROM backhaul.dead_letters d
  WHERE d.retried_at IS NULL AND (d.routing_key = 'notification.email' OR d.name = 'notification.send-email')
    AND NOT EXISTS (SELECT 1 FROM backhaul.jobs j WHERE j.message_id = d.message_id);

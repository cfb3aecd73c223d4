-- The parts of email_queue by themselves: each can be read in order, a page at a time, which a union of them cannot.

-- Mails that are jobs.
CREATE VIEW backhaul.email_queue_jobs AS
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
  WHERE j.name = 'notification.send-email';

-- Mails that never became a job, and those whose job was pruned.
CREATE VIEW backhaul.email_queue_letters AS
  SELECT d.message_id,
    left(d.payload ->> 'email', 1) || '…@' || left(regexp_replace(d.payload ->> 'email', '^.*@', ''), 100) AS recipient,
    d.payload ->> 'template' AS template, 'failed' AS status, d.attempts, d.reason AS error, d.attempts > 1 AS failed_after_retries, NULL::text AS provider,
    NULL::text AS provider_id, NULL::timestamptz AS next_attempt_at, d.created_at, d.last_seen_at AS updated_at
  FROM backhaul.dead_letters d
  WHERE d.retried_at IS NULL AND (d.routing_key = 'notification.email' OR d.name = 'notification.send-email')
    AND NOT EXISTS (SELECT 1 FROM backhaul.jobs j WHERE j.message_id = d.message_id);

CREATE OR REPLACE VIEW backhaul.email_queue AS
  SELECT * FROM backhaul.email_queue_jobs
  UNION ALL
  SELECT * FROM backhaul.email_queue_letters;

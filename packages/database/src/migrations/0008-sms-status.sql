-- What the provider of text messages reports by itself: how a message fared, and what people answered.

-- Not a column of effects: an index over the provider's ids there would cost every push and mail a write, and a report
-- may come before the send is confirmed, or without that ever happening.
CREATE TABLE backhaul.sms_statuses (
  -- What the provider calls the message.
  provider_id text        PRIMARY KEY,
  -- The send that made it, as a digest of its effect key; absent when the report did not say.
  send_hash   text,
  status      text        NOT NULL,
  -- How far along that is: a report that comes late changes nothing.
  rank        smallint    NOT NULL,
  error_code  integer,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX sms_statuses_send_hash ON backhaul.sms_statuses (send_hash) WHERE send_hash IS NOT NULL;
CREATE INDEX sms_statuses_created_at ON backhaul.sms_statuses USING brin (created_at);

-- Every STOP and START, kept for good: the proof of what somebody wanted, and what makes a repeated request harmless.
CREATE TABLE backhaul.sms_keywords (
  -- What the provider calls the person's message.
  provider_id text        PRIMARY KEY,
  -- sha256 of the number in E.164.
  number_hash bytea       NOT NULL,
  opts_out    boolean     NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sms_keywords_number ON backhaul.sms_keywords (number_hash, created_at);

-- Who must not be texted, and how often the others were.

-- Kept for good: an opt-out has no end but the person's own word.
CREATE TABLE backhaul.sms_opt_outs (
  -- sha256 of the number in E.164.
  number_hash   bytea       PRIMARY KEY,
  -- Its country and last digits, for people who look it up.
  masked_number text        NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now()
);

-- The latest sends to a number, at most as many as its limit: a row never grows.
CREATE TABLE backhaul.sms_limits (
  number_hash bytea         NOT NULL,
  class       text          NOT NULL,
  -- Pairs: message_ids[i] was counted at taken_at[i].
  message_ids text[]        NOT NULL,
  taken_at    timestamptz[] NOT NULL,
  updated_at  timestamptz   NOT NULL DEFAULT now(),
  PRIMARY KEY (number_hash, class)
);

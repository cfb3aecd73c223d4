-- Which devices belong to whom: a push may name people instead of tokens.

CREATE TABLE backhaul.device_tokens (
  -- sha256 of the token, which may be longer than an entry of an index.
  token_hash         bytea       PRIMARY KEY,
  token              text        NOT NULL,
  -- The chat app's user id as text, whatever its own type is.
  user_id            text        NOT NULL,
  platform           text        NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
  locale             text,
  app_version        text,
  session_id         text,
  -- Since when it belongs to this user.
  registered_at      timestamptz NOT NULL DEFAULT now(),
  -- When the app registered it last.
  last_seen_at       timestamptz NOT NULL DEFAULT now(),
  -- On probation: the first time that the provider called the token gone since it was last registered or reached, and by which message.
  suspect_since      timestamptz,
  suspect_message_id text
);
CREATE INDEX device_tokens_user_id ON backhaul.device_tokens (user_id);

-- Until when nothing is sent through a channel, because its provider said so.
CREATE TABLE backhaul.channel_holds (
  channel    text        PRIMARY KEY,
  held_until timestamptz NOT NULL,
  reason     text        NOT NULL
);

-- Whether and when people want to be notified, and what the chat app says about them. Ids are the chat app's, as text.

CREATE TABLE backhaul.notification_preferences (
  user_id    text        NOT NULL,
  channel    text        NOT NULL CHECK (channel IN ('push', 'email', 'sms')),
  -- A row for `all` counts where there is none for the category itself.
  category   text        NOT NULL CHECK (category IN ('all', 'message', 'mention', 'call', 'security', 'marketing', 'system')),
  enabled    boolean     NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, channel, category)
);

CREATE TABLE backhaul.chat_mutes (
  user_id         text        NOT NULL,
  chat_id         text        NOT NULL,
  -- Null: until it is taken back.
  until           timestamptz,
  except_mentions boolean     NOT NULL DEFAULT false,
  updated_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, chat_id)
);

CREATE TABLE backhaul.quiet_hours (
  user_id      text       NOT NULL,
  position     smallint   NOT NULL,
  -- Minutes since local midnight; an end at or before the start is on the next day.
  start_minute smallint   NOT NULL CHECK (start_minute BETWEEN 0 AND 1439),
  end_minute   smallint   NOT NULL CHECK (end_minute BETWEEN 0 AND 1439),
  -- The weekdays on which it starts: 1 is Monday, 7 Sunday.
  days         smallint[] NOT NULL,
  time_zone    text       NOT NULL,
  PRIMARY KEY (user_id, position)
);

-- Who left which chat, and who blocked whom.
CREATE TABLE backhaul.left_chats (
  user_id text        NOT NULL,
  chat_id text        NOT NULL,
  left_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, chat_id)
);
CREATE TABLE backhaul.blocked_users (
  user_id         text        NOT NULL,
  blocked_user_id text        NOT NULL,
  blocked_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, blocked_user_id)
);

-- Up to which moment somebody has read a chat.
CREATE TABLE backhaul.read_marks (
  user_id    text        NOT NULL,
  chat_id    text        NOT NULL,
  up_to      timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, chat_id)
) WITH (fillfactor = 80);

-- Where somebody is looking at the app right now.
CREATE TABLE backhaul.presence (
  user_id      text        NOT NULL,
  device_id    text        NOT NULL,
  active_until timestamptz NOT NULL,
  PRIMARY KEY (user_id, device_id)
) WITH (fillfactor = 80);

-- What was taken back: everything that was accepted before and still waits is not sent.
CREATE TABLE backhaul.withdrawals (
  user_id         text        NOT NULL,
  -- '' stands for all chats, and for all messages.
  chat_id         text        NOT NULL,
  chat_message_id text        NOT NULL,
  reason          text        NOT NULL CHECK (reason IN ('read', 'deleted', 'logged_out')),
  withdrawn_at    timestamptz NOT NULL,
  PRIMARY KEY (user_id, chat_id, chat_message_id)
);

-- The latest notifications that count towards somebody's cap.
CREATE TABLE backhaul.notification_caps (
  user_id    text        NOT NULL,
  channel    text        NOT NULL,
  state      jsonb       NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, channel)
) WITH (fillfactor = 80);

-- What was pushed of a chat, what is gathered, and which summaries were made of it.
CREATE TABLE backhaul.coalesced (
  user_id    text        NOT NULL,
  chat_id    text        NOT NULL,
  -- A digest of the device's token, or '' for all devices of the user.
  target     text        NOT NULL,
  state      jsonb       NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, chat_id, target)
) WITH (fillfactor = 80);

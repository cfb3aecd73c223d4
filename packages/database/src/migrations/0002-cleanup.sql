-- What the cleanup jobs keep between their runs.

-- Figures per user, refreshed a few times a day: reading them costs nothing, counting them does.
CREATE TABLE backhaul.user_statistics (
  -- The chat app's user id as text, whatever its own type is.
  user_id        text        PRIMARY KEY,
  messages       bigint      NOT NULL,
  media          bigint      NOT NULL,
  stories        bigint      NOT NULL,
  last_active_at timestamptz,
  refreshed_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- Where a long walk stopped when its time was up: the next run goes on from there.
CREATE TABLE backhaul.cursors (
  name       text        PRIMARY KEY,
  position   text        NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

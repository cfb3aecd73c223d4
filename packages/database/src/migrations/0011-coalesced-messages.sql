-- How each message of a gathered chat was announced: by itself (summary_id is its own id, count 1), by the summary that it
-- carries (its own id, count above 1), or in the summary of another. The primary key is what makes it one of them.
CREATE TABLE backhaul.coalesced_messages (
  message_id text        NOT NULL,
  user_id    text        NOT NULL,
  target     text        NOT NULL,
  summary_id text        NOT NULL,
  count      integer     NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (message_id, user_id, target)
);
CREATE INDEX coalesced_messages_decided_at ON backhaul.coalesced_messages USING brin (decided_at);

-- Rows of policy_users are pruned (policy-users.ts). Nothing may be written about somebody while their row is on its way out: who
-- writes holds the row as a foreign key would, until they commit, and whoever prunes passes over rows that are held.

-- Waits for those who wrote without holding it, and keeps out others until this is committed.
LOCK TABLE backhaul.notification_preferences, backhaul.chat_mutes, backhaul.quiet_hours, backhaul.left_chats, backhaul.blocked_users,
  backhaul.read_marks, backhaul.presence, backhaul.withdrawals IN SHARE MODE;

CREATE OR REPLACE FUNCTION backhaul.note_policy_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Looked up first: an upsert would have those who write about one user take turns, also where it changes nothing.
  PERFORM 1 FROM backhaul.policy_users p WHERE p.user_id = NEW.user_id AND p.kinds & TG_ARGV[0]::int <> 0 FOR KEY SHARE;
  IF NOT FOUND THEN
    INSERT INTO backhaul.policy_users AS p (user_id, kinds) VALUES (NEW.user_id, TG_ARGV[0]::int)
      ON CONFLICT (user_id) DO UPDATE SET kinds = p.kinds | excluded.kinds;
  END IF;
  RETURN NULL;
END
$$;

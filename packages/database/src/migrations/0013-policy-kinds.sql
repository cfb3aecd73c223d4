-- Which of the policy's tables have, or had, a row about a user: who is away and has read a chat is not asked about six others.
-- -1, all of them: who was noted before it was noted why.
ALTER TABLE backhaul.policy_users ADD COLUMN kinds int NOT NULL DEFAULT -1;

CREATE OR REPLACE FUNCTION backhaul.note_policy_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Looked up first: an upsert would lock the user's row for each read mark, also where it changes nothing.
  IF NOT EXISTS (SELECT 1 FROM backhaul.policy_users p WHERE p.user_id = NEW.user_id AND p.kinds & TG_ARGV[0]::int <> 0) THEN
    INSERT INTO backhaul.policy_users AS p (user_id, kinds) VALUES (NEW.user_id, TG_ARGV[0]::int)
      ON CONFLICT (user_id) DO UPDATE SET kinds = p.kinds | excluded.kinds;
  END IF;
  RETURN NULL;
END
$$;

-- The bits are those of policy-kinds.ts.
DROP TRIGGER note_user ON backhaul.notification_preferences;
DROP TRIGGER note_user ON backhaul.chat_mutes;
DROP TRIGGER note_user ON backhaul.quiet_hours;
DROP TRIGGER note_user ON backhaul.left_chats;
DROP TRIGGER note_user ON backhaul.blocked_users;
DROP TRIGGER note_user ON backhaul.read_marks;
DROP TRIGGER note_user ON backhaul.presence;
DROP TRIGGER note_user ON backhaul.withdrawals;
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.notification_preferences FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('1');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.chat_mutes FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('2');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.quiet_hours FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('4');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.left_chats FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('8');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.blocked_users FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('16');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.read_marks FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('32');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.presence FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('64');
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.withdrawals FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user('128');

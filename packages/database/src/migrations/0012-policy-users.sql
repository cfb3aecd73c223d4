-- Who has, or once had, anything on record that a decision is made from. Most people have nothing: to know that is one
-- look-up by key instead of eight.
CREATE TABLE backhaul.policy_users (
  user_id text PRIMARY KEY
);

-- By triggers, not by those who write: processes of an older version, and people at a prompt, write as well. Only a new row
-- fires them, not one that is changed. Nothing is taken out again.
CREATE FUNCTION backhaul.note_policy_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO backhaul.policy_users (user_id) VALUES (NEW.user_id) ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$$;
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.notification_preferences FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.chat_mutes FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.quiet_hours FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.left_chats FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.blocked_users FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.read_marks FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.presence FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();
CREATE TRIGGER note_user AFTER INSERT OR UPDATE OF user_id ON backhaul.withdrawals FOR EACH ROW EXECUTE FUNCTION backhaul.note_policy_user();

-- After the triggers, which keep writers out until this is committed: nobody is missed.
INSERT INTO backhaul.policy_users (user_id)
  SELECT user_id FROM backhaul.notification_preferences
  UNION SELECT user_id FROM backhaul.chat_mutes
  UNION SELECT user_id FROM backhaul.quiet_hours
  UNION SELECT user_id FROM backhaul.left_chats
  UNION SELECT user_id FROM backhaul.blocked_users
  UNION SELECT user_id FROM backhaul.read_marks
  UNION SELECT user_id FROM backhaul.presence
  UNION SELECT user_id FROM backhaul.withdrawals;

-- Bull jobs that carry many messages.

-- The id of the Bull job that carries this message together with others; null: it has a Bull job of its own.
-- The reconciler looks for either, so it never takes a message in an envelope for a lost one.
ALTER TABLE backhaul.jobs ADD COLUMN carrier text;

-- A claim is nearly always confirmed a moment later: with room on its page the second write touches no index.
ALTER TABLE backhaul.effects SET (fillfactor = 50);

-- In the order of arrival instead of that of ids, which are random: each insert then goes to the same page at the end, and
-- each end of a job finds its entry there. This index alone was a fifth of what a job costs Postgres.
DROP INDEX backhaul.jobs_unfinished;
CREATE INDEX jobs_unfinished ON backhaul.jobs (received_at, message_id) WHERE finished_at IS NULL;

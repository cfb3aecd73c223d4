-- Inserts of rows that are nearly always new. To say ON CONFLICT is to have each row looked up before it is inserted, which the
-- primary key's own check does anyway: without it, an insert costs a quarter less. Nothing is inserted, and false returned,
-- when one of them is there already. Functions, since an error that is caught in one does not get into the server's log.

-- The kinds hold what is the same for many jobs, and the jobs their places in them.
CREATE FUNCTION backhaul.record_new_jobs(
  queues text[], names text[], priorities int[], carriers text[], ids text[], kinds int[], hashes bytea[], payloads json[], traceparents text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO backhaul.jobs (message_id, queue, name, priority, carrier, body_hash, payload, traceparent)
    SELECT j.id, queues[j.kind], names[j.kind], priorities[j.kind], carriers[j.kind], j.hash, j.payload, j.traceparent
    FROM unnest(ids, kinds, hashes, payloads, traceparents) AS j(id, kind, hash, payload, traceparent);
  RETURN true;
EXCEPTION WHEN unique_violation THEN
  RETURN false;
END
$$;

CREATE FUNCTION backhaul.claim_new_effects(keys text[], ids text[], tokens uuid[], leases float8[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO backhaul.effects (effect_key, message_id, state, attempt_token, lease_until)
    SELECT c.key, c.id, 'claimed', c.token, now() + c.lease_ms * interval '1 millisecond' FROM unnest(keys, ids, tokens, leases) AS c(key, id, token, lease_ms);
  RETURN true;
EXCEPTION WHEN unique_violation THEN
  RETURN false;
END
$$;

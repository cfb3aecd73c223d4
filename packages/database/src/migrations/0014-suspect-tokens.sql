-- To be asked which of a thousand tokens are on probation, as hardly any ever is: only those are in it. Registrations write
-- for as long as one look at the table takes after the building of this has.
CREATE INDEX device_tokens_suspect ON backhaul.device_tokens (token_hash) WHERE suspect_since IS NOT NULL;

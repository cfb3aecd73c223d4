-- refused: the provider did not deliver it and never will, so another way to the same person is open.
-- NOT VALID: every row of before has one of the other states, and looking at all of them would hold up the workers.
ALTER TABLE backhaul.effects
  DROP CONSTRAINT effects_state_check,
  ADD CONSTRAINT effects_state_check CHECK (state IN ('claimed', 'confirmed', 'unknown', 'refused')) NOT VALID;

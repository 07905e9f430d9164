CREATE INDEX holds_expired ON holds (outcome, ready_until);

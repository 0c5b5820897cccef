//! Accounts at external providers linked once, fresh access tokens for their owner's applications.

"""Every SQL statement of auth, by noun: `accounts`, `sessions`, `guesses`, `keys`."""

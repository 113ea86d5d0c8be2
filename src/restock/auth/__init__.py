"""Auth: who somebody is, and until when.

Owns       accounts, workspaces and their members, sessions, signing keys, counters of failed
           sign-ins (`tables.sql`).
Serves     /api/auth: register, login, refresh, verify, logout, logout-all, sessions;
           /.well-known/jwks.json.
Publishes  auth.user.registered, auth.session.revoked.
Consumes   nothing.

Beside the files of every service: `passwords.py` (argon2id, bounded), `hashing.py` (the process
that hashes), `hasher.py` (the program in it), `guesses.py` (what failed sign-ins are counted by),
`keys.py` (the keys that sign), `tokens.py` (access and refresh tokens), `resources.py` (what is
open while it runs), `operator.py` (what a command does without HTTP).
"""

from restock.auth.operations import forget_failures, forget_places, forget_sessions
from restock.auth.resources import key_rotation, open_resources
from restock.auth.routes import ROUTES
from restock.auth.settings import Settings
from restock.events.auth import SessionRevoked, UserRegistered
from restock.kernel.service import Service

SERVICE = Service(
    name="auth",
    port=3100,
    package=__name__,
    settings=Settings,
    routes=ROUTES,
    publishes=(UserRegistered, SessionRevoked),
    open=open_resources,
    runs=key_rotation,
    purges=(forget_sessions, forget_failures, forget_places),
)

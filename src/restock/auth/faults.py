"""What auth refuses, beyond what the kernel refuses for every service."""

from restock.kernel.faults import Conflict, Limited, NotFound, Unauthenticated, Unavailable


class EmailTaken(Conflict):
    code = "auth.email_taken"
    title = "There is already an account with this e-mail address"


class WrongCredentials(Unauthenticated):
    """One refusal for an unknown account and a wrong password: nobody learns which it was."""

    code = "auth.wrong_credentials"
    title = "The e-mail address or the password is not right"


class TooManyGuesses(Limited):
    """Said before the password is looked at, alike whether or not there is such an account."""

    code = "auth.too_many_guesses"
    title = "Too many sign-ins have failed: wait and try again"


class BadRefreshToken(Unauthenticated):
    """One refusal for every refresh token that is no good, whatever the reason."""

    code = "auth.bad_refresh_token"
    title = "This refresh token is not valid: sign in again"


class SessionNotFound(NotFound):
    code = "auth.session_not_found"
    title = "You have no such session"


class TooManySignIns(Unavailable):
    """Passwords are costly to check; beyond a bounded queue a caller is asked to come back."""

    code = "auth.too_many_sign_ins"
    title = "Too many people are signing in at this moment: try again"


class HashingAway(Unavailable):
    """The process that hashes has died again and again, or can't be started."""

    code = "auth.hashing_away"
    title = "Passwords can't be checked at this moment: try again"

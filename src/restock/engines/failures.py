"""What can keep an engine from running, told so that a person can act on it."""


class EngineError(Exception):
    """An engine can't run. The message says why and what to do."""


class DataDirInUse(EngineError):
    """Another process works on the data directory."""


class DataDirNotOurs(EngineError):
    """The directory holds something that Restock didn't put there."""


class PortTaken(EngineError):
    """Something else listens on a port of ours, or the port may not be used."""


class NoSuchHost(PortTaken):
    """The address is none of this machine's, or a name that nobody knows."""

"""What may go wrong between host and board: one line each, with what to do."""


class LinkError(RuntimeError):
    """The board cannot be used as wanted; the text says what is there and what to do."""


class PortError(LinkError):
    """The port cannot be opened, or has vanished."""


class SilenceError(LinkError):
    """Nothing, or nothing sound, comes back."""


class VersionError(LinkError):
    """Another device, or another version of protocol or programs."""


class ConfigurationError(LinkError):
    """The program is made for another configuration of the core."""


class SessionError(LinkError):
    """The device forgot the session: it was reset."""


class AccessError(LinkError):
    """The core refused an access, or the link a command."""


class RunError(LinkError):
    """The core stopped with an error or does not finish."""

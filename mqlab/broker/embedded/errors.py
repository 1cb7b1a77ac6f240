"""What the broker refuses, with the codes of AMQP 0-9-1 and the words of RabbitMQ."""

CODES = {
    "CONTENT_TOO_LARGE": 311,
    "NO_ROUTE": 312,
    "NO_CONSUMERS": 313,
    "CONNECTION_FORCED": 320,
    "INVALID_PATH": 402,
    "ACCESS_REFUSED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_LOCKED": 405,
    "PRECONDITION_FAILED": 406,
    "FRAME_ERROR": 501,
    "SYNTAX_ERROR": 502,
    "COMMAND_INVALID": 503,
    "CHANNEL_ERROR": 504,
    "UNEXPECTED_FRAME": 505,
    "RESOURCE_ERROR": 506,
    "NOT_ALLOWED": 530,
    "NOT_IMPLEMENTED": 540,
    "INTERNAL_ERROR": 541,
}
CLOSES_CHANNEL = {
    "CONTENT_TOO_LARGE",
    "NO_CONSUMERS",
    "ACCESS_REFUSED",
    "NOT_FOUND",
    "RESOURCE_LOCKED",
    "PRECONDITION_FAILED",
}


class AmqpError(Exception):
    """A refusal: it closes the channel, or the whole connection where AMQP calls the error a hard one.

    `method` is the method that failed, as the four bytes it begins with (zeros: none).
    """

    def __init__(self, name: str, explanation: str = "", method: bytes | None = None) -> None:
        super().__init__(f"{name} - {explanation}" if explanation else name)
        self.name = name
        self.code = CODES[name]
        self.closes_channel = name in CLOSES_CHANNEL
        self.method = method

    @property
    def text(self) -> str:
        """The reply text, at most 255 bytes, cut as RabbitMQ cuts it; bytes that are no UTF-8 read as Latin-1."""
        text = "".join(chr(ord(c) & 0xFF) if "\udc80" <= c <= "\udcff" else c for c in str(self)).encode()
        return (text if len(text) <= 255 else text[:252] + b"...").decode(errors="ignore")


class Unanswered(Exception):
    """What RabbitMQ does not answer: it ends the connection without a word."""

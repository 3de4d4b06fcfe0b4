"""An error of another library in one line of ours."""
from __future__ import annotations

# characters of the message that a line shows
MOST_SHOWN = 200


def in_a_line(error: BaseException, *, whole: bool = True) -> str:
    """Returns the type and the message of an error in one line of limited length.

    Args:
        whole: False leaves out all but the first line of the message: torch and the runtimes add
            listings.
    """
    message = str(error).strip()
    if not whole:
        message = message.partition("\n")[0]
    message = " ".join(message.split())[:MOST_SHOWN]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__

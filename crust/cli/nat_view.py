"""What ``crust nat`` and ``nat`` of ``crust peer`` say about how a node can be reached: values in, lines out. Pure."""

from crust.cli.peer_events import Line
from crust.nat.nat_status import NatStatus


def status_lines(status: NatStatus) -> list[Line]:
    """What `NatStatus.lines` says, each line with its style: who can connect, then what is so, then what to do."""
    first, *others = status.lines()
    advice = {f"  {text}" for text in status.as_dict()["advice"]}
    found = [Line(first, "good" if status.listening and not advice else "warn")]
    for text in others:
        if text in advice:
            found.append(Line(text, "warn"))
        else:
            found.append(Line(text, None if text.startswith(" ") else "strong"))
    return found

"""``crust demo --nat``: two peers behind routers that let nobody in become connected, and every step is told."""

import argparse
import secrets
import tempfile
from pathlib import Path
from typing import Final

from crust.cli import console
from crust.cli.console import Exit, count_of
from crust.cli.demo_checks import Expected, problems
from crust.cli.demo_crew import Crew, DemoFailed, Member, Report
from crust.cli.demo_nat_homes import HOMES, OPEN, Street, StreetError, missing
from crust.cli.demo_story import Story
from crust.endpoint import Endpoint

NAMES: Final = ("Ada", "Ben", "Cleo")
PORT: Final = 5483
"""Everybody's: whether a router keeps it shows at a glance."""
MODULE: Final = "crust.cli.demo_nat_worker"
LINES: Final = ("Good morning, Ben!", "Good morning, Ada! You are at {} for me.", "And you are at {}.")
ALONE: Final = ("Cleo has left. Are you still there?", "I am: nothing between us has changed.")


def run(args: argparse.Namespace) -> int:
    """Give the demo; the exit code says whether all was right."""
    reason = missing()
    if reason is not None:
        return console.fail(reason)
    story = Story(NAMES, quiet=args.quiet, as_json=args.json)
    try:
        with tempfile.TemporaryDirectory(prefix="crust-demo-") as folder, Street() as street:
            show = NatShow(story, street, args.timeout, args.transport)
            with show.crew:
                show.play(Path(folder))
                wrong = show.verdict()
    except DemoFailed as error:
        wrong = [str(error)]
    except StreetError as error:
        return console.fail(error)
    story.end(wrong)
    return Exit.CHECK if wrong else Exit.OK


class NatShow:
    """The demo itself, one method for each step.

    Args:
        story: tells it.
        street: where it takes place.
        timeout: seconds that it may take.
        transport: what the two talk over.
    """

    def __init__(self, story: Story, street: Street, timeout: float, transport: str) -> None:
        self.crew = Crew(timeout, self._on_report)
        self._story = story
        self._street = street
        self._transport = transport
        self._expected: dict[Member, Expected] = {}
        self._wrong: list[str] = []
        self._gone: list[Member] = []

    def play(self, folder: Path) -> None:
        """All steps, in order."""
        self._start(folder)
        self._join()
        self._survey()
        self._knock()
        self._punch()
        self._talk()
        self._stop()

    def verdict(self) -> list[str]:
        """Everything that is wrong, once all peers have ended."""
        names = {member.id: member.name for member in self.crew.members}
        for member, expected in self._expected.items():
            self._wrong += [f"{member.name}: {text}" for text in problems(member.log, expected, names)]
        return self._wrong

    # --- the steps --------------------------------------------------------------------------------

    def _start(self, folder: Path) -> None:
        self._story.step("start", "Two homes behind routers that let nobody in, and Cleo in the open")
        common = (f"--port={PORT}", f"--network=crust demo {secrets.token_hex(8)}")
        observers = [f"--observer={host}:{PORT}" for host in OPEN]
        for name, home in zip(NAMES, HOMES, strict=False):
            words = (self._transport, *common, f"--listen={home.inner}", *observers)
            self.crew.start([name], folder, *words, module=MODULE, within=self._street.within(home.host))
            self._story.say(f"{name:<5} is at {home.inner}, behind a router that is {home.outer} outside")
        words = ("tcp", *common, *(f"--listen={host}" for host in OPEN))
        self.crew.start([NAMES[-1]], folder, *words, module=MODULE, within=self._street.within("open"))
        self._story.say(f"Cleo  is at {OPEN[0]}")
        for member in self.crew.members:
            self._expected[member] = Expected()
            member.tell("listen")
        self._until("started to listen", "listening", self.crew.members)
        self._story.done("All of it inside this machine: no packet leaves it.")

    def _join(self) -> None:
        ada, ben, cleo = self.crew.members
        self._story.step("join", "Ada and Ben connect to Cleo: whoever is in the open can be dialled")
        scheme = "utp" if self._transport == "utp" else "tcp"
        for member in (ada, ben):
            self._expected[member].connected.add(cleo.id)
            self._expected[cleo].connected.add(member.id)
            member.tell("connect", to=[f"{scheme}://{OPEN[0]}:{PORT}"])
        self._until("connected to Cleo", "new", [ada, ben])
        self._until("saw both", "new", [cleo], 2)
        for report in cleo.reports("new"):
            self._story.say(f"Cleo sees {self._name(report['id'])} at {report['at']}: the router's address")
        self._story.done("Both know Cleo now, and each other by the id only.")

    def _survey(self) -> None:
        ada, ben, _ = self.crew.members
        self._story.step("survey", "Ada and Ben ask where others see them, and so learn what their routers do")
        for member in (ada, ben):
            member.tell("survey")
        self._until("learned what the router does", "surveyed", [ada, ben])
        for member in (ada, ben):
            found = member.reports("surveyed")[-1]
            for line in (*found["lines"], found["reach"]):
                self._story.say(f"{member.name}: {line}")
        self._story.done("Now they know what to tell each other.")

    def _knock(self) -> None:
        ada, _, _ = self.crew.members
        home = HOMES[1]
        self._story.step("knock", f"Ada simply dials Ben's router, {home.outer}, port {PORT}")
        before = self._street.dropped(home)
        ada.tell("knock", at=[home.outer, PORT])
        self._until("dialled", "knocked", [ada])
        answer = ada.reports("knocked")[-1]["answer"]
        dropped = self._street.dropped(home) - before
        if not dropped or not answer.startswith("no answer"):
            self._wrong.append(f"Ben's router should have let nobody in, but: {answer}; {dropped} packets dropped")
        self._story.say(f"Ben's router has asked for nothing from there, and drops {count_of(dropped, 'packet')}.")
        self._story.done(f"{answer.capitalize()}.", dropped=dropped)

    def _punch(self) -> None:
        ada, ben, _ = self.crew.members
        self._story.step("punch", f"Ada asks for Ben by the id, {ben.id[:8]}; Cleo brings the two together")
        for member, other in ((ada, ben), (ben, ada)):
            self._expected[member].connected.add(other.id)
            places = ", ".join(member.reports("surveyed")[-1]["places"])
            self._story.say(f"{member.name} has Cleo tell {other.name}: try {places}")
        ada.tell("reach", to=ben.id)
        self._until("reached the other", "new", [ada, ben], 2)
        self._story.say("Both have sent to each other at the same moment: each router saw its own side begin,")
        self._story.say("took what came from the other for an answer, and let it in.")
        for member, home in ((ada, HOMES[1]), (ben, HOMES[0])):
            endpoint = Endpoint.parse(self._place_of_other(member))
            if endpoint.is_relayed or endpoint.host != home.outer:
                self._wrong.append(f"{member.name} is connected to {endpoint}, and not to the router {home.outer}")
        place = self._place_of_other(ada)
        self._story.done(f"Ada is connected to Ben at {place}.", endpoint=place)

    def _talk(self) -> None:
        ada, ben, cleo = self.crew.members
        self._story.step("talk", "Ada and Ben talk, and go on when Cleo has left")
        places = {ada: self._place_of_other(ada), ben: self._place_of_other(ben)}
        for number, line in enumerate(LINES):
            speaker, hearer = (ada, ben) if number % 2 == 0 else (ben, ada)
            self._say(speaker, hearer, line.format(places[speaker]))
        for member in (ada, ben):
            self._expected[member].lost.add(cleo.id)
        self._end(cleo)
        self._until("missed Cleo", "lost", [ada, ben])
        for speaker, hearer, line in ((ada, ben, ALONE[0]), (ben, ada, ALONE[1])):
            self._say(speaker, hearer, line)
        count = len(LINES) + len(ALONE)
        self._story.done(f"{count_of(count, 'message')}, from home to home.", messages=count)

    def _stop(self) -> None:
        ada, ben, _ = self.crew.members
        self._story.step("stop", "Ada and Ben stop, and the homes are taken down")
        self._expected[ben].lost.add(ada.id)
        self._end(ada)
        self._until("missed Ada", "lost", [ben], 2)
        self._end(ben)
        self._street.close()
        self._story.done("No process, no interface and no rule is left.")

    # --- what the steps need ----------------------------------------------------------------------

    def _on_report(self, member: Member, report: Report) -> None:
        if report["is"] == "message":
            self._story.speak(member.name, self._name(report["id"]), report["text"])

    def _name(self, peer: str) -> str:
        return next((member.name for member in self.crew.members if member.id == peer), peer[:8])

    def _place_of_other(self, member: Member) -> str:
        """Where Ada sees Ben, or Ben Ada: the latest connection."""
        place: str = member.reports("new")[-1]["at"]
        return place

    def _say(self, speaker: Member, hearer: Member, text: str) -> None:
        before = len(hearer.reports("message"))
        self._expected[hearer].messages[speaker.id].append(text)
        speaker.tell("say", to=[hearer.id], text=text)
        self._until(f"heard {speaker.name}", "message", [hearer], before + 1)

    def _end(self, member: Member) -> None:
        self._gone.append(member)
        member.tell("stop")
        if code := self.crew.wait_for_end(member):
            self._wrong.append(f"{member.name} ended with exit code {code}")

    def _until(self, what: str, kind: str, members: list[Member], count: int = 1) -> None:
        """Take reports until each of these has reported so often; a failure ends the waiting at once."""
        self.crew.until(what, lambda: _lacking(members, kind, count), self._gone)


def _lacking(members: list[Member], kind: str, count: int) -> list[str]:
    for member in members:
        for failure in member.reports("failed"):
            raise DemoFailed(f"{member.name}: {failure['reason']}")
    return [member.name for member in members if len(member.reports(kind)) < count]

"""`crust.nat.port_mapper` and its loop: the thread, with a router on loopback. Real ones are in ``tests/lab``."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from crust.endpoint import Endpoint, Port
from crust.nat import gateway_answer, mapper_loop, ssdp
from crust.nat.mapper_sockets import hear_announcements
from crust.nat.mapping_report import MappingReport, Method
from crust.nat.paths import Path
from crust.nat.port_mapper import PortMapper
from crust.threads import clock
from tests.nat.gateway_fakes import TCP, UDP
from tests.nat.igd_server import IgdServer
from tests.nat.router_on_loopback import LoopbackRouter
from tests.nat.test_ssdp import answer as ssdp_answer

PATH = Path("lo", "127.0.0.1", 8, "127.0.0.1")
PATIENCE = 20.0


def free_port() -> int:
    """A UDP port that is free just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackRouter]:
    with LoopbackRouter(0, 2) as router:
        monkeypatch.setattr(gateway_answer, "PORT", router.port)
        monkeypatch.setattr(gateway_answer, "ANNOUNCE_PORT", free_port())
        yield router


class Watching:
    """A mapper, and what it says. Use ``with``."""

    def __init__(self, *ports: Port, methods: tuple[Method, ...] = tuple(Method)) -> None:
        self.ports = list(ports)
        self.paths = [PATH]
        self.said: queue.Queue[MappingReport] = queue.Queue()
        self.mapper = PortMapper(lambda: self.ports, self.said.put, find_paths=lambda: self.paths, methods=methods)

    def __enter__(self) -> "Watching":
        self.mapper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mapper.stop()

    def until(self, good: Callable[[MappingReport], bool]) -> MappingReport:
        """The first report that is like that."""
        while not good(report := self.said.get(timeout=PATIENCE)):
            pass
        return report

    def mapped(self, count: int) -> MappingReport:
        return self.until(lambda report: len(report.endpoints) == count and report.settled)


def test_ports_are_mapped_and_unmapped(router: LoopbackRouter) -> None:
    with Watching(Port.tcp(5483), Port.utp(5484), Port.tracer(5), Port.tcp(0)) as watching:
        report = watching.mapped(2)
        assert report.endpoints == [Endpoint.tcp("11.1.1.2:5483"), Endpoint.utp("11.1.1.2:5484")]
        assert report.gateways[0].method is Method.PCP
        assert watching.mapper.report() == report
        assert router.router.mappings == {(5483, TCP): 5483, (5484, UDP): 5484}
    assert router.router.mappings == {}
    assert watching.mapper.report().endpoints == []


def test_ports_that_change_are_followed(router: LoopbackRouter) -> None:
    with Watching(Port.tcp(5483)) as watching:
        watching.mapped(1)
        watching.ports = [Port.tcp(7000), Port.utp(7000)]
        watching.mapper.refresh()
        assert watching.mapped(2).endpoints == [Endpoint.tcp("11.1.1.2:7000"), Endpoint.utp("11.1.1.2:7000")]
        assert router.router.mappings == {(7000, TCP): 7000, (7000, UDP): 7000}


def test_ports_that_come_later_are_mapped(router: LoopbackRouter) -> None:
    with Watching() as watching:
        watching.until(lambda report: bool(report.gateways))
        watching.ports = [Port.tcp(5483)]
        watching.mapper.refresh()
        watching.mapped(1)


def test_interfaces_that_go_are_forgotten(router: LoopbackRouter) -> None:
    with Watching(Port.tcp(5483)) as watching:
        watching.mapped(1)
        watching.paths = []
        watching.mapper.refresh()
        assert watching.until(lambda report: not report.gateways).endpoints == []


def test_an_announcement_of_the_router_is_heard(router: LoopbackRouter) -> None:
    with Watching(Port.tcp(5483)) as watching:
        watching.mapped(1)
        router.router.outside = "11.1.1.77"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.sendto(b"", ("127.0.0.1", gateway_answer.ANNOUNCE_PORT))
            assert watching.mapped(1).endpoints == [Endpoint.tcp("11.1.1.77:5483")]


def test_announcements_of_others_are_not(router: LoopbackRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: queue.Queue[set[str]] = queue.Queue()

    def hear(sock: socket.socket) -> set[str]:
        found = hear_announcements(sock)
        heard.put(found)
        return found

    monkeypatch.setattr(mapper_loop, "hear_announcements", hear)
    monkeypatch.setattr(mapper_loop, "DEAF", 0.0)
    with Watching(Port.tcp(5483)) as watching:
        watching.mapped(1)
        router.router.outside = "11.1.1.77"
        for sender in ("127.0.0.2", "127.0.0.1"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((sender, 0))
                sock.sendto(b"", ("127.0.0.1", gateway_answer.ANNOUNCE_PORT))
                assert heard.get(timeout=PATIENCE) == {sender}
        watching.mapped(1)
        loop = watching.mapper._loop
        assert loop is not None
        assert loop._sites[PATH].session.counters["announcements"] == 1


def test_a_router_that_says_nothing_more_does_not_hold_up_the_end(router: LoopbackRouter) -> None:
    watching = Watching(Port.tcp(5483))
    watching.mapper.start()
    watching.mapped(1)
    router.router.silent = True
    before = clock.now()
    watching.mapper.stop(timeout=0.3)
    assert clock.now() - before < 0.3 + PATIENCE
    watching.mapper.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "crust-mapper"]


def test_a_crash_of_what_takes_the_report_ends_nothing(
    router: LoopbackRouter, caplog: pytest.LogCaptureFixture
) -> None:
    seen = threading.Event()

    def crash(report: MappingReport) -> None:
        if report.endpoints:
            seen.set()
        raise ZeroDivisionError

    mapper = PortMapper(lambda: [Port.tcp(5483)], crash, find_paths=lambda: [PATH])
    mapper.start()
    assert seen.wait(PATIENCE)
    mapper.stop()
    assert router.router.mappings == {}
    assert "please report this" in caplog.text


def test_an_error_in_a_turn_is_logged_and_it_goes_on(
    router: LoopbackRouter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapper_loop, "_PAUSE_AFTER_ERROR", 0.0)
    times = iter([OSError("no interfaces"), None])
    watching = Watching(Port.tcp(5483))

    def find() -> list[Path]:
        error = next(times, None)
        if error is not None:
            raise error
        return [PATH]

    watching.mapper = PortMapper(lambda: watching.ports, watching.said.put, find_paths=find)
    with watching:
        watching.mapper.refresh()
        watching.mapped(1)
    assert "goes on after an error" in caplog.text


def test_it_starts_once_and_stops_any_number_of_times(router: LoopbackRouter) -> None:
    watching = Watching(Port.tcp(5483))
    with watching:
        with pytest.raises(RuntimeError):
            watching.mapper.start()
    watching.mapper.stop()
    watching.mapper.refresh()
    with pytest.raises(RuntimeError):
        watching.mapper.start()


def test_it_can_be_stopped_from_its_own_thread(router: LoopbackRouter) -> None:
    done = threading.Event()

    def stop(report: MappingReport) -> None:
        if report.endpoints:
            mapper.stop()
            done.set()

    mapper = PortMapper(lambda: [Port.tcp(5483)], stop, find_paths=lambda: [PATH])
    mapper.start()
    assert done.wait(PATIENCE)
    mapper.stop()


class SsdpResponder:
    """Answers searches on loopback for an `IgdServer`. Use ``with``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="test-ssdp")

    def _serve(self) -> None:
        while (received := self._sock.recvfrom(2048))[0]:
            self._sock.sendto(ssdp_answer(self._url), received[1])

    def __enter__(self) -> "SsdpResponder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()


@pytest.fixture
def igd(monkeypatch: pytest.MonkeyPatch) -> Iterator[IgdServer]:
    with IgdServer() as igd, SsdpResponder(igd.url) as responder:
        monkeypatch.setattr(ssdp, "GROUP", "127.0.0.1")
        monkeypatch.setattr(ssdp, "PORT", responder.port)
        monkeypatch.setattr(gateway_answer, "ANNOUNCE_PORT", free_port())
        yield igd


def test_over_upnp_it_is_the_same(igd: IgdServer) -> None:
    with Watching(Port.tcp(5483), Port.utp(5484), methods=(Method.UPNP,)) as watching:
        report = watching.mapped(2)
        assert report.gateways[0].method is Method.UPNP
        assert len(igd.table) == 2
        watching.mapper.stop(timeout=PATIENCE)
    assert igd.table == {}


def test_a_gateway_that_hangs_does_not_hold_up_the_end(igd: IgdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, done = threading.Event(), threading.Event()

    def hang(sock: socket.socket, request: bytes) -> bool:
        asked.set()
        return done.wait(PATIENCE)

    monkeypatch.setattr(igd, "_manner", hang)
    with Watching(Port.tcp(5483), methods=(Method.UPNP,)) as watching:
        assert asked.wait(PATIENCE)
        before = clock.now()
        watching.mapper.stop(timeout=0.2)
        assert clock.now() - before < 4  # miniupnpc itself waits for 5 s
    done.set()

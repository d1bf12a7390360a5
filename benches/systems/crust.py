"""Crust itself, with its own channel or with a plain ``queue.Queue`` for the events."""

import queue
from time import perf_counter_ns
from typing import Any

from benches.systems.base import WrongDelivery, check, seconds_since
from crust.channel import channel
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.event import Event, NewConnection, NewMessage

START_TIMEOUT = 20.0  # seconds
CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)


class ChannelNode:
    """Events come through `crust.channel`, read by iteration: the fastest documented way."""

    def __init__(self) -> None:
        self._events = self._make_events()
        self._manager = ConnectionManager(self._events, CONFIG)
        self._peer: Endpoint

    def _make_events(self) -> Any:
        return channel()

    def listen(self) -> str:
        return str(Endpoint.tcp(("127.0.0.1", self._manager.start_listening()[0].port)))

    def connect(self, address: str) -> None:
        self._manager.connect(Endpoint.parse(address))
        self.accepted()

    def accepted(self) -> None:
        event = self._events.get(timeout=START_TIMEOUT)
        check(isinstance(event, NewConnection), f"not connected: {event}")
        self._peer = event.endpoint

    def send(self, message: bytes, count: int) -> None:
        send, peer = self._manager.send, self._peer
        for _ in range(count):
            send(peer, message, timeout=None)

    def receive(self, size: int, count: int) -> float:
        self._one(size)
        start = perf_counter_ns()
        left = count - 1
        for event in self._events:
            if type(event) is not NewMessage or len(event.data) != size:
                check(False, f"not a message of {size} bytes: {event}")
            left -= 1
            if not left:
                break
        return seconds_since(start)

    def _one(self, size: int) -> bytes:
        match self._events.get():
            case NewMessage(_, data) if len(data) == size:
                return data
            case event:
                raise WrongDelivery(f"not a message of {size} bytes: {event}")

    def ping(self, message: bytes, count: int) -> list[int]:
        times = []
        for _ in range(count):
            start = perf_counter_ns()
            self._manager.send(self._peer, message, timeout=None)
            reply = self._one(len(message))
            times.append(perf_counter_ns() - start)
            check(reply == message, "the echo differs")
        return times

    def echo(self, size: int, count: int) -> None:
        for _ in range(count):
            self._manager.send(self._peer, self._one(size), timeout=None)

    def close(self) -> None:
        self._manager.stop()


class QueueNode(ChannelNode):
    """Events come through a ``queue.Queue`` and are told apart by ``match``, as in the README."""

    def _make_events(self) -> Any:
        return queue.Queue()

    def receive(self, size: int, count: int) -> float:
        self._one(size)
        start = perf_counter_ns()
        left = count - 1
        while left:
            match self._events.get():
                case Event.NewMessage(_, data) if len(data) == size:
                    left -= 1
                case event:
                    check(False, f"not a message of {size} bytes: {event}")
        return seconds_since(start)

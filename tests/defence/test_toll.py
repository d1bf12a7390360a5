"""`crust.defence.toll`: batches are counted, and cost nothing where nothing is limited."""

from crust import Config
from crust.defence.ledger import Ledger
from crust.defence.metering import BURST_SECONDS, CONTROLS, FINE, MESSAGES
from crust.defence.toll import Toll

HOST = "192.0.2.1"


class Counted(Ledger):
    """Knows how often it was asked."""

    asked = 0

    def traffic(self, host: str, amounts: object, *, claimed: bool = False) -> object:  # type: ignore[override]
        """See `Ledger.traffic`."""
        self.asked += 1
        return super().traffic(host, amounts, claimed=claimed)  # type: ignore[arg-type]


def test_by_default_a_batch_of_messages_costs_one_comparison() -> None:
    book = Counted(Config())
    toll = Toll(Config(), HOST, book)
    for number in range(1, 1000):
        assert toll.charge(10**9 * number, 10**6 * number, 0, 0) is FINE
    assert book.asked == 0


def test_the_same_is_not_counted_twice() -> None:
    config = Config(max_messages_per_second=10)
    toll = Toll(config, HOST, Ledger(config))
    allowed = int(10 * BURST_SECONDS[MESSAGES])
    assert toll.charge(1, allowed, 0, 0) == FINE
    assert toll.charge(2, allowed, 0, 0) == FINE
    (alert,) = toll.charge(3, 2 * allowed, 0, 0).alerts
    assert alert.kind == MESSAGES


def test_without_a_ledger_the_connection_alone_counts() -> None:
    toll = Toll(Config(max_controls_per_second=1), HOST, None)
    (alert,) = toll.charge(0, 0, 0, 100).alerts
    assert alert.kind == CONTROLS


def test_all_connections_of_an_address_pay_together() -> None:
    config = Config(max_controls_per_second=1)
    book = Ledger(config)
    tolls = [Toll(config, HOST, book) for _ in range(20)]
    alerts = [alert for toll in tolls for alert in toll.charge(0, 0, 0, 10).alerts]
    assert [alert.limit for alert in alerts] == [16]


def test_who_only_claims_to_be_somebody_pays_apart() -> None:
    config = Config(max_controls_per_second=1)
    book = Ledger(config)
    claims = [Toll(config, HOST, book, claimed=True) for _ in range(20)]
    assert any(alert.limit == 16 for toll in claims for alert in toll.charge(0, 0, 0, 10).alerts)
    assert Toll(config, HOST, book).charge(0, 0, 0, 10) == FINE

"""The full mesh that many a uTP got lost in: no hang, no lost message, no second connection."""

import pytest

from tests.transport.utp.simulation.mesh import Run, meet


@pytest.mark.parametrize("seed", range(3))
def test_a_small_mesh(seed: int) -> None:
    met = meet(Run(seed, nodes=12))
    assert not met.wrong, "\n".join(met.wrong)
    assert met.connections == 66
    assert met.lost > met.packets * 0.03, "the links did not lose what they should"


@pytest.mark.parametrize("seed", range(2))
def test_a_small_mesh_behind_nats(seed: int) -> None:
    """Both sides of each connection dial, and each pair ends with one."""
    met = meet(Run(seed, nodes=10, rendezvous=True))
    assert not met.wrong, "\n".join(met.wrong)
    assert met.connections == 45


def test_a_small_mesh_over_terrible_links() -> None:
    met = meet(Run(1, nodes=8, loss=0.2))
    assert not met.wrong, "\n".join(met.wrong)


@pytest.mark.slow
def test_a_mesh_of_thirty_nodes() -> None:
    met = meet(Run(0, nodes=30))
    assert not met.wrong, "\n".join(met.wrong)
    assert met.connections == 435


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_mesh_of_sixty_nodes() -> None:
    """One of the two hundred that ``python -m tests.transport.utp.simulation.mesh --runs 200`` makes."""
    met = meet(Run(0))
    assert not met.wrong, "\n".join(met.wrong)
    assert met.connections == 1770

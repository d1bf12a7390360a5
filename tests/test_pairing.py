"""Every source file has the test file of its name, so that one knows where to look and what is missing."""

import pytest

from tests.source_tree import ROOT, modules

# Tested elsewhere, and where. A file is listed only if a test file of its own would have nothing to say.
ELSEWHERE = {
    "__init__": "test_exports.py",
    "__main__": "cli/test_main.py",
    "_version": "test_version.py",
    "cli": "cli/test_main.py",
    "cli.version": "cli/test_main.py",
    "connecting": "test_layers.py",
    "connecting.choice": "connecting/test_negotiate_choice.py",
    "connecting.connections": "manager/test_one_connection.py",
    "connecting.ground": "test_layers.py",
    # The manager's own thread: what it does shows only with peers, and its tests are about what a user sees.
    "connection_manager": "manager/test_events.py",
    "defence": "test_layers.py",
    "discovery": "test_layers.py",
    "finding": "test_layers.py",
    "finding.finder": "manager/test_finding.py",
    "finding.own_addresses": "manager/test_moving.py",
    "finding.surroundings": "finding/test_bootstrap.py",
    "finding.trial": "finding/test_bootstrap.py",
    "links": "test_layers.py",
    "links.connection_info": "links/test_connection.py",
    "links.connection_news": "links/test_reading.py",
    "manager": "test_layers.py",
    "manager.admission": "manager/test_blacklist.py",
    "manager.core": "manager/test_stop.py",
    "manager.gatekeeper": "manager/test_blacklist.py",
    "manager.parts": "manager/test_stop.py",
    "nat": "test_layers.py",
    "nat.errand_thread": "nat/test_errand.py",
    "nat.gateway_answer": "nat/test_pcp.py",
    "nat.keeping": "nat/test_lease_keeper.py",
    "nat.mapper_loop": "nat/test_port_mapper.py",
    "reach": "test_layers.py",
    "reach.dial_back": "test_layers.py",
    "reach.relay": "test_layers.py",
    "reach.relay.desk": "manager/test_relay.py",
    "reach.relay.relays": "manager/test_relay.py",
    "settings": "test_layers.py",
    "settings.checks": "test_config.py",
    "settings.yaml_files": "test_config.py",
    "threads": "test_layers.py",
    "transport": "test_layers.py",
    "transport.relay": "test_layers.py",
    "transport.utp": "transport/utp/test_utp_socket.py",
}


def expected(module: str) -> str:
    package, _, name = module.rpartition(".")
    return ELSEWHERE.get(module) or "/".join([*package.split("."), f"test_{name}.py"]).lstrip("/")


@pytest.mark.parametrize("module", modules())
def test_a_source_file_has_its_test_file(module: str) -> None:
    file = ROOT / "tests" / expected(module)
    assert file.exists(), f"crust/{module.replace('.', '/')}.py is not tested: write tests/{expected(module)}"


def test_the_exceptions_are_about_files_that_exist() -> None:
    assert set(ELSEWHERE) <= set(modules())

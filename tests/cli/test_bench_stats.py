import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli.bench_stats import Latency, cpu_model, machine, parse_size, percentile, rate_name, size_name


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64", 64),
        ("64B", 64),
        (" 64 b ", 64),
        ("1KiB", 1024),
        ("1k", 1024),
        ("2 MiB", 2 << 20),
        ("16m", 16 << 20),
        ("1GiB", 1 << 30),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0KiB", "-1", "1.5k", "KiB", "1GB", "1 2", "٣", "9" * 11, "1\n2"])
def test_what_is_not_a_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="1KiB"):
        parse_size(text)


@given(st.integers(1, 1 << 30))
def test_a_size_is_read_back_from_its_name(size: int) -> None:
    assert parse_size(size_name(size)) == size


@pytest.mark.parametrize(
    ("rate", "name"),
    [
        (0, "0.00"),
        (7.126, "7.13"),
        (45.14, "45.1"),
        (812.4, "812"),
        (999.6, "1.00 k"),
        (12_340, "12.3 k"),
        (812_400, "812 k"),
        (999_600, "1.00 M"),
        (12_300_000, "12.3 M"),
    ],
)
def test_rates_have_three_figures(rate: float, name: str) -> None:
    assert rate_name(rate) == name


def test_percentiles_are_the_nearest_rank() -> None:
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7], 50) == percentile([7], 99) == 7
    assert percentile([1, 2], 51) == 2


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_measured_values_in_order(times: list[float]) -> None:
    latency = Latency.of(times)
    found = [latency.p50, latency.p90, latency.p99, latency.most]
    assert found == sorted(found)
    assert set(found) <= set(times)
    assert latency.most == max(times)
    assert latency.count == len(times)


def test_the_processor_is_found_in_cpuinfo() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz \nmodel name\t: Other\n") == "Some CPU @ 3 GHz"
    assert cpu_model("Hardware : BCM2835\n") == ""


def test_the_machine_is_described() -> None:
    found = machine()
    assert found.cores >= 1
    assert found.python in str(found)
    assert set(found.as_json()) == {"cpu", "cores", "system", "python"}

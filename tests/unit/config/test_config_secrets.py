"""Which values from the environment are masked in logs and messages."""

import pytest

from eventmesh.config.interpolation import may_be_secret


@pytest.mark.parametrize(
    "value",
    [
        "hunter2hunter2", "postgres://user:pw@db/x", "/k3jw+8A9uQ==", "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "https://hooks.example/T0/B0/abc", "correct horse battery", "a:b:c:12345678",
    ],
)  # fmt: skip
def test_what_could_be_a_secret_is_masked(value: str) -> None:
    assert may_be_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        "./uploads/in", "../elsewhere", "/tmp/some/uploads", "/usr/share", "127.0.0.1:8080",
        "localhost:9092", "rate(1 minute)", "cron(0 6 ? * MON-FRI *)", "short", "12345",
    ],
)  # fmt: skip
def test_places_addresses_and_schedules_stay_readable(value: str) -> None:
    assert not may_be_secret(value)

"""The environment, and what is said about a wrong one."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hermes_api.settings import Settings, SettingsError


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    (tmp_path / "password").write_text("secret-password")
    return {
        "HERMES_TOKEN_FILE": str(tmp_path / "token"),
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "DATABASE_HOST": "postgres",
    }


def test_few_are_needed(whole: dict[str, str]) -> None:
    settings = Settings.from_env(whole)
    assert (settings.port, settings.database_name, settings.database_user) == (8000, "hermes", "hermes")
    assert settings.database_password == "secret-password"
    assert "secret-password" not in repr(settings)
    assert settings.ssl() is None


def test_all_mistakes_are_told_at_once_and_no_secret(whole: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("too-short")
    wrong = {
        **whole,
        "DATABASE_HOST": "",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "absent"),
        "DATABASE_TLS": "prefer",
        "HERMES_PORT": "65536",
        "DATABASE_POOL_MIN": "5",
        "DATABASE_POOL_MAX": "4",
        "HERMES_LEASE_SECONDS": "1m",
    }
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(wrong)
    lines = str(raised.value).splitlines()
    for name in ["HERMES_TOKEN_FILE", "DATABASE_PASSWORD_FILE", "DATABASE_HOST", "DATABASE_TLS", "HERMES_PORT", "HERMES_LEASE_SECONDS"]:
        assert any(line.startswith(name) for line in lines), (name, lines)
    assert "DATABASE_POOL_MIN is greater than DATABASE_POOL_MAX" in lines
    assert "too-short" not in str(raised.value)


def test_tls_modes(whole: dict[str, str]) -> None:
    require = Settings.from_env({**whole, "DATABASE_TLS": "require"}).ssl()
    assert (require.verify_mode, require.check_hostname) == (ssl.CERT_NONE, False)
    full = Settings.from_env({**whole, "DATABASE_TLS": "verify-full"}).ssl()
    assert (full.verify_mode, full.check_hostname) == (ssl.CERT_REQUIRED, True)

"""What the environment says, checked once at the start."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Callable, Mapping, Optional, TypeVar

T = TypeVar("T")

TLS_MODES = ("disable", "require", "verify-full")
LOG_LEVELS = ("debug", "info", "warning", "error")
LEAST_TOKEN = 16


class SettingsError(Exception):
    """Everything that is wrong with the environment, one line each."""


@dataclass(frozen=True)
class Settings:
    """Times are in seconds."""

    host: str
    port: int
    log_level: str
    token_digest: bytes
    database_host: str
    database_port: int
    database_name: str
    database_user: str
    database_password: str
    database_tls: str
    database_tls_ca: Optional[str]
    database_wait: float
    pool_min: int
    pool_max: int
    statement_timeout: float
    lease: int
    agent_timeout: int
    keep_days: int
    docker_socket: str

    def __repr__(self) -> str:
        return f"Settings({self.database_user}@{self.database_host}:{self.database_port}/{self.database_name})"

    def ssl(self) -> Optional[ssl.SSLContext]:
        """`require` encrypts and trusts any certificate, as libpq's `sslmode=require`; `verify-full` checks chain and name."""
        if self.database_tls == "disable":
            return None
        context = ssl.create_default_context(cafile=self.database_tls_ca)
        if self.database_tls == "require":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Raises SettingsError with all mistakes, not only the first. Values of secrets are in no message."""
        read = _Reader(env)
        token = read.secret("HERMES_TOKEN_FILE", least=LEAST_TOKEN)
        password = read.secret("DATABASE_PASSWORD_FILE", least=1)
        settings = cls(
            host=read.text("HERMES_HOST", "0.0.0.0"),
            port=read.number("HERMES_PORT", 8000, 1, 65535),
            log_level=read.choice("HERMES_LOG_LEVEL", "info", LOG_LEVELS),
            token_digest=sha256(token.encode()).digest(),
            database_host=read.text("DATABASE_HOST"),
            database_port=read.number("DATABASE_PORT", 5432, 1, 65535),
            database_name=read.text("DATABASE_NAME", "hermes"),
            database_user=read.text("DATABASE_USER", "hermes"),
            database_password=password,
            database_tls=read.choice("DATABASE_TLS", "disable", TLS_MODES),
            database_tls_ca=env.get("DATABASE_TLS_CA_FILE") or None,
            database_wait=read.number("DATABASE_WAIT_SECONDS", 60, 0, 3600),
            pool_min=read.number("DATABASE_POOL_MIN", 1, 1, 1000),
            pool_max=read.number("DATABASE_POOL_MAX", 10, 1, 1000),
            statement_timeout=read.number("DATABASE_STATEMENT_SECONDS", 10, 1, 600),
            lease=read.number("HERMES_LEASE_SECONDS", 60, 1, 86400),
            agent_timeout=read.number("HERMES_AGENT_TIMEOUT_SECONDS", 90, 1, 86400),
            keep_days=read.number("HERMES_KEEP_DAYS", 30, 1, 3650),
            docker_socket=read.text("HERMES_DOCKER_SOCKET", "/var/run/docker.sock"),
        )
        if settings.pool_min > settings.pool_max:
            read.problems.append("DATABASE_POOL_MIN is greater than DATABASE_POOL_MAX")
        if read.problems:
            raise SettingsError("\n".join(read.problems))
        return settings


class _Reader:
    def __init__(self, env: Mapping[str, str]):
        self.env = env
        self.problems: list[str] = []

    def text(self, name: str, default: Optional[str] = None) -> str:
        value = self.env.get(name) or default
        if value is None:
            self.problems.append(f"{name} is not set")
            return ""
        return value

    def _checked(self, name: str, default: T, parse: Callable[[str], Optional[T]], wanted: str) -> T:
        value = self.env.get(name)
        if not value:
            return default
        parsed = parse(value)
        if parsed is None:
            self.problems.append(f"{name} is {value!r}: it must be {wanted}")
            return default
        return parsed

    def number(self, name: str, default: int, least: int, most: int) -> int:
        def parse(value: str) -> Optional[int]:
            number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else -1
            return number if least <= number <= most else None

        return self._checked(name, default, parse, f"a whole number from {least} to {most}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        return self._checked(name, default, lambda value: value if value in choices else None, f"one of {', '.join(choices)}")

    def secret(self, name: str, least: int) -> str:
        """The content of the file that a variable names, without the newline at its end."""
        path = self.env.get(name)
        if not path:
            self.problems.append(f"{name} is not set")
            return ""
        try:
            value = Path(path).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{name}: {path} cannot be read: {error.__class__.__name__}")
            return ""
        if len(value) < least:
            self.problems.append(f"{name}: {path} holds fewer than {least} characters")
        return value

"""How brokers are reached: addresses, TLS, and who we are. Secrets are kept in `SecretStr`."""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from eventmesh.connectors import Options

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>\d{1,5})")
_FILES = ("ca_file", "cert_file", "key_file")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


#: one text or a list of them
Texts = Annotated[
    tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...])
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SaslOptions(_Part):
    """Who we are to the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        description="how the password is proved; PLAIN sends it"
    )
    username: str = Field(min_length=1, description="the user")
    password: SecretStr = Field(min_length=1, description="its password; never shown")


class TlsOptions(_Part):
    """Encrypted connections whose brokers prove who they are."""

    ca_file: Path | None = Field(
        default=None, description="PEM of the authorities to trust; the system's by default"
    )
    cert_file: Path | None = Field(default=None, description="PEM of our own certificate")
    key_file: Path | None = Field(default=None, description="PEM of its private key")
    key_password: SecretStr | None = Field(default=None, description="of an encrypted key_file")
    check_hostname: bool = Field(
        default=True, description="the broker's certificate must be for the name it is called by"
    )

    @model_validator(mode="after")
    def _check_together(self) -> TlsOptions:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file, the certificate it belongs to")
        if self.key_password is not None and self.key_file is None:
            raise ValueError("key_password needs key_file")
        return self


class BrokerOptions(Options):
    """What source and destination have in common: the cluster."""

    model_config = ConfigDict(hide_input_in_errors=True)

    brokers: Texts = Field(
        min_length=1, max_length=32, description="addresses of some brokers, each host:port"
    )
    sasl: SaslOptions | None = Field(default=None, description="log in to the brokers")
    tls: TlsOptions | bool | None = Field(
        default=None, description="encrypt: true, or settings such as ca_file"
    )

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            _check_address(value)
        return values

    @model_validator(mode="after")
    def _check_password_is_safe(self) -> BrokerOptions:
        plain = self.sasl is not None and self.sasl.mechanism == "PLAIN"
        if plain and self.tls is None and not all(map(_is_loopback, self.brokers)):
            raise ValueError(
                "sasl mechanism PLAIN without TLS sends the password readable over the network; "
                "set tls: true, or tls: false if that is meant"
            )
        return self

    def resolved(self, base_directory: Path) -> BrokerOptions:
        """These options with the TLS files taken from `base_directory`."""
        if not isinstance(self.tls, TlsOptions):
            return self
        files = {name: getattr(self.tls, name) for name in _FILES}
        found = {name: base_directory / file for name, file in files.items() if file is not None}
        return self.model_copy(update={"tls": self.tls.model_copy(update=found)})


def build_client_settings(options: BrokerOptions) -> dict[str, Any]:
    """The client library's arguments for address, TLS and login. Reads files: call it in a thread.

    Raises OSError or ssl.SSLError when a certificate cannot be read.
    """
    tls = TlsOptions() if options.tls is True else options.tls or None
    protocol = ("SASL_" if options.sasl else "") + ("SSL" if tls else "PLAINTEXT")
    settings: dict[str, Any] = {
        "bootstrap_servers": list(options.brokers),
        "security_protocol": protocol,
    }
    if tls:
        settings["ssl_context"] = _build_context(tls)
    if options.sasl:
        settings["sasl_mechanism"] = options.sasl.mechanism
        settings["sasl_plain_username"] = options.sasl.username
        settings["sasl_plain_password"] = options.sasl.password.get_secret_value()
    return settings


def _build_context(tls: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_hostname
    if tls.cert_file:
        key = str(tls.key_file) if tls.key_file else None
        # a callable, since the library would ask on the terminal for a password that is missing
        password = tls.key_password.get_secret_value() if tls.key_password else ""
        context.load_cert_chain(str(tls.cert_file), key, lambda: password)
    return context


def _check_address(value: str) -> None:
    if "," in value:
        raise ValueError(f"{value!r}: write several brokers as a list")
    if "://" in value:
        raise ValueError(f"{value!r}: write host:port without {value.partition('://')[0]}://")
    match = _ADDRESS.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not host:port, as in localhost:9092")
    if not 0 < int(match["port"]) < 65536:
        raise ValueError(f"{value!r}: {match['port']} is not a port")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Packs the package as a wheel (PEP 517, PEP 427), with nothing but the standard library."""

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any, List, Optional

HERE = Path(__file__).resolve().parent
NAME = "agentsight_outbox"


def _project(key: str) -> str:
    """A line of pyproject.toml's: tomllib is younger than what we run on."""
    for line in (HERE / "pyproject.toml").read_text().splitlines():
        name, _, value = line.partition(" = ")
        if name == key and value.startswith('"'):
            return value.strip('"')
    raise KeyError(key)


def _metadata() -> str:
    return (
        "Metadata-Version: 2.1\n"
        f"Name: {_project('name')}\n"
        f"Version: {_project('version')}\n"
        f"Summary: {_project('description')}\n"
        "License: MIT\n"
        f"Requires-Python: {_project('requires-python')}\n"
    )


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: Optional[str] = None
) -> str:
    """Called by pip; returns the file's name."""
    version = _project("version")
    info = f"{NAME}-{version}.dist-info"
    files = {
        f"agentsight/{path.name}": path.read_bytes()
        for path in sorted((HERE / "agentsight").iterdir())
        if path.suffix == ".py" or path.name == "py.typed"
    }
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: agentsight\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record: List[str] = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = "\n".join(record).encode() + b"\n"
    wheel = f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel

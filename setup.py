"""Everything that describes the distribution; tool settings live in ``pyproject.toml``."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+?)"', (here / "vfgateway/_version.py").read_text()).group(1)

RUNTIME = [
    "twisted[tls]>=24.11",
    "zope.interface>=6",
    "txaio>=23.1",
    "klein>=24.8",
    "treq>=24.9",
    "attrs>=23.2",
    "pydantic>=2.9",
    "SQLAlchemy>=2.0.30",
    "alembic>=1.13",
    "cryptography>=43",
    "argon2-cffi>=23.1",
    "PyJWT>=2.9",
    "zipstream-ng>=1.8",
    "prometheus-client>=0.20",
    "click>=8.1",
    "rich>=13.7",
    "txredisapi>=1.4.10",
]
EXTRAS = {
    "postgresql": ["psycopg[binary]>=3.2"],
}
TESTS = [
    "pytest>=8",
    "pytest-twisted>=1.14",
    "hypothesis>=6.100",
    "schemathesis>=4",
    "tuspy>=1.1",
    "aiotusclient>=0.1.4",
    "requests",
    "build",
]
CHECKS = ["ruff>=0.8", "mypy>=1.13", "mypy-zope>=1.0.9", "pydoctor>=24.11"]

setup(
    name="vfgateway",
    version=version,
    description="A storage gateway that serves virtual folders over HTTP with resumable uploads, SFTP and WebDAV",
    long_description=(here / "README.md").read_text() if (here / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_namespace_packages(include=["vfgateway", "vfgateway.*"]), "twisted.plugins"],
    package_data={"vfgateway": ["py.typed"]},
    include_package_data=True,
    zip_safe=False,
    install_requires=RUNTIME,
    extras_require={**EXTRAS, "test": TESTS, "check": CHECKS},
    entry_points={"console_scripts": ["vfgateway = vfgateway.cli.main:main"]},
)

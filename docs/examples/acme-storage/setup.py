from setuptools import setup

setup(
    name="acme-storage",
    version="2.0",
    packages=["acme_storage", "twisted.plugins"],
    install_requires=["vfgateway"],
)
